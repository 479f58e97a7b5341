//! Which plugins load in which hosts: the API is copied, changed as a future release might change it, rightly or
//! wrongly, and hosts and plugins built against every variant are tried on each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A variant: its name and what it replaces in the sources of the API.
struct Variant {
    name: &'static str,
    changes: &'static [(&'static str, &'static str, &'static str)],
}

const VARIANTS: &[Variant] = &[
    Variant { name: "released", changes: &[] },
    // What a minor may do: append to vtables.
    Variant {
        name: "appended",
        changes: &[
            ("Cargo.toml", "version = \"1.1.0\"", "version = \"1.2.0\""),
            ("src/abi/mod.rs", "pub const MINOR: u32 = 1;", "pub const MINOR: u32 = 2;"),
            ("src/abi/mod.rs", "\"1.1.0\"", "\"1.2.0\""),
            (
                "src/abi/plugin.rs",
                "    // ---- appended by later minors ----\n}\n\n/// A scalar function bound to types.",
                "    pub later: extern \"C\" fn(PluginContext, u64) -> AbiResult<u64>,\n}\n\n/// A scalar function bound to types.",
            ),
            (
                "src/abi/export.rs",
                "            language: language::<P>,\n        });\n        const SCALAR",
                "            language: language::<P>,\n            later,\n        });\n        const SCALAR",
            ),
            (
                "src/abi/export.rs",
                "struct Vt<P>",
                "extern \"C\" fn later(_: PluginContext, n: u64) -> AbiResult<u64> {\n    guard(|| Ok(n))\n}\n\nstruct Vt<P>",
            ),
        ],
    },
    // What nobody may do without a new major: change a type that crosses.
    Variant { name: "changed", changes: &[("src/abi/calls.rs", "pub exit_code: u32,", "pub exit_code: u64,")] },
    Variant {
        name: "reordered",
        changes: &[(
            "src/abi/column.rs",
            "    pub rows: usize,\n    /// Whether the one value stands for every row.\n    pub constant: bool,\n",
            "    /// Whether the one value stands for every row.\n    pub constant: bool,\n    pub rows: usize,\n",
        )],
    },
    Variant {
        name: "next_major",
        changes: &[
            ("Cargo.toml", "version = \"1.1.0\"", "version = \"2.0.0\""),
            ("src/abi/mod.rs", "pub const MAJOR: u32 = 1;", "pub const MAJOR: u32 = 2;"),
            ("src/abi/mod.rs", "\"1.1.0\"", "\"2.0.0\""),
        ],
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the checkout is there")
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folder");
    for entry in fs::read_dir(from).expect("folder") {
        let path = entry.expect("entry").path();
        let target = to.join(path.file_name().expect("name"));
        if path.is_dir() { copy_folder(&path, &target) } else { fs::copy(&path, &target).map(drop).expect("copy") }
    }
}

/// A workspace of its own for a variant: the changed API, the plugin and the runner.
fn write_variant(variant: &Variant, folder: &Path) {
    let root = root();
    // Files are only written when they differ, so that cargo builds only what changed since the last run.
    let staging = tempfile::tempdir().expect("folder");
    let stage = staging.path();
    // Cargo tells packages of one name apart by their path inside the workspace: every variant needs paths of its own.
    let [api, plugin, runner] = ["api", "plugin", "runner"].map(|kind| format!("{kind}-{}", variant.name));
    copy_folder(&root.join("plugin-api/src"), &stage.join(&api).join("src"));
    fs::copy(root.join("plugin-api/Cargo.toml"), stage.join(&api).join("Cargo.toml")).expect("copy");
    for (file, old, new) in variant.changes {
        let path = stage.join(&api).join(file);
        let text = fs::read_to_string(&path).expect("source");
        assert!(text.contains(old), "{}: `{file}` no longer holds {old:?}", variant.name);
        fs::write(&path, text.replacen(old, new, 1)).expect("write");
    }
    let fixtures = root.join("tests/fixtures/abi-matrix");
    let crate_of = |kind: &str, extra: &str| {
        format!(
            "[package]\nname = \"matrix-{kind}-{}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{extra}\n[dependencies]\nkodiak-plugin-api.workspace = true\n",
            variant.name
        )
    };
    for (kind, folder) in [("plugin", &plugin), ("runner", &runner)] {
        fs::create_dir_all(stage.join(folder)).expect("folder");
        fs::copy(fixtures.join(format!("{kind}.rs")), stage.join(folder).join(format!("{kind}.rs"))).expect("copy");
    }
    fs::copy(fixtures.join("kodiak-plugin.toml"), stage.join(&plugin).join("kodiak-plugin.toml")).expect("copy");
    let library = crate_of("plugin", "[lib]\npath = \"plugin.rs\"\ncrate-type = [\"cdylib\"]\n");
    fs::write(stage.join(&plugin).join("Cargo.toml"), library).expect("write");
    let program = format!("[[bin]]\nname = \"runner_{}\"\npath = \"runner.rs\"\n", variant.name);
    let program = format!("{}libloading.workspace = true\n", crate_of("runner", &program));
    fs::write(stage.join(&runner).join("Cargo.toml"), program).expect("write");
    fs::write(stage.join("Cargo.toml"), workspace_manifest(&root, [&api, &plugin, &runner])).expect("write");
    fs::copy(root.join("Cargo.lock"), stage.join("Cargo.lock")).expect("copy");
    update(stage, folder);
}

fn workspace_manifest(root: &Path, members: [&String; 3]) -> String {
    let text = fs::read_to_string(root.join("Cargo.toml")).expect("manifest");
    let mut table: toml::Table = text.parse().expect("manifest");
    let workspace = table["workspace"].as_table_mut().expect("workspace");
    workspace["members"] = toml::Value::from(members.map(String::as_str).to_vec());
    workspace.remove("default-members");
    let dependencies = workspace["dependencies"].as_table_mut().expect("dependencies");
    dependencies.retain(|_, value| value.get("path").is_none());
    let api = toml::Table::from_iter([("path".to_owned(), toml::Value::from(members[0].as_str()))]);
    dependencies.insert("kodiak-plugin-api".to_owned(), toml::Value::Table(api));
    table.to_string()
}

fn update(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folder");
    for entry in fs::read_dir(from).expect("folder") {
        let path = entry.expect("entry").path();
        let target = to.join(path.file_name().expect("name"));
        if path.is_dir() {
            update(&path, &target);
        } else if path.file_name().is_some_and(|name| name != "Cargo.lock" || !target.exists()) {
            let (new, old) = (fs::read(&path).expect("read"), fs::read(&target).ok());
            if old.as_ref() != Some(&new) {
                fs::write(&target, new).expect("write");
            }
        }
    }
}

struct Built {
    runner: PathBuf,
    plugin: PathBuf,
}

fn build(variant: &Variant) -> Built {
    let matrix = kodiak_tests::target::directory().join("abi-matrix");
    let folder = matrix.join("sources").join(variant.name);
    write_variant(variant, &folder);
    let target = matrix.join("target");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet"])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}: {}", variant.name, String::from_utf8_lossy(&output.stderr));
    Built {
        runner: target.join(format!("debug/runner_{}", variant.name)),
        plugin: target.join(format!("debug/libmatrix_plugin_{}.so", variant.name)),
    }
}

