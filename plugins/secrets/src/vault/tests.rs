//! The vault over records in memory: what is kept, who may open it, what rotation keeps.

use super::*;
use crate::memory::Memory;
use crate::passphrase::{Cost, SALT_BYTES};
use zeroize::Zeroizing;

pub(super) fn key(byte: u8) -> Key {
    Key::from_slice(&[byte; 32]).unwrap()
}

fn key_file() -> Kind {
    Kind::KeyFile { path: "/k".to_owned() }
}

/// A vault that `key(1)` opens.
pub(super) fn made() -> (Memory, Unlocked) {
    let records = Memory::default();
    let keys = init(&records, 1, [9; 16], key_file(), &key(1)).unwrap();
    (records, keys)
}

/// Opens every slot that `key(byte)` opens.
pub(super) fn open_with(records: &Memory, byte: u8) -> Result<Option<Unlocked>> {
    unlock(records, |_, _| Some(Ok(key(byte))))
}

pub(super) fn simple(value: &str) -> Fields {
    Fields::simple(Zeroizing::new(value.as_bytes().to_vec()))
}

pub(super) fn create(records: &Memory, keys: &mut Unlocked, name: &str, scope: &str, value: &str) {
    records.atomically(|| keys.vault(records, 5)?.create(name, "s3", scope, &simple(value), Existing::Refuse)).unwrap();
}

pub(super) fn value(records: &Memory, keys: &mut Unlocked, name: &str) -> Result<String> {
    let (_, _, fields) = keys.vault(records, 9)?.read(name, None)?;
    Ok(String::from_utf8(fields.get("VALUE").unwrap().to_vec()).unwrap())
}

#[test]
fn a_secret_is_kept_changed_and_dropped() {
    let (records, mut keys) = made();
    create(&records, &mut keys, "n", "s3://b/", "one");
    assert_eq!(value(&records, &mut keys, "n").unwrap(), "one");
    let mut vault = keys.vault(&records, 7).unwrap();
    let error = vault.create("n", "s3", "", &simple("x"), Existing::Refuse).unwrap_err();
    assert!(code::SECRET_EXISTS.is(&error));
    assert_eq!(vault.create("n", "s3", "", &simple("x"), Existing::Keep).unwrap(), None);
    let change = Change { scope: Some("s3://c".into()), set: simple("two"), ..Change::default() };
    assert_eq!(vault.alter("n", &change).unwrap(), 2);
    let (head, version, fields) = vault.read("n", None).unwrap();
    assert_eq!((head.created_at, head.rotated_at, version.number), (5, Some(7), 2));
    assert_eq!((version.scope.as_str(), fields.get("VALUE").unwrap().as_slice()), ("s3://c", &b"two"[..]));
    assert_eq!(vault.read("n", Some(1)).unwrap().2.get("VALUE").unwrap().as_slice(), b"one");
    assert!(code::NO_SECRET.is(&vault.read("n", Some(3)).unwrap_err()));
    vault.drop_secret("n").unwrap();
    assert!(code::NO_SECRET.is(&vault.read("n", None).unwrap_err()));
    assert!(records.scan(records::VERSIONS).unwrap().is_empty(), "no version stays behind");
}

#[test]
fn the_last_ten_versions_stay() {
    let (records, mut keys) = made();
    create(&records, &mut keys, "n", "", "0");
    let mut vault = keys.vault(&records, 7).unwrap();
    for number in 1..15 {
        vault.alter("n", &Change { set: simple(&number.to_string()), ..Change::default() }).unwrap();
    }
    let numbers: Vec<u32> = vault.head("n").unwrap().versions.iter().map(|version| version.number).collect();
    assert_eq!(numbers, (6..=15).collect::<Vec<_>>());
    assert_eq!(records.scan(records::VERSIONS).unwrap().len(), VERSIONS_MAX);
}

