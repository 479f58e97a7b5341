//! Which statements find rows by a key, and that foreign keys hold whatever several connections do at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use kodiak::{Connection, Database, Value};

fn connect() -> (Database, Connection) {
    let database = Database::memory().expect("opens");
    let connection = database.connect().expect("connects");
    (database, connection)
}

fn plan(connection: &Connection, statement: &str) -> String {
    let batches = connection.query(&format!("EXPLAIN {statement}"), &[]).and_then(|rows| rows.collect_batches());
    let batches = batches.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    let texts =
        batches.iter().flat_map(|batch| batch.column(1).as_string::<i32>().iter().flatten().collect::<Vec<_>>());
    texts.collect::<Vec<_>>().join("\n")
}

#[test]
fn conditions_on_a_key_become_lookups_when_they_name_few_rows() {
    let (_database, connection) = connect();
    let run = |sql: &str| connection.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    run("create table t (id bigint primary key, a int, b text, f double unique)");
    run(
        "insert into t select value, value % 1000, 'name ' || (value % 500), value * 0.5 from generate_series(1, 20000)",
    );
    run("create index t_a on t (a)");
    run("create index on t (b, a)");
    for (condition, lookup) in [
        ("id = 7", "index=t_pkey, rows=1,"),
        ("7 = id", "index=t_pkey, rows=1,"),
        ("id = 70000", "index=t_pkey, rows=0,"),
        ("id in (1, 5, 30000)", "index=t_pkey, rows=2,"),
        ("id > 19990", "index=t_pkey, rows=10,"),
        ("id between 5 and 7 and f > 0", "index=t_pkey, rows=3,"),
        ("a = 7", "index=t_a, rows=20,"),
        ("a = 7 and b = 'name 7'", "index=t_b_a_idx, rows=20,"),
        ("b = 'name 3' and a between 3 and 4", "index=t_b_a_idx, rows=20,"),
        ("b = 'name 3'", "index=t_b_a_idx, rows=40,"),
        ("f = 2.5::double", "index=t_f_key, rows=1,"),
    ] {
        let plan = plan(&connection, &format!("select * from t where {condition}"));
        assert!(plan.contains(lookup), "{condition}: {plan}");
    }
    for condition in ["id > 3", "a > 3", "a + 1 = 8", "id = 7 or a = 3", "id = 7 or id > 3", "id <> 7", "f is null"] {
        let plan = plan(&connection, &format!("select * from t where {condition}"));
        assert!(!plan.contains("index="), "{condition}: {plan}");
    }
    // A join reads few rows of one side.
    run("create table u (id bigint primary key, t bigint)");
    run("insert into u select value, value * 2 from generate_series(1, 1000)");
    let plan = plan(&connection, "select * from u join t on t.id = u.t where u.id = 5");
    assert!(plan.contains("index=u_pkey, rows=1,"), "{plan}");
}

/// Several threads add, move and delete parents and children at random; afterwards every child has its parent, and the
/// database holds exactly what the statements that committed say.
#[test]
fn foreign_keys_hold_whatever_connections_do_at_once() {
    let database = Database::memory().expect("opens");
    let connection = database.connect().expect("connects");
    connection.execute("create table p (id bigint primary key, n bigint)", &[]).expect("parent");
    connection.execute("create table c (id bigint primary key, p bigint references p)", &[]).expect("child");
    let (done, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    std::thread::scope(|threads| {
        for seed in 0..4u64 {
            let (database, done, refused) = (database.clone(), Arc::clone(&done), Arc::clone(&refused));
            threads.spawn(move || {
                let connection = database.connect().expect("connects");
                let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
                let mut next = |below: u64| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    i64::try_from(state % below).unwrap_or_default()
                };
                for step in 0..120 {
                    let statements: Vec<(&str, Vec<Value>)> = match next(5) {
                        0 => vec![("insert into p values (?, 0)", vec![next(12).into()])],
                        1 => vec![("delete from p where id = ?", vec![next(12).into()])],
                        2 => vec![("delete from c where p = ?", vec![next(12).into()])],
                        3 => vec![(
                            "insert into c values (?, ?)",
                            vec![(1000 * i64::try_from(seed).unwrap_or_default() + step).into(), next(12).into()],
                        )],
                        _ => vec![
                            ("begin", vec![]),
                            ("update p set n = n + 1 where id = ?", vec![next(12).into()]),
                            ("update c set p = ? where p = ?", vec![next(12).into(), next(12).into()]),
                            ("commit", vec![]),
                        ],
                    };
                    for (sql, params) in statements {
                        match connection.execute(sql, &params) {
                            Ok(_) => done.fetch_add(1, Ordering::Relaxed),
                            Err(error) => {
                                let state = error.sqlstate().unwrap_or_default().to_owned();
                                assert!(["23503", "23505", "40001"].contains(&state.as_str()), "{sql}: {error:?}");
                                if connection.in_transaction() {
                                    connection.rollback().expect("rolls back");
                                }
                                refused.fetch_add(1, Ordering::Relaxed);
                                break;
                            }
                        };
                    }
                }
            });
        }
    });
    let orphans = "select count(*) from c where p is not null and p not in (select id from p)";
    assert_eq!(number(&connection, orphans), 0);
    assert!(done.load(Ordering::Relaxed) > 50 && refused.load(Ordering::Relaxed) > 0);
}