#[test]
fn plugins_load_where_the_abi_promises_it_and_nowhere_else() {
    let built: Vec<Built> = VARIANTS.iter().map(build).collect();
    let mut matrix = String::new();
    for (host, variant) in built.iter().zip(VARIANTS) {
        let output = Command::new(&host.runner).args(built.iter().map(|b| &b.plugin)).output().expect("runner");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).expect("text");
        for (line, plugin) in lines.lines().zip(VARIANTS) {
            matrix += &format!("{} host, {} plugin: {line}\n", variant.name, plugin.name);
        }
    }
    insta::assert_snapshot!(matrix, @"
    released host, released plugin: loads 1.1
    released host, appended plugin: loads 1.2
    released host, changed plugin: layout root.activate.vt.command.exit_code: expected type u32, found u64
    released host, reordered plugin: layout root.activate.vt.scalar.vt.eval.param_2.data: expected field `rows`, found `constant`
    released host, next_major plugin: version 2.0
    appended host, released plugin: loads 1.1
    appended host, appended plugin: loads 1.2
    appended host, changed plugin: layout root.activate.vt.command.exit_code: expected type u32, found u64
    appended host, reordered plugin: layout root.activate.vt.scalar.vt.eval.param_2.data: expected field `rows`, found `constant`
    appended host, next_major plugin: version 2.0
    changed host, released plugin: layout root.activate.vt.command.exit_code: expected type u64, found u32
    changed host, appended plugin: layout root.activate.vt.command.exit_code: expected type u64, found u32
    changed host, changed plugin: loads 1.1
    changed host, reordered plugin: layout root.activate.vt.scalar.vt.eval.param_2.data: expected field `rows`, found `constant`
    changed host, next_major plugin: version 2.0
    reordered host, released plugin: layout root.activate.vt.scalar.vt.eval.param_2.data: expected field `constant`, found `rows`
    reordered host, appended plugin: layout root.activate.vt.scalar.vt.eval.param_2.data: expected field `constant`, found `rows`
    reordered host, changed plugin: layout root.activate.vt.scalar.vt.eval.param_2.data: expected field `constant`, found `rows`
    reordered host, reordered plugin: loads 1.1
    reordered host, next_major plugin: version 2.0
    next_major host, released plugin: version 1.1
    next_major host, appended plugin: version 1.2
    next_major host, changed plugin: version 1.1
    next_major host, reordered plugin: version 1.1
    next_major host, next_major plugin: loads 2.0
    ");
}
