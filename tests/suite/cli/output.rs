//! What results look like and where they go.

use std::fs::OpenOptions;

use insta::assert_snapshot;

use crate::sandbox;

const TYPES: &str = "SELECT 9007199254740993 AS i, 1.50::DECIMAL(5,2) AS d, true AS b, X'00ff' AS x, 'it''s \"x\"' AS s, \
    NULL AS n, TIMESTAMPTZ '2026-01-01 00:00:00Z' AS tz, TIMESTAMP '2026-01-09 12:00:00' AS ts, DATE '2026-01-09' AS day";

#[test]
fn each_format_has_its_shape() {
    let sandbox = sandbox();
    let show = |format: &str| sandbox.run(["sql", "-c", TYPES, "--format", format]);
    assert_snapshot!(show("csv"), @r#"
    exit 0
    --- stdout
    i,d,b,x,s,n,tz,ts,day
    9007199254740993,1.50,true,00ff,"it's ""x""",,2026-01-01 00:00:00+00,2026-01-09 12:00:00,2026-01-09
    "#);
    assert_snapshot!(show("tsv"), @r#"
    exit 0
    --- stdout
    i	d	b	x	s	n	tz	ts	day
    9007199254740993	1.50	true	00ff	"it's ""x"""		2026-01-01 00:00:00+00	2026-01-09 12:00:00	2026-01-09
    "#);
    assert_snapshot!(show("json"), @r#"
    exit 0
    --- stdout
    [{"i":9007199254740993,"d":1.50,"b":true,"x":"00ff","s":"it's \"x\"","n":null,"tz":"2026-01-01T00:00:00Z","ts":"2026-01-09 12:00:00","day":"2026-01-09"}]
    "#);
    assert_snapshot!(show("jsonl"), @r#"
    exit 0
    --- stdout
    {"i":9007199254740993,"d":1.50,"b":true,"x":"00ff","s":"it's \"x\"","n":null,"tz":"2026-01-01T00:00:00Z","ts":"2026-01-09 12:00:00","day":"2026-01-09"}
    "#);
    assert_snapshot!(show("markdown"), @r#"
    exit 0
    --- stdout
    | i | d | b | x | s | n | tz | ts | day |
    | ---: | ---: | --- | --- | --- | --- | --- | --- | --- |
    | 9007199254740993 | 1.50 | true | 00ff | it's "x" | NULL | 2026-01-01 00:00:00+00 | 2026-01-09 12:00:00 | 2026-01-09 |
    "#);
    assert_snapshot!(show("table"), @r#"
    exit 0
    --- stdout
    ┌──────────────────┬──────┬──────┬──────┬──────────┬──────┬────────────────────────┬─────────────────────┬────────────┐
    │                i ┆    d ┆ b    ┆ x    ┆ s        ┆ n    ┆ tz                     ┆ ts                  ┆ day        │
    ╞══════════════════╪══════╪══════╪══════╪══════════╪══════╪════════════════════════╪═════════════════════╪════════════╡
    │ 9007199254740993 ┆ 1.50 ┆ true ┆ 00ff ┆ it's "x" ┆ NULL ┆ 2026-01-01 00:00:00+00 ┆ 2026-01-09 12:00:00 ┆ 2026-01-09 │
    └──────────────────┴──────┴──────┴──────┴──────────┴──────┴────────────────────────┴─────────────────────┴────────────┘
    "#);
}

#[test]
fn statements_without_rows_write_nothing() {
    let sandbox = sandbox();
    for format in ["table", "csv", "tsv", "json", "jsonl", "markdown", "arrow"] {
        let run =
            sandbox.run(["--format", format, "sql", "-c", "CREATE TABLE t (a BIGINT); INSERT INTO t VALUES (1), (2)"]);
        assert_eq!((run.code, run.stdout.len(), run.stderr.as_str()), (Some(0), 0, ""), "{format}: {run}");
    }
}

#[test]
fn a_result_without_rows_keeps_its_shape() {
    let sandbox = sandbox();
    let empty = "CREATE TABLE t (a BIGINT, b TEXT); SELECT * FROM t";
    let show = |format: &str| sandbox.run(["--format", format, "sql", "-c", empty]).stdout();
    assert_eq!(show("csv"), "a,b\n");
    assert_eq!(show("json"), "[]\n");
    assert_eq!(show("jsonl"), "");
    assert_snapshot!(show("table"), @"
    ┌───┬───┐
    │ a ┆ b │
    ╞═══╪═══╡
    └───┴───┘
    0 rows
    ");
}

#[test]
fn an_arrow_stream_can_be_read_back() {
    let run = sandbox().run(["sql", "-c", "SELECT 1 AS a UNION ALL SELECT 2", "--format", "arrow"]);
    let reader = arrow::ipc::reader::StreamReader::try_new(&run.stdout[..], None).unwrap();
    assert_eq!(reader.schema().field(0).name(), "a");
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2);
}

#[test]
fn a_long_table_is_cut_in_the_middle_and_csv_is_not() {
    let sandbox = sandbox();
    let many = "SELECT * FROM generate_series(1, 30000)";
    let table = sandbox.run(["sql", "-c", many]).stdout();
    assert!(
        table.ends_with("30000 rows (10000 shown)\n") && table.lines().count() == 10_006,
        "{}",
        table.lines().count()
    );
    assert_eq!(sandbox.run(["sql", "-c", many, "--format", "csv"]).stdout().lines().count(), 30_001);
}

#[test]
fn colour_is_for_terminals() {
    for variable in ["IGNORED", "CLICOLOR_FORCE"] {
        let run = sandbox().kodiak(["sql", "-c", "SELECT NULL AS a; SELECT x"]).env(variable, "1").run();
        assert!(!run.stdout().contains('\x1b') && !run.stderr.contains('\x1b'), "{run}");
    }
}

/// `kodiak ... | head -1` used to be the classic way to see a Rust program panic.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let sandbox = sandbox();
    for format in ["csv", "jsonl", "json"] {
        let session =
            sandbox.kodiak(["--format", format, "sql", "-c", "SELECT * FROM generate_series(1, 3000000)"]).start();
        session.line();
        assert_eq!(session.finish(), (Some(0), String::new()), "{format}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_is_lost_is_an_error() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_snapshot!(sandbox().kodiak(["sql", "-c", "SELECT 1"]).stdout(full).run(), @"
    exit 1
    --- stderr
    error[KDK-0204]: cannot write to `stdout`: No space left on device (os error 28)
    ");
}