#[test]
fn nothing_of_a_secret_is_in_the_records() {
    let (records, mut keys) = made();
    create(&records, &mut keys, "n", "", "hush-hush");
    let all = records.map().values().flatten().copied().collect::<Vec<_>>();
    assert!(!all.windows(9).any(|window| window == b"hush-hush"));
}

#[test]
fn the_longest_scope_of_the_type_is_taken() {
    let (records, mut keys) = made();
    for (name, scope) in [("all", ""), ("b", "s3://data"), ("deep", "s3://data/a/"), ("a", "s3://data")] {
        create(&records, &mut keys, name, scope, "v");
    }
    let found = |path: &str, kind| which(&records, path, kind).unwrap();
    assert_eq!(found("s3://data/a/x", Some("S3")).as_deref(), Some("deep"));
    assert_eq!(found("s3://data/x", None).as_deref(), Some("a"));
    assert_eq!(found("s3://database/x", Some("s3")).as_deref(), Some("all"));
    assert_eq!(found("s3://data/x", Some("gcs")), None);
}

#[test]
fn another_key_opens_nothing_and_every_slot_is_tried() {
    let (records, mut keys) = made();
    create(&records, &mut keys, "n", "", "v");
    assert!(open_with(&records, 2).unwrap().is_none());
    keys.vault(&records, 8).unwrap().add_slot(Kind::Recovery, &key(3)).unwrap();
    let tried = std::cell::Cell::new(0);
    let opened = unlock(&records, |_, _| {
        tried.set(tried.get() + 1);
        Some(Ok(key(1)))
    });
    assert_eq!((opened.unwrap().unwrap().slot, tried.get()), (1, 2));
    assert_eq!(value(&records, &mut open_with(&records, 3).unwrap().unwrap(), "n").unwrap(), "v");
    assert_eq!(format!("{keys:?}"), "[redacted]");
}

#[test]
fn a_removed_slot_opens_nothing_and_the_last_one_stays() {
    let (records, mut keys) = made();
    let mut vault = keys.vault(&records, 8).unwrap();
    assert!(code::SLOT.is(&vault.remove_slot(1).unwrap_err()));
    assert_eq!(vault.add_slot(Kind::Recovery, &key(3)).unwrap(), 2);
    assert!(code::SLOT.is(&vault.remove_slot(7).unwrap_err()));
    let mut other = open_with(&records, 1).unwrap().unwrap();
    vault.remove_slot(1).unwrap();
    assert!(open_with(&records, 1).unwrap().is_none() && open_with(&records, 3).unwrap().is_some());
    // Another process that opened it with the slot that is gone is out.
    assert!(code::LOCKED.is(&other.vault(&records, 8).err().unwrap()));
}

#[test]
fn a_new_root_key_leaves_every_way_in_and_reaches_other_processes() {
    let (records, mut keys) = made();
    for number in 0..20 {
        create(&records, &mut keys, &format!("n{number}"), "", &number.to_string());
    }
    keys.vault(&records, 8).unwrap().add_slot(Kind::Recovery, &key(3)).unwrap();
    let mut other = open_with(&records, 3).unwrap().unwrap();
    let before = records.map().clone();
    keys.vault(&records, 8).unwrap().rotate_master().unwrap();
    for keys in [&mut keys, &mut other, &mut open_with(&records, 1).unwrap().unwrap()] {
        assert_eq!(value(&records, keys, "n7").unwrap(), "7");
    }
    // The header and all that the old root key protected are new; the sealed secrets are not touched.
    let after = records.map().clone();
    for (key, bytes) in &before {
        let same = key.starts_with(records::VERSIONS) || key.starts_with(HEADS);
        assert_eq!(after[key] == *bytes, same, "{}", String::from_utf8_lossy(key));
    }
}

