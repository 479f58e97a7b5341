//! Indexes: what is found, what is refused, and what is not read. And the first-party index itself.

// A test may panic.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kodiak_registry::index::{Location, shard};
use kodiak_registry::resolve::{Request, Source, resolve};
use kodiak_registry::{ClaimKind, Index, Manifest, Pool};
use proptest::prelude::*;
use semver::Version;

const SUM: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("index.json", "{\"format\": 1}");
        folder.write("summary.jsonl", "");
        folder
    }

    fn write(&self, file: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Writes the extension's file, and its last line into the summary.
    fn extension(&self, name: &str, lines: &[String]) {
        self.write(shard(name).unwrap(), lines.join("\n"));
        let summary = fs::read_to_string(self.0.path().join("summary.jsonl")).unwrap();
        self.write("summary.jsonl", format!("{summary}{}\n", lines.last().unwrap()));
    }

    fn index(&self) -> Index {
        Index::open(self.0.path()).unwrap()
    }
}

fn line(name: &str, version: &str, more: &str) -> String {
    format!(
        r#"{{"name":"{name}","version":"{version}","api":"1.0","summary":"About {name}","file":"{name}-{version}.kext","sha256":"{SUM}"{more}}}"#
    )
}

#[test]
fn files_are_sharded_as_cargo_does() {
    let path = |name: &str| shard(name).map(|path| path.to_str().unwrap().to_owned());
    assert_eq!(path("a").unwrap(), "1/a");
    assert_eq!(path("ab").unwrap(), "2/ab");
    assert_eq!(path("scm").unwrap(), "3/s/scm");
    assert_eq!(path("blob").unwrap(), "bl/ob/blob");
    assert_eq!(path("secrets").unwrap(), "se/cr/secrets");
    for bad in ["", "..", "../x", "a/b", "A", "ä"] {
        assert_eq!(path(bad), None, "{bad}");
    }
}

