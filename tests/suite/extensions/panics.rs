//! Panics, wherever a plugin can have one: the statement fails, the extension is quarantined in this process, and that is all.

use serde_json::json;

use super::{DB, Sane, Scene};

/// A panic in a first statement, and what every later one meets; a new process starts afresh.
fn quarantines(plugin: &str, statement: &str, place: &str) {
    let scene = Scene::new(&[plugin]);
    let name = plugin.replace('_', "-");
    let mut talk = scene.talk();
    let message = talk.refused(statement, "KDK-0470");
    let expected = format!("`{name}` 0.1.0 panicked in `{place}`; this statement failed, the database is unaffected");
    assert_eq!(message, expected);
    let message = talk.refused(statement, "KDK-0471");
    assert_eq!(message, format!("`{name}` panicked earlier and is quarantined in this process"));
    talk.finish();
    let next = scene.sql(statement);
    next.refused("KDK-0470", 1, &[&expected, "it said: "]);
    assert_eq!(scene.state(&name).as_deref(), Some("installed"));
    scene.survives();
}

#[test]
fn in_activate() {
    quarantines("panic_activate", "SELECT panic_activate('x')", "activate");
}

#[test]
fn in_register() {
    quarantines("panic_register", "SELECT panic_register('x')", "activate");
}

#[test]
fn in_migrate_and_nothing_of_it_stays() {
    quarantines("panic_migrate", "SELECT panic_migrate('x')", "migrate");
    let scene = Scene::new(&["panic_migrate"]);
    scene.sql("SELECT panic_migrate('x')").refused("KDK-0470", 1, &["in the migration"]);
    scene.sql("SELECT * FROM half_done").refused("KDK-0101", 1, &["half_done"]);
}

#[test]
fn in_a_statement() {
    quarantines("panic_call", "PANIC NOW", "PANIC NOW");
}

#[test]
fn in_the_rows_of_a_statement() {
    quarantines("panic_call", "PANIC ROWS", "PANIC ROWS");
}

/// The planner tries a constant call first and drops its error: the statement was told that the extension "panicked
/// earlier", of which nobody had heard.
#[test]
fn in_a_function_of_constants() {
    quarantines("panic_call", "SELECT panic_call('x')", "panic_call");
}

#[test]
fn in_a_function_over_a_table() {
    quarantines("panic_call", "SELECT panic_call(name) FROM people", "panic_call");
}

#[test]
fn in_a_function_over_arrays() {
    quarantines("panic_call", "SELECT panic_arrays(id) FROM people", "panic_arrays");
}

#[test]
fn in_the_binding_of_a_function() {
    quarantines("panic_call", "SELECT panic_types(id) FROM people", "panic_types");
}

#[test]
fn in_the_binding_of_a_table_function() {
    quarantines("panic_call", "SELECT * FROM panic_bind()", "panic_bind");
}

#[test]
fn in_a_scan() {
    quarantines("panic_call", "SELECT * FROM panic_scan()", "panic_scan");
}

#[test]
fn in_a_stream() {
    quarantines("panic_call", "SELECT * FROM panic_table()", "panic_table");
}

#[test]
fn in_a_command() {
    let scene = Scene::new(&["panic_call"]);
    for _ in 0..2 {
        let run = scene.run(["--db", DB, "panic-call"]);
        run.refused("KDK-0470", 1, &["`panic-call` 0.1.0 panicked in `kodiak panic-call`", "it said: in the command"]);
        assert_eq!(run.stdout(), "");
    }
    scene.survives();
}

/// Nobody is left to tell: results that were complete stay so, and the process ends as if nothing had been.
#[test]
fn in_a_drop() {
    let scene = Scene::new(&["panic_drop"]);
    let mut talk = scene.talk();
    assert_eq!(talk.rows("SELECT panic_drop('x')"), json!([["x"]]));
    assert_eq!(talk.rows("SELECT * FROM panic_drop_rows()"), json!([[7]]));
    assert_eq!(talk.rows("SELECT * FROM panic_drop_rows() LIMIT 1"), json!([[7]]));
    assert_eq!(talk.rows("SELECT panic_drop(name) FROM people"), json!([["Ada"]]));
    talk.finish();
    let run = scene.sql("SELECT panic_drop('x') AS x");
    assert_eq!((run.code, run.stdout().as_str(), run.stderr.as_str()), (Some(0), "x\nx\n", ""));
    scene.survives();
}

/// A failed statement takes back what it did, and an open transaction of the user's does not commit by accident.
#[test]
fn inside_a_transaction() {
    let scene = Scene::new(&["panic_call"]);
    let mut talk = scene.talk();
    talk.rows("BEGIN");
    talk.rows("INSERT INTO people VALUES (2, 'Bob')");
    talk.refused("INSERT INTO people SELECT id + 10, panic_call(name) FROM people", "KDK-0470");
    talk.refused("SELECT 1", "KDK-0312");
    talk.rows("ROLLBACK");
    assert_eq!(talk.rows("SELECT count(*) FROM people"), json!([[1]]));
    talk.finish();
    scene.survives();
}

#[test]
fn one_extension_in_quarantine_leaves_the_others_alone() {
    let scene = Scene::new(&["panic_call", "good"]);
    let mut talk = scene.talk();
    assert_eq!(talk.rows("SELECT good_add(1, 2)"), json!([[3]]));
    talk.refused("PANIC NOW", "KDK-0470");
    assert_eq!(talk.rows("SELECT good_add(1, 2)"), json!([[3]]));
    talk.finish();
}

#[test]
fn an_activation_that_fails_says_why_and_may_be_tried_again() {
    let scene = Scene::new(&["fail_activate"]);
    let mut talk = scene.talk();
    for _ in 0..2 {
        let message = talk.refused("SELECT fail_activate('x')", "KDK-0455");
        assert!(
            message.contains("`fail-activate` could not be activated") && message.contains("no licence found"),
            "{message}"
        );
    }
    talk.finish();
    scene.sql("SELECT fail_activate('x')").refused("KDK-0455", 3, &["no licence found"]);
    scene.survives();
}

/// Diagnostics are for who asks for them; there the panic is told, in our words.
#[test]
fn the_log_tells_the_panic_when_it_is_switched_on() {
    let scene = Scene::new(&["panic_call"]);
    let run = scene.sandbox.kodiak(["--db", DB, "sql", "-c", "PANIC NOW"]).env("KODIAK_LOG", "error").run();
    assert_eq!(run.code, Some(1), "{run}");
    assert!(run.stderr.contains("in the statement"), "{run}");
}
