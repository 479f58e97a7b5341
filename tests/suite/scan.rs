//! A scan against a list of rows: whatever was inserted, deleted and updated, in whichever portions, filters, counts and
//! bounds must answer as the list does. Zone maps and statistics may save work, never rows.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use kodiak::{Connection, Database, Value};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(Vec<(Option<i64>, Option<u8>)>),
    Delete(i64, i64),
    Update(i64, i64),
    Checkpoint,
}

type Row = (Option<i64>, Option<String>);
type Rows = Vec<Row>;

fn step() -> impl Strategy<Value = Step> {
    let row = (proptest::option::weighted(0.9, -50..50_i64), proptest::option::weighted(0.8, 0..6_u8));
    prop_oneof![
        4 => proptest::collection::vec(row, 1..20).prop_map(Step::Insert),
        2 => (-60..60_i64, 0..40_i64).prop_map(|(low, width)| Step::Delete(low, low + width)),
        1 => (-60..60_i64, 0..20_i64).prop_map(|(low, width)| Step::Update(low, low + width)),
        1 => Just(Step::Checkpoint),
    ]
}

fn text(letter: u8) -> String {
    ["", "a", "ab", "b", "é", "zz"][usize::from(letter)].to_owned()
}

fn apply(connection: &Connection, rows: &mut Rows, step: &Step) {
    let within = |low: i64, high: i64| move |a: Option<i64>| a.is_some_and(|a| (low..=high).contains(&a));
    match step {
        Step::Insert(new) => {
            let new: Rows = new.iter().map(|(a, b)| (*a, b.map(text))).collect();
            let row = |(a, b): &Row| [Value::from(*a), Value::from(b.clone()), Value::from(*a)];
            let params: Vec<Value> = new.iter().flat_map(row).collect();
            let places = vec!["(?, ?, CAST(? AS DECIMAL(15, 2)) / 4)"; new.len()].join(", ");
            connection.execute(&format!("INSERT INTO t VALUES {places}"), &params).expect("inserts");
            rows.extend(new);
        }
        Step::Delete(low, high) => {
            let params = [Value::from(*low), Value::from(*high)];
            let deleted = connection.execute("DELETE FROM t WHERE a BETWEEN ? AND ?", &params).expect("deletes");
            let before = rows.len();
            rows.retain(|(a, _)| !within(*low, *high)(*a));
            assert_eq!(deleted, (before - rows.len()) as u64);
        }
        Step::Update(low, high) => {
            let params = [Value::from(*low), Value::from(*high)];
            let sql = "UPDATE t SET a = a + 7, b = b || 'x', d = d + 1.75 WHERE a BETWEEN ? AND ?";
            let updated = connection.execute(sql, &params).expect("updates");
            let mut changed = 0;
            for (a, b) in rows.iter_mut().filter(|(a, _)| within(*low, *high)(*a)) {
                *a = a.map(|a| a + 7);
                *b = b.take().map(|b| b + "x");
                changed += 1;
            }
            assert_eq!(updated, changed);
        }
        Step::Checkpoint => {
            connection.execute("CHECKPOINT", &[]).expect("checkpoints");
        }
    }
}

fn number(connection: &Connection, sql: &str) -> Option<i64> {
    let batches = connection.query(sql, &[]).expect("runs").collect_batches().expect("rows");
    batches[0].column(0).as_primitive::<Int64Type>().iter().next().flatten()
}

