//! Somebody writes into the records: every byte flipped, entries swapped, renamed, cut, removed and rolled back. Each is
//! found, and no read ever gives another plaintext.

use super::tests::{create, made, open_with, simple, value};
use super::*;
use crate::memory::Memory;
use proptest::prelude::*;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// Three secrets, two versions of one of them, two slots.
fn vault() -> (Memory, Unlocked) {
    let (records, mut keys) = made();
    for (name, text) in [("a", "value of a"), ("b", "value of b"), ("c", "value of c")] {
        create(&records, &mut keys, name, "", text);
    }
    let mut open = keys.vault(&records, 8).unwrap();
    open.alter("a", &Change { set: simple("value of a"), ..Change::default() }).unwrap();
    open.add_slot(Kind::Recovery, &tests::key(3)).unwrap();
    (records, keys)
}

/// What a fresh process reads, and what one reads that had checked everything before.
fn reads(records: &Memory, keys: &mut Unlocked) -> Vec<Result<String>> {
    let mut found = Vec::new();
    for name in ["a", "b", "c"] {
        found.push(match open_with(records, 1) {
            Ok(Some(mut fresh)) => value(records, &mut fresh, name),
            Ok(None) => Err(code::WRONG_KEY.error("refused")),
            Err(error) => Err(error),
        });
        found.push(value(records, keys, name));
    }
    found
}

/// Checks that a change is found by a fresh process, and that nothing reads as anything else.
fn found(change: impl FnOnce(&mut Map)) {
    let (records, mut keys) = vault();
    value(&records, &mut keys, "a").unwrap();
    let before = records.map().clone();
    change(&mut records.map());
    assert_ne!(before, *records.map(), "the test changes something");
    let all = reads(&records, &mut keys);
    let expected = ["a", "a", "b", "b", "c", "c"].map(|name| format!("value of {name}"));
    for (read, expected) in all.iter().zip(&expected) {
        assert!(read.as_ref().map_or(true, |read| read == expected), "{read:?}");
    }
    assert!(all.iter().step_by(2).any(Result::is_err), "a fresh process finds it");
}

fn keys_of(map: &Map) -> Vec<Vec<u8>> {
    map.keys().cloned().collect()
}

#[test]
fn a_flipped_byte_of_any_record_is_found() {
    let (records, _) = vault();
    let sizes: Vec<(Vec<u8>, usize)> = records.map().iter().map(|(key, bytes)| (key.clone(), bytes.len())).collect();
    for (key, size) in sizes {
        // Old versions are only read by their number; the head's digest binds them, which the property below tries.
        for at in (0..size).step_by(3) {
            if !key.starts_with(records::VERSIONS) {
                found(|map| map.get_mut(&key).unwrap()[at] ^= 0x40);
            }
        }
    }
}

#[test]
fn a_removed_or_cut_record_is_found() {
    let (records, _) = vault();
    for key in keys_of(&records.map()).into_iter().filter(|key| !key.starts_with(records::VERSIONS)) {
        found(|map| drop(map.remove(&key)));
        found(|map| map.get_mut(&key).unwrap().truncate(40));
        found(|map| map.get_mut(&key).unwrap().push(0));
    }
}

#[test]
fn sealed_versions_can_neither_be_changed_nor_moved() {
    let (records, _) = vault();
    let versions: Vec<Vec<u8>> =
        keys_of(&records.map()).into_iter().filter(|key| key.starts_with(records::VERSIONS)).collect();
    for one in &versions {
        let check = |change: &dyn Fn(&mut Map)| {
            let (records, mut keys) = vault();
            change(&mut records.map());
            // The old version of `a` too.
            for (name, number) in [("a", Some(1)), ("a", None), ("b", None), ("c", None)] {
                let read = keys.vault(&records, 9).unwrap().read(name, number);
                let read = read.map(|(_, _, fields)| fields.get("VALUE").unwrap().to_vec());
                assert!(read.as_ref().map_or(true, |read| *read == format!("value of {name}").into_bytes()));
            }
            let all = ["a", "b", "c"].iter().flat_map(|name| [(*name, None), (*name, Some(1))]);
            let failed = all.filter(|(name, number)| keys.vault(&records, 9).unwrap().read(name, *number).is_err());
            assert!(failed.count() > 0, "somebody finds it");
        };
        let size = records.map()[one].len();
        for at in 0..size {
            // Identities are random: the place is the same, the key is not.
            let position = versions.iter().position(|key| key == one).unwrap();
            check(&|map| {
                let key = map.keys().filter(|key| key.starts_with(records::VERSIONS)).nth(position).unwrap().clone();
                map.get_mut(&key).unwrap()[at] ^= 1;
            });
        }
    }
    for (from, to) in [(0, 1), (1, 2), (2, 3), (3, 0)] {
        let (records, mut keys) = vault();
        let all: Vec<Vec<u8>> =
            keys_of(&records.map()).into_iter().filter(|key| key.starts_with(records::VERSIONS)).collect();
        let one = records.map()[&all[from]].clone();
        let two = records.map()[&all[to]].clone();
        records.map().insert(all[from].clone(), two);
        records.map().insert(all[to].clone(), one);
        let open = keys.vault(&records, 9).unwrap();
        let all = [("a", Some(1)), ("a", Some(2)), ("b", None), ("c", None)];
        assert_eq!(all.iter().filter(|(name, number)| open.read(name, *number).is_err()).count(), 2);
    }
}

