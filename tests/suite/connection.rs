//! What programs rely on that hold a connection: results stream, statements can be ended, parameters are values.

use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use kodiak::error::codes;
use kodiak::{Connection, Database, Value};

fn connect() -> Connection {
    Database::memory().expect("a database").connect().expect("a connection")
}

fn number(connection: &Connection, sql: &str, params: &[Value]) -> i64 {
    let batches = connection.query(sql, params).expect("runs").collect_batches().expect("rows");
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[test]
fn rows_come_before_the_last_one_is_made() {
    let connection = connect();
    let begun = Instant::now();
    let mut rows = connection.query("SELECT value FROM generate_series(1, 100000000000)", &[]).expect("starts");
    let first = rows.next().expect("a batch").expect("rows");
    assert!(first.num_rows() > 0);
    drop(rows);
    assert!(begun.elapsed() < Duration::from_secs(20), "a hundred billion rows would take longer");
    assert_eq!(number(&connection, "SELECT 1::bigint", &[]), 1);
}

#[test]
fn a_running_statement_can_be_cancelled_from_another_thread() {
    let connection = connect();
    let handle = connection.cancel_handle();
    let sql = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value * b.value % 7 = 3";
    let rows = connection.query(sql, &[]).expect("starts");
    let begun = Instant::now();
    std::thread::spawn(move || handle.cancel());
    let error = rows.collect_batches().expect_err("it was cancelled");
    assert!(error.is(codes::CANCELLED), "{error:?}");
    assert_eq!(error.sqlstate(), Some("57014"));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(number(&connection, "SELECT 2::bigint", &[]), 2, "the next statement is not affected");
}

#[test]
fn a_cancelled_insert_leaves_nothing() {
    let connection = connect();
    connection.execute("CREATE TABLE t (a BIGINT)", &[]).expect("a table");
    let handle = connection.cancel_handle();
    let inserting = std::thread::spawn(move || {
        let result = connection.execute("INSERT INTO t SELECT value FROM generate_series(1, 100000000000)", &[]);
        (connection, result)
    });
    // Cancelling again and again meets the statement whenever it begins.
    while !inserting.is_finished() {
        handle.cancel();
        std::thread::yield_now();
    }
    let (connection, result) = inserting.join().expect("no panic");
    assert!(result.expect_err("cancelled").is(codes::CANCELLED));
    assert_eq!(number(&connection, "SELECT count(*) FROM t", &[]), 0);
}

#[test]
fn parameters_are_values_not_text() {
    let connection = connect();
    connection.execute("CREATE TABLE t (a BIGINT, b TEXT, c DOUBLE, d BLOB, e BOOLEAN)", &[]).expect("a table");
    let hostile = "'; DROP TABLE t; --";
    let params = [i64::MIN.into(), hostile.into(), f64::INFINITY.into(), vec![0_u8, 255].into(), Value::Null];
    assert_eq!(connection.execute("INSERT INTO t VALUES (?, ?, ?, ?, ?)", &params).expect("inserts"), 1);
    let same = "SELECT count(*) FROM t WHERE a = $1 AND b = $2 AND c = $3 AND d = $4 AND e IS NULL";
    assert_eq!(number(&connection, same, &params[..4]), 1);
    let error = connection.query("SELECT ?", &[]).expect_err("a value is missing");
    assert!(error.is(codes::PARAMETERS));
}

#[test]
fn a_script_stops_at_its_first_error_and_tells_the_place() {
    let connection = connect();
    let text = "CREATE TABLE t (a BIGINT);\n-- a comment; with a semicolon\nINSERT INTO t VALUES (1);\n  SELECT b FROM t;\nDROP TABLE t;";
    let mut script = connection.script(text, "file.sql");
    assert_eq!(script.next().expect("one").expect("runs").tag, "CREATE TABLE");
    assert_eq!(script.next().expect("two").expect("runs").affected, Some(1));
    let error = script.next().expect("three").expect_err("no such column");
    let place = error.place().expect("a place");
    assert_eq!((place.source.as_str(), place.line, place.column), ("file.sql", 4, 10));
    assert_eq!(place.text, "  SELECT b FROM t;");
}

#[test]
fn two_connections_see_only_what_was_committed() {
    let database = Database::memory().expect("a database");
    let (one, two) = (database.connect().expect("one"), database.connect().expect("two"));
    one.execute("CREATE TABLE t (a BIGINT PRIMARY KEY)", &[]).expect("a table");
    one.begin().expect("begins");
    one.execute("INSERT INTO t VALUES (1)", &[]).expect("inserts");
    assert_eq!(number(&two, "SELECT count(*) FROM t", &[]), 0);
    two.execute("INSERT INTO t VALUES (1)", &[]).expect("inserts the same key");
    let error = one.commit().expect_err("the other was first");
    assert_eq!(error.sqlstate(), Some("40001"));
    one.rollback().expect("ROLLBACK is accepted after that");
    assert_eq!(number(&one, "SELECT count(*) FROM t", &[]), 1);
}

#[test]
fn identities_neither_collide_nor_come_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("numbers.kdb");
    let all = "SELECT count(DISTINCT id) FROM t";
    {
        let database = Database::open(&path).expect("a database");
        let (one, other) = (database.connect().expect("connects"), database.connect().expect("connects"));
        one.execute("CREATE TABLE t (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a INT)", &[])
            .expect("a table");
        for connection in [&one, &other] {
            connection.execute("BEGIN", &[]).expect("begins");
        }
        for _ in 0..100 {
            for connection in [&one, &other] {
                connection.execute("INSERT INTO t (a) VALUES (1)", &[]).expect("inserts");
            }
        }
        for connection in [&one, &other] {
            connection.execute("COMMIT", &[]).expect("neither is in the other's way");
        }
        assert_eq!(number(&one, all, &[]), 200);
    }
    let connection = Database::open(&path).expect("opens again").connect().expect("connects");
    let most = number(&connection, "SELECT max(id) FROM t", &[]);
    connection.execute("INSERT INTO t (a) SELECT 2 FROM generate_series(1, 1000)", &[]).expect("inserts");
    assert!(number(&connection, "SELECT min(id) FROM t WHERE a = 2", &[]) > most, "numbers go on where they were");
    assert_eq!(number(&connection, all, &[]), 1200);
}