fn number(connection: &Connection, sql: &str) -> i64 {
    let batches = connection.query(sql, &[]).and_then(|rows| rows.collect_batches()).expect("runs");
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

fn pairs(connection: &Connection, sql: &str) -> BTreeSet<(i64, Option<i64>)> {
    let batches = connection.query(sql, &[]).and_then(|rows| rows.collect_batches()).expect("runs");
    let of = |batch: &arrow::array::RecordBatch| {
        let (ids, others) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_primitive::<Int64Type>());
        ids.values().iter().zip(others).map(|(id, other)| (*id, other)).collect::<Vec<_>>()
    };
    batches.iter().flat_map(of).collect()
}

/// What a statement should do, worked out by looking at every row.
#[derive(Clone, Default)]
struct Model {
    parents: BTreeSet<i64>,
    children: BTreeMap<i64, Option<i64>>,
}

impl Model {
    fn is_whole(&self) -> bool {
        self.children.values().flatten().all(|parent| self.parents.contains(parent))
    }
}

#[test]
fn foreign_keys_do_what_looking_at_every_row_says() {
    for (rule, on_delete) in [("no action", 0), ("cascade", 1), ("set null", 2)] {
        let (_database, connection) = connect();
        connection.execute("create table p (id bigint primary key)", &[]).expect("parent");
        let child =
            format!("create table c (id bigint primary key, p bigint references p on delete {rule} on update {rule})");
        connection.execute(&child, &[]).expect("child");
        let mut model = Model::default();
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            i64::try_from(state % below).unwrap_or_default()
        };
        for step in 0..150 {
            let mut then = model.clone();
            let (low, high) = (next(10), next(10));
            let (sql, params): (&str, Vec<Value>) = match next(5) {
                0 => {
                    then.parents.insert(low);
                    ("insert into p values (?) on conflict do nothing", vec![low.into()])
                }
                1 => {
                    then.children.insert(step, Some(low));
                    ("insert into c values (?, ?)", vec![step.into(), low.into()])
                }
                2 => {
                    let gone: Vec<i64> = then.parents.iter().copied().filter(|id| (low..=high).contains(id)).collect();
                    then.parents.retain(|id| !gone.contains(id));
                    let touched = |parent: &Option<i64>| parent.is_some_and(|parent| gone.contains(&parent));
                    match on_delete {
                        1 => then.children.retain(|_, parent| !touched(parent)),
                        2 => then.children.values_mut().filter(|parent| touched(parent)).for_each(|p| *p = None),
                        _ => {}
                    }
                    ("delete from p where id between ? and ?", vec![low.into(), high.into()])
                }
                3 => {
                    let moved: Vec<i64> = then.parents.iter().copied().filter(|id| *id >= low).collect();
                    then.parents = then.parents.iter().map(|id| if *id >= low { id + 1 } else { *id }).collect();
                    for parent in then.children.values_mut() {
                        if let Some(id) = *parent
                            && moved.contains(&id)
                        {
                            match on_delete {
                                1 => *parent = Some(id + 1),
                                2 => *parent = None,
                                _ => {}
                            }
                        }
                    }
                    ("update p set id = id + 1 where id >= ?", vec![low.into()])
                }
                _ => {
                    then.children.values_mut().filter(|parent| **parent == Some(low)).for_each(|p| *p = Some(high));
                    ("update c set p = ? where p = ?", vec![high.into(), low.into()])
                }
            };
            match connection.execute(sql, &params) {
                Ok(_) => {
                    assert!(then.is_whole(), "{rule}: {sql} {params:?} should have been refused");
                    model = then;
                }
                Err(error) => {
                    assert_eq!(error.sqlstate(), Some("23503"), "{rule}: {sql} {params:?}: {error:?}");
                    assert!(!then.is_whole(), "{rule}: {sql} {params:?} should have been done: {error:?}");
                }
            }
            let children: BTreeSet<_> = model.children.iter().map(|(id, parent)| (*id, *parent)).collect();
            assert_eq!(pairs(&connection, "select id, p from c"), children, "{rule}: after {sql} {params:?}");
            let parents: BTreeSet<_> = model.parents.iter().map(|id| (*id, Some(*id))).collect();
            assert_eq!(pairs(&connection, "select id, id from p"), parents, "{rule}: after {sql} {params:?}");
        }
    }
}

