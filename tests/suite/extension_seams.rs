//! The seams that extensions enter by, driven by a made-up extension: statements that are claimed, functions that run
//! SQL themselves, refusals that name a missing extension, and who owns what.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef};
use kodiak::database::claim::{Claimed, Extensions, RowStream, ScalarFunction, TableFunction, Volatility};
use kodiak::error::codes;
use kodiak::sql::{Caller, ScalarValue};
use kodiak::{Connection, Database, Error, Outcome, Result, Value};

#[derive(Debug)]
struct Toy;

impl Extensions for Toy {
    fn claim(&self, statement: &str) -> Result<Option<Box<dyn Claimed>>> {
        let words = kodiak::sql::split::leading_words(statement, 2);
        let toy = words.first().is_some_and(|word| word == "TOY");
        Ok(toy.then(|| Box::new(Statement(words.get(1).cloned().unwrap_or_default())) as Box<dyn Claimed>))
    }

    fn scalar(&self, name: &str) -> Result<Option<Arc<dyn ScalarFunction>>> {
        match name {
            "count_below" => Ok(Some(Arc::new(CountBelow))),
            "gated" => Err(Error::new(codes::NOT_INSTALLED, "`gated` needs the extension `gate`").help("kodiak ext install gate")),
            _ => Ok(None),
        }
    }

    fn table(&self, name: &str) -> Result<Option<Arc<dyn TableFunction>>> {
        Ok((name == "toys").then(|| Arc::new(Toys) as Arc<dyn TableFunction>))
    }

    fn relation(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableFunction>>> {
        Ok(((schema, name) == ("toy", "toys")).then(|| Arc::new(Toys) as Arc<dyn TableFunction>))
    }

    fn check_write(&self, owner: &str, _: &str, name: &str) -> Result<()> {
        Err(Error::new(codes::DORMANT, format!("`{name}` belongs to `{owner}`")))
    }
}

struct Statement(String);

impl Claimed for Statement {
    fn extension(&self) -> &str {
        "toy"
    }

    fn run(self: Box<Self>, caller: &Caller, _: &[Value]) -> Result<Outcome> {
        let connection = Connection::within(caller, Some("toy"));
        match self.0.as_str() {
            "MAKE" => {
                connection.execute("CREATE TABLE made (a BIGINT PRIMARY KEY); INSERT INTO made VALUES (1)", &[])?;
                // A failure of its own SQL leaves no trace and does not end the statement.
                let failure = connection.execute("INSERT INTO made VALUES (2), (1)", &[]);
                assert!(failure.is_err_and(|error| error.is(codes::UNIQUE)));
                assert!(connection.commit().is_err_and(|error| error.is(codes::IN_TRANSACTION)));
                Ok(Outcome::changed("TOY", 1))
            }
            "FAIL" => {
                connection.execute("INSERT INTO made VALUES (7)", &[])?;
                Err(Error::new(codes::EXTENSION_ERROR, "the toy is broken"))
            }
            other => Err(Error::new(codes::SYNTAX, format!("no toy `{other}`"))),
        }
    }
}

#[derive(Debug)]
struct CountBelow;

impl ScalarFunction for CountBelow {
    fn extension(&self) -> &str {
        "toy"
    }

    fn coerce(&self, args: &[DataType]) -> Result<Vec<DataType>> {
        match args {
            [_] => Ok(vec![DataType::Int64]),
            _ => Err(Error::new(codes::NO_FUNCTION, "`count_below` takes one number")),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn volatility(&self) -> Volatility {
        Volatility::Volatile
    }

    fn call(&self, caller: &Caller, args: &[ArrayRef], _: &[FieldRef], rows: usize) -> Result<ArrayRef> {
        let connection = Connection::within(caller, Some("toy"));
        let limits = args[0].as_primitive::<Int64Type>();
        let count = |row: usize| {
            let rows = connection.query("SELECT count(*) FROM t WHERE a < $1", &[limits.value(row).into()])?.collect_batches()?;
            Ok(rows[0].column(0).as_primitive::<Int64Type>().value(0))
        };
        let counts = (0..rows).map(count).collect::<Result<Vec<i64>>>()?;
        Ok(Arc::new(Int64Array::from(counts)))
    }
}

#[derive(Debug)]
struct Toys;

impl TableFunction for Toys {
    fn extension(&self) -> &str {
        "toy"
    }

    fn schema(&self, _: &Caller, args: &[ScalarValue]) -> Result<SchemaRef> {
        if args.len() > 1 {
            return Err(Error::new(codes::PARAMETERS, "`toys` takes one number at most"));
        }
        Ok(Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("twice", DataType::Int64, false)])))
    }

