//! The store: one good copy whatever happens at once, every change seen, nothing followed out of it.

// A test may panic.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use kodiak_registry::store::PLUGIN_FILE;
use kodiak_registry::{Condition, Digest, Manifest, Origin, Store};

const MANIFEST: &str = "[extension]\nname = \"geo\"\nversion = \"0.3.1\"\napi = \"1.0\"\nsummary = \"Geometry\"\n";

struct Home {
    dir: tempfile::TempDir,
    store: Store,
    file: PathBuf,
    manifest: Manifest,
    origin: Origin,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("libgeo.so");
        fs::write(&file, payload()).unwrap();
        let store = Store::open(&dir.path().join("home")).unwrap();
        let origin = Origin::Library(file.clone());
        Self { dir, store, file, manifest: Manifest::parse(MANIFEST).unwrap(), origin }
    }

    fn put(&self) -> Digest {
        self.store.put(&self.file, &self.manifest, &self.origin).unwrap().sha256
    }

    fn artifact(&self, sha256: Digest, file: &str) -> PathBuf {
        self.store.directory(sha256).join(file)
    }

    fn entries(&self, of: &str) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("home").join(of)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// More than one piece of the copy loop.
fn payload() -> Vec<u8> {
    (0..300_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn what_is_put_is_found_under_its_hash() {
    let home = Home::new();
    assert!(home.store.list().unwrap().is_empty(), "an empty home is an empty store");
    let sha256 = home.put();
    assert_eq!(sha256, Digest::of(&payload()));
    assert_eq!(home.entries("store"), [sha256.to_string()]);
    assert!(home.entries("tmp").is_empty());
    let found = home.store.get(sha256).unwrap().unwrap();
    assert_eq!((found.manifest, found.origin, found.bytes), (home.manifest.clone(), home.origin.clone(), 300_000));
    assert!(found.plugin.is_absolute());
    assert_eq!(fs::read(found.plugin).unwrap(), payload());
    assert_eq!(home.store.list().unwrap().len(), 1);
    assert_eq!(home.store.verify(sha256).unwrap(), Condition::Ok);
    assert_eq!(home.store.check_quick(sha256).unwrap(), Condition::Ok);
    let absent = Digest::of(b"absent");
    assert!(home.store.get(absent).unwrap().is_none());
    assert_eq!(home.store.verify(absent).unwrap(), Condition::Missing);
    assert_eq!(home.store.check_quick(absent).unwrap(), Condition::Missing);
}

#[test]
fn a_second_put_changes_nothing() {
    let home = Home::new();
    let sha256 = home.put();
    let before = fs::metadata(home.artifact(sha256, PLUGIN_FILE)).unwrap().modified().unwrap();
    assert_eq!(home.put(), sha256);
    assert_eq!(fs::metadata(home.artifact(sha256, PLUGIN_FILE)).unwrap().modified().unwrap(), before);
}

/// Every file of an artifact counts, and every way to damage it, also when size and time stay as they were.
#[test]
fn every_change_is_seen_and_repaired() {
    let home = Home::new();
    let sha256 = home.put();
    assert_eq!(home.store.check_quick(sha256).unwrap(), Condition::Ok);
    for file in [PLUGIN_FILE, "manifest.toml", "package.json"] {
        let path = home.artifact(sha256, file);
        let good = fs::read(&path).unwrap();
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let flipped = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            bytes
        };
        let damages = [
            flipped(0),
            flipped(good.len() / 2),
            flipped(good.len() - 1),
            good[..good.len() - 1].to_vec(),
            [&good[..], b" "].concat(),
            Vec::new(),
        ];
        for damage in damages {
            fs::write(&path, &damage).unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            assert_eq!(home.store.check_quick(sha256).unwrap(), Condition::Modified, "{file}");
            assert_eq!(home.store.verify(sha256).unwrap(), Condition::Modified, "{file}");
            if file != PLUGIN_FILE {
                assert_eq!(home.store.get(sha256).unwrap_err().code(), "KDK-0416");
                assert!(home.store.list().unwrap()[0].1.is_err(), "a damaged artifact is listed");
            }
            home.put();
            assert_eq!(home.store.check_quick(sha256).unwrap(), Condition::Ok, "put repairs");
            assert_eq!(fs::read(&path).unwrap(), good);
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(home.store.check_quick(sha256).unwrap(), Condition::Modified, "{file} is gone");
        home.put();
        assert_eq!(home.store.verify(sha256).unwrap(), Condition::Ok);
    }
}

/// The quick check must not read the library: it is the price of every start.
#[test]
#[cfg(target_os = "linux")]
fn an_unchanged_artifact_is_not_read_again() {
    let home = Home::new();
    let sha256 = home.put();
    let plugin = home.artifact(sha256, PLUGIN_FILE);
    // As if it had been installed a while ago, so that the check is not within a tick of the change.
    let cache = home.dir.path().join(format!("home/checked/{sha256}.json"));
    let age = |text: &str| {
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        let later = value["at_ns"].as_u64().unwrap() + 1_000_000_000;
        value["at_ns"] = later.into();
        value.to_string()
    };
    fs::write(&cache, age(&fs::read_to_string(&cache).unwrap())).unwrap();
    // Reading would change the cache file, because a full check writes it.
    let before = fs::read(&cache).unwrap();
    assert_eq!(home.store.check_quick(sha256).unwrap(), Condition::Ok);
    assert_eq!(fs::read(&cache).unwrap(), before);
    // A touched file is read, found unchanged, and remembered.
    fs::File::options()
        .write(true)
        .open(&plugin)
        .unwrap()
        .set_modified(SystemTime::now() - Duration::from_secs(60))
        .unwrap();
    assert_eq!(home.store.check_quick(sha256).unwrap(), Condition::Ok);
    assert_ne!(fs::read(&cache).unwrap(), before);
    // A damaged cache costs time, never truth.
    fs::write(&cache, b"{").unwrap();
    assert_eq!(home.store.check_quick(sha256).unwrap(), Condition::Ok);
}

#[test]
#[cfg(unix)]
fn links_are_never_followed() {
    use std::os::unix::fs::symlink;

    let home = Home::new();
    let sha256 = home.put();
    let outside = home.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    for file in [PLUGIN_FILE, "manifest.toml", "package.json"] {
        let inside = home.artifact(sha256, file);
        fs::rename(&inside, outside.join(file)).unwrap();
        symlink(outside.join(file), &inside).unwrap();
        assert_eq!(home.store.verify(sha256).unwrap(), Condition::Modified, "{file}");
        home.put();
        assert_eq!(home.store.verify(sha256).unwrap(), Condition::Ok);
        assert!(outside.join(file).exists(), "what the link pointed to is left alone");
    }
    let directory = home.store.directory(sha256);
    fs::remove_dir_all(&directory).unwrap();
    symlink(&outside, &directory).unwrap();
    assert_eq!(home.store.check_quick(sha256).unwrap(), Condition::Modified);
    assert!(home.store.get(sha256).is_err());
    assert!(home.store.remove(sha256).unwrap());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 3, "removing the link removes nothing outside");
}

#[test]
fn only_what_nobody_references_is_collected() {
    let home = Home::new();
    let kept = home.put();
    fs::write(&home.file, b"another library").unwrap();
    let dropped = home.put();
    fs::write(home.dir.path().join("home/store/README"), "not ours").unwrap();
    assert_eq!(home.store.gc(&BTreeSet::from([kept])).unwrap(), [dropped]);
    assert_eq!(home.store.verify(kept).unwrap(), Condition::Ok);
    assert!(home.store.get(dropped).unwrap().is_none());
    assert!(home.dir.path().join("home/store/README").exists());
    assert!(home.store.remove(kept).unwrap());
    assert!(!home.store.remove(kept).unwrap());
    assert!(home.entries("tmp").is_empty());
}

#[test]
fn a_bad_manifest_or_source_leaves_nothing_behind() {
    let home = Home::new();
    let mut manifest = home.manifest.clone();
    manifest.contributes.statements = vec!["SELECT".into()];
    assert_eq!(home.store.put(&home.file, &manifest, &home.origin).unwrap_err().code(), "KDK-0401");
    let absent = home.dir.path().join("absent.so");
    assert_eq!(home.store.put(&absent, &home.manifest, &home.origin).unwrap_err().code(), "KDK-0200");
    assert!(home.entries("store").is_empty() && home.entries("tmp").is_empty());
    fs::write(home.dir.path().join("file"), "").unwrap();
    assert_eq!(Store::open(&home.dir.path().join("file")).unwrap_err().code(), "KDK-0200");
}

#[test]
fn origins_are_read_as_they_are_written() {
    for origin in [
        Origin::Index("/srv/index".into()),
        Origin::Crate("../plugins/blob".into()),
        Origin::Library("/tmp/a:b.so".into()),
        Origin::Package("x.kext".into()),
    ] {
        assert_eq!(origin.to_string().parse(), Ok(origin));
    }
    assert!("ftp:x".parse::<Origin>().is_err());
}

const CHILD: &str = "KODIAK_TEST_STORE_CHILD";

/// The body of the child processes below; alone it has nothing to do.
#[test]
fn put_as_a_child() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let folder = Path::new(&folder);
    put_many(folder, 8);
}

