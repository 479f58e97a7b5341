//! Versions, markers, preconditions and copies over the index in memory, against a model that is a list a key.

use super::*;
use crate::buckets;
use crate::files::{Disk, LocalDisk};
use crate::index::{KeyRange, Which};
use crate::memory::MemoryIndex;
use crate::sweep::{self, Orphan, Remove};
use proptest::prelude::*;
use std::sync::Arc;

pub(super) struct Bench {
    index: MemoryIndex,
    pub writers: Writers,
    folder: tempfile::TempDir,
    pub disk: Arc<dyn Disk>,
}

impl Bench {
    pub fn new(versioning: Versioning) -> Self {
        let (index, writers, folder) = (MemoryIndex::default(), Writers::default(), tempfile::tempdir().unwrap());
        let bench = Self { index, writers, folder, disk: Arc::new(LocalDisk) };
        assert!(buckets::create(&bench.index, "b", versioning, false, 1).unwrap());
        bench
    }

    pub fn payloads(&self) -> Payloads {
        Payloads::new(self.folder.path().to_owned(), Arc::clone(&self.disk))
    }

    pub fn with<T>(&self, run: impl FnOnce(&Objects<'_>) -> T) -> T {
        let payloads = || Ok(self.payloads());
        run(&Objects { index: &self.index, payloads: &payloads, writers: &self.writers, now: 7 })
    }

    pub fn put_if(&self, key: &str, content: &[u8], precondition: &Precondition) -> Result<Version> {
        self.with(|o| o.put("b", key, &mut &*content, About::default(), precondition, &mut |_| Ok(())))
    }

    pub fn put(&self, key: &str, content: &[u8]) -> Version {
        self.put_if(key, content, &Precondition::None).unwrap()
    }

    pub fn get(&self, key: &str, version: Option<&str>) -> Result<Vec<u8>> {
        let version = version.map(VersionId::parse);
        self.with(|o| {
            let object = o.find("b", key, version.as_ref())?;
            let mut found = Vec::new();
            let whole = Stretch { offset: 0, length: object.version.size };
            o.read("b", &object, whole, &mut |piece| {
                found.extend_from_slice(piece);
                Ok(())
            })?;
            sweep::verify(o, "b", &object, &mut |_| Ok(()))?;
            Ok(found)
        })
    }

    pub fn delete(&self, key: &str, version: Option<&str>) -> Deleted {
        self.with(|o| o.delete("b", key, version.map(VersionId::parse).as_ref())).unwrap()
    }

    fn alter(&self, versioning: Versioning) -> Result<()> {
        buckets::alter(&self.index, &self.index.bucket("b")?.unwrap(), versioning)
    }

    fn versions(&self) -> Vec<Version> {
        let id = self.index.bucket("b").unwrap().unwrap().id;
        self.index.list(id, &KeyRange::default(), Which::All, None).unwrap().map(Result::unwrap).collect()
    }

    pub fn sweep(&self, remove: Remove) -> Result<Vec<Orphan>> {
        sweep::sweep(&self.payloads(), remove, || sweep::referred(&self.index))
    }

    pub fn payload_count(&self) -> usize {
        let payloads = self.payloads();
        let folders = payloads.disk().list(&payloads.data_folder()).unwrap();
        folders.iter().map(|(folder, _)| payloads.disk().list(folder).unwrap().len()).sum()
    }
}

pub(super) fn large() -> Vec<u8> {
    (0..50_000_u32).map(|i| (i % 253) as u8).collect()
}

#[test]
fn without_versioning_the_last_put_wins_and_delete_leaves_nothing() {
    let bench = Bench::new(Versioning::Off);
    bench.put("k", b"one");
    let two = bench.put("k", b"two");
    assert_eq!((two.id(), two.etag.as_str(), two.size), ("null", "b8a9f715dbb64fd5c56e7783c6820a61", 3));
    assert_eq!(bench.get("k", None).unwrap(), b"two");
    assert_eq!(bench.delete("k", None), Deleted { objects: 1, marker: false });
    assert_eq!(bench.delete("k", None), Deleted { objects: 0, marker: false });
    assert!(code::NO_KEY.is(&bench.get("k", None).unwrap_err()));
    assert!(bench.versions().is_empty());
}

#[test]
fn versions_stay_behind_markers_and_come_back() {
    let bench = Bench::new(Versioning::On);
    let (one, two) = (bench.put("k", b"one"), bench.put("k", &large()));
    assert!(one.id() < two.id());
    assert_eq!(bench.delete("k", None), Deleted { objects: 1, marker: true });
    assert!(code::NO_KEY.is(&bench.get("k", None).unwrap_err()));
    assert_eq!(bench.get("k", Some(one.id())).unwrap(), b"one");
    assert_eq!(bench.get("k", Some(two.id())).unwrap(), large());
    let marker = bench.versions()[0].clone();
    assert!(marker.is_delete_marker && marker.is_latest);
    assert_eq!(bench.delete("k", Some(marker.id())), Deleted { objects: 1, marker: false });
    assert_eq!(bench.get("k", None).unwrap(), large());
    assert_eq!(bench.delete("k", Some(two.id())).objects, 1);
    assert_eq!(bench.get("k", None).unwrap(), b"one");
    assert!(code::NO_VERSION.is(&bench.get("k", Some(two.id())).unwrap_err()));
    assert_eq!(bench.delete("k", Some(two.id())).objects, 0);
}

#[test]
fn suspended_versioning_keeps_one_null_version() {
    let bench = Bench::new(Versioning::Off);
    bench.put("k", b"before");
    bench.alter(Versioning::On).unwrap();
    let kept = bench.put("k", b"kept");
    bench.alter(Versioning::Suspended).unwrap();
    bench.put("k", b"null one");
    bench.put("k", b"null two");
    let ids: Vec<String> = bench.versions().iter().map(|version| version.id().to_owned()).collect();
    assert_eq!(ids, ["null", kept.id()]);
    assert_eq!(bench.get("k", Some("null")).unwrap(), b"null two");
    bench.delete("k", None);
    let versions = bench.versions();
    assert!(versions.len() == 2 && versions[0].is_null && versions[0].is_delete_marker);
    let error = bench.alter(Versioning::Off).unwrap_err();
    assert!(code::VERSIONING.is(&error) && error.help_text().contains("suspended"));
}

#[test]
fn preconditions_fail_closed() {
    let bench = Bench::new(Versioning::On);
    let matching = |etag: &str| Precondition::Match(etag.to_owned());
    assert!(code::NO_KEY.is(&bench.put_if("k", b"x", &matching("*")).unwrap_err()));
    let first = bench.put_if("k", b"x", &Precondition::NotExists).unwrap();
    assert!(code::PRECONDITION.is(&bench.put_if("k", b"y", &Precondition::NotExists).unwrap_err()));
    assert!(
        code::PRECONDITION.is(&bench.put_if("k", b"y", &matching("d41d8cd98f00b204e9800998ecf8427e")).unwrap_err())
    );
    assert_eq!(bench.get("k", None).unwrap(), b"x");
    bench.put_if("k", b"y", &matching(&format!("\"{}\"", first.etag))).unwrap();
    bench.delete("k", None);
    // A deleted object does not exist.
    bench.put_if("k", b"z", &Precondition::NotExists).unwrap();
    assert_eq!(bench.get("k", None).unwrap(), b"z");
}

#[test]
fn a_copy_is_a_row_and_outlives_its_source() {
    let bench = Bench::new(Versioning::Off);
    let about =
        About { content_type: Some("text/plain".into()), tags: [("a".into(), "1".into())].into(), ..About::default() };
    bench.with(|o| o.put("b", "k", &mut &*large(), about, &Precondition::None, &mut |_| Ok(()))).unwrap();
    let copy = bench.with(|o| o.copy(("b", "k", None), ("b", "../copy"), &Precondition::NotExists)).unwrap();
    assert_eq!(bench.payload_count(), 1);
    bench.delete("k", None);
    bench.writers.close();
    assert!(bench.sweep(Remove::Yes).unwrap().is_empty());
    assert_eq!(bench.get("../copy", None).unwrap(), large());
    let object = bench.with(|o| o.find("b", "../copy", None)).unwrap();
    assert_eq!((object.content_type.as_str(), object.tags["a"].as_str()), ("text/plain", "1"));
    assert_eq!(object.version.etag, copy.etag);
}

#[test]
fn a_sweep_takes_what_nobody_needs_and_nothing_else() {
    let bench = Bench::new(Versioning::Off);
    bench.put("small", b"x");
    bench.put("kept", &large());
    bench.put("gone", &large());
    bench.delete("gone", None);
    std::fs::write(bench.payloads().temporary_folder().join("unfinished"), "x").unwrap();
    // This process still might roll back or commit: what it wrote stays.
    let orphans = bench.sweep(Remove::Yes).unwrap();
    assert_eq!(orphans.len(), 1);
    assert_eq!(bench.payload_count(), 2);
    bench.writers.close();
    assert_eq!(bench.sweep(Remove::No).unwrap().len(), 1);
    assert_eq!(bench.payload_count(), 2);
    assert_eq!(bench.sweep(Remove::Yes).unwrap().len(), 1);
    assert_eq!(bench.payload_count(), 1);
    assert_eq!(bench.get("kept", None).unwrap(), large());
}

#[test]
fn damage_names_bucket_key_and_file() {
    let bench = Bench::new(Versioning::Off);
    bench.put("some/key", &large());
    bench.put("other", b"fine");
    let Content::File { payload, .. } = bench.with(|o| o.find("b", "some/key", None)).unwrap().content else {
        panic!()
    };
    let path = bench.payloads().path(&payload);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[49_999] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    for (wanted, spoil) in [(code::DAMAGED, true), (code::MISSING, false)] {
        if !spoil {
            std::fs::remove_file(&path).unwrap();
        }
        let error = bench.get("some/key", None).unwrap_err();
        assert!(wanted.is(&error), "{error}");
        for part in ["`b`", "`some/key`", path.to_str().unwrap()] {
            assert!(error.text().contains(part), "{error}");
        }
    }
    assert_eq!(bench.get("other", None).unwrap(), b"fine");
    assert!(
        code::SWEPT.is(&bench.with(|o| o.copy(("b", "some/key", None), ("b", "c"), &Precondition::None)).unwrap_err())
    );
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8),
    Delete(u8),
    DeleteVersion(usize),
    Switch(bool),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0_u8..2).prop_map(Change::Put),
        2 => (0_u8..2).prop_map(Change::Delete),
        2 => (0_usize..8).prop_map(Change::DeleteVersion),
        1 => any::<bool>().prop_map(Change::Switch),
    ]
}

