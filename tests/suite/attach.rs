//! Other databases under names: read beside the session's own, changed one at a time, each as it was when first read.

use arrow::util::display::array_value_to_string;
use kodiak::{Connection, Database};

fn run(connection: &Connection, sql: &str) {
    connection.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

fn state(connection: &Connection, sql: &str) -> String {
    connection.execute(sql, &[]).expect_err(sql).sqlstate().unwrap_or_default().to_owned()
}

fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let batches = connection.query(sql, &[]).and_then(|rows| rows.collect_batches());
    let batches = batches.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = |batch: &arrow::array::RecordBatch, at: usize| {
        let cells = batch.columns().iter().map(|column| array_value_to_string(column, at).expect("shows"));
        cells.collect::<Vec<_>>().join(" ")
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at)).collect::<Vec<_>>()).collect()
}

#[test]
fn attached_databases_are_read_and_changed_one_at_a_time() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("other.kdb");
    let other = Database::open(&path).expect("opens").connect().expect("connects");
    run(&other, "create table t (id bigint primary key, name text)");
    run(&other, "create schema s");
    run(&other, "create table s.u (id bigint primary key, t bigint references t on delete cascade)");
    run(&other, "insert into t values (1, 'one'), (2, 'two')");
    run(&other, "insert into s.u values (10, 1)");
    run(&other, "create view v as select * from t");
    run(&other, "create table late (t bigint references t deferrable initially deferred)");
    run(&other, "create table log (n bigint)");
    run(&other, "create table watched (id bigint)");
    run(&other, "create table numbered (id bigint generated always as identity, n int)");
    run(&other, "insert into numbered (n) values (1)");
    run(
        &other,
        "create function count_rows() returns trigger language sql as $$ insert into log select count(*) from new_rows $$",
    );
    run(&other, "create trigger w after insert on watched for each statement execute function count_rows()");
    let database = Database::open(folder.path().join("own.kdb")).expect("opens");
    let connection = database.connect().expect("connects");
    run(&connection, "create table t (id bigint primary key, name text)");
    run(&connection, "insert into t values (1, 'own')");
    run(&connection, &format!("attach '{}' as x", path.display()));
    assert_eq!(state(&connection, &format!("attach '{}' as x", path.display())), "42P07");
    run(&connection, &format!("attach if not exists '{}' as x", path.display()));
    assert_eq!(state(&connection, "attach '/nowhere/at-all.kdb' as y"), "");
    assert_eq!(state(&connection, "attach 'y.kdb' as main"), "42P07");
    assert_eq!(rows(&connection, "select name, attached from kodiak.databases order by name"), ["own false", "x true"]);
    assert_eq!(rows(&connection, "show databases").len(), 2);

    // Reading, joining, lookups.
    let joined = "select t.name, o.name, u.id from t join x.t o on t.id = o.id join x.s.u u on u.t = o.id";
    assert_eq!(rows(&connection, joined), ["own one 10"]);
    assert_eq!(rows(&connection, "select name from x.main.t where id = 2"), ["two"]);
    assert_eq!(state(&connection, "select * from x.nothing"), "42P01");
    assert_eq!(state(&connection, "select * from y.t"), "3F000");

    // Changing; foreign keys hold there as well.
    run(&connection, "insert into x.t select id + 100, name from t");
    run(&connection, "update x.t set name = 'zwei' where id = 2");
    assert_eq!(state(&connection, "insert into x.s.u values (11, 77)"), "23503");
    run(&connection, "delete from x.t where id = 1");
    assert_eq!(rows(&other, "select id, name from t order by id"), ["2 zwei", "101 own"]);
    assert_eq!(rows(&other, "select count(*) from s.u"), ["0"]);
    run(&connection, "insert into t select id, name from x.t");
    assert_eq!(rows(&connection, "select count(*) from t"), ["3"]);

    // One transaction changes one database, and sees each as it was.
    run(&connection, "begin");
    assert_eq!(rows(&connection, "select count(*) from x.t"), ["2"]);
    run(&other, "insert into t values (5, 'later')");
    assert_eq!(rows(&connection, "select count(*) from x.t"), ["2"]);
    run(&connection, "savepoint a");
    run(&connection, "insert into x.t values (6, 'mine')");
    run(&connection, "rollback to a");
    run(&connection, "insert into t values (7, 'here')");
    assert_eq!(state(&connection, "insert into x.t values (8, 'there')"), "0A000");
    run(&connection, "rollback");
    run(&connection, "begin");
    run(&connection, "insert into x.t values (6, 'mine')");
    assert_eq!(state(&connection, "insert into t values (8, 'own')"), "0A000");
    run(&connection, "rollback");
    assert_eq!(rows(&other, "select count(*) from t"), ["3"]);
    run(&connection, "begin");
    run(&connection, "insert into x.t values (6, 'mine')");
    run(&connection, "commit");
    assert_eq!(rows(&other, "select name from t where id = 6"), ["mine"]);

    // What is not offered is refused, and leaves the session's own database alone.
    for sql in
        ["create table x.n (a int)", "alter table x.t add column b int", "drop table x.t", "create index on x.t (name)"]
    {
        assert_eq!(state(&connection, sql), "0A000", "{sql}");
    }
    assert_eq!(state(&connection, "select * from x.v"), "0A000");
    assert_eq!(state(&connection, "insert into x.v values (50, 'no')"), "0A000");
    assert_eq!(state(&connection, "insert into x.watched values (1)"), "0A000");
    assert_eq!(state(&connection, "insert into x.numbered (n) values (2)"), "0A000", "its numbers are counted there");
    assert_eq!(rows(&other, "select (select count(*) from watched) + (select count(*) from log)"), ["0"]);
    run(&connection, "begin");
    assert_eq!(state(&connection, "insert into x.late values (77)"), "23503");
    run(&connection, "rollback");
    run(&connection, "begin");
    assert_eq!(state(&connection, "detach x"), "25001");
    run(&connection, "rollback");
    run(&connection, "detach x");
    assert_eq!(state(&connection, "select * from x.t"), "3F000");
    assert_eq!(state(&connection, "detach x"), "42704");
    run(&connection, "detach if exists x");
    run(&connection, &format!("attach '{}' (read_only)", path.display()));
    assert_eq!(rows(&connection, "select count(*) from other.t"), ["4"]);
    assert_eq!(state(&connection, "insert into other.t values (9, 'no')"), "25006");

    // So is an old version, and a second name for the session's own database keeps to what was asked of it.
    assert_eq!(state(&connection, "select * from other.t as of version 1"), "0A000");
    let own = folder.path().join("own.kdb");
    run(&connection, &format!("attach '{}' as again (read_only)", own.display()));
    assert_eq!(rows(&connection, "select read_only from kodiak.databases where name = 'again'"), ["true"]);
    assert_eq!(state(&connection, "insert into again.t values (9, 'no')"), "25006");
    assert_eq!(rows(&connection, "select count(*) from again.t"), ["3"]);

    // A branch that a transaction makes is a change of the session's own database.
    run(&connection, "detach other");
    run(&connection, &format!("attach '{}' as x", path.display()));
    run(&connection, "begin");
    run(&connection, "alter database create branch dev");
    assert_eq!(state(&connection, "insert into x.t values (9, 'no')"), "0A000");
    run(&connection, "rollback");
}
