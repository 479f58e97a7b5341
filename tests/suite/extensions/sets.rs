//! What is installed where: the user's default set, the set of a database, the lock of a project.

use serde_json::json;

use super::{DB, Sane, Scene};
use kodiak_tests::plugins::library;

#[test]
fn a_fresh_home_has_none() {
    let scene = Scene::new(&[]);
    let run = scene.run(["ext", "list", "--format", "json"]);
    assert_eq!((run.code, run.stdout().trim(), run.stderr.as_str()), (Some(0), "[]", ""));
    assert_eq!(scene.listed(&["--db", DB]), Vec::<serde_json::Value>::new());
    assert!(scene.packages().is_empty());
}

#[test]
fn a_list_has_the_promised_shape() {
    let scene = Scene::new(&["good", "leans"]);
    let listed = scene.list();
    let names: Vec<_> = listed.iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["good", "leans"]);
    for one in &listed {
        assert_eq!((&one["version"], &one["state"]), (&json!("0.1.0"), &json!("installed")));
        assert!(one["source"].as_str().unwrap().ends_with(".so"), "{one}");
        let sha256 = one["sha256"].as_str().unwrap();
        assert!(sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
        assert!(scene.packages().iter().any(|package| package.ends_with(sha256)), "{one}");
    }
    assert_eq!((&listed[0]["requires"], &listed[1]["requires"]), (&json!([]), &json!(["good ^0.1"])));
    // Uninstalled ones are gone from it.
    assert_eq!(scene.run(["ext", "uninstall", "leans"]).code, Some(0));
    assert_eq!(scene.list().len(), 1);
}

#[test]
fn a_dry_run_leaves_store_and_database_alone() {
    let scene = Scene::new(&[]);
    let before = std::fs::read_dir(scene.sandbox.kodiak_home()).unwrap().count();
    for options in [&["--dry-run"][..], &["--dry-run", "--yes", "--allow-unsigned"]] {
        let run = scene.run(
            ["--db", "new.kdb", "ext", "install"]
                .iter()
                .chain(options)
                .map(|text| (*text).to_owned())
                .chain([library("good").display().to_string()]),
        );
        assert_eq!(run.code, Some(0), "{run}");
        let stdout = run.stdout();
        for word in ["would install good 0.1.0", "command `good`", "function `good_add`", "change every table"] {
            assert!(stdout.contains(word), "{run}");
        }
    }
    assert!(scene.packages().is_empty() && scene.list().is_empty());
    assert!(!scene.sandbox.path("new.kdb").exists());
    assert_eq!(std::fs::read_dir(scene.sandbox.kodiak_home()).unwrap().count(), before);
}

#[test]
fn permissions_are_agreed_to_once_and_never_by_silence() {
    let scene = Scene::new(&[]);
    let good = library("good").display().to_string();
    let run = scene.run(["ext", "install", &good]);
    run.refused("KDK-0003", 2, &["`good` asks for permissions", "help: add --yes to agree"]);
    assert!(run.stderr.contains("asks to read and change every table"), "{run}");
    assert!(scene.list().is_empty() && scene.packages().is_empty());
    // One that asks for nothing needs nobody's word.
    let plain = library("claims_one_a").display().to_string();
    assert_eq!(scene.run(["ext", "install", &plain]).code, Some(0));
    assert_eq!(scene.run(["ext", "install", &good, "--yes", "--allow-unsigned"]).code, Some(0));
    // What was agreed to is not asked again.
    let again = scene.run(["ext", "install", &good]);
    assert_eq!(again.code, Some(0), "{again}");
}

#[test]
fn a_database_without_a_set_uses_the_users_until_it_has_one() {
    let scene = Scene::new(&["good"]);
    assert_eq!(scene.listed(&["--db", DB]).len(), 1);
    // Its first own install begins with what it used so far.
    scene.install(&["--db", DB], &["claims_one_a"]);
    assert_eq!(scene.listed(&["--db", DB]).len(), 2);
    assert_eq!(scene.list().len(), 1, "the default set is another");
    assert_eq!(scene.run(["ext", "uninstall", "good"]).code, Some(0));
    assert_eq!(scene.rows("SELECT good_add(1, 2) AS x"), "x\n3\n");
    scene.sandbox.sql("other.kdb", "SELECT 1");
    let other = scene.run(["--db", "other.kdb", "sql", "-c", "SELECT good_add(1, 2)"]);
    other.refused("KDK-0103", 1, &["good_add"]);
    let command = scene.run(["--db", DB, "good", "World"]);
    assert_eq!(command.stdout(), "hello World\n");
    assert_eq!(scene.run(["--db", DB, "ext", "disable", "good"]).code, Some(0));
    scene.sql("SELECT good_add(1, 2)").refused("KDK-0414", 3, &["`good`"]);
    scene.survives();
}

