//! Plugins whose manifest promises what cannot be: other contributions than the library has, names that are taken, needs
//! that cannot be met.

use serde_json::json;

use super::{Sane, Scene};

#[test]
fn a_claim_of_a_host_statement_is_refused() {
    let scene = Scene::new(&[]);
    let run = scene.try_install(&[], &["claims_select"]);
    run.refused("KDK-0401", 1, &["`claims-select` claims the statement `SELECT`, which belongs to the host"]);
    assert!(scene.list().is_empty() && scene.packages().is_empty());
    scene.survives();
}

#[test]
fn a_manifest_that_lies_keeps_its_plugin_from_being_used() {
    let scene = Scene::new(&["registers_less", "registers_more"]);
    let mut talk = scene.talk();
    for _ in 0..2 {
        assert_eq!(
            talk.refused("SELECT registers_less('x')", "KDK-0454"),
            "`registers-less` 0.1.0 registers no function `registers_less`, which its manifest declares"
        );
        assert_eq!(
            talk.refused("SELECT registers_more('x')", "KDK-0454"),
            "`registers-more` 0.1.0 registers the function `smuggled`, which its manifest does not declare"
        );
        talk.refused("SELECT smuggled('x')", "KDK-0103");
    }
    talk.finish();
    let words = ["the library and its manifest must be built together"];
    scene.sql("SELECT registers_more('x')").refused("KDK-0454", 3, &words);
    scene.survives();
}

#[test]
fn two_extensions_with_one_claim_are_not_both_installed() {
    let scene = Scene::new(&["claims_one_a"]);
    let words = ["`claims-one-a` and `claims-one-b` both claim the statement `GREET WORLD`"];
    scene.try_install(&[], &["claims_one_b"]).refused("KDK-0406", 1, &words);
    assert_eq!(scene.list().len(), 1);
    let mut talk = scene.talk();
    talk.rows("GREET WORLD");
    talk.finish();
    scene.survives();
    let both = Scene::new(&[]);
    both.try_install(&[], &["claims_one_a", "claims_one_b"]).refused("KDK-0406", 1, &words);
    assert!(both.list().is_empty());
    both.survives();
}

#[test]
fn a_circle_of_needs_is_refused_and_names_both() {
    let scene = Scene::new(&[]);
    let run = scene.try_install(&[], &["cycle_a", "cycle_b"]);
    run.refused("KDK-0405", 1, &["`cycle-a` and `cycle-b` need each other in a circle", "help: "]);
    assert!(scene.list().is_empty());
    scene.survives();
}

#[test]
fn a_need_that_nobody_meets_is_explained() {
    let scene = Scene::new(&[]);
    let run = scene.try_install(&[], &["needs_missing"]);
    let words =
        ["`needs-missing` 0.1.0 needs `nowhere` ^1", "no index knows `nowhere`", "help: kodiak ext search nowhere"];
    run.refused("KDK-0404", 1, &words);
    assert!(scene.list().is_empty());
    scene.survives();
}

#[test]
fn a_need_for_a_newer_version_is_explained() {
    let scene = Scene::new(&["good"]);
    let run = scene.try_install(&[], &["needs_newer"]);
    run.refused("KDK-0404", 1, &["`needs-newer` 0.1.0 needs `good` ^9", "`good` is 0.1.0"]);
    assert_eq!(scene.list().len(), 1);
    let mut talk = scene.talk();
    assert_eq!(talk.rows("SELECT good_add(1, 2)"), json!([[3]]));
    talk.finish();
    // The newer one comes with it, and then it works.
    scene.install(&[], &["needs_newer", "good_next"]);
    assert_eq!(scene.rows("SELECT needs_newer('x') AS x"), "x\nx\n");
}

#[test]
fn a_version_that_others_cannot_use_is_not_installed_over_the_one_that_they_need() {
    let scene = Scene::new(&["good", "leans"]);
    let run = scene.try_install(&[], &["good_next"]);
    run.refused("KDK-0404", 1, &["`leans` 0.1.0", "`good` ^0.1", "9.0.0"]);
    assert_eq!(scene.rows("SELECT leans_sql(1, 2) AS x"), "x\n3\n");
    scene.survives();
}
