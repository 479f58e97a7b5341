//! The set of enabled extensions: files, dependents, and the state of each with its words.

// A test may panic.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use kodiak_registry::lock::{Artifact, Lack, conflicts};
use kodiak_registry::{Digest, Enabled, EnabledSet, Error, Manifest, Origin, State};
use proptest::prelude::*;
use semver::Version;

fn manifest(name: &str, version: &str, more: &str) -> Manifest {
    let head = format!("[extension]\nname = \"{name}\"\nversion = \"{version}\"\napi = \"1.0\"\nsummary = \"s\"\n");
    Manifest::parse(&format!("{head}{more}")).unwrap()
}

/// Manifests, and the set in which all of them are enabled.
struct World {
    manifests: BTreeMap<String, Arc<Manifest>>,
    set: EnabledSet,
}

impl World {
    fn new(manifests: Vec<Manifest>) -> Self {
        let mut set = EnabledSet::new();
        for manifest in &manifests {
            set.add(Enabled::of(manifest, Digest::of(manifest.name().as_bytes()), Origin::Index("here".into())));
        }
        let named = |manifest: Manifest| (manifest.name().to_owned(), Arc::new(manifest));
        Self { manifests: manifests.into_iter().map(named).collect(), set }
    }

    /// models → scm → blob, and scm goes with secrets.
    fn chain() -> Self {
        Self::new(vec![
            manifest("blob", "0.1.4", "[contributes]\ncommand = \"c\"\n"),
            manifest("scm", "0.1.0", "[dependencies]\nblob = \"^0.1\"\n[optional-dependencies]\nsecrets = \"^0.1\"\n"),
            manifest("models", "0.2.0", "[dependencies]\nscm = \"^0.1\"\n"),
        ])
    }

    fn states(&self) -> BTreeMap<String, State> {
        self.set.validate(|extension| match self.manifests.get(&extension.name) {
            Some(manifest) => Artifact::Ready(Arc::clone(manifest)),
            None => Artifact::Missing,
        })
    }

    fn error(&self, name: &str) -> Error {
        self.states()[name].error(self.set.get(name).unwrap()).unwrap()
    }
}

#[test]
fn a_whole_set_is_available() {
    let world = World::chain();
    assert!(world.states().values().all(State::is_available));
    assert!(world.states()["scm"].error(world.set.get("scm").unwrap()).is_none());
}

#[test]
fn what_a_missing_dependency_means_is_said_as_in_the_design() {
    let mut world = World::chain();
    world.set.disable("blob").unwrap();
    let error = world.error("scm");
    assert_eq!(error.code(), "KDK-0413");
    assert_eq!(error.to_string(), "`scm` 0.1.0 needs `blob` ^0.1, but `blob` is disabled");
    assert_eq!(error.help().unwrap(), "kodiak ext enable blob");
    assert_eq!(
        world.error("models").to_string(),
        "`models` 0.2.0 needs `scm` ^0.1, which needs `blob` ^0.1, but `blob` is disabled"
    );
    assert_eq!(world.error("blob").code(), "KDK-0414");

    let mut world = World::chain();
    world.set.remove("blob");
    assert_eq!(world.error("scm").to_string(), "`scm` 0.1.0 needs `blob` ^0.1, but `blob` is not installed");
    assert_eq!(world.error("models").help().unwrap(), "kodiak ext install blob");

    let mut world = World::chain();
    let newer = manifest("blob", "0.2.0", "");
    world.set.add(Enabled::of(&newer, Digest::of(b"x"), Origin::Index("here".into())));
    world.manifests.insert("blob".into(), Arc::new(newer));
    assert_eq!(world.error("scm").to_string(), "`scm` 0.1.0 needs `blob` ^0.1, but `blob` has version 0.2.0");
    assert_eq!(world.error("scm").help().unwrap(), "kodiak ext install blob@^0.1");
    world.set.disable("blob").unwrap();
    assert!(world.error("scm").to_string().ends_with("has version 0.2.0"), "enabling it would not help");

    let mut world = World::chain();
    world.manifests.remove("blob");
    assert_eq!(world.states()["blob"], State::Dormant);
    assert_eq!(world.error("blob").code(), "KDK-0415");
    assert!(world.error("scm").to_string().ends_with("but `blob` has no files here"));
}

