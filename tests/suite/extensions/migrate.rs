//! An extension's data and its versions: brought up to date by the first call that needs it, whole or not at all.

use serde_json::json;

use super::{DB, Scene};

fn noted() -> Scene {
    let scene = Scene::new(&[]);
    scene.install(&["--db", DB], &["keeper"]);
    scene.rows("KEEP NOTE 1 'one'; KEEP NOTE 2 'two'");
    scene
}

#[test]
fn nothing_is_migrated_before_it_is_used() {
    let scene = Scene::new(&["keeper"]);
    assert_eq!(scene.sql("SELECT * FROM keeper.notes").code, Some(1));
    let mut talk = scene.talk();
    talk.rows("BEGIN");
    assert_eq!(talk.rows("SELECT keeper_count()"), json!([[0]]));
    talk.rows("ROLLBACK");
    // The tables went with the transaction that needed them first, and come with the next.
    talk.refused("SELECT * FROM keeper.notes", "KDK-0104");
    talk.rows("KEEP NOTE 1 'one'");
    assert_eq!(talk.rows("SELECT text FROM keeper.notes"), json!([["one"]]));
    talk.finish();
    scene.survives();
}

#[test]
fn the_next_version_migrates_what_the_last_one_kept() {
    let scene = noted();
    scene.install(&["--db", DB], &["keeper_next"]);
    assert_eq!(scene.listed(&["--db", DB])[0]["version"], "0.2.0");
    assert_eq!(scene.rows("SELECT keeper_stars() AS n"), "n\n10\n");
    assert_eq!(scene.rows("SELECT keeper_stars() AS n"), "n\n10\n", "once is enough");
    assert_eq!(scene.rows("SELECT count(*) AS n FROM keeper.notes"), "n\n2\n");
    scene.survives();
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let scene = noted();
    scene.install(&["--db", DB], &["keeper_broken"]);
    let mut talk = scene.talk();
    for _ in 0..2 {
        let message = talk.refused("SELECT keeper_broken()", "KEEP-1");
        assert!(message.contains("the second half does not work"), "{message}");
        assert_eq!(talk.rows("SELECT text FROM keeper.notes ORDER BY id"), json!([["one"], ["two"]]));
        talk.refused("SELECT * FROM keeper.half", "KDK-0101");
    }
    talk.finish();
    // The version before it goes on where it was.
    scene.install(&["--db", DB], &["keeper"]);
    assert_eq!(scene.rows("SELECT keeper_count() AS n"), "n\n2\n");
    scene.survives();
}

#[test]
fn many_processes_migrate_once() {
    let scene = Scene::new(&["keeper"]);
    std::thread::scope(|scope| {
        let work = |id: usize| {
            let scene = &scene;
            scope.spawn(move || {
                // Who comes second while the first one migrates is told so, as by any other conflict, and tries again.
                for _ in 0..50 {
                    let run = scene.sql(&format!("KEEP NOTE {id} 'note {id}'"));
                    if run.code == Some(0) {
                        return;
                    }
                    assert!(run.stderr.contains("KDK-0301") || run.stderr.contains("KDK-0105"), "{run}");
                }
                panic!("never got through");
            })
        };
        let running: Vec<_> = (0..4).map(work).collect();
        running.into_iter().for_each(|one| one.join().unwrap());
    });
    assert_eq!(scene.rows("SELECT keeper_count() AS n"), "n\n4\n");
    scene.survives();
}
