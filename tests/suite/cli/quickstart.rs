//! The walk on generated data: what it leaves must be what a user then queries.

use crate::sandbox;

#[test]
fn quickstart_loads_tpch_and_finds_it_again() {
    let sandbox = sandbox();
    let first = sandbox.run(["quickstart", "--scale-factor", "0.01"]);
    assert_eq!(first.code, Some(0), "{first}");
    assert_eq!(first.stdout().matches(" rows loaded in ").count(), 8, "{first}");
    let db = "kodiak-quickstart/kodiak-quickstart.kdb";
    // TPC-H, section 4.2.5: rows for each scale factor.
    let counts = "SELECT (SELECT count(*) FROM nation) AS n, (SELECT count(*) FROM customer) AS c, (SELECT count(*) FROM orders) AS o";
    assert_eq!(sandbox.sql(db, counts), "n,c,o\n25,1500,15000\n");
    let again = sandbox.run(["quickstart", "--scale-factor", "0.01"]);
    assert_eq!(again.code, Some(0), "{again}");
    assert_eq!(again.stdout().matches(" rows found in ").count(), 8, "{again}");
    let names = std::fs::read_dir(sandbox.path("kodiak-quickstart")).unwrap().map(|entry| entry.unwrap().file_name());
    let leftovers: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

#[test]
fn quickstart_does_not_take_damaged_data_for_its_own() {
    let sandbox = sandbox();
    let args = ["quickstart", "tour", "--scale-factor", "0.01"];
    assert_eq!(sandbox.run(args).code, Some(0));
    sandbox.sql("tour/tour.kdb", "DELETE FROM region WHERE r_regionkey = 0; DROP TABLE supplier");
    let again = sandbox.run(args);
    assert_eq!(again.code, Some(0), "{again}");
    assert!(
        again.stdout().contains("5 rows replaced in ") && again.stdout().contains("100 rows loaded in "),
        "{again}"
    );
}