fn compare(connection: &Connection, rows: &Rows) {
    let count = |keep: fn(&Row) -> bool| Some(rows.iter().filter(|row| keep(row)).count() as i64);
    let numbers = || rows.iter().filter_map(|(a, _)| *a);
    for (sql, expected) in [
        ("SELECT count(*) FROM t", count(|_| true)),
        ("SELECT count(a) FROM t", count(|(a, _)| a.is_some())),
        ("SELECT min(a) FROM t", numbers().min()),
        ("SELECT max(a) FROM t", numbers().max()),
        ("SELECT sum(a) FROM t WHERE a > 10", numbers().filter(|a| *a > 10).reduce(|a, b| a + b)),
        ("SELECT count(*) FROM t WHERE a = 3", count(|(a, _)| *a == Some(3))),
        ("SELECT count(*) FROM t WHERE a <> 3", count(|(a, _)| a.is_some_and(|a| a != 3))),
        ("SELECT count(*) FROM t WHERE NOT (a >= 0)", count(|(a, _)| a.is_some_and(|a| a < 0))),
        ("SELECT count(*) FROM t WHERE a IS NULL", count(|(a, _)| a.is_none())),
        ("SELECT count(*) FROM t WHERE b IS NULL AND a < 0", count(|(a, b)| b.is_none() && a.is_some_and(|a| a < 0))),
        ("SELECT count(*) FROM t WHERE b = ''", count(|(_, b)| b.as_deref() == Some(""))),
        ("SELECT count(*) FROM t WHERE b >= 'b'", count(|(_, b)| b.as_deref().is_some_and(|b| b >= "b"))),
        ("SELECT count(*) FROM t WHERE b LIKE 'a%'", count(|(_, b)| b.as_deref().is_some_and(|b| b.starts_with('a')))),
        ("SELECT count(*) FROM t WHERE a < 1000", count(|(a, _)| a.is_some())),
        ("SELECT count(*) FROM t WHERE a > 9000000000 OR a <= -9000000000", count(|_| false)),
        ("SELECT count(*) FROM t WHERE a NOT IN (5, 9000000000)", count(|(a, _)| a.is_some_and(|a| a != 5))),
        ("SELECT count(*) FROM t WHERE d = 2.5", count(|(a, _)| *a == Some(10))),
        (
            "SELECT count(*) FROM t WHERE d < 1.25 AND d > -1.25",
            count(|(a, _)| a.is_some_and(|a| (-4..5).contains(&a))),
        ),
        ("SELECT count(*) FROM t WHERE d <> 99999999999.99", count(|(a, _)| a.is_some())),
        (
            "SELECT count(*) FROM t WHERE b NOT LIKE '%x%'",
            count(|(_, b)| b.as_deref().is_some_and(|b| !b.contains('x'))),
        ),
        // Dividing by zero is not to be reached, whatever is evaluated first.
        (
            "SELECT count(*) FROM t WHERE a <> 0 AND 100 / a > 10",
            count(|(a, _)| a.is_some_and(|a| a != 0 && 100 / a > 10)),
        ),
        (
            "SELECT count(*) FROM t AS x JOIN t AS y ON x.a = y.a JOIN t AS z ON z.a = y.a WHERE x.b = 'a' AND z.a > 0",
            Some({
                let matching = |row: &Row| rows.iter().filter(|other| other.0 == row.0).count();
                let first = rows.iter().filter(|(a, b)| b.as_deref() == Some("a") && a.is_some_and(|a| a > 0));
                first.map(|row| (matching(row) * matching(row)) as i64).sum()
            }),
        ),
        (
            "SELECT count(*) FROM t WHERE a IN (1, 2, 40) OR b = 'zz'",
            count(|(a, b)| a.is_some_and(|a| [1, 2, 40].contains(&a)) || b.as_deref() == Some("zz")),
        ),
    ] {
        assert_eq!(number(connection, sql), expected, "{sql} over {rows:?}");
    }
    let mut greatest: Vec<i64> = numbers().collect();
    greatest.sort_unstable_by(|a, b| b.cmp(a));
    greatest.truncate(3);
    let sql = "SELECT a FROM t WHERE a IS NOT NULL ORDER BY a DESC LIMIT 3";
    let batches = connection.query(sql, &[]).expect("runs").collect_batches().expect("rows");
    let found = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    assert_eq!(found.collect::<Vec<i64>>(), greatest);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_table_answers_as_a_list_of_rows(steps in proptest::collection::vec(step(), 1..12), threads in 1..4_u8) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.kdb");
        let mut rows = Rows::new();
        {
            let connection = Database::open(&path).expect("opens").connect().expect("connects");
            connection.execute("CREATE TABLE t (a BIGINT, b TEXT, d DECIMAL(15, 2))", &[]).expect("a table");
            connection.execute(&format!("SET threads = {threads}"), &[]).expect("a setting");
            for step in &steps {
                apply(&connection, &mut rows, step);
            }
            compare(&connection, &rows);
        }
        let again = Database::open(&path).expect("opens again").connect().expect("connects");
        compare(&again, &rows);
    }
}
