//! Who may import whom, which file owns which door, and what every file looks like: docs/architecture.md says it, this
//! test holds the sources to it.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of the host, in order: each may use those before it.
const HOST_ROOMS: &[&str] =
    &["error", "telemetry", "storage", "catalog", "extensions", "sql", "database", "repl", "cli"];

/// A word that only some files may say. Folders end with a slash; paths are relative to the checkout.
struct Door {
    word: &'static str,
    inside: &'static str,
    only: &'static [&'static str],
    why: &'static str,
}

const DOORS: &[Door] = &[
    Door {
        word: "abi_stable",
        inside: "",
        only: &["plugin-api/src/abi/", "tests/suite/tidy.rs"],
        why: "only the boundary names abi_stable, so that it can be replaced in one place",
    },
    Door { word: "datafusion", inside: "host/src/", only: &["host/src/sql/"], why: "only sql plans and runs queries" },
    Door {
        word: "std::fs",
        inside: "host/src/storage/",
        only: &["host/src/storage/io.rs", "host/src/storage/io/", "host/src/storage/tests"],
        why: "database files are touched by one file, which has a faulty twin",
    },
    Door {
        word: "libloading",
        inside: "host/src/",
        only: &["host/src/extensions/load.rs"],
        why: "one file loads plugins",
    },
    Door {
        word: "println!",
        inside: "host/src/",
        only: &["host/src/storage/tests"],
        why: "only the ui talks to the terminal, and it does not panic on a broken pipe",
    },
    Door {
        word: "eprintln!",
        inside: "host/src/",
        only: &["host/src/storage/tests"],
        why: "only the ui talks to the terminal, and it does not panic on a broken pipe",
    },
    Door {
        word: "std::process::exit",
        inside: "host/src/",
        only: &["host/src/main.rs", "host/src/cli/"],
        why: "a library does not end the process",
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the checkout is there")
}

/// Every Rust source of the project with its path relative to the checkout.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut folders: Vec<PathBuf> =
        ["host", "plugin-api", "registry", "plugins", "tests"].map(|folder| root.join(folder)).into();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("inside").to_str().expect("UTF-8").replace('\\', "/");
                found.push((name, fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found.sort();
    found
}

/// Code without comments, so that prose may say any word.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(number, line)| (number + 1, line.split("//").next().unwrap_or(line)))
}

#[test]
fn rooms_of_the_host_use_only_those_before_them() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let Some(inside) = path.strip_prefix("host/src/") else { continue };
        let room = inside.split(['/', '.']).next().unwrap_or_default();
        let Some(own) = HOST_ROOMS.iter().position(|name| *name == room) else { continue };
        for (number, line) in code(&text) {
            for (_, rest) in line.match_indices("crate::").map(|(at, found)| line.split_at(at + found.len())) {
                let used = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                if HOST_ROOMS.iter().position(|name| *name == used).is_some_and(|other| other > own) {
                    wrong.push(format!("{path}:{number}: `{room}` uses `{used}`"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "a room uses one behind it:\n{}", wrong.join("\n"));
}

#[test]
fn crates_use_only_what_they_may() {
    let allowed = |package: &str| -> &[&str] {
        match package {
            "host" => &["kodiak-plugin-api", "kodiak-registry"],
            "plugin-api" | "registry" => &[],
            // Plugins are built beside the tests, which install them and never link them.
            "tests" => &["kodiak", "kodiak-registry", "kodiak-plugin-api", "kodiak-blob", "kodiak-secrets"],
            _ => &["kodiak-plugin-api"],
        }
    };
    let root = root();
    let plugins = fs::read_dir(root.join("plugins")).expect("folder").map(|entry| entry.expect("entry").path());
    let others = ["host", "plugin-api", "registry", "tests", "tests/bad-plugins"].map(|name| root.join(name));
    for folder in plugins.chain(others) {
        let name = folder.strip_prefix(&root).expect("inside").to_str().expect("UTF-8").to_owned();
        let manifest: toml::Table =
            fs::read_to_string(folder.join("Cargo.toml")).expect("manifest").parse().expect("manifest");
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(table).and_then(toml::Value::as_table) else { continue };
            for dependency in dependencies.keys().filter(|name| name.starts_with("kodiak")) {
                assert!(allowed(&name).contains(&dependency.as_str()), "`{name}` may not depend on `{dependency}`");
            }
        }
    }
}

#[test]
fn every_door_has_one_owner() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for door in DOORS.iter().filter(|door| path.starts_with(door.inside) && path != "tests/suite/tidy.rs") {
            if door.only.iter().any(|allowed| path.starts_with(allowed)) {
                continue;
            }
            for (number, _) in code(&text).filter(|(_, line)| line.contains(door.word)) {
                wrong.push(format!("{path}:{number}: says `{}`: {}", door.word, door.why));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_leaves_nothing_open() {
    let open = ["todo!(", "unimplemented!(", concat!("FIX", "ME"), concat!("TO", "DO"), concat!("#[", "ignore")];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if !text.starts_with("//!") {
            wrong.push(format!("{path}: does not open with `//!`"));
        }
        if path != "tests/suite/tidy.rs" {
            wrong
                .extend(open.iter().filter(|word| text.contains(**word)).map(|word| format!("{path}: holds `{word}`")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_top_level_is_as_drawn() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "rustfmt.toml",
        "clippy.toml",
        "host",
        "plugin-api",
        "plugins",
        "registry",
        "tests",
        "docs",
        "target",
        // What the README's first command leaves here.
        "kodiak-quickstart",
    ];
    for entry in fs::read_dir(root()).expect("folder") {
        let name = entry.expect("entry").file_name().into_string().expect("UTF-8");
        assert!(name.starts_with('.') || allowed.contains(&name.as_str()), "`{name}` does not belong at the top level");
    }
}

#[test]
fn the_abi_has_one_version() {
    let manifest: toml::Table =
        fs::read_to_string(root().join("plugin-api/Cargo.toml")).expect("manifest").parse().expect("manifest");
    let package = manifest["package"]["version"].as_str().expect("a version of its own");
    let source = fs::read_to_string(root().join("plugin-api/src/abi/mod.rs")).expect("source");
    assert!(source.contains(&format!("pub const VERSION: &str = \"{package}\";")), "crate and header differ");
    let (major, rest) = package.split_once('.').expect("a version");
    let minor = rest.split('.').next().expect("a minor");
    assert!(source.contains(&format!("pub const MAJOR: u32 = {major};")), "MAJOR differs from {package}");
    assert!(source.contains(&format!("pub const MINOR: u32 = {minor};")), "MINOR differs from {package}");
    let page = fs::read_to_string(root().join("docs/abi.md")).expect("docs/abi.md");
    assert!(page.contains(&format!("**Version: {major}.{minor}**")), "docs/abi.md speaks of another version");
}
