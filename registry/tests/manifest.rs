//! The rules of a manifest, and that no text breaks the parser.

// A test may panic.
#![allow(clippy::unwrap_used)]

use kodiak_registry::manifest::{CONTRIBUTIONS_MAX, FilesystemAccess, Hook, MANIFEST_BYTES_MAX, SqlAccess};
use kodiak_registry::{ClaimKind, Error, Manifest, Permissions};
use proptest::prelude::*;

/// The manifest of the design, whole.
const SCM: &str = r#"
[extension]
name = "scm"
version = "0.1.0"
api = "1.0"
summary = "Versions of schema, code and data"
license = "MIT OR Apache-2.0"
authors = ["A. Bear <bear@example.org>"]
homepage = "https://example.org"
repository = "https://example.org/scm.git"
keywords = ["versions"]
[dependencies]
blob = "^0.1"
[optional-dependencies]
secrets = "^0.1"
[permissions]
sql = "write"
schemas = ["scm"]
filesystem = ["project"]
network = false
background = false
[contributes]
command = "Versions of schema, code and data"
statements = ["CREATE BRANCH", "merge  branch"]
functions = ["scm_diff"]
languages = []
tables = ["log", "refs"]
formats = ["kdk"]
hooks = ["after_commit"]
"#;

const HEAD: &str = "[extension]\nname = \"geo\"\nversion = \"0.3.1\"\napi = \"1.0\"\nsummary = \"Geometry\"\n";

fn refusal(tail: &str) -> Error {
    Manifest::parse(&format!("{HEAD}{tail}")).expect_err(tail)
}

#[test]
fn the_manifest_of_the_design_is_read_and_written_back() {
    let manifest = Manifest::parse(SCM).unwrap();
    assert_eq!(manifest.name(), "scm");
    assert_eq!(manifest.extension.api.to_string(), "1.0");
    assert_eq!(manifest.dependencies["blob"].to_string(), "^0.1");
    assert_eq!(manifest.permissions.sql, SqlAccess::Write);
    assert_eq!(manifest.permissions.filesystem, [FilesystemAccess::Project]);
    assert_eq!(manifest.contributes.statements, ["CREATE BRANCH", "MERGE BRANCH"]);
    assert_eq!(manifest.contributes.hooks, [Hook::AfterCommit]);
    assert_eq!(
        manifest.claims().collect::<Vec<_>>(),
        [
            (ClaimKind::Command, "scm"),
            (ClaimKind::Statement, "CREATE BRANCH"),
            (ClaimKind::Statement, "MERGE BRANCH"),
            (ClaimKind::Function, "scm_diff"),
            (ClaimKind::Format, "kdk"),
        ]
    );
    assert_eq!(Manifest::parse(&manifest.to_toml()).unwrap(), manifest);
}

#[test]
fn sensitive_claims_are_statements_and_services_are_no_functions() {
    let tail =
        "[contributes]\nstatements = [\"store token\"]\nsensitive = [\"Store  Token\"]\nservices = [\"token\"]\n";
    let manifest = Manifest::parse(&format!("{HEAD}{tail}")).unwrap();
    assert_eq!(manifest.contributes.sensitive, ["STORE TOKEN"]);
    assert!(manifest.claims().any(|claim| claim == (ClaimKind::Service, "token")));
    assert_eq!(Manifest::parse(&manifest.to_toml()).unwrap(), manifest);
    for bad in [
        "[contributes]\nstatements = [\"STORE TOKEN\"]\nsensitive = [\"STORE\"]\n",
        "[contributes]\nfunctions = [\"token\"]\nservices = [\"token\"]\n",
        "[contributes]\nservices = [\"To ken\"]\n",
        "[permissions]\nservices = [\"To ken\"]\n",
    ] {
        assert_eq!(refusal(bad).code(), "KDK-0400", "{bad}");
    }
    let asks = Manifest::parse(&format!("{HEAD}[permissions]\nservices = [\"token\"]\n")).unwrap().permissions;
    assert_eq!(asks.describe(), ["call the service `token`"]);
    assert!(asks.beyond(&asks).is_empty());
}

#[test]
fn unknown_keys_are_named_with_their_place() {
    let error = refusal("homepge = \"https://x\"\n");
    assert_eq!(error.code(), "KDK-0400");
    let place = error.place().unwrap();
    assert_eq!((place.line, place.column), (6, 1));
    assert!(error.to_string().starts_with("bad manifest (line 6, column 1): unknown field `homepge`"), "{error}");
    assert!(refusal("[contribute]\n").to_string().contains("unknown field `contribute`"));
    assert!(refusal("[permissions]\nsudo = true\n").to_string().contains("unknown field `sudo`"));
}

