//! Projects and databases: which one a command works on, and looking after it.

use insta::assert_snapshot;

use crate::sandbox;

const SHOW: &str = "SELECT a FROM t";

#[test]
fn the_option_wins_over_the_variable_and_that_over_the_project() {
    let sandbox = sandbox();
    assert_snapshot!(sandbox.run(["init", "shop"]), @"
    exit 0
    --- stderr
    made the project `shop` with the database `shop.kdb`
    ");
    std::fs::create_dir(sandbox.path("shop/below")).unwrap();
    for (db, value) in [("option.kdb", 1), ("variable.kdb", 2), ("shop/shop.kdb", 3)] {
        sandbox.sql(db, &format!("CREATE TABLE t (a BIGINT); INSERT INTO t VALUES ({value})"));
    }
    let args = ["--format", "csv", "sql", "-c", SHOW];
    let run = sandbox.kodiak(args).within("shop/below").run();
    assert_eq!(run.stdout(), "a\n3\n", "{run}");
    let run = sandbox.kodiak(args).within("shop/below").env("KODIAK_DB", sandbox.path("variable.kdb")).run();
    assert_eq!(run.stdout(), "a\n2\n", "{run}");
    let args = ["sql", "-c", SHOW, "--format", "csv", "--db", "../../option.kdb"];
    let run = sandbox.kodiak(args).within("shop/below").env("KODIAK_DB", sandbox.path("variable.kdb")).run();
    assert_eq!(run.stdout(), "a\n1\n", "{run}");
    // Without any of them it is a database in memory.
    assert_eq!(sandbox.kodiak(args[..3].iter()).env("KODIAK_DB", "").run().code, Some(1));
}

#[test]
fn init_makes_a_project_once() {
    let sandbox = sandbox();
    assert_eq!(sandbox.run(["init", "shop", "--quiet"]).to_string(), "exit 0\n");
    assert_eq!(
        std::fs::read_to_string(sandbox.path("shop/kodiak.toml")).unwrap(),
        "[project]\ndatabase = \"shop.kdb\"\n"
    );
    assert!(sandbox.path("shop/shop.kdb").is_dir());
    assert_snapshot!(sandbox.run(["init", "shop"]), @"
    exit 1
    --- stderr
    error[KDK-0105]: `shop` is a project already
    help: cd shop && kodiak sql
    ");
}

#[test]
fn a_broken_project_file_is_named() {
    let sandbox = sandbox();
    sandbox.write("kodiak.toml", "[project\n");
    assert_snapshot!(sandbox.run(["sql", "-c", "SELECT 1"]), @"
    exit 2
    --- stderr
    error[KDK-0002]: `[SANDBOX]/work/kodiak.toml` cannot be understood: unclosed table, expected `]`
      --> [SANDBOX]/work/kodiak.toml:1:9
       |
     1 | [project
       |         ^
    ");
}

#[test]
fn db_looks_after_a_database() {
    let sandbox = sandbox();
    sandbox.sql("d.kdb", "CREATE TABLE t (a BIGINT); INSERT INTO t VALUES (1), (2)");
    let run = sandbox.run(["db", "info", "--db", "d.kdb", "--format", "json"]);
    let facts: serde_json::Value = serde_json::from_str(&run.stdout()).unwrap();
    assert!(facts["version"].is_u64(), "{run}");
    assert_eq!((&facts["tables"], &facts["rows"]), (&1.into(), &2.into()), "{run}");
    assert_snapshot!(sandbox.run(["db", "check", "--db", "d.kdb"]), @"
    exit 0
    --- stderr
    `d.kdb` is sound
    ");
    assert_eq!(
        sandbox.run(["db", "check", "--db", "d.kdb", "--format", "json"]).to_string(),
        "exit 0\n--- stdout\n[]\n"
    );
    assert_eq!(sandbox.run(["db", "checkpoint", "--db", "d.kdb"]).code, Some(0));
    assert_eq!(sandbox.sql("d.kdb", "SELECT sum(a) AS s FROM t"), "s\n3\n");
}

#[test]
fn looking_at_a_database_does_not_make_one() {
    let sandbox = sandbox();
    assert_snapshot!(sandbox.run(["db", "info", "--db", "missing.kdb"]), @"
    exit 1
    --- stderr
    error[KDK-0205]: `missing.kdb` is not a Kodiak database
    ");
    assert!(!sandbox.path("missing.kdb").exists());
    assert_snapshot!(sandbox.run(["db", "check"]), @"
    exit 2
    --- stderr
    error[KDK-0002]: no database is named, and this folder is in no project
    help: kodiak --db NAME.kdb db info
    ");
}
