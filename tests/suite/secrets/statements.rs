//! Statements and functions: in the caller's transaction, and never with a value.

use super::Bench;

#[test]
fn a_secret_is_made_changed_found_and_dropped() {
    let bench = Bench::new();
    bench.sql("CREATE SECRET n (TYPE s3, SCOPE 's3://data', VALUE 'one')");
    assert_eq!(bench.value("n"), "one\n");
    assert!(bench.refused("CREATE SECRET n (VALUE 'x')").contains("KDK-0605"));
    bench.sql("CREATE SECRET IF NOT EXISTS n (VALUE 'x'); ALTER SECRET n SET (VALUE 'two', REGION 'eu')");
    assert_eq!(bench.value("n"), "two\n");
    assert_eq!(bench.done(&["get", "n", "--reveal", "--field", "region"], b""), b"eu\n");
    assert_eq!(bench.done(&["get", "n", "--reveal", "--version", "1"], b""), b"one\n");
    bench.sql("CREATE OR REPLACE SECRET n (TYPE s3, SCOPE 's3://data/deep/', VALUE 'three')");
    let listed = bench.sql("SELECT name, type, scope, version, value FROM secrets.secrets");
    assert_eq!(listed, "name,type,scope,version,value\nn,s3,s3://data/deep/,3,[redacted]\n");
    bench.sql("CREATE SECRET wide (TYPE s3, SCOPE 's3://data', VALUE 'w')");
    let which = "SELECT which_secret('s3://data/deep/x', 's3') AS a, which_secret('s3://data/x', 'S3') AS b, \
                 which_secret('s3://database/x', 's3') AS c, which_secret('s3://data/x') AS d";
    assert_eq!(bench.sql(which), "a,b,c,d\nn,wide,,wide\n");
    bench.sql("DROP SECRET n; DROP SECRET IF EXISTS n");
    assert!(bench.refused("DROP SECRET n").contains("KDK-0604"));
}

#[test]
fn a_rollback_takes_secrets_back_and_leaves_the_vault_whole() {
    let bench = Bench::new();
    bench.sql("CREATE SECRET a (VALUE 'one')");
    bench.sql("BEGIN; CREATE SECRET b (VALUE 'two'); ALTER SECRET a SET (VALUE 'x'); ROTATE KEY; ROLLBACK");
    assert_eq!(bench.value("a"), "one\n");
    assert_eq!(bench.sql("SELECT name FROM secrets.secrets"), "name\na\n");
    bench.sql("BEGIN; CREATE SECRET b (VALUE 'two'); ROLLBACK; BEGIN; CREATE SECRET c (VALUE 'three'); COMMIT");
    assert_eq!(bench.value("c"), "three\n");
}

#[test]
fn rotation_by_sql_keeps_values_and_the_key_file() {
    let bench = Bench::new();
    bench.sql("CREATE SECRET a (VALUE 'one'); CREATE SECRET b (VALUE 'two')");
    bench.sql("ROTATE SECRET a; ROTATE KEY; ROTATE MASTER; ROTATE SECRET b SET (VALUE 'new'); ROTATE MASTER");
    assert_eq!((bench.value("a"), bench.value("b")), ("one\n".into(), "new\n".into()));
    let status = &bench.json(&["status"])[0];
    assert_eq!((status["epoch"].as_i64(), status["root_version"].as_i64()), (Some(2), Some(3)));
    assert_eq!((status["state"].as_str(), status["pending"].as_i64()), (Some("open"), Some(0)));
}

#[test]
fn no_statement_gives_a_value() {
    let bench = Bench::new();
    bench.sql("CREATE SECRET n (VALUE 'hush-hush')");
    for statement in ["SELECT secret('n')", "SELECT secret(name) FROM secrets.secrets", "EXPLAIN SELECT secret('n')"] {
        let run = bench.kodiak(&["sql", "-c", statement]).run();
        let all = format!("{}{}", run.stdout(), run.stderr);
        assert!(!all.contains("hush"), "{run}");
        if !statement.starts_with("EXPLAIN") {
            assert!(run.code == Some(1) && run.stderr.contains("KDK-0615"), "{run}");
        }
    }
}

#[test]
fn a_locked_vault_gives_nothing_until_it_is_opened_again() {
    let bench = Bench::new();
    bench.sql("CREATE SECRET n (VALUE 'one')");
    let locked = bench.locked(&["get", "n", "--reveal"], b"");
    assert!(locked.code == Some(1) && locked.stderr.contains("KDK-0602") && locked.stdout.is_empty(), "{locked}");
    assert!(bench.refused("LOCK SECRETS; CREATE SECRET m (VALUE 'x')").contains("KDK-0602"));
    bench.sql("LOCK SECRETS; UNLOCK SECRETS; CREATE SECRET m (VALUE 'two')");
    let path = bench.sandbox.path(super::KEY).display().to_string();
    let script = format!("UNLOCK SECRETS USING KEY FILE '{path}'; ALTER SECRET m SET (VALUE 'three')");
    bench.sandbox.sql("db.kdb", &script);
    assert_eq!(bench.value("m"), "three\n");
    let wrong = bench.refused("UNLOCK SECRETS USING PASSPHRASE 'not the one'");
    assert!(wrong.contains("KDK-0603") && !wrong.contains("not the one"), "{wrong}");
}

#[test]
fn what_was_done_is_written_down_also_when_it_was_refused() {
    let bench = Bench::new();
    bench.sql("CREATE SECRET n (VALUE 'one')");
    bench.value("n");
    bench.locked(&["get", "n", "--reveal"], b"");
    bench.secrets(&["get", "nobody", "--reveal"], b"");
    // A transaction that is rolled back changed nothing, and wrote nothing down about a change.
    bench.sql("BEGIN; ALTER SECRET n SET (VALUE 'two'); ROLLBACK; ALTER SECRET n SET (VALUE 'three')");
    let audit = bench.sql("SELECT action, secret, version, source, outcome FROM secrets.audit ORDER BY at");
    let expected = "action,secret,version,source,outcome\n\
                    init,,,command,ok\n\
                    create,n,1,statement,ok\n\
                    get,n,1,command,ok\n\
                    get,n,,command,KDK-0602\n\
                    get,nobody,,command,KDK-0604\n\
                    alter,n,2,statement,ok\n";
    assert_eq!(audit, expected);
    assert_eq!(bench.sql("SELECT count(*) AS n FROM secrets.audit WHERE actor = '' OR at IS NULL"), "n\n0\n");
}

#[test]
fn secrets_are_objects_that_keep_the_extension_from_being_uninstalled() {
    let bench = Bench::new();
    bench.sql("CREATE SECRET n (VALUE 'one')");
    let listed = bench.sql("SELECT kind, name FROM kodiak.extension_objects WHERE kind = 'secret'");
    assert_eq!(listed, "kind,name\nsecret,n\n");
    let run = bench.kodiak(&["ext", "uninstall", "secrets"]).run();
    assert!(run.code == Some(1) && run.stderr.contains("`n`"), "{run}");
}