#[test]
fn other_faults_of_a_dependency_reach_who_needs_it() {
    let world = World::chain();
    let states = world.set.validate(|extension| match extension.name.as_str() {
        "blob" => Artifact::Modified,
        name => Artifact::Ready(Arc::clone(&world.manifests[name])),
    });
    assert_eq!(states["blob"].word(), "modified");
    let error = states["blob"].error(world.set.get("blob").unwrap()).unwrap();
    assert_eq!((error.code(), error.to_string().contains("modified")), ("KDK-0416", true));
    assert!(matches!(&states["models"], State::Unmet { chain, lack: Lack::Modified } if chain.len() == 2));

    let reason = "`blob` was built for another ABI";
    let states = world.set.validate(|extension| match extension.name.as_str() {
        "blob" => Artifact::Refused { code: "KDK-0460", reason: reason.into() },
        name => Artifact::Ready(Arc::clone(&world.manifests[name])),
    });
    assert_eq!(states["blob"].error(world.set.get("blob").unwrap()).unwrap().code(), "KDK-0460");
    let error = states["scm"].error(world.set.get("scm").unwrap()).unwrap();
    assert!(error.to_string().ends_with(&format!("cannot be used: {reason}")), "{error}");
}

#[test]
fn optional_dependencies_only_matter_when_they_are_there() {
    let mut world = World::chain();
    let secrets = manifest("secrets", "0.3.0", "");
    world.set.add(Enabled::of(&secrets, Digest::of(b"x"), Origin::Index("here".into())));
    world.manifests.insert("secrets".into(), Arc::new(secrets));
    assert_eq!(
        world.error("scm").to_string(),
        "`scm` 0.1.0 goes only with `secrets` ^0.1, but `secrets` has version 0.3.0"
    );
    world.set.disable("secrets").unwrap();
    assert!(world.states()["scm"].is_available());
}

#[test]
fn circles_end_and_are_named() {
    let world = World::new(vec![
        manifest("a", "1.0.0", "[dependencies]\nb = \"1\"\n"),
        manifest("b", "1.0.0", "[dependencies]\nc = \"1\"\n"),
        manifest("c", "1.0.0", "[dependencies]\na = \"1\"\nfine = \"1\"\n"),
        manifest("d", "1.0.0", "[dependencies]\na = \"1\"\n"),
        manifest("fine", "1.0.0", ""),
    ]);
    assert_eq!(world.error("b").code(), "KDK-0405");
    assert_eq!(world.error("c").to_string(), "`a`, `b` and `c` need each other in a circle");
    assert_eq!(world.error("d").code(), "KDK-0413");
    assert!(world.states()["fine"].is_available());
    let dependents: Vec<&str> = world.set.dependents_of("a").into_iter().map(|one| one.name.as_str()).collect();
    assert_eq!(dependents, ["d", "b", "c"]);
}

#[test]
fn a_disputed_name_belongs_to_nobody() {
    let one = manifest("one", "1.0.0", "[contributes]\nfunctions = [\"f\", \"g\"]\nstatements = [\"DRAW\"]\n");
    let two = manifest("two", "1.0.0", "[contributes]\nfunctions = [\"g\"]\n");
    let user = manifest("user", "1.0.0", "[dependencies]\ntwo = \"1\"\n");
    let found = conflicts([&two, &one, &user]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].to_string(), "`one` and `two` both claim the function `g`");
    let mut world = World::new(vec![one, two, user]);
    assert_eq!(world.error("one").code(), "KDK-0406");
    assert_eq!(world.error("two").code(), "KDK-0406");
    assert_eq!(world.error("user").code(), "KDK-0413");
    world.set.disable("one").unwrap();
    assert!(world.states()["user"].is_available(), "a disabled extension claims nothing");

    let folder = "data-dir = \"files\"\n";
    let (a, b) = (manifest("a", "1.0.0", folder), manifest("b", "1.0.0", folder));
    assert_eq!(conflicts([&a, &b])[0].claim, "the data folder `files`");
}

