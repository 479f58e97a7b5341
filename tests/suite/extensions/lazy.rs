//! Nothing is loaded before it is used: a plugin that would panic the moment it is touched harms nobody who leaves it
//! alone, and neither does one whose file has become dangerous to open.

use serde_json::json;

use super::{DB, Scene};

#[test]
fn an_unused_plugin_harms_nothing() {
    let scene = Scene::new(&["panic_activate", "panic_register", "registers_less", "fail_activate", "good"]);
    let mut talk = scene.talk();
    assert_eq!(talk.rows("SELECT count(*) FROM people"), json!([[1]]));
    talk.rows("CREATE TABLE t (a BIGINT); INSERT INTO t VALUES (1); UPDATE t SET a = 2; DELETE FROM t; DROP TABLE t");
    talk.rows("BEGIN; SELECT 1; COMMIT");
    talk.rows("SET statement_timeout = '5s'; SHOW TABLES");
    assert_eq!(talk.rows("SELECT good_add(1, 2)"), json!([[3]]));
    talk.rows("SELECT name FROM kodiak.functions WHERE name = 'panic_activate'");
    talk.refused("SELECT no_such_function(1)", "KDK-0103");
    talk.finish();
    for arguments in [
        &["ext", "list"][..],
        &["ext", "info", "panic-activate"],
        &["ext", "verify"],
        &["ext", "search", "bucket"],
        &["--help"],
        &["--version"],
        &["ext", "--help"],
        &["sql", "--help"],
        &["--db", DB, "ext", "list"],
        &["ext", "install", "--help"],
        &["ext", "disable", "panic-activate"],
        &["ext", "enable", "panic-activate"],
        &["completions", "bash"],
    ] {
        let run = scene.run(arguments);
        assert_eq!(run.code, Some(0), "{arguments:?}\n{run}");
    }
    scene.survives();
}

/// Who provides what is known without the files, and why it cannot be used as well.
#[test]
fn gating_reads_no_plugin() {
    let scene = Scene::new(&["good", "leans"]);
    scene.run(["ext", "disable", "good"]);
    for package in scene.packages() {
        let file = package.join("plugin.so");
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
    }
    for arguments in [&["--db", DB, "good", "x"][..], &["--db", DB, "sql", "-c", "SELECT leans_sql(1, 2)"]] {
        let run = scene.run(arguments);
        assert_eq!(run.code, Some(3), "{arguments:?}\n{run}");
    }
    assert_eq!(scene.state("good").as_deref(), Some("disabled"));
    assert_eq!(scene.state("leans").as_deref(), Some("modified"));
    scene.survives();
}