#[test]
fn swapped_and_renamed_heads_are_found() {
    let head = records::head;
    found(|map| {
        let (a, b) = (map[&head("a")].clone(), map[&head("b")].clone());
        map.insert(head("a"), b);
        map.insert(head("b"), a);
    });
    found(|map| {
        let a = map.remove(&head("a")).unwrap();
        map.insert(head("z"), a);
    });
    found(|map| {
        let a = map[&head("a")].clone();
        map.insert(head("z"), a);
    });
    // With its own name in it and every other byte as it was.
    found(|map| {
        let mut moved = Head::decode(&map.remove(&head("a")).unwrap()).unwrap();
        moved.name = "z".into();
        map.insert(head("z"), moved.encode());
    });
    found(|map| {
        let mut moved = Head::decode(&map[&head("a")]).unwrap();
        moved.versions.last_mut().unwrap().scope = "s3://attacker/".into();
        map.insert(head("a"), moved.encode());
    });
    // The older version offered as the current one.
    found(|map| {
        let mut older = Head::decode(&map[&head("a")]).unwrap();
        older.versions.pop();
        map.insert(head("a"), older.encode());
    });
}

/// Every record, and every pair of records, put back to what it was some changes ago; all of them together is a copy of
/// the whole database, which nothing inside it can tell from the present.
#[test]
fn a_rolled_back_record_is_found() {
    let (records, mut keys) = vault();
    let older = records.map().clone();
    let mut open = keys.vault(&records, 9).unwrap();
    for name in ["a", "b"] {
        open.alter(name, &Change { set: simple("newer"), ..Change::default() }).unwrap();
    }
    open.drop_secret("c").unwrap();
    open.create("d", "s3", "", &simple("newer"), Existing::Refuse).unwrap();
    open.remove_slot(2).unwrap();
    open.rotate_master().unwrap();
    let newer = records.map().clone();
    let differing: Vec<Vec<u8>> =
        older.keys().chain(newer.keys()).filter(|key| older.get(*key) != newer.get(*key)).cloned().collect();
    let differing: BTreeSet<Vec<u8>> = differing.into_iter().collect();
    let differing: Vec<Vec<u8>> = differing.into_iter().filter(|key| !key.starts_with(records::VERSIONS)).collect();
    assert!(differing.len() >= 6, "{}", differing.len());
    let back = |map: &mut Map, key: &Vec<u8>| match older.get(key) {
        Some(bytes) => drop(map.insert(key.clone(), bytes.clone())),
        None => drop(map.remove(key)),
    };
    for (at, one) in differing.iter().enumerate() {
        for two in &differing[at..] {
            let mut map = newer.clone();
            back(&mut map, one);
            back(&mut map, two);
            *records.map() = map;
            let fresh = open_with(&records, 1);
            assert!(fresh.is_err(), "{} and {}", String::from_utf8_lossy(one), String::from_utf8_lossy(two));
            // A process that checked everything before holds keys that are newer, and is not misled.
            let known = value(&records, &mut keys, "a");
            assert!(known.as_ref().map_or(true, |known| known == "newer"), "{known:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any bytes in any place: an error or the right value, never a panic, never another one.
    #[test]
    fn no_change_gives_another_plaintext(
        which in any::<prop::sample::Index>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        splice in any::<bool>(),
    ) {
        let (records, mut keys) = vault();
        {
            let mut map = records.map();
            let key = which.get(&keys_of(&map)).clone();
            let old = map[&key].clone();
            let place = at.index(old.len());
            let new = if splice { [&old[..place], &bytes, &old[place..]].concat() } else { bytes };
            map.insert(key, new);
        }
        for (read, name) in reads(&records, &mut keys).iter().zip(["a", "a", "b", "b", "c", "c"]) {
            if let Ok(read) = read {
                prop_assert_eq!(read, &format!("value of {name}"));
            }
        }
    }
}