#[test]
fn an_artifact_that_is_something_else_is_refused() {
    let mut world = World::chain();
    world.manifests.insert("blob".into(), Arc::new(manifest("blob", "0.1.5", "")));
    assert_eq!(world.error("blob").code(), "KDK-0409");
    world.manifests.insert("blob".into(), Arc::new(manifest("blob", "0.1.4", "[dependencies]\nx = \"1\"\n")));
    assert!(world.error("blob").to_string().contains("requires something else"));
}

#[test]
fn dependents_come_before_what_they_need() {
    let world = World::chain();
    let names = |name| world.set.dependents_of(name).into_iter().map(|one| one.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names("blob"), ["models", "scm"]);
    assert_eq!(names("models"), [""; 0]);
    assert_eq!(names("unknown"), [""; 0]);
}

#[test]
fn enabling_and_disabling_say_whether_anything_changed() {
    let mut world = World::chain();
    assert!(!world.set.enable("blob").unwrap());
    assert!(world.set.disable("blob").unwrap());
    assert!(!world.set.disable("blob").unwrap());
    assert!(world.set.enable("blob").unwrap());
    assert_eq!(world.set.enable("nothing").unwrap_err().code(), "KDK-0412");
    assert_eq!(world.set.len(), 3);
    assert_eq!(world.set.remove("blob").unwrap().version, Version::new(0, 1, 4));
    assert!(world.set.get("blob").is_none());
}

#[test]
fn a_file_is_the_same_for_equal_sets() {
    let world = World::chain();
    let mut other = EnabledSet::new();
    let reversed: Vec<Enabled> = world.set.iter().rev_collected();
    reversed.into_iter().for_each(|extension| {
        other.add(extension);
    });
    assert_eq!(other.to_toml(), world.set.to_toml());
    assert_eq!(EnabledSet::parse(&world.set.to_toml()).unwrap(), world.set);
    let text = world.set.to_toml();
    assert!(text.contains("version = 1\n"), "{text}");
    assert!(text.find("\"blob\"").unwrap() < text.find("\"models\"").unwrap());
}

trait RevCollected {
    fn rev_collected(self) -> Vec<Enabled>;
}

impl<'a, I: Iterator<Item = &'a Enabled>> RevCollected for I {
    fn rev_collected(self) -> Vec<Enabled> {
        let mut all: Vec<Enabled> = self.cloned().collect();
        all.reverse();
        all
    }
}

