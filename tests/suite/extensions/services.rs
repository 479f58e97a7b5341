//! What a plugin may ask of its host, asked by a plugin: state, SQL, savepoints, sessions, calls, time, input and output.

use serde_json::{Value, json};

use super::{DB, Sane, Scene};

#[test]
fn state_belongs_to_the_callers_transaction() {
    let scene = Scene::new(&["services"]);
    let mut talk = scene.talk();
    assert_eq!(talk.rows("SELECT services_put('a', '1')"), json!([["1"]]));
    talk.rows("BEGIN");
    talk.rows("SELECT services_put('a', '2'), services_put('b', '3')");
    assert_eq!(talk.rows("SELECT services_get('a')"), json!([["2"]]));
    assert_eq!(talk.rows("SELECT key FROM services_keys('')"), json!([["a"], ["b"]]));
    talk.rows("ROLLBACK");
    assert_eq!(talk.rows("SELECT services_get('a')"), json!([["1"]]));
    assert_eq!(talk.rows("SELECT services_get('b')"), json!([[null]]));
    // A statement that fails takes its own back.
    talk.refused("SELECT services_put('a', '9'), 1 / (id - 1) FROM people", "KDK-0112");
    assert_eq!(talk.rows("SELECT services_get('a')"), json!([["1"]]));
    talk.finish();
    // It outlives the process, and goes when it is removed.
    assert_eq!(scene.rows("SELECT services_get('a') AS x"), "x\n1\n");
    scene.rows("SELECT services_remove('a')");
    assert_eq!(scene.rows("SELECT count(*) AS n FROM services_keys('')"), "n\n0\n");
    scene.survives();
}

#[test]
fn state_is_scanned_by_prefix_in_order() {
    let scene = Scene::new(&["services"]);
    let mut talk = scene.talk();
    for key in ["b/2", "b/10", "a", "b", "c", "b/"] {
        talk.rows(&format!("SELECT services_put('{key}', '{key}!')"));
    }
    assert_eq!(talk.rows("SELECT key FROM services_keys('b/')"), json!([["b/"], ["b/10"], ["b/2"]]));
    assert_eq!(talk.rows("SELECT count(*) FROM services_keys('')"), json!([[6]]));
    assert_eq!(talk.rows("SELECT count(*) FROM services_keys('d')"), json!([[0]]));
    talk.finish();
}

#[test]
fn sql_runs_in_the_callers_transaction() {
    let scene = Scene::new(&["services", "good"]);
    let mut talk = scene.talk();
    talk.rows("BEGIN");
    talk.rows("INSERT INTO people VALUES (2, 'Bob')");
    assert_eq!(talk.rows("SERVE QUERY 'SELECT name FROM people ORDER BY id'"), json!([["Ada"], ["Bob"]]));
    assert_eq!(talk.rows("SELECT good_count('people')"), json!([[2]]));
    talk.rows("ROLLBACK");
    assert_eq!(talk.rows("SELECT good_count('people')"), json!([[1]]));
    // A statement inside a statement inside a statement.
    let nested = "SERVE QUERY 'SERVE QUERY ''SELECT 1 AS n'''";
    assert_eq!(talk.rows(nested), json!([[1]]));
    // Its errors are the inner statement's.
    let message = talk.refused("SERVE QUERY 'SELECT nope FROM people'", "KDK-0102");
    assert!(message.contains("`nope`"), "{message}");
    talk.refused("SERVE QUERY 'SELEC 1'", "KDK-0100");
    talk.finish();
}

#[test]
fn a_function_that_queries_works_for_every_row_of_a_big_scan() {
    let scene = Scene::new(&["good"]);
    scene.rows("CREATE TABLE names AS SELECT 'people' AS t FROM generate_series(1, 300)");
    assert_eq!(scene.rows("SELECT sum(good_count(t)) AS n FROM names"), "n\n300\n");
}

#[test]
fn what_is_atomic_stays_or_goes_together() {
    let scene = Scene::new(&["services"]);
    let mut talk = scene.talk();
    talk.rows("CREATE TABLE t (a BIGINT PRIMARY KEY)");
    let both = "SERVE ATOMIC 'INSERT INTO t VALUES (1)' 'INSERT INTO t VALUES (2)'";
    let half = "SERVE ATOMIC 'INSERT INTO t VALUES (3)' 'INSERT INTO t VALUES (1)'";
    assert_eq!(talk.rows(both), json!([["2"]]));
    assert_eq!(talk.rows(half), json!([["KDK-0302"]]));
    assert_eq!(talk.rows("SELECT a FROM t ORDER BY a"), json!([[1], [2]]));
    // Within the caller's transaction too: its own changes stay.
    talk.rows("BEGIN");
    talk.rows("INSERT INTO t VALUES (5)");
    assert_eq!(talk.rows(half), json!([["KDK-0302"]]));
    talk.rows("COMMIT");
    assert_eq!(talk.rows("SELECT a FROM t ORDER BY a"), json!([[1], [2], [5]]));
    talk.finish();
}

#[test]
fn a_session_of_its_own_is_apart_from_the_callers_transaction() {
    let scene = Scene::new(&["services"]);
    let mut talk = scene.talk();
    talk.rows("CREATE TABLE t (a BIGINT PRIMARY KEY)");
    talk.rows("BEGIN");
    talk.rows("INSERT INTO t VALUES (1)");
    talk.rows("SERVE APART 'INSERT INTO t VALUES (10)'");
    talk.rows("ROLLBACK");
    assert_eq!(talk.rows("SELECT a FROM t"), json!([[10]]));
    // One that fails leaves no transaction open behind it.
    talk.refused("SERVE APART 'INSERT INTO t VALUES (10)'", "KDK-0302");
    talk.rows("SERVE APART 'INSERT INTO t VALUES (11)'");
    assert_eq!(talk.rows("SELECT count(*) FROM t"), json!([[2]]));
    talk.finish();
    scene.survives();
}

