//! Installed files: many installs at once, files that were changed or taken away afterwards, and their repair.

use std::fs;
use std::thread;

use super::{DB, Sane, Scene};

#[test]
fn sixteen_installs_of_one_plugin_at_once_leave_one_good_copy() {
    let scene = Scene::new(&[]);
    thread::scope(|scope| {
        let installs: Vec<_> = (0..16).map(|_| scope.spawn(|| scene.install(&[], &["good"]))).collect();
        installs.into_iter().for_each(|install| install.join().unwrap());
    });
    assert_eq!((scene.list().len(), scene.packages().len()), (1, 1));
    let verify = scene.run(["ext", "verify"]);
    assert_eq!(verify.code, Some(0), "{verify}");
    assert_eq!(scene.rows("SELECT good_add(1, 2) AS x"), "x\n3\n");
    scene.survives();
}

#[test]
fn sixteen_installs_of_different_plugins_at_once_lose_none() {
    const PLUGINS: [&str; 8] =
        ["good", "keeper", "services", "bad_data", "oversteps", "panic_drop", "reads_only", "registers_less"];
    // Into the default set and into the set of a database, eight each.
    let scene = Scene::new(&[]);
    thread::scope(|scope| {
        let targets: [&[&str]; 2] = [&[], &["--db", DB]];
        let pairs = targets.into_iter().flat_map(|target| PLUGINS.map(|plugin| (target, plugin)));
        let install =
            |(target, plugin): (&'static [&str], &'static str)| scope.spawn(|| scene.install(target, &[plugin]));
        let installs: Vec<_> = pairs.map(install).collect();
        installs.into_iter().for_each(|install| install.join().unwrap());
    });
    assert_eq!(scene.list().len(), PLUGINS.len());
    assert_eq!(scene.listed(&["--db", DB]).len(), PLUGINS.len());
    assert_eq!(scene.packages().len(), PLUGINS.len());
    scene.survives();
}

/// Every use of `good` is refused with this code, named by its state, and everything else works.
fn is_refused_as(scene: &Scene, state: &str, code: &str) {
    assert_eq!(scene.state("good").as_deref(), Some(state));
    let mut talk = scene.talk();
    for statement in ["SELECT good_add(1, 2)", "SELECT * FROM good_numbers(1)", "GOOD RANGE 2"] {
        let message = talk.refused(statement, code);
        assert!(message.contains("`good`"), "{message}");
    }
    talk.finish();
    scene.run(["--db", DB, "good", "World"]).refused(code, 3, &["`good`"]);
    scene.survives();
}

fn repair(scene: &Scene) {
    scene.install(&[], &["good"]);
    assert_eq!(scene.state("good").as_deref(), Some("installed"));
    assert_eq!(scene.rows("SELECT good_add(1, 2) AS x"), "x\n3\n");
    let verify = scene.run(["ext", "verify"]);
    assert_eq!(verify.code, Some(0), "{verify}");
    assert_eq!(scene.packages().len(), 1);
}

/// An installed file may be write-protected: a person who changes it has changed that first.
fn change(scene: &Scene, change: impl Fn(&mut Vec<u8>)) {
    let package = scene.packages().pop().unwrap();
    let file = package.join("plugin.so");
    let mut bytes = fs::read(&file).unwrap();
    change(&mut bytes);
    fs::remove_file(&file).unwrap();
    fs::write(&file, bytes).unwrap();
}

#[test]
fn a_changed_byte_is_noticed_refused_and_repaired() {
    let scene = Scene::new(&["good"]);
    assert_eq!(scene.rows("SELECT good_add(1, 2) AS x"), "x\n3\n");
    change(&scene, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    is_refused_as(&scene, "modified", "KDK-0416");
    let verify = scene.run(["ext", "verify"]);
    assert_eq!(verify.code, Some(1), "{verify}");
    assert!(verify.stdout().contains("modified") && verify.stderr.contains("modified"), "{verify}");
    let doctor = scene.run(["ext", "doctor"]);
    assert!(doctor.code == Some(1) && doctor.stdout().contains("KDK-0416"), "{doctor}");
    repair(&scene);
}

/// The operating system would end the process inside `dlopen`.
#[test]
fn an_installed_file_that_was_cut_is_not_opened() {
    let scene = Scene::new(&["good"]);
    change(&scene, |bytes| bytes.truncate(bytes.len() / 2));
    is_refused_as(&scene, "modified", "KDK-0416");
    change(&scene, Vec::clear);
    is_refused_as(&scene, "modified", "KDK-0416");
    repair(&scene);
}

#[test]
fn a_package_without_its_library_is_refused() {
    let scene = Scene::new(&["good"]);
    fs::remove_file(scene.packages()[0].join("plugin.so")).unwrap();
    let state = scene.state("good").unwrap();
    assert!(state == "modified" || state == "dormant", "{state}");
    scene.run(["--db", DB, "good", "World"]).refused(
        if state == "modified" { "KDK-0416" } else { "KDK-0415" },
        3,
        &["good"],
    );
    scene.survives();
    repair(&scene);
}

/// Reading it would wait for a writer for ever.
#[test]
fn a_pipe_in_place_of_a_library_keeps_nobody_waiting() {
    let scene = Scene::new(&["good"]);
    let file = scene.packages()[0].join("plugin.so");
    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    is_refused_as(&scene, "modified", "KDK-0416");
    assert_eq!(scene.run(["ext", "verify"]).code, Some(1));
    repair(&scene);
}

#[test]
fn any_other_file_of_a_package_counts_as_well() {
    let scene = Scene::new(&["good"]);
    let package = scene.packages().pop().unwrap();
    let others = fs::read_dir(&package).unwrap().map(|entry| entry.unwrap().path());
    let others: Vec<_> = others.filter(|file| file.file_name().unwrap() != "plugin.so").collect();
    assert!(!others.is_empty());
    for file in others {
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        fs::write(&file, b"nonsense").unwrap();
        let run = scene.run(["ext", "verify"]);
        assert!(run.code == Some(1) && run.stderr.contains("modified"), "{}: {run}", file.display());
        let used = scene.sql("SELECT good_add(1, 2)");
        assert!(used.code == Some(3) && used.stderr.contains("modified"), "{}: {used}", file.display());
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
    }
    scene.survives();
}

#[test]
fn a_package_that_is_gone_leaves_its_extension_dormant() {
    let scene = Scene::new(&["good"]);
    fs::remove_dir_all(scene.packages().pop().unwrap()).unwrap();
    is_refused_as(&scene, "dormant", "KDK-0415");
    let verify = scene.run(["ext", "verify"]);
    assert!(verify.code == Some(1) && verify.stdout().contains("missing"), "{verify}");
    repair(&scene);
}

#[test]
fn an_install_that_is_interrupted_leaves_nothing_that_counts() {
    let scene = Scene::new(&["good"]);
    let store = scene.packages().pop().unwrap().parent().unwrap().to_path_buf();
    // What a killed install leaves: a half-written folder beside the good ones.
    fs::create_dir_all(store.join(".tmp-half")).unwrap();
    fs::write(store.join(".tmp-half/plugin.so"), b"half").unwrap();
    fs::create_dir_all(store.join("0".repeat(64))).unwrap();
    assert_eq!(scene.rows("SELECT good_add(1, 2) AS x"), "x\n3\n");
    assert_eq!(scene.list().len(), 1);
    let verify = scene.run(["ext", "verify"]);
    assert_eq!(verify.code, Some(0), "{verify}");
}