#[test]
fn versions_come_newest_first() {
    let folder = Folder::new();
    let needs = r#","dependencies":{"blob":"^0.1"},"optional_dependencies":{"secrets":"^0.1"}"#;
    folder.extension(
        "scm",
        &[line("scm", "0.10.0", needs), line("scm", "0.2.0", r#","yanked":true"#), line("scm", "0.9.0", "")],
    );
    let entries = folder.index().lookup("scm").unwrap();
    let releases: Vec<_> = entries.iter().map(|entry| entry.release.as_ref().unwrap()).collect();
    assert_eq!(
        releases.iter().map(|release| release.version.to_string()).collect::<Vec<_>>(),
        ["0.10.0", "0.9.0", "0.2.0"]
    );
    assert_eq!(releases[0].requirements.needed["blob"].to_string(), "^0.1");
    assert_eq!(releases[0].requirements.optional["secrets"].to_string(), "^0.1");
    assert!(releases[2].yanked && !releases[0].yanked);
    let Location::Package { file, sha256 } = &releases[0].location else { panic!() };
    assert_eq!(file, &folder.index().directory().join("scm-0.10.0.kext"));
    assert_eq!(sha256.to_string(), SUM);
    assert!(folder.index().lookup("unknown").unwrap().is_empty());
    assert!(folder.index().lookup("../../etc/passwd").unwrap().is_empty());
}

#[test]
fn a_crate_in_the_checkout_speaks_for_itself() {
    let folder = Folder::new();
    let line = r#"{"name":"geo","summary":"Geometry","contributes":{"functions":["st_area"]},"path":"crates/geo"}"#;
    folder.extension("geo", &[line.to_owned()]);
    let index = folder.index();
    let known = &index.lookup("geo").unwrap()[0];
    assert_eq!(known.release, None, "known before its crate exists");
    assert_eq!(known.contributes.functions, ["st_area"]);

    let manifest = "[extension]\nname=\"geo\"\nversion=\"0.4.0\"\napi=\"1.0\"\nsummary=\"Shapes\"\n[contributes]\nfunctions=[\"st_length\"]\n";
    folder.write("crates/geo/kodiak-plugin.toml", manifest);
    let found = &index.lookup("geo").unwrap()[0];
    let release = found.release.as_ref().unwrap();
    assert_eq!(release.version, Version::new(0, 4, 0));
    assert_eq!(release.location, Location::Crate(folder.0.path().canonicalize().unwrap().join("crates/geo")));
    assert_eq!(found.contributes.functions, ["st_length"]);
    assert_eq!(
        index.providers(ClaimKind::Function, "st_length").unwrap().len(),
        1,
        "found though the line does not say it"
    );
    assert!(index.providers(ClaimKind::Function, "st_area").unwrap().is_empty());

    folder.write("crates/geo/kodiak-plugin.toml", manifest.replace("geo", "other"));
    assert_eq!(index.lookup("geo").unwrap_err().code(), "KDK-0410");
    folder.write("crates/geo/kodiak-plugin.toml", "x");
    assert_eq!(index.lookup("geo").unwrap_err().code(), "KDK-0400");
}

#[test]
fn missing_names_find_who_would_provide_them() {
    let folder = Folder::new();
    let geo = r#","contributes":{"command":"Maps","statements":["CREATE MAP","CREATE MAP LAYER"],"functions":["st_area"],"languages":["logo"]}"#;
    folder.extension("geo", &[line("geo", "1.0.0", geo)]);
    folder.extension("map", &[line("map", "1.0.0", r#","contributes":{"statements":["DRAW"]}"#)]);
    let index = folder.index();
    let names =
        |kind, claim| index.providers(kind, claim).unwrap().into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    assert_eq!(names(ClaimKind::Command, "geo"), ["geo"]);
    assert!(names(ClaimKind::Command, "map").is_empty(), "it says that it has no command");
    assert_eq!(names(ClaimKind::Function, "st_area"), ["geo"]);
    assert!(names(ClaimKind::Function, "st_are").is_empty());
    assert!(names(ClaimKind::Function, "DRAW").is_empty(), "a statement is no function");
    assert!(names(ClaimKind::Function, "\",\"").is_empty());
    assert_eq!(names(ClaimKind::Language, "logo"), ["geo"]);
    let statement = |words: &[&str]| index.statement_provider(words).unwrap().map(|(entry, claim)| (entry.name, claim));
    assert_eq!(statement(&["CREATE", "MAP", "LAYER", "X", "Y"]), Some(("geo".into(), "CREATE MAP LAYER".into())));
    assert_eq!(statement(&["CREATE", "MAP", "M"]), Some(("geo".into(), "CREATE MAP".into())));
    assert_eq!(statement(&["CREATE", "TABLE"]), None);
    assert_eq!(statement(&[]), None);
}

#[test]
fn search_finds_every_word_and_the_name_first() {
    let folder = Folder::new();
    for (name, more) in
        [("atlas", r#","contributes":{"functions":["map_tile"]}"#), ("map", ""), ("mapper", ""), ("zoo", "")]
    {
        folder.extension(name, &[line(name, "1.0.0", more)]);
    }
    let index = folder.index();
    let names = |words| index.search(words).unwrap().into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    assert_eq!(names("MAP"), ["map", "mapper", "atlas"]);
    assert_eq!(names("about zoo"), ["zoo"]);
    assert!(names("about kext").is_empty(), "only what a person would see is searched");
    assert_eq!(index.all().unwrap().len(), 4);
}

/// What a question does not need may be unreadable: with 100,000 extensions it must not be touched.
#[test]
fn nothing_is_read_that_is_not_needed() {
    let folder = Folder::new();
    folder.extension("blob", &[line("blob", "0.1.0", "")]);
    folder.extension("scm", &[line("scm", "0.1.0", r#","dependencies":{"blob":"^0.1"}"#)]);
    folder.write("ot/he/other", "not JSON");
    fs::remove_file(folder.0.path().join("summary.jsonl")).unwrap();
    let index = folder.index();
    let plan = resolve(&Pool::new().index(&index), &[Request::any("scm")], &BTreeMap::new()).unwrap();
    assert_eq!(plan.steps.len(), 2);
    assert_eq!(index.providers(ClaimKind::Command, "scm").unwrap().len(), 0);
    // And of the summary, only lines that may matter are parsed.
    folder.write(
        "summary.jsonl",
        format!("not JSON\n{}\n", line("geo", "1.0.0", r#","contributes":{"functions":["f"]}"#)),
    );
    assert_eq!(index.providers(ClaimKind::Function, "f").unwrap()[0].name, "geo");
    assert_eq!(index.all().unwrap_err().code(), "KDK-0410");
}

#[test]
fn damaged_lines_are_named_and_newer_ones_passed_over() {
    let folder = Folder::new();
    let index = folder.index();
    for (bad, words) in [
        ("{".to_owned(), "EOF"),
        ("[]".to_owned(), "invalid"),
        (line("scm", "0.1.0", ""), "it is about `scm`"),
        (line("geo", "1", ""), "unexpected end"),
        (line("geo", "0.2.0", r#","colour":"red""#), "unknown field `colour`"),
        (line("geo", "0.2.0", r#","contributes":{"statements":["SELECT"]}"#), "belongs to the host"),
        (line("geo", "0.2.0", r#","dependencies":{"geo":"1"}"#), "cannot need itself"),
        (line("geo", "0.2.0", "").replace("geo-0.2.0.kext", "../x.kext"), "not below the index"),
        (line("geo", "0.2.0", "").replace("geo-0.2.0.kext", "/x.kext"), "not below the index"),
        (line("geo", "0.2.0", "").replace(SUM, "abc"), "64 lower-case hex digits"),
        (line("geo", "0.2.0", "").replace("\"api\":\"1.0\",", ""), "has all of"),
        (line("geo", "0.2.0", r#","path":"x""#), "takes everything else"),
    ] {
        folder.write("3/g/geo", format!("{}\n{bad}\n", line("geo", "0.1.0", "")));
        let error = index.lookup("geo").unwrap_err();
        assert_eq!(error.code(), "KDK-0410", "{error}");
        assert!(error.to_string().contains("at line 2") && error.to_string().contains(words), "{error}");
    }
    folder.write("3/g/geo", format!("{}\n{}\n", line("geo", "0.1.0", ""), line("geo", "0.1.0", "")));
    assert!(index.lookup("geo").unwrap_err().to_string().contains("twice"));
    folder.write("3/g/geo", format!("{}\n{{\"v\":2,\"whatever\":[]}}\n", line("geo", "0.1.0", "")));
    assert_eq!(index.lookup("geo").unwrap().len(), 1);
}

#[test]
fn only_an_index_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Index::open(folder.path()).unwrap_err().code(), "KDK-0402");
    for marker in ["", "{}", "{\"format\":2}", "{\"format\":1,\"x\":1}"] {
        fs::write(folder.path().join("index.json"), marker).unwrap();
        assert_eq!(Index::open(folder.path()).unwrap_err().code(), "KDK-0402", "{marker}");
    }
}

#[test]
fn a_pool_prefers_what_is_given_and_leaves_out_what_is_withdrawn() {
    let folder = Folder::new();
    folder.extension("geo", &[line("geo", "1.0.0", ""), line("geo", "1.1.0", r#","yanked":true"#)]);
    folder.extension("new", &[r#"{"name":"new","summary":"Soon"}"#.to_owned()]);
    let index = folder.index();
    let manifest = Manifest::parse(
        "[extension]\nname=\"own\"\nversion=\"2.0.0\"\napi=\"1.0\"\nsummary=\"s\"\n[dependencies]\ngeo=\"1\"\n",
    )
    .unwrap();
    let pool = Pool::new().index(&index).manifest(&manifest);
    assert_eq!(pool.versions("geo").unwrap(), [Version::new(1, 0, 0)]);
    assert_eq!(pool.versions("unknown").unwrap(), []);
    assert_eq!(pool.versions("new").unwrap_err().code(), "KDK-0403");
    let plan = resolve(&pool, &[Request::any("own")], &BTreeMap::new()).unwrap();
    assert_eq!(plan.steps[0].name, "geo");
    assert!(pool.release("geo", &Version::new(1, 1, 0)).unwrap().1.yanked, "a withdrawn one can still be fetched");
    assert_eq!(pool.release("geo", &Version::new(9, 0, 0)).unwrap_err().code(), "KDK-0403");
    let kept = Pool::new().index(&index).offer("geo", &Version::new(1, 1, 0), Default::default());
    let installed = BTreeMap::from([("geo".to_owned(), Version::new(1, 1, 0))]);
    assert_eq!(resolve(&kept, &[Request::any("geo")], &installed).unwrap().steps[0].version, Version::new(1, 1, 0));
}

fn first_party() -> (PathBuf, Index) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("index");
    let index = Index::open(&directory).unwrap();
    (directory, index)
}

#[test]
fn the_first_party_index_knows_the_six() {
    let (directory, index) = first_party();
    let all = index.all().unwrap();
    let names: Vec<&str> = all.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["blob", "grizzly", "models", "scheduler", "scm", "secrets"]);
    let summary = fs::read_to_string(directory.join("summary.jsonl")).unwrap();
    for (entry, line) in all.iter().zip(summary.lines()) {
        let file = fs::read_to_string(directory.join(shard(&entry.name).unwrap())).unwrap();
        assert_eq!(file.lines().last(), Some(line), "the summary has the newest line of `{}`", entry.name);
        assert_eq!(index.lookup(&entry.name).unwrap()[0], *entry);
        assert_eq!(index.providers(ClaimKind::Command, &entry.name).unwrap().len(), 1, "`kodiak {}`", entry.name);
    }
    // Two extensions with one claim could not be enabled together.
    let mut owners = BTreeMap::new();
    for entry in &all {
        for (kind, claim) in entry.contributes.claims(&entry.name) {
            assert_eq!(owners.insert((kind, claim), &entry.name), None, "{kind} `{claim}`");
        }
    }
}

#[test]
fn the_first_party_index_agrees_with_the_crates() {
    let (directory, index) = first_party();
    for entry in index.all().unwrap() {
        let folder = directory.join("../../plugins").join(&entry.name);
        let manifest = folder.join("kodiak-plugin.toml");
        if !manifest.exists() {
            assert_eq!(entry.release, None, "`{}` has no crate", entry.name);
            continue;
        }
        let manifest = Manifest::read(&manifest).unwrap();
        let release = entry.release.expect("a crate with a manifest can be installed");
        assert_eq!((&release.version, &entry.contributes), (manifest.version(), &manifest.contributes));
        assert_eq!(release.location, Location::Crate(folder.canonicalize().unwrap()));
        // What the line says for the time before the crate must not promise what the crate does not do.
        let line = fs::read_to_string(directory.join(shard(&entry.name).unwrap())).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        for (kind, claims) in line["contributes"].as_object().into_iter().flatten() {
            for claim in claims.as_array().into_iter().flatten() {
                let claim = claim.as_str().unwrap();
                let kept = match kind.as_str() {
                    "statements" => &manifest.contributes.statements,
                    "functions" => &manifest.contributes.functions,
                    "tables" => &manifest.contributes.tables,
                    "languages" => &manifest.contributes.languages,
                    _ => continue,
                };
                assert!(kept.iter().any(|kept| kept == claim), "`{}` does not have `{claim}`", entry.name);
            }
        }
    }
}

#[test]
fn missing_first_party_names_are_recognised() {
    let (_, index) = first_party();
    assert_eq!(index.providers(ClaimKind::Function, "scm_diff").unwrap()[0].name, "scm");
    assert_eq!(index.providers(ClaimKind::Language, "grizzly").unwrap()[0].name, "grizzly");
    for (statement, name) in [
        ("CREATE OR REPLACE SECRET S", "secrets"),
        ("CREATE CRON JOB J", "scheduler"),
        ("EXPLAIN MODEL M", "models"),
        ("MERGE BRANCH B", "scm"),
    ] {
        let words: Vec<&str> = statement.split(' ').collect();
        assert_eq!(index.statement_provider(&words).unwrap().unwrap().0.name, name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a server sends, the answer is entries or a coded error in printable words.
    #[test]
    fn no_line_breaks_the_reader(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..5),
        tail in "\\PC{0,20}",
    ) {
        let folder = Folder::new();
        let more = r#","dependencies":{"blob":"^0.1"},"contributes":{"statements":["DRAW MAP"],"functions":["f"]}"#;
        let mut bytes = line("geo", "0.1.0", more).into_bytes();
        for (at, byte, insert) in changes {
            let at = at.index(bytes.len());
            if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        bytes.extend(tail.bytes());
        folder.write("3/g/geo", &bytes);
        folder.write("summary.jsonl", &bytes);
        let index = folder.index();
        let answers = [
            index.lookup("geo").err(),
            index.all().err(),
            index.search("geo").err(),
            index.providers(ClaimKind::Function, "f").err(),
        ];
        for error in answers.into_iter().flatten() {
            prop_assert_eq!(error.code(), "KDK-0410", "{}", error);
            prop_assert!(!error.to_string().chars().any(char::is_control), "{}", error);
        }
    }
}
