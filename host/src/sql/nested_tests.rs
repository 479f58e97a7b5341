//! Statements inside statements, driven by a made-up extension: they must see the caller's transaction, must not wait
//! for each other for ever, and must leave the caller's statement whole when they fail.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};

use super::claim::{Argument, Claimed, Extensions, ScalarFunction, Volatility};
use super::session::{Caller, Session};
use super::{Engine, Origin, Outcome, Value, split};
use crate::error::{Error, Result, codes};
use crate::storage::Store;

#[derive(Debug)]
struct Toy;

impl Extensions for Toy {
    fn claim(&self, statement: &str) -> Result<Option<Box<dyn Claimed>>> {
        let toy = split::leading_words(statement, 1) == ["TOY"];
        Ok(toy.then(|| Box::new(MakeTable) as Box<dyn Claimed>))
    }

    fn scalar(&self, name: &str) -> Result<Option<Arc<dyn ScalarFunction>>> {
        match name {
            "count_below" => Ok(Some(Arc::new(CountBelow))),
            "gated" => Err(Error::new(codes::NOT_INSTALLED, "`gated` needs the extension `gate`")),
            _ => Ok(None),
        }
    }
}

struct MakeTable;

impl Claimed for MakeTable {
    fn extension(&self) -> &str {
        "toy"
    }

    fn run(self: Box<Self>, caller: &Caller, _: &[Value]) -> Result<Outcome> {
        let session = Arc::new(caller.session(Some("toy")));
        run(&session, "CREATE TABLE made (a BIGINT PRIMARY KEY)")?;
        run(&session, "INSERT INTO made VALUES (1)")?;
        let failure = run(&session, "INSERT INTO made VALUES (2), (1)");
        assert!(failure.is_err_and(|error| error.is(codes::UNIQUE)));
        assert!(run(&session, "COMMIT").is_err_and(|error| error.is(codes::IN_TRANSACTION)));
        Ok(Outcome::changed("TOY", 1))
    }
}

/// Counts the rows of `t` below its argument, by a query for each.
#[derive(Debug)]
struct CountBelow;

impl ScalarFunction for CountBelow {
    fn extension(&self) -> &str {
        "toy"
    }

    fn coerce(&self, _: &Caller, _: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![DataType::Int64])
    }

    fn return_type(&self, _: &Caller, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn volatility(&self, _: &Caller) -> Result<Volatility> {
        Ok(Volatility::Volatile)
    }

    fn call(&self, caller: &Caller, args: &[Argument], rows: usize) -> Result<ArrayRef> {
        let session = Arc::new(caller.session(Some("toy")));
        let limits = args[0].array().as_primitive::<Int64Type>();
        let limit = |row: usize| limits.value(if limits.len() == 1 { 0 } else { row });
        let count = |row| number(&session, &format!("SELECT count(*) FROM t WHERE a < {}", limit(row)));
        let counts = (0..rows).map(count).collect::<Result<Vec<i64>>>()?;
        Ok(Arc::new(Int64Array::from(counts)))
    }
}

fn session() -> Arc<Session> {
    let engine = Arc::new(Engine::new(Store::memory().expect("a store")));
    engine.set_extensions(Arc::new(Toy));
    let session = Arc::new(Session::new(engine));
    run(&session, "CREATE TABLE t AS SELECT value AS a FROM generate_series(1, 100)").expect("a table");
    session
}

fn run(session: &Arc<Session>, sql: &str) -> Result<Outcome> {
    let is_sensitive = &split::holds_secret;
    session.run(sql, &Origin { source: "test", script: sql, start: 0, line: 1, is_sensitive }, &[])
}

fn number(session: &Arc<Session>, sql: &str) -> Result<i64> {
    let batches = run(session, sql)?.rows.expect("rows").collect_batches()?;
    Ok(batches[0].column(0).as_primitive::<Int64Type>().value(0))
}

#[test]
fn a_function_may_run_queries_while_every_worker_runs_it() {
    let session = session();
    // More calls at a time than there are threads, more waits in a task than its budget for cooperation.
    let sql = "SELECT sum(count_below(a)) FROM (SELECT a FROM t UNION ALL SELECT a FROM t UNION ALL SELECT a FROM t \
               UNION ALL SELECT a FROM t)";
    assert_eq!(number(&session, sql).expect("runs"), 4 * 4950);
    assert_eq!(number(&session, "SELECT count_below(count_below(50))").expect("runs"), 48);
}

#[test]
fn a_function_sees_the_transaction_that_calls_it() {
    let session = session();
    run(&session, "BEGIN").expect("begins");
    run(&session, "DELETE FROM t WHERE a < 50").expect("deletes");
    assert_eq!(number(&session, "SELECT count_below(60)").expect("runs"), 10);
    run(&session, "ROLLBACK").expect("undone");
    assert_eq!(number(&session, "SELECT count_below(60)").expect("runs"), 59);
}

#[test]
fn a_gated_function_is_refused_by_its_extension_in_views_too() {
    let session = session();
    assert!(run(&session, "SELECT gated(1)").is_err_and(|error| error.is(codes::NOT_INSTALLED)));
    let view = run(&session, "CREATE VIEW v AS SELECT gated(a) AS g FROM t");
    assert!(view.is_err_and(|error| error.is(codes::NOT_INSTALLED)));
    assert!(run(&session, "SELECT nobody_knows(1)").is_err_and(|error| error.is(codes::NO_FUNCTION)));
}

#[test]
fn a_failing_statement_inside_leaves_its_caller_whole_and_what_is_made_has_an_owner() {
    let session = session();
    assert_eq!(run(&session, "/* hello */ toy make").expect("runs").affected, Some(1));
    assert_eq!(number(&session, "SELECT sum(a) FROM made").expect("runs"), 1);
    let owned = "SELECT count(*) FROM kodiak.tables WHERE name = 'made' AND extension = 'toy'";
    assert_eq!(number(&session, owned).expect("runs"), 1);
}
