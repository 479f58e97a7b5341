//! Other extensions: a handle for a secret, after the checks of the host, and nothing else.

use super::Bench;
use kodiak_tests::plugins;

fn bench() -> Bench {
    let bench = Bench::new();
    for name in ["borrows", "borrows_denied", "borrows_undeclared"] {
        let library = plugins::library(name).display().to_string();
        let installed = bench.sandbox.run(["ext", "install", &library, "--yes", "--allow-unsigned"]);
        assert_eq!(installed.code, Some(0), "{installed}");
    }
    bench.sql("CREATE SECRET n (VALUE 'hush-hush')");
    bench
}

#[test]
fn an_extension_that_declares_it_and_may_gets_a_value_by_a_handle() {
    let bench = bench();
    let length = bench.sql("SELECT borrows_length(borrows_handle('n')) AS n");
    assert_eq!(length, "n\n9\n");
    // It is written down who read it.
    let audit = bench.sql("SELECT action, secret, source, outcome FROM secrets.audit WHERE action = 'get'");
    assert_eq!(audit, "action,secret,source,outcome\nget,n,borrows,ok\n");
    assert!(bench.refused("SELECT borrows_handle('nobody')").contains("KDK-0604"));
    assert!(bench.refused("SELECT borrows_length('secret-00')").contains("KDK-0604"));
}

#[test]
fn without_the_permission_or_the_dependency_it_is_refused() {
    let bench = bench();
    let denied = bench.refused("SELECT borrows_denied_handle('n')");
    assert!(denied.contains("KDK-0481") && denied.contains("services = [\"secret_handle\"]"), "{denied}");
    let undeclared = bench.refused("SELECT borrows_undeclared_handle('n')");
    assert!(undeclared.contains("KDK-0482") && undeclared.contains("`secrets`"), "{undeclared}");
}

#[test]
fn users_and_locked_vaults_give_no_handle() {
    let bench = bench();
    for statement in
        ["SELECT secret_handle('n')", "SELECT secret_handle('borrows', 'n')", "SELECT secret_value('a', 'b', 'c')"]
    {
        assert!(bench.refused(statement).contains("KDK-0103"), "{statement}");
    }
    let locked = bench.sandbox.run(["--db", "db.kdb", "sql", "-c", "SELECT borrows_handle('n')"]);
    assert!(locked.code == Some(1) && locked.stderr.contains("KDK-0602"), "{locked}");
}
