//! What it takes to find, add and change rows by a key: prepared and as text, by the primary key and by an index, with
//! keys in order and shuffled. `tests/peers/sqlite_points.c` asks SQLite the same.
//!
//! `cargo bench -p kodiak --bench keys`.

use criterion::{Criterion, criterion_group, criterion_main};
use kodiak::{Connection, Database, Value};

/// Rows of each table.
const ROWS: i64 = 1_000_000;
/// Multiplied by this, ids are spread over all of them: it has no factor in common with `ROWS`.
const STEP: i64 = 611_953;

fn run(connection: &Connection, sql: &str) {
    connection.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// A million rows with ids in order, and as many with ids out of order.
fn database(folder: &std::path::Path) -> Database {
    let database = Database::open(folder.join("bench.kdb")).expect("opens");
    let connection = database.connect().expect("connects");
    for (table, id) in [("sorted", "value".to_owned()), ("shuffled", format!("value * {STEP} % {ROWS}"))] {
        run(&connection, &format!("create table {table} (id bigint primary key, a int, name text, share double)"));
        run(
            &connection,
            &format!(
                "insert into {table} select {id}, value % 50000, 'name ' || value, value * 0.5 \
                 from generate_series(0, {}) order by value",
                ROWS - 1
            ),
        );
        run(&connection, &format!("create index {table}_a on {table} (a)"));
    }
    run(&connection, "create table names (name text primary key, id bigint)");
    run(&connection, &format!("insert into names select 'name ' || id, id from shuffled where id < {}", ROWS / 2));
    run(&connection, "checkpoint");
    database
}

fn points(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("folder");
    let database = database(folder.path());
    let connection = database.connect().expect("connects");
    let mut at = 0;
    let mut next = move || {
        at = (at + STEP) % ROWS;
        at
    };
    let mut group = c.benchmark_group("keys");
    for table in ["sorted", "shuffled"] {
        let find = connection.prepare(&format!("select a, name, share from {table} where id = $1")).expect("prepares");
        group.bench_function(format!("point/prepared, {table}"), |b| {
            b.iter(|| {
                let mut rows = find.query(&[Value::Integer(next())]).expect("runs");
                rows.next().expect("a row").expect("is read").num_rows()
            });
        });
        run(&connection, &format!("prepare {table}_p as select a, name, share from {table} where id = $1"));
        group.bench_function(format!("point/EXECUTE text, {table}"), |b| {
            b.iter(|| {
                let text = format!("EXECUTE {table}_p({})", next());
                connection.query(&text, &[]).expect("runs").next().expect("a row").expect("is read").num_rows()
            });
        });
    }
    let find = connection.prepare("select id from names where name = $1").expect("prepares");
    group.bench_function("point/prepared, text", |b| {
        b.iter(|| {
            let name = format!("name {}", next() / 2);
            find.query(&[Value::Text(name)]).expect("runs").next().expect("a row").expect("is read").num_rows()
        });
    });
    group.sample_size(30);
    for (name, sql) in [
        ("point/planned text", "select a, name, share from shuffled where id = 77"),
        ("index/20 rows", "select count(*), max(share) from shuffled where a = 77"),
        ("index/range of 200 rows", "select count(*), max(share) from shuffled where a between 70 and 79"),
        ("scan/no index", "select count(*), max(a) from shuffled where share = 77.0"),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| connection.query(sql, &[]).and_then(|rows| rows.collect_batches()).expect("runs").len());
        });
    }
    let (mut fresh, insert) =
        (ROWS, connection.prepare("insert into sorted values ($1, 1, 'new', 1)").expect("prepares"));
    let update = connection.prepare("update shuffled set share = share + 1 where id = $1").expect("prepares");
    for (name, statement) in [("insert", &insert), ("update by key", &update)] {
        // In one transaction, so that it is not the disk that is measured.
        run(&connection, "begin");
        group.bench_function(format!("change/{name}, in a transaction"), |b| {
            b.iter(|| {
                fresh += 1;
                let key = if name == "insert" { fresh } else { next() };
                statement.execute(&[Value::Integer(key)]).expect("runs")
            });
        });
        run(&connection, "rollback");
    }
    group.finish();
}

criterion_group!(benches, points);
criterion_main!(benches);