#[test]
fn a_call_that_is_over_answers_nothing() {
    let scene = Scene::new(&["services"]);
    let mut talk = scene.talk();
    talk.rows("SERVE LATE");
    let message = talk.refused("SERVE LATE", "KDK-0480");
    assert!(message.contains("is not under way"), "{message}");
    talk.finish();
}

#[test]
fn functions_are_called_without_text() {
    let scene = Scene::new(&["services", "good", "leans"]);
    let mut talk = scene.talk();
    assert_eq!(talk.rows("SELECT services_call('upper', name) FROM people"), json!([["ADA"]]));
    assert_eq!(talk.rows("SELECT leans_call(40, 2)"), json!([[42]]));
    // A user's table of the name that arguments have is not mistaken for them.
    talk.rows("CREATE TABLE arguments (a0 TEXT); INSERT INTO arguments VALUES ('wrong')");
    assert_eq!(talk.rows("SELECT services_call('upper', 'right')"), json!([["RIGHT"]]));
    talk.refused("SELECT services_call('nobody_has_this', 'x')", "KDK-0103");
    talk.finish();
}

/// The loop went on for ever: a deadline did not count as a wish that the call should end.
#[test]
fn a_deadline_ends_a_loop_that_asks() {
    let scene = Scene::new(&["services"]);
    let mut talk = scene.talk();
    talk.rows("SET statement_timeout = '200ms'");
    let message = talk.refused("SELECT services_spin()", "KDK-0011");
    assert!(message.contains("statement_timeout"), "{message}");
    talk.rows("SET statement_timeout = 0");
    talk.finish();
    scene.survives();
}

#[test]
fn ctrl_c_ends_a_loop_that_asks() {
    let scene = Scene::new(&["services"]);
    let mut talk = scene.talk();
    // Loaded before, so that the signal meets the loop and not the install of its handler.
    talk.rows("SELECT services_put('a', '1')");
    talk.session.send("{\"sql\": \"SELECT services_spin()\"}\n");
    let answer = loop {
        talk.session.interrupt();
        if let Some(line) = talk.session.try_line(std::time::Duration::from_millis(100)) {
            break line;
        }
    };
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["error"]["code"], "KDK-0010", "{answer}");
    talk.finish();
}

#[test]
fn settings_come_from_the_users_configuration() {
    let scene = Scene::new(&["services"]);
    let config = "[extensions.services]\ncolour = \"red\"\nsize = 7\n[extensions.good]\nsecret = \"x\"\n";
    std::fs::write(scene.sandbox.kodiak_home().join("config.toml"), config).unwrap();
    let mut talk = scene.talk();
    let sql = "SELECT services_config('colour'), services_config('size'), services_config('secret')";
    assert_eq!(talk.rows(sql), json!([["red", "7", null]]));
    talk.finish();
}

#[test]
fn files_are_kept_in_the_database() {
    let scene = Scene::new(&["services"]);
    scene.rows("SELECT services_dir('f')");
    let file = scene.sandbox.path(DB).join("extensions/services/f");
    assert_eq!(std::fs::read(&file).unwrap(), b"kept");
    // A database in memory has no folder, and says so.
    let run = scene.run(["sql", "-c", "SELECT services_dir('f')"]);
    run.refused("KDK-0108", 1, &["a database in memory has none", "help: name a database with --db PATH"]);
    scene.survives();
}

#[test]
fn the_log_is_for_who_asks_for_it() {
    let scene = Scene::new(&["services"]);
    let silent = scene.sql("SERVE LOG 'something odd'");
    assert_eq!((silent.code, silent.stderr.as_str()), (Some(0), ""));
    let run =
        scene.sandbox.kodiak(["--db", DB, "sql", "-c", "SERVE LOG 'something odd'"]).env("KODIAK_LOG", "warn").run();
    assert!(run.stderr.contains("WARN") && run.stderr.contains("something odd"), "{run}");
    assert!(run.stderr.contains("services"), "{run}");
}

#[test]
fn a_command_reads_and_writes() {
    let scene = Scene::new(&["services"]);
    let run = scene.sandbox.kodiak(["services", "upper"]).stdin("hello,\n world").run().sane();
    assert_eq!((run.code, run.stdout().as_str(), run.stderr.as_str()), (Some(0), "HELLO,\n WORLD", "13 bytes\n"));
    let empty = scene.run(["services", "upper"]);
    assert_eq!((empty.code, empty.stdout().as_str()), (Some(0), ""));
}

#[test]
fn a_commands_table_is_rendered_in_the_chosen_format() {
    let scene = Scene::new(&["services"]);
    let json_rows = scene.run(["services", "table", "--format", "json"]);
    assert_eq!(serde_json::from_slice::<Value>(&json_rows.stdout).unwrap(), json!([{"n": 1}, {"n": null}]));
    assert_eq!(scene.run(["--format", "csv", "services", "table"]).stdout(), "n\n1\n\n");
}

#[test]
fn a_commands_exit_code_is_one_of_ours() {
    let scene = Scene::new(&["services"]);
    for (given, shown) in [("0", 0), ("1", 1), ("2", 2), ("7", 1), ("101", 1)] {
        let run = scene.run(["services", "exit", given]);
        assert_eq!((run.code, run.stdout().as_str()), (Some(shown), "over\n"), "{given}: {run}");
    }
    scene.run(["services", "exit", "many"]).refused("KDK-0002", 2, &["many"]);
}