fn put_many(folder: &Path, threads: usize) {
    let manifest = Manifest::parse(MANIFEST).unwrap();
    let file = folder.join("libgeo.so");
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let store = Store::open(&folder.join("home")).unwrap();
                let put = store.put(&file, &manifest, &Origin::Library(file.clone())).unwrap();
                assert_eq!(store.verify(put.sha256).unwrap(), Condition::Ok, "what was put is there at once");
            });
        }
    });
}

#[test]
fn sixty_four_at_once_leave_one_good_copy() {
    let home = Home::new();
    let child = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "put_as_a_child"])
            .env(CHILD, home.dir.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let children: Vec<_> = (0..4).map(|_| child()).collect();
    put_many(home.dir.path(), 32);
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let sha256 = Digest::of(&payload());
    assert_eq!(home.entries("store"), [sha256.to_string()]);
    assert_eq!(home.store.verify(sha256).unwrap(), Condition::Ok);
    assert!(home.entries("tmp").is_empty());
    assert_eq!(fs::read_dir(home.store.directory(sha256)).unwrap().count(), 3);
}

/// Repair, removal and install at once: the store ends in a state, never in an error or half an artifact.
#[test]
fn repair_and_removal_at_once_leave_no_half_artifact() {
    let home = Home::new();
    let sha256 = home.put();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let home = &home;
            scope.spawn(move || match number % 4 {
                0 => {
                    home.store.remove(sha256).unwrap();
                }
                1 => {
                    let path = home.artifact(sha256, PLUGIN_FILE);
                    if let Ok(mut file) = fs::File::options().append(true).open(path) {
                        file.write_all(b"damage").unwrap();
                    }
                }
                _ => {
                    home.put();
                }
            });
        }
    });
    home.put();
    assert_eq!(home.store.verify(sha256).unwrap(), Condition::Ok);
    assert!(home.entries("tmp").is_empty());
    assert_eq!(home.entries("store"), [sha256.to_string()]);
}
