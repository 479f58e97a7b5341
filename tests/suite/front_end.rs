//! Whatever text comes in, an error is the worst that comes out: never a panic, never an internal error.

use kodiak::Database;
use kodiak::error::codes;
use proptest::prelude::*;

/// Words that get far into the planner when thrown together.
const WORDS: &[&str] = &[
    "select",
    "from",
    "where",
    "t",
    "u",
    "a",
    "b",
    "*",
    ",",
    "(",
    ")",
    "1",
    "-1",
    "0",
    "9223372036854775807",
    "'x'",
    "''",
    "null",
    "insert into t values",
    "update t set",
    "delete from t",
    "create table",
    "drop table",
    "begin",
    "commit",
    "rollback",
    "savepoint s",
    "join",
    "left join",
    "on",
    "using",
    "group by",
    "order by",
    "having",
    "limit",
    "offset",
    "union all",
    "intersect",
    "with",
    "as",
    "case",
    "when",
    "then",
    "else",
    "end",
    "and",
    "or",
    "not",
    "in",
    "exists",
    "between",
    "like",
    "is",
    "+",
    "-",
    "/",
    "%",
    "||",
    "=",
    "<",
    ">=",
    "::",
    "bigint",
    "text",
    "date",
    "interval",
    "decimal(10,2)",
    "[",
    "]",
    "{",
    "}",
    ".",
    ";",
    "$1",
    "?",
    "\"",
    "'",
    "$$",
    "--",
    "/*",
    "*/",
    "count",
    "sum",
    "over",
    "partition by",
    "rows",
    "distinct",
    "lateral",
    "unnest",
    "generate_series",
    "explain",
    "describe",
    "show",
    "set",
    "prepare p as",
    "execute p",
    "copy t from 'nowhere.csv'",
    "values",
    "returning",
    "on conflict do nothing",
    "default",
    "cast",
    "extract",
    "year",
    "array",
    "struct",
    "row_number()",
    "filter",
    "rollup",
    "X'00'",
    "E'\\n'",
    "1e400",
    "\u{1}",
    "é",
];

fn run(text: &str) {
    let database = Database::memory().expect("a database");
    let connection = database.connect().expect("a connection");
    connection
        .execute("CREATE TABLE t (a BIGINT PRIMARY KEY, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, NULL)", &[])
        .expect("a table");
    connection.execute("SET statement_timeout = '2s'", &[]).expect("a limit");
    for outcome in connection.script(text, "random") {
        let failure = match outcome {
            Err(error) => Some(error),
            Ok(outcome) => outcome.rows.into_iter().flatten().take(100).find_map(Result::err),
        };
        if let Some(error) = failure {
            assert!(!error.is(codes::INTERNAL), "{error:?} for {text:?}");
            assert!(!format!("{error:?}").to_lowercase().contains("datafusion"), "{error:?} for {text:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_is_refused_calmly(text in ".{0,60}") {
        run(&text);
    }

    #[test]
    fn words_of_sql_in_any_order_are_refused_calmly(words in proptest::collection::vec(proptest::sample::select(WORDS), 1..14)) {
        run(&words.join(" "));
        run(&format!("select {}", words.join(" ")));
    }
}
