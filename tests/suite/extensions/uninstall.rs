//! Uninstalling: nothing goes that was not named, and what is kept is kept whole.

use serde_json::{Value, json};

use super::{DB, Sane, Scene};

/// `keeper` with two notes, a table of its own and one elsewhere, in the database's own set.
fn kept() -> Scene {
    let scene = Scene::new(&[]);
    scene.install(&["--db", DB], &["keeper"]);
    scene.rows("KEEP NOTE 1 'one'; KEEP NOTE 2 'two'; KEEP TABLE elsewhere");
    scene
}

fn uninstall(scene: &Scene, options: &[&str]) -> kodiak_tests::Run {
    scene.run(["--db", DB, "ext", "uninstall"].iter().chain(options))
}

#[test]
fn what_others_need_stays() {
    let scene = Scene::new(&["good", "leans"]);
    let run = scene.run(["ext", "uninstall", "good"]);
    run.refused("KDK-0440", 1, &["cannot uninstall `good`: 1 extension depends on it", "extension: leans 0.1.0"]);
    run.refused("KDK-0440", 1, &["help: kodiak ext uninstall good --cascade"]);
    assert_eq!(scene.list().len(), 2);
    // Named together they may go, and by a cascade too.
    assert_eq!(scene.run(["ext", "uninstall", "good", "leans", "--dry-run"]).code, Some(0));
    let plan = scene.run(["ext", "uninstall", "good", "--cascade", "--dry-run", "--format", "json"]);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let names: Vec<_> = plan.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["leans", "good"], "who needs goes before who is needed");
    assert_eq!(scene.list().len(), 2);
    assert_eq!(scene.run(["ext", "uninstall", "good", "--cascade"]).code, Some(0));
    assert!(scene.list().is_empty());
    scene.sql("SELECT good_add(1, 2)").refused("KDK-0103", 1, &["good_add"]);
    let command = scene.run(["good", "World"]);
    assert!(matches!(command.code, Some(2 | 3)), "{command}");
    scene.survives();
}

#[test]
fn what_owns_objects_stays_and_names_them() {
    let scene = kept();
    let run = uninstall(&scene, &["keeper"]);
    let words = [
        "cannot uninstall `keeper`: 4 objects depend on it",
        "note `one`",
        "note `two`",
        "table `keeper.notes`",
        "table `elsewhere`",
        "help: kodiak ext uninstall keeper --cascade",
        "--keep-data",
    ];
    run.refused("KDK-0440", 1, &words);
    assert_eq!(scene.rows("SELECT keeper_count() AS n"), "n\n2\n");
    let plan = uninstall(&scene, &["keeper", "--cascade", "--dry-run"]);
    assert_eq!(plan.code, Some(0), "{plan}");
    for word in
        ["would uninstall keeper 0.1.0", "drop note `one`", "drop table `keeper.notes`", "drop table `elsewhere`"]
    {
        assert!(plan.stdout().contains(word), "{plan}");
    }
    let plan = uninstall(&scene, &["keeper", "--cascade", "--dry-run", "--format", "json"]);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan.as_array().unwrap().len(), 5, "{plan}");
    assert_eq!(plan[0], json!({"extension": "keeper", "kind": "extension", "name": "keeper"}));
    assert_eq!(scene.rows("SELECT keeper_count() AS n"), "n\n2\n");
    scene.survives();
}

/// What is dropped is dropped whole: reinstalled, the extension begins anew.
fn is_gone(scene: &Scene) {
    assert!(scene.listed(&["--db", DB]).is_empty());
    for table in ["keeper.notes", "elsewhere"] {
        let run = scene.sql(&format!("SELECT * FROM {table}"));
        assert_eq!(run.code, Some(1), "{run}");
    }
    scene.survives();
    scene.install(&["--db", DB], &["keeper"]);
    assert_eq!(scene.rows("SELECT keeper_count() AS n"), "n\n0\n");
}

#[test]
fn a_cascade_drops_what_it_owns() {
    let scene = kept();
    let run = uninstall(&scene, &["keeper", "--cascade"]);
    assert_eq!(run.code, Some(0), "{run}");
    is_gone(&scene);
}

#[test]
fn a_purge_drops_what_it_owns() {
    let scene = kept();
    let run = uninstall(&scene, &["keeper", "--purge"]);
    assert_eq!(run.code, Some(0), "{run}");
    is_gone(&scene);
}

#[test]
fn kept_data_becomes_plain_tables() {
    let scene = kept();
    let run = uninstall(&scene, &["keeper", "--keep-data", "--dry-run"]);
    assert!(run.stdout().contains("keep table `keeper.notes`"), "{run}");
    let run = uninstall(&scene, &["keeper", "--keep-data"]);
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(scene.rows("SELECT text FROM keeper.notes ORDER BY id"), "text\none\ntwo\n");
    scene.rows("INSERT INTO keeper.notes VALUES (3, 'three'); INSERT INTO elsewhere VALUES (3)");
    scene.rows("DROP TABLE elsewhere; DROP TABLE keeper.notes");
    scene.survives();
}

#[test]
fn kept_data_does_not_stand_in_the_way_of_a_new_install() {
    let scene = kept();
    assert_eq!(uninstall(&scene, &["keeper", "--keep-data"]).code, Some(0));
    scene.install(&["--db", DB], &["keeper"]);
    assert_eq!(scene.rows("SELECT keeper_count() AS n"), "n\n2\n");
    scene.rows("KEEP NOTE 3 'three'");
    assert_eq!(scene.rows("SELECT keeper_count() AS n"), "n\n3\n");
    scene.survives();
}

#[test]
fn keeping_and_purging_exclude_each_other() {
    let scene = kept();
    uninstall(&scene, &["keeper", "--keep-data", "--purge"]).refused("KDK-0002", 2, &["--purge"]);
    uninstall(&scene, &["nobody"]).refused(
        "KDK-0412",
        1,
        &["the extension `nobody` is not installed", "kodiak ext list"],
    );
    assert_eq!(scene.listed(&["--db", DB]).len(), 1);
}

#[test]
fn a_dormant_extension_can_be_uninstalled_with_its_objects() {
    let scene = kept();
    std::fs::remove_dir_all(scene.packages().pop().unwrap()).unwrap();
    assert_eq!(scene.listed(&["--db", DB])[0]["state"], "dormant");
    uninstall(&scene, &["keeper"]).refused("KDK-0440", 1, &["4 objects"]);
    let run = uninstall(&scene, &["keeper", "--cascade"]);
    assert_eq!(run.code, Some(0), "{run}");
    is_gone(&scene);
}

/// Buckets and notes that a transaction took back are not owned.
#[test]
fn objects_are_owned_by_the_transaction_that_made_them() {
    let scene = Scene::new(&[]);
    scene.install(&["--db", DB], &["keeper"]);
    scene.rows("SELECT keeper_count()");
    let mut talk = scene.talk();
    talk.rows("BEGIN");
    talk.rows("KEEP NOTE 7 'seven'");
    talk.rows("ROLLBACK");
    talk.rows("KEEP NOTE 8 'eight'");
    talk.rows("FORGET NOTE 'eight'");
    talk.finish();
    let info = scene.run(["--db", DB, "ext", "info", "keeper", "--format", "json"]);
    let info: Value = serde_json::from_slice(&info.stdout).unwrap();
    assert_eq!(info["objects"], json!(["table `keeper.notes`"]), "{info}");
}