    fn scan(&self, caller: &Caller, args: &[ScalarValue], projection: &[usize]) -> Result<RowStream> {
        let count = match args {
            [ScalarValue::Int64(Some(count))] => *count,
            _ => 3,
        };
        let schema = Arc::new(self.schema(caller, args)?.project(projection).expect("known columns"));
        let columns: Vec<i64> = projection.iter().map(|column| i64::try_from(*column).expect("small") + 1).collect();
        Ok(Box::new((1..=count).map(move |n| {
            let arrays = columns.iter().map(|factor| Arc::new(Int64Array::from(vec![n * factor])) as ArrayRef).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(1));
            Ok(RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options).expect("a batch"))
        })))
    }
}

fn connect() -> Connection {
    let database = Database::memory().expect("a database");
    database.set_extensions(Arc::new(Toy));
    let connection = database.connect().expect("a connection");
    connection.execute("CREATE TABLE t (a BIGINT); INSERT INTO t SELECT value FROM generate_series(1, 100)", &[]).expect("rows");
    connection
}

fn numbers(connection: &Connection, sql: &str) -> Vec<i64> {
    let batches = connection.query(sql, &[]).expect("runs").collect_batches().expect("rows");
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[test]
fn a_function_may_run_queries_while_every_worker_runs_it() {
    let connection = connect();
    // More calls at a time than there are threads, each waiting for a query of its own.
    let sql = "SELECT sum(count_below(a)) FROM (SELECT a FROM t UNION ALL SELECT a FROM t UNION ALL SELECT a FROM t UNION ALL SELECT a FROM t)";
    assert_eq!(numbers(&connection, sql), [4 * 4950]);
    assert_eq!(numbers(&connection, "SELECT count_below(count_below(50))"), [48]);
}

#[test]
fn a_function_sees_the_transaction_that_calls_it() {
    let connection = connect();
    connection.begin().expect("begins");
    connection.execute("DELETE FROM t WHERE a < 50", &[]).expect("deletes");
    assert_eq!(numbers(&connection, "SELECT count_below(60)"), [10]);
    connection.rollback().expect("undone");
    assert_eq!(numbers(&connection, "SELECT count_below(60)"), [59]);
}

#[test]
fn table_functions_and_tables_of_extensions_read_only_the_columns_asked_for() {
    let connection = connect();
    assert_eq!(numbers(&connection, "SELECT twice FROM toys(4) WHERE n > 1 ORDER BY twice"), [4, 6, 8]);
    assert_eq!(numbers(&connection, "SELECT count(*) FROM toys()"), [3]);
    assert_eq!(numbers(&connection, "SELECT n FROM toy.toys ORDER BY n"), [1, 2, 3]);
    let error = connection.query("SELECT * FROM toys(1, 2)", &[]).expect_err("too many");
    assert!(error.is(codes::PARAMETERS), "{error:?}");
}

#[test]
fn a_gated_function_is_refused_by_its_extension_and_an_unknown_one_is_not() {
    let connection = connect();
    let error = connection.query("SELECT gated(1)", &[]).expect_err("gated");
    assert!(error.is(codes::NOT_INSTALLED));
    assert_eq!(error.help_text(), Some("kodiak ext install gate"));
    assert!(connection.query("SELECT nobody_knows(1)", &[]).expect_err("unknown").is(codes::NO_FUNCTION));
    let view = connection.execute("CREATE VIEW v AS SELECT gated(a) AS g FROM t", &[]).expect_err("gated in a view too");
    assert!(view.is(codes::NOT_INSTALLED));
}

#[test]
fn a_claimed_statement_runs_in_one_transaction_and_owns_what_it_makes() {
    let connection = connect();
    assert_eq!(connection.execute("/* hello */ toy make", &[]).expect("makes"), 1);
    assert_eq!(numbers(&connection, "SELECT a FROM made"), [1], "the failed INSERT inside left no trace");
    assert_eq!(numbers(&connection, "SELECT count(*) FROM kodiak.tables WHERE name = 'made' AND extension = 'toy'"), [1]);
    let error = connection.execute("INSERT INTO made VALUES (5)", &[]).expect_err("its extension refuses");
    assert!(error.is(codes::DORMANT));
    assert!(connection.execute("TOY FAIL", &[]).expect_err("fails").is(codes::EXTENSION_ERROR));
    assert_eq!(numbers(&connection, "SELECT count(*) FROM made"), [1], "a failing statement leaves no trace");
}
