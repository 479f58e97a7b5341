//! Stores that share a database through the page `shm`: what they see of each other, what they keep from each other, and
//! that all of it holds when the page is lost or full of nonsense.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::faulty::{Fault, Twin};
use super::*;
use crate::error::codes;
use crate::storage::{Options, Retention};

fn open(twin: &Twin) -> Store {
    Store::open_on(Arc::new(twin.clone()), Twin::root(), &small()).unwrap()
}

fn small() -> Options {
    Options { spill_rows_max: 20, group_rows: 16, retention: Retention::NONE, background: false, ..Options::default() }
}

fn insert(store: &Store, table: TableId, rows: &[(i64, &str)]) {
    let transaction = store.begin().unwrap();
    transaction.append(table, batch(rows)).unwrap();
    transaction.commit().unwrap();
}

fn ids(store: &Store, table: TableId) -> Vec<i64> {
    rows(&store.begin().unwrap().snapshot(), table).into_iter().map(|row| row.0).collect()
}

#[test]
fn nobody_sees_a_commit_before_it_is_durable() {
    let twin = Twin::new(1);
    let (one, other) = (open(&twin), open(&twin));
    let table = table_with(&one, &[(1, "a")]);
    let looked = Arc::new(AtomicBool::new(false));
    let inside = (other.clone(), one.clone(), looked.clone());
    twin.at_sync(move || {
        let (other, one, looked) = &inside;
        if !looked.swap(true, Ordering::SeqCst) {
            assert_eq!(ids(other, table), [1], "another process saw it");
            assert_eq!(ids(one, table), [1], "another thread saw it");
        }
    });
    insert(&one, table, &[(2, "b")]);
    assert!(looked.load(Ordering::SeqCst));
    assert_eq!((ids(&one, table), ids(&other, table)), (vec![1, 2], vec![1, 2]));
}

#[test]
fn a_writer_builds_upon_what_is_not_durable_but_readers_do_not_see_it() {
    let twin = Twin::new(1);
    let (one, other) = (open(&twin), open(&twin));
    let table = table_with(&one, &[(1, "a")]);
    let looked = Arc::new(AtomicBool::new(false));
    let inside = (other.clone(), looked.clone());
    twin.at_sync(move || {
        let (other, looked) = &inside;
        if !looked.swap(true, Ordering::SeqCst) {
            // The key is taken by a record that is in the log and not durable.
            let transaction = other.begin().unwrap();
            transaction.append(table, batch(&[(2, "too late")])).unwrap();
            assert!(transaction.commit().unwrap_err().is(codes::CONFLICT));
            assert_eq!(ids(other, table), [1]);
        }
    });
    insert(&one, table, &[(2, "b")]);
    assert_eq!(ids(&other, table), [1, 2]);
}

#[test]
fn a_record_that_nobody_synced_is_seen_when_the_database_is_opened_again() {
    let twin = Twin::new(1);
    let store = open(&twin);
    let table = table_with(&store, &[(1, "a")]);
    let other = open(&twin);
    // Killed between writing the record and syncing it.
    let transaction = store.begin().unwrap();
    transaction.append(table, batch(&[(2, "b")])).unwrap();
    let dying = twin.clone();
    twin.at_sync(move || dying.fail_at(0, Fault::Crash));
    assert!(transaction.commit().is_err());
    twin.at_sync(|| ());
    twin.restart();
    assert_eq!(ids(&other, table), [1]);
    let next = open(&twin);
    assert_eq!((ids(&next, table), ids(&other, table)), (vec![1, 2], vec![1, 2]));
    drop((store, other, next));
    assert_eq!(ids(&open(&twin.crash()), table), [1, 2]);
}

#[test]
fn files_stay_while_any_process_reads_them() {
    let twin = Twin::new(1);
    let (reader, writer) = (open(&twin), open(&twin));
    let table = table_with(&writer, &[(1, "a"), (2, "b"), (3, "c")]);
    writer.checkpoint().unwrap();
    let before = twin.list_files("segments");
    let transaction = reader.begin().unwrap();
    let delete = writer.begin().unwrap();
    let old: Vec<u64> = [1, 2, 3].iter().map(|&id| find(&delete.snapshot(), table, id).unwrap()).collect();
    delete.delete(table, &old).unwrap();
    delete.commit().unwrap();
    insert(&writer, table, &[(4, "d")]);
    for _ in 0..2 {
        writer.checkpoint().unwrap();
        let now = twin.list_files("segments");
        assert!(before.iter().all(|file| now.contains(file)) && now.len() > before.len(), "{now:?}");
    }
    assert_eq!(rows(&transaction.snapshot(), table).len(), 3);
    drop(transaction);
    writer.checkpoint().unwrap();
    let now = twin.list_files("segments");
    assert!(now.len() == 1 && now != before, "{now:?}");
    assert_eq!(ids(&reader, table), [4]);
}

