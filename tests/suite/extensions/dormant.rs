//! The database always opens: whatever became of an extension, its tables can be read, nobody else writes to them, and
//! everything comes back with it.

use serde_json::{Value, json};

use super::{DB, Sane, Scene};

/// `keeper` with notes and a table elsewhere.
fn kept(options: &[&str]) -> Scene {
    let scene = Scene::new(&[]);
    scene.install(options, &["keeper"]);
    scene.rows("KEEP NOTE 1 'one'; KEEP NOTE 2 'two'; KEEP TABLE elsewhere");
    scene
}

/// Reads work, writes are refused by the extension's name, and what it provides is gated; `used` is how, and none where
/// nobody knows any more who provided it.
fn is_dormant(scene: &Scene, state: Option<&str>, write: &str, used: Option<&str>) {
    let mut talk = scene.talk();
    assert_eq!(talk.rows("SELECT id, text FROM keeper.notes ORDER BY id"), json!([[1, "one"], [2, "two"]]));
    assert_eq!(talk.rows("SELECT sum(n) FROM elsewhere"), json!([[3]]));
    assert_eq!(talk.rows("SELECT count(*) FROM people JOIN keeper.notes USING (id)"), json!([[1]]));
    for statement in [
        "INSERT INTO keeper.notes VALUES (3, 'three')",
        "UPDATE keeper.notes SET text = 'x'",
        "DELETE FROM keeper.notes",
        "INSERT INTO elsewhere VALUES (9)",
        "DELETE FROM elsewhere WHERE n = 1",
    ] {
        let message = talk.refused(statement, write);
        assert!(message.contains("`keeper`"), "{statement}: {message}");
    }
    for statement in ["KEEP NOTE 3 'three'", "SELECT keeper_count()"] {
        match used {
            Some(code) => assert!(talk.refused(statement, code).contains("`keeper`"), "{statement}"),
            None => assert_eq!(talk.ask(statement)["ok"], false, "{statement}"),
        }
    }
    let rows = "SELECT kind, name, state FROM kodiak.extension_objects WHERE extension = 'keeper' ORDER BY kind, name";
    let owned = [("note", "one"), ("note", "two"), ("table", "elsewhere"), ("table", "keeper.notes")];
    assert_eq!(talk.rows(rows), json!(owned.map(|(kind, name)| [kind, name, "dormant"])));
    let extensions = state.map_or(json!([]), |state| json!([["keeper", state]]));
    assert_eq!(talk.rows("SELECT name, state FROM kodiak.extensions"), extensions);
    // Nothing of what was refused happened, and everything else works as ever.
    assert_eq!(talk.rows("SELECT count(*) FROM keeper.notes"), json!([[2]]));
    talk.rows("INSERT INTO people VALUES (7, 'Grace'); DELETE FROM people WHERE id = 7");
    talk.rows("CREATE TABLE copied AS SELECT * FROM keeper.notes");
    assert_eq!(talk.rows("SELECT count(*) FROM copied"), json!([[2]]));
    talk.rows("DROP TABLE copied");
    talk.finish();
    let command = scene.run(["--db", DB, "keeper"]);
    assert!(matches!(command.code, Some(2 | 3)) && command.stderr.contains("keeper"), "{command}");
    if let Some(state) = state {
        assert_eq!(scene.listed(&["--db", DB])[0]["state"], state);
        let info = scene.run(["--db", DB, "ext", "info", "keeper", "--format", "json"]);
        let info: Value = serde_json::from_slice(&info.stdout).unwrap();
        let objects = info["objects"].as_array().unwrap().len();
        assert_eq!(objects, 4, "two notes, two tables: {info}");
    }
    scene.survives();
}

/// Everything is as it was.
fn is_back(scene: &Scene) {
    let states = "SELECT DISTINCT state FROM kodiak.extension_objects WHERE extension = 'keeper'";
    assert_eq!(scene.rows(states), "state\nactive\n");
    assert_eq!(scene.rows("SELECT keeper_count() AS n"), "n\n2\n");
    scene.rows("KEEP NOTE 3 'three'");
    assert_eq!(scene.rows("SELECT text FROM keeper.notes ORDER BY id"), "text\none\ntwo\nthree\n");
    let run = scene.run(["--db", DB, "--format", "csv", "keeper"]);
    assert_eq!(run.stdout(), "id,text\n1,one\n2,two\n3,three\n", "{run}");
    scene.survives();
}

#[test]
fn with_an_extension_that_was_uninstalled_elsewhere() {
    // The default set knows nothing of what a database keeps: this is how objects become orphans.
    let scene = kept(&[]);
    assert_eq!(scene.run(["ext", "uninstall", "keeper"]).code, Some(0));
    is_dormant(&scene, None, "KDK-0415", None);
    scene.install(&[], &["keeper"]);
    is_back(&scene);
}

#[test]
fn with_an_extension_that_is_disabled() {
    let scene = kept(&["--db", DB]);
    assert_eq!(scene.run(["--db", DB, "ext", "disable", "keeper"]).code, Some(0));
    is_dormant(&scene, Some("disabled"), "KDK-0414", Some("KDK-0414"));
    assert_eq!(scene.run(["--db", DB, "ext", "enable", "keeper"]).code, Some(0));
    is_back(&scene);
}

#[test]
fn with_an_extension_whose_files_are_missing() {
    let scene = kept(&["--db", DB]);
    std::fs::remove_dir_all(scene.sandbox.kodiak_home()).unwrap();
    is_dormant(&scene, Some("dormant"), "KDK-0415", Some("KDK-0415"));
    scene.install(&["--db", DB], &["keeper"]);
    is_back(&scene);
}

#[test]
fn with_an_extension_whose_file_is_damaged() {
    let scene = kept(&["--db", DB]);
    let file = scene.packages()[0].join("plugin.so");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, b"damaged").unwrap();
    is_dormant(&scene, Some("modified"), "KDK-0416", Some("KDK-0416"));
    scene.install(&["--db", DB], &["keeper"]);
    is_back(&scene);
}

#[test]
fn with_a_home_that_cannot_be_used() {
    let scene = kept(&["--db", DB]);
    let home = scene.sandbox.kodiak_home();
    std::fs::write(home.join("config.toml"), "indexes = 7\n").unwrap();
    let mut talk = scene.talk();
    assert_eq!(talk.rows("SELECT count(*) FROM keeper.notes"), json!([[2]]));
    talk.refused("SELECT keeper_count()", "KDK-0114");
    talk.finish();
    std::fs::remove_file(home.join("config.toml")).unwrap();
    is_back(&scene);
}

/// While the extension works, users read its tables but do not write behind its back.
#[test]
fn tables_of_an_extension_that_works_are_its_own() {
    let scene = kept(&["--db", DB]);
    assert_eq!(scene.rows("SELECT extension FROM kodiak.tables WHERE name = 'notes'"), "extension\nkeeper\n");
    assert_eq!(scene.rows("SELECT extension FROM kodiak.tables WHERE name = 'elsewhere'"), "extension\nkeeper\n");
    assert_eq!(scene.rows("SELECT extension FROM kodiak.schemas WHERE name = 'keeper'"), "extension\nkeeper\n");
    let run = scene.run(["--db", DB, "ext", "uninstall", "keeper"]);
    run.refused("KDK-0440", 1, &["table `keeper.notes`", "table `elsewhere`"]);
}
