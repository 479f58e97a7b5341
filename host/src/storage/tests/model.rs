//! Random transactions, several at a time, with savepoints, reopening and checkpoints anywhere, against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::faulty::Twin;
use super::*;
use crate::error::codes;
use crate::storage::{Options, Retention, Savepoint, Transaction};

const TRANSACTIONS: usize = 3;

#[derive(Clone, Debug)]
enum Action {
    Begin(usize),
    Insert(usize, i64, i64),
    Update(usize, i64),
    Delete(usize, i64, i64),
    Put(usize, u8),
    Remove(usize, u8),
    Savepoint(usize),
    RollbackTo(usize),
    Rollback(usize),
    Commit(usize),
    Checkpoint,
    Reopen,
}

fn action() -> impl Strategy<Value = Action> {
    let who = 0..TRANSACTIONS;
    let key = 0i64..24;
    prop_oneof![
        4 => who.clone().prop_map(Action::Begin),
        6 => (who.clone(), key.clone(), 1i64..12).prop_map(|(who, key, count)| Action::Insert(who, key, count)),
        5 => (who.clone(), key.clone()).prop_map(|(who, key)| Action::Update(who, key)),
        4 => (who.clone(), key, 1i64..10).prop_map(|(who, key, count)| Action::Delete(who, key, count)),
        2 => (who.clone(), 0u8..4).prop_map(|(who, key)| Action::Put(who, key)),
        1 => (who.clone(), 0u8..4).prop_map(|(who, key)| Action::Remove(who, key)),
        2 => who.clone().prop_map(Action::Savepoint),
        2 => who.clone().prop_map(Action::RollbackTo),
        1 => who.clone().prop_map(Action::Rollback),
        5 => who.prop_map(Action::Commit),
        1 => Just(Action::Checkpoint),
        1 => Just(Action::Reopen),
    ]
}

/// Rows and entries, each with the number of the write that made it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    rows: BTreeMap<i64, u64>,
    entries: BTreeMap<u8, u64>,
}

struct Open {
    real: Transaction,
    base: Model,
    now: Model,
    savepoint: Option<(Savepoint, Model)>,
}

fn tiny() -> Options {
    Options {
        wal_bytes_max: 6000,
        close_wal_bytes_max: 2000,
        spill_rows_max: 9,
        group_rows: 5,
        retention: Retention::NONE,
        background: false,
        ..Options::default()
    }
}

fn shown(snapshot: &Snapshot, table: TableId) -> Model {
    let rows = rows(snapshot, table).into_iter().map(|(id, note)| (id, note.parse().unwrap())).collect();
    let entries = snapshot.scan(b"e").into_iter();
    let entries =
        entries.map(|(key, value)| (key[1], u64::from_le_bytes(value.as_ref().try_into().unwrap()))).collect();
    Model { rows, entries }
}

/// Whether both wrote a key that one of them changed since.
fn conflicts(open: &Open, head: &Model) -> bool {
    let rows = open.base.rows.keys().chain(open.now.rows.keys());
    let row =
        |key: &&i64| open.base.rows.get(key) != open.now.rows.get(key) && open.base.rows.get(key) != head.rows.get(key);
    let entries = open.base.entries.keys().chain(open.now.entries.keys());
    let entry = |key: &&u8| {
        open.base.entries.get(key) != open.now.entries.get(key) && open.base.entries.get(key) != head.entries.get(key)
    };
    rows.clone().any(|key| row(&key)) || entries.clone().any(|key| entry(&key))
}