#[test]
fn a_prepared_lookup_means_what_the_statement_means_whatever_happens_between() {
    let (database, connection) = connect();
    let run = |sql: &str| connection.execute(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    run("create table t (id bigint primary key, a int, name text unique)");
    run("insert into t values (1, 10, 'one'), (2, 20, 'two')");
    let find = connection.prepare("select a as x, t.name, id from t where id = $1").expect("prepares");
    let shown = |values: &[Value]| -> String {
        let rows = find.query(values).unwrap_or_else(|error| panic!("{values:?}: {error:?}"));
        let schema = rows.schema();
        let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let batches = rows.collect_batches().expect("reads");
        let table = arrow::util::pretty::pretty_format_batches(&batches).expect("shows").to_string();
        format!(
            "{}: {}",
            names.join(","),
            table.lines().filter(|line| line.starts_with('|')).skip(1).collect::<String>()
        )
    };
    assert_eq!(shown(&[1.into()]), "x,name,id: | 10 | one  | 1  |");
    assert_eq!(shown(&[3.into()]), "x,name,id: ");
    // Values of other types go through the planner and mean the same.
    assert_eq!(shown(&[Value::Text("2".into())]), "x,name,id: | 20 | two  | 2  |");
    assert_eq!(shown(&[Value::Null]), "x,name,id: ");
    assert!(find.query(&[]).is_err());
    // Own changes, savepoints, other connections.
    run("begin");
    run("update t set a = 11 where id = 1");
    assert!(shown(&[1.into()]).contains("| 11 |"));
    run("savepoint s");
    run("delete from t where id = 1");
    assert_eq!(shown(&[1.into()]), "x,name,id: ");
    run("rollback to s");
    assert!(shown(&[1.into()]).contains("| 11 |"));
    let other = database.connect().expect("connects");
    other.execute("update t set a = 21 where id = 2", &[]).expect("updates");
    assert!(shown(&[2.into()]).contains("| 20 |"), "the snapshot does not move");
    run("commit");
    assert!(shown(&[2.into()]).contains("| 21 |"));
    // The table changes its shape, goes, and comes again as another.
    run("alter table t add column b int default 5");
    assert_eq!(shown(&[1.into()]), "x,name,id: | 11 | one  | 1  |");
    run("drop table t");
    assert_eq!(find.query(&[1.into()]).expect_err("no table").sqlstate(), Some("42P01"));
    run("create table t (name text, a int, id bigint unique)");
    run("insert into t values ('new', 7, 1)");
    assert_eq!(shown(&[1.into()]), "x,name,id: | 7 | new  | 1  |");
    // In an aborted transaction nothing is read.
    run("begin");
    connection.execute("select 1 / 0", &[]).expect_err("fails");
    assert_eq!(find.query(&[1.into()]).expect_err("aborted").sqlstate(), Some("25P02"));
    run("rollback");
    // A view of the same name, another schema in the path.
    run("drop table t");
    run("create view t as select 3 as id, 4 as a, 'v' as name");
    assert!(shown(&[3.into()]).contains("| 4 |"));
    run("create schema s2");
    run("create table s2.t (id bigint primary key, a int, name text)");
    run("insert into s2.t values (3, 99, 's2')");
    run("set search_path = s2");
    assert!(shown(&[3.into()]).contains("| 99 |"));
    // By name, from text.
    run("prepare p as select name from t where id = $1");
    let text = |sql: &str| connection.query(sql, &[]).and_then(|rows| rows.collect_batches()).expect(sql);
    assert_eq!(text("EXECUTE p(3)")[0].column(0).as_string_view().value(0), "s2");
    assert_eq!(text("EXECUTE p('3')")[0].column(0).as_string_view().value(0), "s2");
    assert!(text("EXECUTE p(1 + 1)").iter().all(|batch| batch.num_rows() == 0));
    connection.query("EXECUTE p(1, 2)", &[]).expect_err("too many");
    run("deallocate p");
    connection.query("EXECUTE p(3)", &[]).expect_err("gone");
}
