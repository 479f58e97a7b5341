//! The process ends at any write of any change: what is committed opens, holds what it held, and the change can be made
//! again to its end.

use super::tests::{create, made, open_with, simple, value};
use super::*;
use crate::memory::Memory;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn vault() -> (Memory, Unlocked) {
    let (records, mut keys) = made();
    for name in NAMES {
        create(&records, &mut keys, name, "", &format!("value of {name}"));
    }
    keys.vault(&records, 8).unwrap().add_slot(Kind::Recovery, &tests::key(3)).unwrap();
    (records, keys)
}

/// Runs `change`, in as many transactions as it makes, ending at each of its writes in turn.
fn survives(change: impl Fn(&Memory, &mut Unlocked) -> Result<()>, done: impl Fn(&Memory, &mut Unlocked)) {
    let (records, mut keys) = vault();
    records.take_writes();
    change(&records, &mut keys).unwrap();
    let writes = records.take_writes();
    assert!(writes > 1, "{writes} writes");
    for write in 0..writes {
        let (records, mut keys) = vault();
        records.fail_at(write);
        assert!(change(&records, &mut keys).is_err(), "write {write}");
        records.restart();
        // The process that goes on, and one that begins, by either slot.
        let mut others = [open_with(&records, 1).unwrap().unwrap(), open_with(&records, 3).unwrap().unwrap()];
        for keys in others.iter_mut().chain([&mut keys]) {
            for name in NAMES {
                assert_eq!(value(&records, keys, name).unwrap(), format!("value of {name}"), "write {write}");
            }
        }
        let [first, _] = &mut others;
        change(&records, first).unwrap();
        done(&records, first);
        for keys in [first, &mut keys] {
            for name in NAMES {
                assert_eq!(value(&records, keys, name).unwrap(), format!("value of {name}"), "write {write}, again");
            }
        }
    }
}

#[test]
fn a_rotation_of_the_root_key_survives_an_end_at_any_write() {
    survives(
        |records, keys| records.atomically(|| keys.vault(records, 9)?.rotate_master().map(drop)),
        |records, _| assert!(header(records).unwrap().unwrap().root_version >= 2),
    );
}

#[test]
fn a_rotation_of_the_epoch_survives_an_end_at_any_write_and_is_finished_later() {
    let rotate = |records: &Memory, keys: &mut Unlocked| {
        // As the command does: what is under way is finished, not begun again.
        if keys.vault(records, 9)?.pending()? == 0 {
            records.atomically(|| keys.vault(records, 9)?.rotate_key().map(drop))?;
        }
        while records.atomically(|| keys.vault(records, 9)?.rewrap(2))? > 0 {}
        Ok(())
    };
    survives(rotate, |records, keys| {
        let vault = keys.vault(records, 9).unwrap();
        let epoch = vault.state().unwrap().epoch;
        assert!(epoch >= 2 && vault.pending().unwrap() == 0);
        assert!(vault.list().unwrap().iter().flat_map(|head| &head.versions).all(|version| version.epoch == epoch));
        assert_eq!(records.scan(EPOCHS).unwrap().len(), 1, "the old epoch's key is gone");
    });
}

#[test]
fn a_rotation_of_a_secret_survives_an_end_at_any_write() {
    survives(
        |records, keys| records.atomically(|| keys.vault(records, 9)?.rotate_secret("c").map(drop)),
        |records, keys| assert!(keys.vault(records, 9).unwrap().head("c").unwrap().versions.len() >= 2),
    );
}

#[test]
fn slots_and_secrets_are_added_whole_or_not_at_all() {
    survives(
        |records, keys| {
            records.atomically(|| {
                let mut vault = keys.vault(records, 9)?;
                vault.add_slot(Kind::Recovery, &tests::key(7))?;
                vault.create("new", "s3", "", &simple("v"), Existing::Replace).map(drop)
            })
        },
        |records, keys| assert_eq!(value(records, keys, "new").unwrap(), "v"),
    );
}