fn run(actions: &[Action], on_disk: bool) {
    let twin = Twin::new(9);
    let open_store = || match on_disk {
        true => Store::open_on(Arc::new(twin.clone()), Twin::root(), &tiny()).unwrap(),
        false => Store::memory().unwrap(),
    };
    let mut store = open_store();
    let table = table_with(&store, &[]);
    let mut head = Model::default();
    let mut opened: [Option<Open>; TRANSACTIONS] = Default::default();
    let mut writes = 0;
    for action in actions {
        writes += 1;
        match action {
            Action::Begin(who) => {
                let real = store.begin().unwrap();
                opened[*who] = Some(Open { real, base: head.clone(), now: head.clone(), savepoint: None });
            }
            Action::Checkpoint => store.checkpoint().unwrap(),
            Action::Reopen if on_disk => {
                opened = Default::default();
                drop(store);
                store = open_store();
                assert_eq!(store.warnings(), [""; 0]);
            }
            Action::Reopen => {}
            Action::Commit(who) => {
                let Some(open) = opened[*who].take() else { continue };
                let expected = conflicts(&open, &head);
                match open.real.commit() {
                    Ok(_) => {
                        assert!(!expected, "a conflict was not seen");
                        for key in open.base.rows.keys().chain(open.now.rows.keys()) {
                            if open.base.rows.get(key) != open.now.rows.get(key) {
                                match open.now.rows.get(key) {
                                    Some(write) => head.rows.insert(*key, *write),
                                    None => head.rows.remove(key),
                                };
                            }
                        }
                        for key in open.base.entries.keys().chain(open.now.entries.keys()) {
                            if open.base.entries.get(key) != open.now.entries.get(key) {
                                match open.now.entries.get(key) {
                                    Some(write) => head.entries.insert(*key, *write),
                                    None => head.entries.remove(key),
                                };
                            }
                        }
                    }
                    Err(error) => assert!(expected && error.is(codes::CONFLICT), "{error:?}"),
                }
                assert_eq!(shown(&store.begin().unwrap().snapshot(), table), head);
            }
            Action::Rollback(who) => opened[*who] = None,
            Action::Savepoint(who) => {
                if let Some(open) = &mut opened[*who] {
                    open.savepoint = Some((open.real.savepoint(), open.now.clone()));
                }
            }
            Action::RollbackTo(who) => {
                if let Some(open) = &mut opened[*who]
                    && let Some((savepoint, model)) = &open.savepoint
                {
                    open.real.rollback_to(savepoint).unwrap();
                    open.now = model.clone();
                }
            }
            Action::Insert(who, _, _)
            | Action::Update(who, _)
            | Action::Delete(who, _, _)
            | Action::Put(who, _)
            | Action::Remove(who, _) => {
                if let Some(open) = &mut opened[*who] {
                    write(open, table, action, writes);
                }
            }
        }
        for open in opened.iter().flatten() {
            assert_eq!(shown(&open.real.snapshot(), table), open.now, "after {action:?}");
        }
    }
    assert_eq!(store.check().unwrap(), []);
}

fn write(open: &mut Open, table: TableId, action: &Action, write: u64) {
    let note = write.to_string();
    match action {
        Action::Insert(_, key, count) => {
            let new: Vec<(i64, &str)> = (*key..key + count).map(|key| (key, note.as_str())).collect();
            let is_taken = new.iter().any(|(key, _)| open.now.rows.contains_key(key));
            match open.real.append(table, batch(&new)) {
                Ok(()) => {
                    assert!(!is_taken, "a key was taken twice");
                    open.now.rows.extend(new.iter().map(|(key, _)| (*key, write)));
                }
                Err(error) => assert!(is_taken && error.is(codes::UNIQUE), "{error:?}"),
            }
        }
        Action::Update(_, key) => {
            let row = find(&open.real.snapshot(), table, *key);
            assert_eq!(row.is_some(), open.now.rows.contains_key(key));
            if let Some(row) = row {
                assert_eq!(open.real.delete(table, &[row]).unwrap(), 1);
                open.real.append(table, batch(&[(*key, &note)])).unwrap();
                open.now.rows.insert(*key, write);
            }
        }
        Action::Delete(_, key, count) => {
            let snapshot = open.real.snapshot();
            let ids: Vec<u64> = (*key..key + count).filter_map(|key| find(&snapshot, table, key)).collect();
            assert_eq!(open.real.delete(table, &ids).unwrap(), ids.len() as u64);
            open.now.rows.retain(|row, _| !(*key..key + count).contains(row));
        }
        Action::Put(_, key) => {
            open.real.put(&[b'e', *key], &write.to_le_bytes()).unwrap();
            open.now.entries.insert(*key, write);
        }
        Action::Remove(_, key) => {
            open.real.remove(&[b'e', *key]).unwrap();
            open.now.entries.remove(key);
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..Default::default() })]

    #[test]
    fn random_transactions_do_what_the_map_does(actions in proptest::collection::vec(action(), 1..80)) {
        run(&actions, true);
    }

    #[test]
    fn random_transactions_in_memory_do_what_the_map_does(actions in proptest::collection::vec(action(), 1..80)) {
        run(&actions, false);
    }
}