#[test]
fn broken_rules_are_explained_where_they_are_broken() {
    for (tail, line, words) in [
        ("license = \"\"", 6, "`extension.license`: it is empty"),
        ("license = \"a\\nb\"", 6, "cannot be printed"),
        ("homepage = \"ftp://x\"", 6, "begins with `https://`"),
        ("[dependencies]\nGeo = \"1\"", 7, "cannot be the name of an extension"),
        ("[dependencies]\ngeo = \"1\"", 7, "cannot need itself"),
        ("[dependencies]\nblob = \"one\"", 7, "unexpected character"),
        ("[dependencies]\nblob = \"1\"\n[optional-dependencies]\nblob = \"1\"", 9, "is needed already"),
        ("[permissions]\nsql = \"all\"", 7, "unknown variant `all`"),
        ("[permissions]\nfilesystem = [\"data\", \"data\"]", 7, "`permissions.filesystem[1]`: it is here twice"),
        ("[permissions]\nschemas = [\"x\"]", 7, "which is not asked for"),
        ("[contributes]\nfunctions = [\n \"f\",\n \"f\"]", 9, "`contributes.functions[1]`: `f` is here twice"),
        ("[contributes]\nfunctions = [\"Area\"]", 7, "`Area` is not a name here"),
        ("[contributes]\nstatements = [\"A B C D E\"]", 7, "one to 4 keywords"),
        ("[contributes]\nstatements = [\"PUT x\", \"put X\"]", 7, "`PUT X` is here twice"),
        ("[contributes]\nhooks = [\"lunch\"]", 7, "unknown variant `lunch`"),
        ("[contributes]\ncommand = true", 7, "invalid type"),
    ] {
        let error = refusal(tail);
        assert_eq!(error.code(), "KDK-0400", "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.place().map(|place| place.line), Some(line), "{error}");
    }
    for (from, to) in [
        ("\"geo\"", "\"Geo\""),
        ("\"geo\"", "\"../geo\""),
        ("\"0.3.1\"", "\"0.3\""),
        ("\"1.0\"", "\"1\""),
        ("\"1.0\"", "\"1.00\""),
        ("\"1.0\"", "\"+1.0\""),
        ("\"1.0\"", "\"1.70000\""),
        ("\"Geometry\"", "\"a\\u202Eb\""),
    ] {
        let error = Manifest::parse(&HEAD.replace(from, to)).unwrap_err();
        assert_eq!(error.code(), "KDK-0400", "{to}");
        assert!(error.place().is_some(), "{to}");
    }
    assert!(Manifest::parse("").unwrap_err().to_string().contains("missing field `extension`"));
}

#[test]
fn claims_on_the_host_are_refused() {
    for claim in [
        "SELECT",
        "select x",
        "WITH",
        "INSERT INTO",
        "UPDATE",
        "DELETE",
        "DELETE FROM",
        "BEGIN",
        "SET",
        "EXPLAIN",
        "CREATE",
        "CREATE TABLE",
        "DROP TABLE",
        "COPY",
        "VALUES",
    ] {
        let error = refusal(&format!("[contributes]\nstatements = [\"PUT GEO\", \"{claim}\"]\n"));
        assert_eq!(error.code(), "KDK-0401", "{claim}");
        assert_eq!(error.place().unwrap().line, 7);
        assert!(error.to_string().contains(&format!("the statement `{}`", claim.to_uppercase())), "{error}");
    }
    for name in ["sql", "ext", "main", "kodiak", "nul"] {
        assert_eq!(Manifest::parse(&HEAD.replace("geo", name)).unwrap_err().code(), "KDK-0401", "{name}");
    }
    assert_eq!(refusal("[contributes]\nlanguages = [\"sql\"]\n").code(), "KDK-0401");
}

#[test]
fn sizes_are_bounded() {
    let huge = format!("{HEAD}#{}", "x".repeat(MANIFEST_BYTES_MAX));
    assert!(Manifest::parse(&huge).unwrap_err().to_string().contains("at most 65536"));
    let functions = |count: usize| {
        let list: Vec<String> = (0..count).map(|number| format!("\"f{number}\"")).collect();
        format!("{HEAD}[contributes]\nfunctions = [{}]", list.join(","))
    };
    assert!(Manifest::parse(&functions(CONTRIBUTIONS_MAX)).is_ok());
    let error = Manifest::parse(&functions(CONTRIBUTIONS_MAX + 1)).unwrap_err();
    assert!(error.to_string().contains("`contributes.functions`: at most 256"), "{error}");
}

/// A parser that recurses on nesting would end the process here.
#[test]
fn deep_nesting_is_an_error() {
    for open in ["[", "{a=", "a."] {
        let text = format!("{HEAD}keywords = {}", open.repeat(20_000));
        assert_eq!(Manifest::parse(&text).unwrap_err().code(), "KDK-0400");
    }
    let text = format!("{HEAD}{}x = 1", "a.".repeat(20_000));
    assert_eq!(Manifest::parse(&text).unwrap_err().code(), "KDK-0400");
}

#[test]
fn a_file_is_named_in_its_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kodiak-plugin.toml");
    assert_eq!(Manifest::read(&path).unwrap_err().code(), "KDK-0200");
    std::fs::write(&path, "x = 1").unwrap();
    assert!(Manifest::read(&path).unwrap_err().to_string().contains("kodiak-plugin.toml"));
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert!(Manifest::read(&path).unwrap_err().to_string().contains("not UTF-8"));
    std::fs::write(&path, SCM).unwrap();
    assert_eq!(Manifest::read(&path).unwrap(), Manifest::parse(SCM).unwrap());
}

