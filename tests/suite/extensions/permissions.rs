//! What a manifest does not ask for is refused, below the boundary, whatever the plugin tries.

use serde_json::json;

use super::{DB, Sane, Scene};

#[test]
fn sql_needs_the_permission_for_it() {
    let scene = Scene::new(&["oversteps"]);
    let mut talk = scene.talk();
    for statement in ["SELECT 1", "DELETE FROM people", "DROP TABLE people"] {
        let message = talk.refused(&format!("SELECT oversteps('{statement}')"), "KDK-0481");
        assert_eq!(message, "`oversteps` has no permission to run SQL");
    }
    talk.finish();
    let run = scene.sql("SELECT oversteps('SELECT 1')");
    run.refused("KDK-0481", 1, &["help: its manifest would have to ask for `sql = \"read\" or \"write\"`"]);
    scene.survives();
}

#[test]
fn changing_needs_more_than_reading() {
    let scene = Scene::new(&["reads_only"]);
    let mut talk = scene.talk();
    talk.rows("CREATE TABLE t (a BIGINT)");
    assert_eq!(talk.rows("SELECT reads_only('SELECT * FROM people')"), json!([[1]]));
    for statement in [
        "DELETE FROM people",
        "INSERT INTO t VALUES (1)",
        "UPDATE people SET name = NULL",
        "CREATE TABLE u (a INT)",
        "DROP TABLE people",
        "TRUNCATE t",
        "ALTER TABLE people ADD COLUMN x INT",
        "CREATE SCHEMA s",
        "BEGIN",
        "COMMIT",
        "COPY people TO ''stolen.csv''",
        "EXPLAIN ANALYZE DELETE FROM people",
        "/* SELECT */ DELETE FROM people",
    ] {
        let message = talk.refused(&format!("SELECT reads_only('{statement}')"), "KDK-0481");
        assert_eq!(message, "`reads-only` has no permission to change anything by SQL", "{statement}");
    }
    assert_eq!(talk.rows("SELECT count(*) FROM t"), json!([[0]]));
    talk.finish();
    assert!(!scene.sandbox.path("stolen.csv").exists());
    scene.survives();
}

/// A second statement behind an allowed one ran without being looked at.
#[test]
fn one_statement_at_a_time() {
    let scene = Scene::new(&["reads_only", "services", "good"]);
    let mut talk = scene.talk();
    talk.refused("SELECT reads_only('SELECT 1; DELETE FROM people')", "KDK-0100");
    talk.refused("SERVE QUERY 'SELECT 1; DELETE FROM people'", "KDK-0100");
    talk.finish();
    scene.survives();
}

#[test]
fn another_extension_must_be_declared() {
    let scene = Scene::new(&["reads_only", "good", "leans"]);
    let mut talk = scene.talk();
    let words = "which its manifest does not declare";
    for (statement, what) in [
        ("SELECT good_add(1, 2)", "the function `good_add`"),
        ("SELECT \"good_add\"(1, 2)", "the function `good_add`"),
        ("SELECT * FROM (SELECT GOOD_ADD(1, 2)) AS x", "the function `good_add`"),
        ("SELECT * FROM good_numbers(1)", "the function `good_numbers`"),
        ("good range 2", "the statement `GOOD RANGE`"),
    ] {
        let message = talk.refused(&format!("SELECT reads_only('{statement}')"), "KDK-0482");
        assert_eq!(message, format!("`reads-only` uses {what} of `good`, {words}"));
    }
    // Who declares it may.
    assert_eq!(talk.rows("SELECT leans_sql(1, 2), leans_call(3, 4)"), json!([[3, 7]]));
    talk.finish();
    let help = ["help: add `good` to [dependencies] or [optional-dependencies] of its manifest"];
    scene.sql("SELECT reads_only('SELECT good_add(1, 2)')").refused("KDK-0482", 1, &help);
    scene.survives();
}

#[test]
fn calls_of_functions_are_checked_like_sql() {
    let scene = Scene::new(&["services", "good"]);
    let mut talk = scene.talk();
    assert_eq!(talk.rows("SELECT services_call('upper', 'abc')"), json!([["ABC"]]));
    talk.refused("SELECT services_call('good_upper', 'abc')", "KDK-0482");
    talk.refused("SELECT services_call('upper(a0), (DELETE FROM people', 'abc')", "KDK-0103");
    talk.refused("SELECT services_call('blob_get', 'abc')", "KDK-0412");
    talk.finish();
    scene.survives();
}

#[test]
fn a_command_has_the_same_permissions() {
    let scene = Scene::new(&["good"]);
    // `GOOD QUERY` evaluates any expression of the user's in `good`'s name.
    scene.install(&[], &["reads_only"]);
    let run = scene.run(["--db", DB, "sql", "-c", "GOOD QUERY reads_only('SELECT 1')"]);
    run.refused("KDK-0482", 1, &["`good` uses the function `reads_only` of `reads-only`"]);
}