#[test]
fn a_bad_file_is_refused_with_its_place() {
    let good = World::chain().set.to_toml();
    let twice = good.replace("\"models\"", "\"blob\"");
    for (text, words) in [
        ("".to_owned(), "missing field `version`"),
        ("version = 2".to_owned(), "version 2"),
        (format!("x = 1\n{good}"), "unknown field `x`"),
        (twice, "`blob` is there twice"),
        (good.replace("\"blob\"", "\"../blob\""), "cannot be the name"),
        (good.replace("blob = \"^0.1\"", "\"../x\" = \"^0.1\""), "cannot be the name"),
        (good.replace("index:here", "ftp:here"), "an origin begins with"),
        (good.replace("enabled = true", "enabled = 1"), "line 9"),
    ] {
        let error = EnabledSet::parse(&text).unwrap_err();
        assert_eq!(error.code(), "KDK-0411", "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn files_are_replaced_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kodiak.lock");
    assert_eq!(EnabledSet::read(&path).unwrap(), None);
    let set = World::chain().set;
    set.write(&path).unwrap();
    assert_eq!(EnabledSet::read(&path).unwrap(), Some(set));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no file is left beside it");
    fs::write(&path, "x").unwrap();
    assert!(EnabledSet::read(&path).unwrap_err().to_string().contains("kodiak.lock"));
    assert_eq!(EnabledSet::new().write(&dir.path().join("absent/kodiak.lock")).unwrap_err().code(), "KDK-0200");
}

/// Installs at once each add one extension; losing one would lose an install.
#[test]
fn no_change_is_lost_when_many_change_a_file_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("home/extensions.toml");
    std::thread::scope(|scope| {
        for number in 0..16 {
            let path = &path;
            scope.spawn(move || {
                let manifest = manifest(&format!("e{number}"), "1.0.0", "");
                let extension = Enabled::of(&manifest, Digest::of(b"x"), Origin::Library("x.so".into()));
                EnabledSet::update(path, |set| {
                    set.add(extension);
                    Ok::<_, Error>(())
                })
                .unwrap();
            });
        }
    });
    assert_eq!(EnabledSet::read(&path).unwrap().unwrap().len(), 16);
    let refused = EnabledSet::update(&path, |set| {
        set.remove("e1");
        Err::<(), _>(Error::NotInstalled { name: "x".into() })
    });
    assert!(refused.is_err());
    assert_eq!(EnabledSet::read(&path).unwrap().unwrap().len(), 16, "a refused change is not written");
}

/// A small obvious model of `available`: start from what is ready, take away what lacks something, until nothing moves.
fn obviously_available(world: &World) -> Vec<String> {
    let mut left: BTreeMap<&String, &Arc<Manifest>> =
        world.manifests.iter().filter(|(name, _)| world.set.get(name).is_some_and(|one| one.enabled)).collect();
    let mut confirmed: Vec<String> = Vec::new();
    // Growing from below instead of shrinking from above, so that circles never get in.
    loop {
        let next = left.iter().find(|(_, manifest)| {
            manifest.dependencies.iter().all(|(needed, requirement)| {
                confirmed.contains(needed) && requirement.matches(world.manifests[needed].version())
            })
        });
        let Some((name, _)) = next else { break };
        let name = (*name).clone();
        left.remove(&name);
        confirmed.push(name);
    }
    confirmed.sort();
    confirmed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn states_agree_with_an_obvious_model(
        edges in proptest::collection::btree_set((0usize..7, 0usize..8), 0..16),
        versions in proptest::collection::vec(1u64..3, 7),
        disabled in proptest::collection::btree_set(0usize..7, 0..3),
    ) {
        let manifests = (0..7).map(|number| {
            let needs = edges.iter().filter(|(from, to)| *from == number && *to != number);
            let lines: String = needs.map(|(_, to)| format!("e{to} = \"^1\"\n")).collect();
            manifest(&format!("e{number}"), &format!("{}.0.0", versions[number]), &format!("[dependencies]\n{lines}"))
        });
        let mut world = World::new(manifests.collect());
        for number in disabled {
            world.set.disable(&format!("e{number}")).unwrap();
        }
        let states = world.states();
        let available: Vec<String> = states.iter().filter(|(_, state)| state.is_available()).map(|(name, _)| name.clone()).collect();
        prop_assert_eq!(available, obviously_available(&world));
        for (name, state) in &states {
            let error = state.error(world.set.get(name).unwrap());
            prop_assert_eq!(error.is_none(), state.is_available());
        }
    }

    #[test]
    fn no_text_breaks_the_reader(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..6),
    ) {
        let mut bytes = World::chain().set.to_toml().into_bytes();
        for (at, byte, insert) in changes {
            let at = at.index(bytes.len());
            if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        match EnabledSet::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(set) => prop_assert_eq!(EnabledSet::parse(&set.to_toml()).unwrap(), set),
            Err(error) => {
                prop_assert_eq!(error.code(), "KDK-0411");
                prop_assert!(!error.to_string().chars().any(char::is_control), "{}", error);
            }
        }
    }
}
