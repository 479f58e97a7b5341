//! Conversations: statements answered as they come, the line protocol, Ctrl-C.

use serde_json::{Value, json};

use crate::sandbox;

#[test]
fn a_piped_statement_is_answered_before_the_next_is_sent() {
    let sandbox = sandbox();
    let mut session = sandbox.kodiak(["--format", "csv", "sql"]).start();
    session.send("SELECT 1 AS a;");
    assert_eq!((session.line(), session.line()), ("a".into(), "1".into()));
    session.send(" SELECT 2 AS b\n;");
    assert_eq!((session.line(), session.line()), ("b".into(), "2".into()));
    assert_eq!(session.finish(), (Some(0), String::new()));
}

/// Sends requests to one session of the line protocol and returns the answers.
fn ask(requests: &[&str]) -> Vec<Value> {
    let sandbox = sandbox();
    let mut session = sandbox.kodiak(["sql", "--protocol", "jsonl"]).start();
    let mut answers = Vec::new();
    for request in requests {
        session.send(&format!("{request}\n"));
        answers.push(serde_json::from_str(&session.line()).unwrap());
    }
    assert_eq!(session.finish(), (Some(0), String::new()));
    answers
}

fn sql(text: &str) -> String {
    json!({ "sql": text }).to_string()
}

/// The answer without its time, which differs from run to run.
fn timeless(mut answer: Value) -> Value {
    assert!(answer["ms"].is_number(), "{answer}");
    answer.as_object_mut().unwrap().remove("ms");
    answer
}

#[test]
fn the_protocol_gives_values_of_json_and_text() {
    let answers = ask(&[&sql(
        "SELECT 9007199254740993 AS i, 1.5::DOUBLE AS f, 1.10::DECIMAL(4,2) AS d, true AS b, NULL AS n, 'x' AS s, \
         DATE '2026-01-09' AS day, TIMESTAMP '2026-01-09 12:00:00' AS ts, \
         INTERVAL '1 year 2 months 3 days 4 hours 5 minutes 6 seconds' AS iv",
    )]);
    let answer = timeless(answers[0].clone());
    assert_eq!(answer["columns"], json!(["i", "f", "d", "b", "n", "s", "day", "ts", "iv"]));
    assert_eq!(
        answer["types"],
        json!(["BIGINT", "DOUBLE", "DECIMAL(4,2)", "BOOLEAN", "NULL", "TEXT", "DATE", "TIMESTAMP", "INTERVAL"])
    );
    let expected = json!([[
        9007199254740993_i64,
        1.5,
        1.10,
        true,
        null,
        "x",
        "2026-01-09",
        "2026-01-09 12:00:00",
        "1 year 2 months 3 days 04:05:06"
    ]]);
    assert_eq!(answer["rows"], expected);
    assert_eq!((&answer["ok"], &answer["affected"]), (&json!(true), &json!(null)));
}

#[test]
fn the_protocol_answers_with_the_last_statement_and_counts_changes() {
    let answers = ask(&[
        &sql("CREATE TABLE t (a BIGINT PRIMARY KEY)"),
        &sql("INSERT INTO t VALUES (1), (2); SELECT count(*) AS n FROM t"),
        &sql("INSERT INTO t VALUES (3), (4), (5)"),
        &sql("SELECT a FROM t WHERE a > 99"),
        &sql(""),
    ]);
    let ok = |columns: Value, types: Value, rows: Value, affected: Value| json!({"ok": true, "columns": columns, "types": types, "rows": rows, "affected": affected});
    let none = json!([]);
    assert_eq!(timeless(answers[0].clone())["columns"], none);
    assert_eq!(timeless(answers[1].clone()), ok(json!(["n"]), json!(["BIGINT"]), json!([[2]]), json!(null)));
    assert_eq!(timeless(answers[2].clone()), ok(none.clone(), none.clone(), none.clone(), json!(3)));
    assert_eq!(timeless(answers[3].clone()), ok(json!(["a"]), json!(["BIGINT"]), none.clone(), json!(null)));
    assert_eq!(timeless(answers[4].clone())["rows"], none);
}

#[test]
fn an_error_ends_neither_process_nor_session() {
    let answers = ask(&[
        &sql("CREATE TABLE t (a BIGINT PRIMARY KEY); INSERT INTO t VALUES (1)"),
        &sql("INSERT INTO t VALUES (1)"),
        &sql("SELEC 1"),
        "not json",
        r#"{"query": "SELECT 1"}"#,
        &sql("SELECT a FROM t"),
    ]);
    let error = |index: usize| {
        assert_eq!(answers[index]["ok"], false, "{}", answers[index]);
        let error = &answers[index]["error"];
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        (error["code"].as_str().unwrap().to_owned(), error["sqlstate"].as_str().map(ToOwned::to_owned))
    };
    assert_eq!(error(1), ("KDK-0302".into(), Some("23505".into())));
    assert_eq!(error(2), ("KDK-0100".into(), Some("42601".into())));
    assert_eq!(error(3), ("KDK-0002".into(), None));
    assert_eq!(error(4), ("KDK-0002".into(), None));
    assert_eq!(answers[5]["rows"], json!([[1]]));
}

#[test]
fn ctrl_c_cancels_the_running_statement() {
    let sandbox = sandbox();
    let session =
        sandbox.kodiak(["--format", "csv", "sql", "-c", "SELECT * FROM generate_series(1, 1000000000000)"]).start();
    // Rows arrive, so the statement runs; it would take days.
    assert_eq!((session.line(), session.line()), ("value".into(), "1".into()));
    session.interrupt();
    while session.next_line().is_some() {}
    let (code, stderr) = session.finish();
    assert!(code == Some(1) && stderr.starts_with("error[KDK-0010]"), "{code:?} {stderr}");
}
