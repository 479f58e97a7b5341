//! Branches from the command line: `kodiak db branches`, `kodiak sql --branch`, and old versions across processes.

use crate::sandbox;

#[test]
fn db_branches_are_listed_made_switched_and_dropped() {
    let sandbox = sandbox();
    sandbox.sql("x.kdb", "CREATE TABLE t (a BIGINT PRIMARY KEY); INSERT INTO t VALUES (1)");
    let run = |args: &[&str]| sandbox.kodiak(args).env("KODIAK_DB", sandbox.path("x.kdb")).run();
    let names = || {
        let listed = run(&["db", "branches", "--format", "json"]);
        assert_eq!(listed.code, Some(0), "{listed}");
        let listed: serde_json::Value = serde_json::from_str(&listed.stdout()).unwrap();
        let names = listed.as_array().unwrap().iter();
        names.map(|branch| branch["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let rows = |args: &[&str]| {
        let mut all = vec!["sql", "--format", "csv", "-c", "SELECT a FROM t ORDER BY a"];
        all.extend(args);
        run(&all).stdout()
    };
    assert_eq!(names(), ["main"]);
    assert_eq!(run(&["db", "branches", "create", "dev"]).code, Some(0));
    assert_eq!(names(), ["main", "dev"]);
    let again = run(&["db", "branches", "create", "dev"]);
    assert!(again.code == Some(1) && again.to_string().contains("KDK-0105"), "{again}");
    assert_eq!(run(&["sql", "--branch", "dev", "-c", "INSERT INTO t VALUES (2)"]).code, Some(0));
    assert_eq!((rows(&[]), rows(&["--branch", "dev"])), ("a\n1\n".to_owned(), "a\n1\n2\n".to_owned()));
    // Later processes begin on the branch that was switched to.
    assert_eq!(run(&["db", "branches", "switch", "dev"]).code, Some(0));
    assert_eq!(rows(&[]), "a\n1\n2\n");
    assert_eq!(run(&["db", "branches", "drop", "dev"]).code, Some(1));
    assert_eq!(run(&["db", "branches", "switch", "main"]).code, Some(0));
    assert_eq!(run(&["db", "branches", "drop", "dev"]).code, Some(0));
    assert_eq!(names(), ["main"]);
    let missing = run(&["sql", "--branch", "dev", "-c", "SELECT 1"]);
    assert!(missing.code == Some(1) && missing.to_string().contains("no branch `dev`"), "{missing}");
}

#[test]
fn db_branches_begin_at_an_old_version_that_db_info_named() {
    let sandbox = sandbox();
    sandbox.sql("x.kdb", "CREATE TABLE t (a BIGINT PRIMARY KEY); INSERT INTO t VALUES (1)");
    let run = |args: &[&str]| sandbox.kodiak(args).env("KODIAK_DB", sandbox.path("x.kdb")).run();
    let info: serde_json::Value = serde_json::from_str(&run(&["db", "info", "--format", "json"]).stdout()).unwrap();
    let info = info.as_array().map_or(&info, |all| &all[0]);
    let version = info["version"].as_u64().unwrap().to_string();
    sandbox.sql("x.kdb", "DELETE FROM t; INSERT INTO t VALUES (5); CHECKPOINT");
    let old = run(&["sql", "--format", "csv", "-c", &format!("SELECT a FROM t AS OF VERSION {version} WHERE a > 0")]);
    assert_eq!(old.stdout(), "a\n1\n", "{old}");
    assert_eq!(run(&["db", "branches", "create", "old", "--from", &version]).code, Some(0));
    let branch = run(&["sql", "--branch", "old", "--format", "csv", "-c", "SELECT a FROM t"]);
    assert_eq!(branch.stdout(), "a\n1\n", "{branch}");
}