#[test]
fn a_dead_reader_keeps_nothing() {
    let twin = Twin::new(1);
    let reader = open(&twin);
    let table = table_with(&reader, &[(1, "a")]);
    reader.checkpoint().unwrap();
    let transaction = reader.begin().unwrap();
    twin.restart();
    let writer = open(&twin);
    let delete = writer.begin().unwrap();
    delete.delete(table, &[find(&delete.snapshot(), table, 1).unwrap()]).unwrap();
    delete.commit().unwrap();
    writer.checkpoint().unwrap();
    assert_eq!(twin.list_files("segments"), [""; 0]);
    drop(transaction);
}

#[test]
fn a_file_system_that_cannot_lock_is_refused_with_words() {
    // ENOLCK, ENOSYS, EOPNOTSUPP.
    let known = if cfg!(target_os = "linux") { [37, 38, 95] } else { [77, 78, 102] };
    for code in known {
        let twin = Twin::new(1);
        twin.fail_locks(code);
        let error = Store::open_on(Arc::new(twin.clone()), Twin::root(), &small()).unwrap_err();
        assert!(error.is(codes::LOCKED) && error.message().contains("cannot lock"), "{error:?}");
        assert!(error.help_text().is_some_and(|help| help.contains("local disk")));
        let twin = Twin::new(1);
        drop(open(&twin));
        twin.fail_locks(code);
        assert!(Store::open_on(Arc::new(twin), Twin::root(), &small()).unwrap_err().is(codes::LOCKED));
    }
    let twin = Twin::new(1);
    twin.fail_locks(5);
    assert!(Store::open_on(Arc::new(twin), Twin::root(), &small()).unwrap_err().is(codes::IO));
}

#[derive(Clone, Debug)]
enum Action {
    Insert(usize),
    Delete(usize, usize),
    Checkpoint(usize),
    Hold(usize),
    Reopen(usize),
    Scribble(Vec<(usize, u64)>),
    Remove,
}

fn action() -> impl Strategy<Value = Action> {
    let who = 0usize..3;
    prop_oneof![
        5 => who.clone().prop_map(Action::Insert),
        2 => (who.clone(), 0usize..50).prop_map(|(who, row)| Action::Delete(who, row)),
        2 => who.clone().prop_map(Action::Checkpoint),
        2 => who.clone().prop_map(Action::Hold),
        1 => who.prop_map(Action::Reopen),
        2 => proptest::collection::vec((0usize..40, any::<u64>()), 1..6).prop_map(Action::Scribble),
        1 => Just(Action::Scribble((0..40).map(|word| (word, 0)).collect())),
        1 => Just(Action::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..Default::default() })]

    #[test]
    fn a_lost_or_scribbled_page_changes_nothing(actions in proptest::collection::vec(action(), 1..60)) {
        let twin = Twin::new(1);
        let mut stores: Vec<Store> = (0..3).map(|_| open(&twin)).collect();
        let table = table_with(&stores[0], &[]);
        let mut model: Vec<i64> = Vec::new();
        let mut held: Vec<Option<(crate::storage::Transaction, Vec<i64>)>> = vec![None, None, None];
        for (number, action) in (0i64..).zip(&actions) {
            match action {
                Action::Insert(who) => {
                    insert(&stores[*who], table, &[(number, "a note that is long enough for its own buffer")]);
                    model.push(number);
                }
                Action::Delete(who, row) if !model.is_empty() => {
                    let id = model.remove(row % model.len());
                    let transaction = stores[*who].begin().unwrap();
                    let row = find(&transaction.snapshot(), table, id).unwrap();
                    transaction.delete(table, &[row]).unwrap();
                    transaction.commit().unwrap();
                }
                Action::Delete(..) => {}
                Action::Checkpoint(who) => stores[*who].checkpoint().unwrap(),
                Action::Hold(who) => held[*who] = Some((stores[*who].begin().unwrap(), model.clone())),
                Action::Reopen(who) => stores[*who] = open(&twin),
                Action::Scribble(words) => twin.scribble("shm", |page: &[AtomicU64]| {
                    words.iter().for_each(|(word, value)| page[*word].store(*value, Ordering::SeqCst));
                }),
                Action::Remove => twin.directory().remove("shm").unwrap(),
            }
            for store in &stores {
                prop_assert_eq!(&ids(store, table), &model, "after {:?}", action);
            }
            for (transaction, model) in held.iter().flatten() {
                let found: Vec<i64> = rows(&transaction.snapshot(), table).into_iter().map(|row| row.0).collect();
                prop_assert_eq!(&found, model);
            }
        }
        prop_assert_eq!(stores[0].check().unwrap(), []);
    }
}