#[test]
fn two_databases_have_two_sets() {
    let scene = Scene::new(&[]);
    scene.install(&["--db", DB], &["good"]);
    scene.install(&["--db", "other.kdb"], &["good_next"]);
    assert_eq!(scene.listed(&["--db", DB])[0]["version"], "0.1.0");
    assert_eq!(scene.listed(&["--db", "other.kdb"])[0]["version"], "9.0.0");
    assert_eq!(scene.packages().len(), 2);
    assert!(scene.list().is_empty());
    scene.sql("SELECT good_upper('x')");
    scene.run(["--db", "other.kdb", "sql", "-c", "SELECT good_upper('x')"]).refused("KDK-0103", 1, &["good_upper"]);
}

#[test]
fn a_project_keeps_a_lock_and_sync_makes_another_copy_equal_to_it() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.run(["init", "p"]).code, Some(0));
    let within = |folder: &str, arguments: &[&str]| scene.sandbox.kodiak(arguments).within(folder).run();
    let good = library("good").display().to_string();
    let leans = library("leans").display().to_string();
    let installed = within("p", &["ext", "install", &good, &leans, "--yes"]);
    assert_eq!(installed.code, Some(0), "{installed}");
    let lock = std::fs::read_to_string(scene.sandbox.path("p/kodiak.lock")).unwrap();
    assert!(
        lock.contains("name = \"good\"") && lock.contains("name = \"leans\"") && lock.contains("sha256 = "),
        "{lock}"
    );
    assert!(scene.list().is_empty(), "a project's set is its database's");

    // A colleague: the project's files, but neither database nor store.
    let colleague = Scene::new(&[]);
    assert_eq!(colleague.run(["init", "p"]).code, Some(0));
    colleague.sandbox.write("p/kodiak.lock", &lock);
    let theirs = |arguments: &[&str]| colleague.sandbox.kodiak(arguments).within("p").run();
    let looked = theirs(&["ext", "sync", "--dry-run", "--format", "json"]);
    assert_eq!(looked.code, Some(0), "{looked}");
    assert!(colleague.packages().is_empty());
    assert_eq!(theirs(&["ext", "sync", "--locked"]).code, Some(1));
    let synced = theirs(&["ext", "sync"]);
    assert_eq!(synced.code, Some(0), "{synced}");
    let sum = theirs(&["sql", "--format", "csv", "-c", "SELECT leans_sql(1, 2) AS x"]);
    assert_eq!(sum.stdout(), "x\n3\n", "{sum}");
    let again = theirs(&["ext", "sync", "--locked"]);
    assert_eq!(again.code, Some(0), "{again}");
    assert_eq!(std::fs::read_to_string(colleague.sandbox.path("p/kodiak.lock")).unwrap(), lock);

    // What is more than the lock says goes.
    let more = theirs(&["ext", "install", &library("claims_one_a").display().to_string()]);
    assert_eq!(more.code, Some(0), "{more}");
    colleague.sandbox.write("p/kodiak.lock", &lock);
    assert_eq!(theirs(&["ext", "sync"]).code, Some(0));
    let listed = theirs(&["ext", "list", "--format", "json"]);
    assert!(!listed.stdout().contains("claims-one-a"), "{listed}");
}

#[test]
fn a_lock_that_does_not_match_is_refused_and_changes_nothing() {
    let scene = Scene::new(&["good"]);
    assert_eq!(scene.run(["init", "p"]).code, Some(0));
    let sha256 = scene.list()[0]["sha256"].as_str().unwrap().to_owned();
    let set = std::fs::read_to_string(scene.sandbox.kodiak_home().join("extensions.toml")).unwrap();
    scene.sandbox.write("p/kodiak.lock", set.replace(&sha256, &"5".repeat(64)));
    let run = scene.sandbox.kodiak(["ext", "sync"]).within("p").run();
    run.refused("KDK-0409", 1, &["`good`", "is not what was locked", "locked: 5555", &sha256]);
    scene.sandbox.write("p/kodiak.lock", "not a lock");
    let run = scene.sandbox.kodiak(["ext", "sync"]).within("p").run();
    run.refused("KDK-0411", 1, &["kodiak.lock"]);
    std::fs::remove_file(scene.sandbox.path("p/kodiak.lock")).unwrap();
    let run = scene.sandbox.kodiak(["ext", "sync"]).within("p").run();
    run.refused("KDK-0409", 1, &["kodiak.lock"]);
    let listed = scene.sandbox.kodiak(["ext", "list", "--format", "json"]).within("p").run();
    assert!(listed.stdout().contains(&sha256), "{listed}");
}
