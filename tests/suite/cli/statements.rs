//! `kodiak sql`: where statements come from, in which order they run, and what happens when one fails.

use insta::assert_snapshot;

use crate::sandbox;

#[test]
fn commands_and_files_run_in_the_order_given() {
    let sandbox = sandbox();
    sandbox.write("two.sql", "SELECT 2 AS n;\nSELECT 3 AS n");
    let args = ["--format", "csv", "sql", "-c", "SELECT 1 AS n", "-f", "two.sql", "-c", "SELECT 4 AS n", "-f", "-"];
    let run = sandbox.kodiak(args).stdin("SELECT 5 AS n").run();
    assert_eq!(run.stdout(), "n\n1\nn\n2\nn\n3\nn\n4\nn\n5\n", "{run}");
}

#[test]
fn all_parts_share_one_session() {
    let run = sandbox().run([
        "sql",
        "--format",
        "csv",
        "-c",
        "CREATE TABLE t (a BIGINT)",
        "-c",
        "INSERT INTO t VALUES (7)",
        "-c",
        "SELECT a FROM t",
    ]);
    assert_eq!(run.stdout(), "a\n7\n", "{run}");
}

#[test]
fn piped_statements_run_with_and_without_the_subcommand() {
    let sandbox = sandbox();
    for args in [
        vec!["--format", "csv"],
        vec!["--format", "csv", "sql"],
        vec!["sql", "--format", "csv", "--db", "d.kdb"],
        vec!["--db", "d.kdb", "--format", "csv"],
    ] {
        let run = sandbox.kodiak(&args).stdin("SELECT 1 AS a;\n-- nothing\n;SELECT ';' AS b").run();
        assert_eq!((run.code, run.stdout().as_str()), (Some(0), "a\n1\nb\n;\n"), "{args:?} {run}");
    }
}

#[test]
fn the_first_error_stops_and_names_its_place() {
    let sandbox = sandbox();
    sandbox.write("bad.sql", "SELECT 1 AS a;\n\nSELECT nope\nFROM (SELECT 1 AS a) t;\nSELECT 2 AS b;\n");
    assert_snapshot!(sandbox.run(["--format", "csv", "sql", "-f", "bad.sql", "-c", "SELECT 3"]), @"
    exit 1
    --- stdout
    a
    1
    --- stderr
    error[KDK-0102]: no column `nope`
      --> bad.sql:3:8
       |
     3 | SELECT nope
       |        ^
    help: there are `a`
    ");
    let text = "SELECT 1 AS a; SELECT\n  nope FROM (SELECT 1 AS a) t; SELECT 2 AS b";
    assert_snapshot!(sandbox.run(["--format", "csv", "sql", "-c", text]), @"
    exit 1
    --- stdout
    a
    1
    --- stderr
    error[KDK-0102]: no column `nope`
      --> -c:2:3
       |
     2 |   nope FROM (SELECT 1 AS a) t; SELECT 2 AS b
       |   ^
    help: there are `a`
    ");
    assert_snapshot!(sandbox.kodiak(["--format", "csv", "sql"]).stdin(text).run(), @"
    exit 1
    --- stdout
    a
    1
    --- stderr
    error[KDK-0102]: no column `nope`
      --> stdin:2:3
       |
     2 |   nope FROM (SELECT 1 AS a) t;
       |   ^
    help: there are `a`
    ");
}

#[test]
fn what_a_failed_run_did_before_is_kept() {
    let sandbox = sandbox();
    let run = sandbox.run([
        "--db",
        "d.kdb",
        "sql",
        "-c",
        "CREATE TABLE t (a BIGINT); INSERT INTO t VALUES (1); SELECT nope; INSERT INTO t VALUES (2)",
    ]);
    assert_eq!(run.code, Some(1), "{run}");
    assert_eq!(sandbox.sql("d.kdb", "SELECT a FROM t"), "a\n1\n");
}

#[test]
fn a_transaction_left_open_is_rolled_back_and_said_so() {
    let sandbox = sandbox();
    let run = sandbox.run(["--db", "d.kdb", "sql", "-c", "CREATE TABLE t (a BIGINT); BEGIN; INSERT INTO t VALUES (1)"]);
    assert_snapshot!(run, @"
    exit 0
    --- stderr
    warning: a transaction was left open at the end and is rolled back
    ");
    assert_eq!(sandbox.sql("d.kdb", "SELECT a FROM t"), "a\n");
}

#[test]
fn input_that_is_no_text_is_refused() {
    let sandbox = sandbox();
    sandbox.write("latin1.sql", b"SELECT 'caf\xe9'");
    assert_snapshot!(sandbox.run(["sql", "-f", "latin1.sql"]), @"
    exit 1
    --- stderr
    error[KDK-0100]: `latin1.sql` is not UTF-8 text
    ");
    assert_snapshot!(sandbox.run(["sql", "-f", "missing.sql"]), @"
    exit 1
    --- stderr
    error[KDK-0200]: cannot read `missing.sql`: No such file or directory (os error 2)
    ");
    assert_snapshot!(sandbox.kodiak(["sql"]).stdin(b"SELECT\n'caf\xe9'").run(), @"
    exit 1
    --- stderr
    error[KDK-0100]: line 2 of the input is not UTF-8 text
    ");
}

#[test]
fn timing_is_one_json_line_a_statement() {
    let statements = "CREATE TABLE t (a BIGINT); INSERT INTO t VALUES (1), (2); SELECT * FROM t";
    let run = sandbox().run(["--format", "csv", "sql", "--timing", "-c", statements]);
    assert_eq!(run.stdout(), "a\n1\n2\n", "{run}");
    let lines: Vec<serde_json::Value> = run.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let counts: Vec<_> = lines.iter().map(|line| (line["statement"].as_u64(), line["rows"].as_u64())).collect();
    assert_eq!(counts, [(Some(1), Some(0)), (Some(2), Some(2)), (Some(3), Some(2))]);
    assert!(lines.iter().all(|line| line["ms"].as_f64() > Some(0.0)), "{run}");
}

/// The value of a secret used to stand in the line above the caret.
#[test]
fn errors_never_repeat_a_secret() {
    let sandbox = sandbox();
    let texts = [
        "CREATE SECRET s (TYPE generic, VALUE 'hush-hush)",
        "ALTER SECRET s\n(VALUE 'hush-hush' 'twice')",
        "CREATE OR REPLACE SECRET s (VALUE 'hush-hush'",
        "SELECT nope; CREATE SECRET s (VALUE 'hush-hush')",
        "SELECT 1; SELECT nope; CREATE SECRET s (VALUE 'hush-hush'",
    ];
    for text in texts {
        sandbox.write("s.sql", text);
        let runs = [
            sandbox.run(["sql", "-c", text]),
            sandbox.run(["sql", "-f", "s.sql"]),
            sandbox.kodiak(["sql"]).stdin(text).run(),
            sandbox.kodiak(["sql", "--protocol", "jsonl"]).stdin(serde_json::json!({"sql": text}).to_string()).run(),
        ];
        for run in runs {
            let all = format!("{}{}", run.stdout(), run.stderr);
            assert!(all.contains("KDK-") && !all.contains("hush") && !all.contains("twice"), "{text}\n{run}");
        }
    }
}