proptest! {
    /// The model: a list of (key, whether null, content or none for a marker), in the order of their making.
    #[test]
    fn versions_are_what_the_model_says(changes in prop::collection::vec(change(), 1..40)) {
        let bench = Bench::new(Versioning::Off);
        let mut versioning = Versioning::Off;
        let mut model: Vec<(String, bool, Option<Vec<u8>>)> = Vec::new();
        for (round, change) in changes.into_iter().enumerate() {
            match change {
                Change::Put(key) => {
                    let (key, content) = (key.to_string(), round.to_string().into_bytes());
                    bench.put(&key, &content);
                    let null = versioning != Versioning::On;
                    model.retain(|version| !(null && version.0 == key && version.1));
                    model.push((key, null, Some(content)));
                }
                Change::Delete(key) => {
                    let key = key.to_string();
                    bench.delete(&key, None);
                    let null = versioning != Versioning::On;
                    model.retain(|version| !(null && version.0 == key && version.1));
                    if versioning != Versioning::Off {
                        model.push((key, null, None));
                    }
                }
                Change::DeleteVersion(place) => {
                    let versions = bench.versions();
                    let Some(version) = versions.get(place) else { continue };
                    prop_assert_eq!(bench.delete(&version.key, Some(version.id())).objects, 1);
                    let of_key: Vec<usize> = (0..model.len()).filter(|i| model[*i].0 == version.key).collect();
                    let newer = versions.iter().filter(|v| v.key == version.key && v.stamp > version.stamp).count();
                    model.remove(of_key[of_key.len() - 1 - newer]);
                }
                Change::Switch(on) => {
                    versioning = if on { Versioning::On } else { Versioning::Suspended };
                    bench.alter(versioning).unwrap();
                }
            }
            let mut expected: Vec<(String, bool, bool, bool)> = Vec::new();
            for key in ["0", "1"] {
                let of_key = model.iter().rev().filter(|version| version.0 == key);
                expected.extend(of_key.enumerate().map(|(i, v)| (v.0.clone(), v.1, v.2.is_none(), i == 0)));
                let latest = model.iter().rev().find(|version| version.0 == key).and_then(|version| version.2.clone());
                prop_assert_eq!(bench.get(key, None).ok(), latest);
            }
            let found = bench.versions().into_iter().map(|v| (v.key, v.is_null, v.is_delete_marker, v.is_latest));
            prop_assert_eq!(found.collect::<Vec<_>>(), expected);
        }
    }
}