/// The old root key is what somebody may have got hold of; what comes after it must be out of reach.
#[test]
fn the_old_root_key_opens_nothing_after_a_rotation() {
    let (records, mut keys) = made();
    let old = Key::from_slice(keys.root.expose()).unwrap();
    keys.vault(&records, 8).unwrap().rotate_master().unwrap();
    let bytes = records.get(HEADER).unwrap().unwrap();
    assert!(Header::decode(&bytes).unwrap().check(&bytes, &old).is_err());
    let sealed = records.get(&records::epoch(1)).unwrap().unwrap();
    for version in 1..=2 {
        let associated = epoch_associated(&keys.vault, 1, version);
        assert!(seal::open_key(&old.derive("wrapping", &keys.vault), &associated, &sealed).is_err());
    }
}

#[test]
fn a_new_epoch_takes_over_a_few_at_a_time_and_the_old_one_goes() {
    let (records, mut keys) = made();
    for number in 0..10 {
        create(&records, &mut keys, &format!("n{number}"), "", &number.to_string());
    }
    let mut vault = keys.vault(&records, 8).unwrap();
    assert_eq!(vault.rotate_key().unwrap(), 2);
    assert_eq!((vault.pending().unwrap(), vault.rewrap(4).unwrap()), (10, 6));
    // What is left is found in the records, by whoever opens the vault next.
    let mut next = open_with(&records, 1).unwrap().unwrap();
    let mut vault = next.vault(&records, 9).unwrap();
    assert_eq!(vault.pending().unwrap(), 6);
    vault.create("new", "s3", "", &simple("v"), Existing::Refuse).unwrap();
    assert_eq!(vault.pending().unwrap(), 6);
    assert_eq!(vault.rewrap(100).unwrap(), 0);
    assert_eq!(records.scan(EPOCHS).unwrap().len(), 1);
    for number in 0..10 {
        assert_eq!(value(&records, &mut keys, &format!("n{number}")).unwrap(), number.to_string());
    }
    let epochs: Vec<u32> = heads(&records).unwrap().iter().map(|head| head.current().unwrap().epoch).collect();
    assert!(epochs.iter().all(|epoch| *epoch == 2));
}

#[test]
fn a_rolled_back_transaction_is_noticed_and_checked_again() {
    let (records, mut keys) = made();
    create(&records, &mut keys, "n", "", "one");
    let undone = records.atomically(|| -> Result<()> {
        keys.vault(&records, 6)?.alter("n", &Change { set: simple("two"), ..Change::default() })?;
        Err(code::FILE.error("rolled back"))
    });
    assert!(undone.is_err());
    assert_eq!(value(&records, &mut keys, "n").unwrap(), "one");
    create(&records, &mut keys, "m", "", "three");
    assert_eq!(value(&records, &mut keys, "m").unwrap(), "three");
}

#[test]
fn formats_and_parameters_that_are_not_ours_are_refused() {
    let (records, _) = made();
    let header = records.get(HEADER).unwrap().unwrap();
    let mut newer = header.clone();
    newer[MAGIC.len()] = 2;
    assert!(code::FORMAT.is(&Header::decode(&newer).err().unwrap()));
    let weak = Kind::Passphrase { cost: Cost { memory_kib: 8, iterations: 1, lanes: 1 }, salt: [0; SALT_BYTES] };
    let weak = init(&Memory::default(), 1, [9; 16], weak, &key(1));
    // It can be written by who means it, and is refused when it is read.
    let records = Memory::default();
    let kind = Kind::Passphrase { cost: Cost { memory_kib: 8, iterations: 1, lanes: 1 }, salt: [0; SALT_BYTES] };
    assert!(weak.is_ok() && init(&records, 1, [9; 16], kind, &key(1)).is_ok());
    let error = unlock(&records, |_, _| panic!("nothing is spent on it")).unwrap_err();
    assert!(code::WEAK.is(&error), "{error}");
    let again = init(&records, 1, [9; 16], key_file(), &key(1));
    assert!(code::VAULT_EXISTS.is(&again.unwrap_err()));
}