#[test]
fn only_new_permissions_need_consent() {
    let none = Permissions::default();
    let read = Permissions { sql: SqlAccess::Read, schemas: vec!["a".into()], ..none.clone() };
    let write = Permissions { sql: SqlAccess::Write, network: true, ..none.clone() };
    assert_eq!(read.describe(), ["read tables in the schema `a`"]);
    assert!(read.beyond(&read).is_empty() && none.beyond(&write).is_empty());
    assert!(read.beyond(&write).is_empty(), "narrower is not new");
    assert_eq!(write.beyond(&read), ["read and change every table", "use the network"]);
    let wider = Permissions { schemas: vec!["a".into(), "b".into()], ..read.clone() };
    assert_eq!(wider.beyond(&read), ["read tables in the schema `b`"]);
    let all = Permissions { schemas: vec![], ..read.clone() };
    assert_eq!(all.beyond(&read), ["read every table"]);
    let files = Permissions { filesystem: vec![FilesystemAccess::Data], ..none.clone() };
    assert_eq!(files.beyond(&none).len(), 1);
    assert!(files.beyond(&Permissions { filesystem: vec![FilesystemAccess::Any], ..none }).is_empty());
}

/// A manifest is a regular text: words in places where it looks for them find more than random bytes do.
fn toml_soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[extension]\n".to_owned()),
        Just("[contributes]\n".to_owned()),
        Just("[permissions]\nsql=\"read\"\n".to_owned()),
        Just("[dependencies]\n".to_owned()),
        Just("name = \"geo\"\nversion=\"1.0.0\"\napi=\"1.0\"\nsummary=\"s\"\n".to_owned()),
        Just("blob = \"^1\"\n".to_owned()),
        Just("statements = [\"PUT GEO\"]\n".to_owned()),
        "[a-z]{1,6} = [\"\\[{][ -~]{0,8}\n",
        "\\PC{0,12}",
        proptest::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the text, the answer is a manifest that keeps the rules or an error in printable words.
    #[test]
    fn no_text_breaks_the_parser(text in toml_soup()) {
        check_answer(&text)?;
    }

    #[test]
    fn no_change_of_a_good_manifest_breaks_the_parser(
        changes in proptest::collection::vec((0..SCM.len(), any::<u8>(), any::<bool>()), 1..6),
    ) {
        let mut bytes = SCM.as_bytes().to_vec();
        for (at, byte, insert) in changes {
            let at = at.min(bytes.len() - 1);
            if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        check_answer(&String::from_utf8_lossy(&bytes))?;
    }
}

fn check_answer(text: &str) -> Result<(), TestCaseError> {
    match Manifest::parse(text) {
        Ok(manifest) => {
            prop_assert!(manifest.check().is_ok());
            prop_assert_eq!(Manifest::parse(&manifest.to_toml()).unwrap(), manifest);
        }
        Err(error) => {
            prop_assert!(!error.to_string().chars().any(char::is_control), "{}", error);
            prop_assert!(error.to_string().len() < 2500);
        }
    }
    Ok(())
}
