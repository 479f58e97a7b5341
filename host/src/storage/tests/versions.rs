//! Branches, pins and old versions: random histories against plain maps, what each costs, and what is let go.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::faulty::Twin;
use super::*;
use crate::error::codes;
use crate::storage::{At, From, Options, Retention, Transaction};

/// Small bounds, so that a few rows take the paths of many.
fn small(retention: Retention) -> Options {
    Options {
        wal_bytes_max: 20_000,
        close_wal_bytes_max: 4000,
        spill_rows_max: 9,
        group_rows: 5,
        retention,
        ..Options::default()
    }
}

const ALWAYS: Retention = Retention { versions: u64::MAX, time: 0, bytes: u64::MAX };

fn insert(transaction: &Transaction, table: TableId, rows: &[(i64, &str)]) {
    transaction.append(table, batch(rows)).unwrap();
}

fn on(store: &Store, branch: &str, change: impl FnOnce(&Transaction)) -> u64 {
    let transaction = store.begin_on(branch).unwrap();
    change(&transaction);
    transaction.commit().unwrap()
}

fn ids(store: &Store, branch: &str, table: TableId) -> Vec<i64> {
    rows(&store.snapshot_of(branch).unwrap(), table).into_iter().map(|row| row.0).collect()
}

fn ids_at(store: &Store, version: u64, table: TableId) -> Vec<i64> {
    rows(&store.snapshot_at("main", At::Version(version)).unwrap(), table).into_iter().map(|row| row.0).collect()
}

#[test]
fn branches_begin_alike_and_go_their_own_way() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small(ALWAYS)).unwrap();
    let table = table_with(&store, &[(1, "a"), (2, "b")]);
    on(&store, "main", |main| main.create_branch("dev", From::Branch("main")).unwrap());
    let (one, two) = (store.begin().unwrap(), store.begin_on("dev").unwrap());
    for transaction in [&one, &two] {
        // The same row and the same new key, at once: on two branches that is no conflict.
        transaction.delete(table, &[find(&transaction.snapshot(), table, 1).unwrap()]).unwrap();
        insert(transaction, table, &[(3, "new")]);
    }
    two.put(b"k", b"dev").unwrap();
    let (one, two) = (one.commit().unwrap(), two.commit().unwrap());
    assert_eq!((two, store.version()), (one + 1, two));
    on(&store, "dev", |dev| insert(dev, table, &[(4, "dev only")]));
    for round in 0..3 {
        assert_eq!((ids(&store, "main", table), ids(&store, "dev", table)), (vec![2, 3], vec![2, 3, 4]), "{round}");
        assert_eq!(store.snapshot_of("main").unwrap().get(b"k"), None);
        assert_eq!(store.snapshot_of("dev").unwrap().get(b"k").unwrap(), "dev");
        assert_eq!(store.check().unwrap(), []);
        store.checkpoint().unwrap();
    }
    drop(store);
    let store = Store::open(folder.path(), &small(ALWAYS)).unwrap();
    assert_eq!((ids(&store, "main", table), ids(&store, "dev", table)), (vec![2, 3], vec![2, 3, 4]));
    let names: Vec<String> = store.branches().unwrap().into_iter().map(|branch| branch.name).collect();
    assert_eq!(names, ["main", "dev"]);
    // What they share is in one file for both.
    let part = |branch: &str| store.snapshot_of(branch).unwrap().table(table).unwrap().parts()[0].place().unwrap();
    assert_eq!(part("main"), part("dev"));
}

#[test]
fn row_ids_are_one_row_on_every_branch() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[(1, "a")]);
    on(&store, "main", |main| main.create_branch("dev", From::Branch("main")).unwrap());
    on(&store, "main", |main| insert(main, table, &[(2, "main")]));
    on(&store, "dev", |dev| insert(dev, table, &[(2, "dev")]));
    let id = |branch: &str| find(&store.snapshot_of(branch).unwrap(), table, 2).unwrap();
    assert_ne!(id("main"), id("dev"));
}

#[test]
fn a_branch_moves_only_from_where_it_is_expected() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small(ALWAYS)).unwrap();
    let table = table_with(&store, &[(1, "a")]);
    let old = store.version();
    let new = on(&store, "main", |main| insert(main, table, &[(2, "b")]));
    on(&store, "main", |main| main.create_branch("dev", From::Version(old)).unwrap());
    assert_eq!(ids(&store, "dev", table), [1]);
    let open = store.begin_on("dev").unwrap();
    insert(&open, table, &[(7, "late")]);
    let (first, second) = (store.begin().unwrap(), store.begin().unwrap());
    for transaction in [&first, &second] {
        transaction.move_branch("dev", old, From::Version(new)).unwrap();
    }
    first.commit().unwrap();
    assert!(second.commit().unwrap_err().is(codes::CONFLICT));
    assert!(open.commit().unwrap_err().is(codes::CONFLICT));
    assert_eq!(ids(&store, "dev", table), [1, 2]);
    assert!(store.begin().unwrap().move_branch("dev", old, From::Version(new)).unwrap_err().is(codes::CONFLICT));
    // Back to an old one, and on from there: the rows that are new then are other rows than those that were.
    on(&store, "main", |main| main.move_branch("dev", new, From::Version(old)).unwrap());
    on(&store, "dev", |dev| insert(dev, table, &[(9, "after")]));
    let row = |branch: &str, id| find(&store.snapshot_of(branch).unwrap(), table, id);
    assert_eq!((row("dev", 2), ids(&store, "dev", table)), (None, vec![1, 9]));
    assert!(row("dev", 9) > row("main", 2));
    drop(store);
    let store = Store::open(folder.path(), &small(ALWAYS)).unwrap();
    assert_eq!((ids(&store, "main", table), ids(&store, "dev", table)), (vec![1, 2], vec![1, 9]));
}

#[test]
fn rows_and_references_commit_together_or_not_at_all() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[]);
    let (one, two) = (store.begin().unwrap(), store.begin().unwrap());
    for transaction in [&one, &two] {
        insert(transaction, table, &[(1, "x")]);
        transaction.create_branch("dev", From::Branch("main")).unwrap();
        transaction.pin("tag", From::Branch("main")).unwrap();
        assert_eq!(transaction.branches().unwrap().len(), 2);
    }
    assert_eq!(store.branches().unwrap().len(), 1);
    let version = one.commit().unwrap();
    assert!(two.commit().unwrap_err().is(codes::CONFLICT));
    assert_eq!(ids(&store, "dev", table), [1]);
    assert_eq!(store.pins().unwrap()[0].version, version);
    let transaction = store.begin_on("dev").unwrap();
    insert(&transaction, table, &[(2, "y")]);
    transaction.drop_branch("dev").unwrap();
    assert!(transaction.commit().unwrap_err().is(codes::UNSUPPORTED));
    let transaction = store.begin().unwrap();
    assert!(transaction.drop_branch("main").unwrap_err().is(codes::UNSUPPORTED));
    assert!(transaction.create_branch("dev", From::Empty).unwrap_err().is(codes::EXISTS));
    assert!(transaction.create_branch("a\nb", From::Empty).unwrap_err().is(codes::VALUE));
    assert!(transaction.pin("p", From::Version(99)).unwrap_err().is(codes::NO_VERSION));
    let savepoint = transaction.savepoint();
    transaction.drop_branch("dev").unwrap();
    transaction.rollback_to(&savepoint).unwrap();
    transaction.create_branch("empty", From::Empty).unwrap();
    transaction.commit().unwrap();
    assert_eq!(store.branches().unwrap().len(), 3);
    assert!(store.snapshot_of("empty").unwrap().table(table).is_err());
    assert!(store.begin_on("nowhere").unwrap_err().is(codes::NO_OBJECT));
}

/// What a branch costs must not depend on what is in the database: bytes in the log, and bytes in the next manifest.
#[test]
fn a_branch_costs_a_few_bytes_whatever_the_size() {
    let mut costs = Vec::new();
    for count in [10, 20_000] {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { group_rows: 50, ..small(Retention::NONE) };
        let store = Store::open(folder.path(), &options).unwrap();
        let table = table_with(&store, &[]);
        let transaction = store.begin().unwrap();
        for id in (0..count).step_by(1000) {
            let rows: Vec<(i64, String)> = (id..count.min(id + 1000)).map(|id| (id, format!("row {id}"))).collect();
            insert(&transaction, table, &rows.iter().map(|(id, note)| (*id, note.as_str())).collect::<Vec<_>>());
        }
        transaction.commit().unwrap();
        store.checkpoint().unwrap();
        let manifest = || {
            let number = store.info().unwrap().manifest;
            std::fs::metadata(folder.path().join(format!("manifests/{number:08}"))).unwrap().len()
        };
        let (log, before) = (store.info().unwrap().wal_bytes, manifest());
        on(&store, "main", |main| main.create_branch("dev", From::Branch("main")).unwrap());
        let log = store.info().unwrap().wal_bytes - log;
        store.checkpoint().unwrap();
        let unchanged = manifest() - before;
        on(&store, "dev", |dev| insert(dev, table, &[(-1, "one more")]));
        store.checkpoint().unwrap();
        costs.push((log, unchanged, manifest() - before));
    }
    assert_eq!((costs[0].0, costs[0].1), (costs[1].0, costs[1].1));
    assert!(costs[0].0 < 200 && costs[0].1 < 200, "{costs:?}");
    // A table with one more row group is written as the shared ones, in a few bytes, and that one.
    assert!(costs[1].2 < 4096, "{costs:?}");
}

#[test]
fn old_versions_read_back_across_checkpoints_compaction_and_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path(), &small(ALWAYS)).unwrap();
    let table = table_with(&store, &[]);
    let mut versions = BTreeMap::new();
    let mut expected: Vec<i64> = Vec::new();
    for round in 0..40 {
        let version = on(&store, "main", |main| {
            insert(main, table, &[(round, "text that is rather long")]);
            expected.push(round);
            if round % 3 == 2 {
                let gone = expected.remove(0);
                main.delete(table, &[find(&main.snapshot(), table, gone).unwrap()]).unwrap();
            }
        });
        versions.insert(version, (expected.clone(), store.snapshot_of("main").unwrap()));
        match round % 7 {
            3 => store.checkpoint().unwrap(),
            5 => {
                drop(store);
                store = Store::open(folder.path(), &small(ALWAYS)).unwrap();
            }
            _ => {}
        }
        for (&version, (expected, _)) in &versions {
            assert_eq!(&ids_at(&store, version, table), expected, "version {version} after round {round}");
        }
    }
    let listed: Vec<u64> = store.versions().unwrap().iter().map(|info| info.version).collect();
    assert!(versions.keys().all(|version| listed.contains(version)), "{listed:?}");
    let error = store.snapshot_at("main", At::Version(9999)).unwrap_err();
    assert!(error.is(codes::NO_VERSION), "{error:?}");
    // A table that was dropped is still there in old versions.
    let last = store.version();
    on(&store, "main", |main| main.drop_table(table).unwrap());
    store.checkpoint().unwrap();
    assert_eq!(ids_at(&store, last, table), expected);
    // By time: what was current then, whichever branch moved since.
    for (version, (expected, _)) in versions {
        let time = store.versions().unwrap().iter().find(|info| info.version == version).unwrap().time;
        let found = store.snapshot_at("main", At::Time(time)).unwrap();
        assert!(found.version() >= version && rows(&found, table).len() >= expected.len().saturating_sub(1));
    }
}

#[test]
fn what_is_not_kept_is_said_and_its_space_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let keep = Retention { versions: 5, time: 0, bytes: u64::MAX };
    let store = Store::open(folder.path(), &small(keep)).unwrap();
    let table = table_with(&store, &[(0, "zero")]);
    let pinned = store.version();
    on(&store, "main", |main| main.pin("release", From::Version(pinned)).unwrap());
    for round in 1..30 {
        on(&store, "main", |main| {
            main.delete(table, &[find(&main.snapshot(), table, round - 1).unwrap()]).unwrap();
            insert(main, table, &[(round, "x")]);
        });
        store.checkpoint().unwrap();
    }
    let newest = store.version();
    assert_eq!(ids_at(&store, newest - 4, table), [25]);
    assert_eq!(ids_at(&store, pinned, table), [0]);
    let error = store.snapshot_at("main", At::Version(newest - 20)).unwrap_err();
    assert!(error.is(codes::NOT_RETAINED), "{error:?}");
    let oldest: u64 = error.message().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(oldest <= newest - 4 && oldest > newest - 9, "{error:?}");
    assert!(store.snapshot_at("main", At::Version(oldest)).is_ok());
    assert!(store.snapshot_at("main", At::Version(oldest - 1)).is_err());
    let error = store.snapshot_at("main", At::Time(5)).unwrap_err();
    assert!(error.is(codes::NOT_RETAINED), "{error:?}");
    let count = |name: &str| std::fs::read_dir(folder.path().join(name)).unwrap().count();
    assert!(count("manifests") <= 8 && count("wal") <= 8 && count("segments") <= 12);
    store.forget_history().unwrap();
    assert_eq!((count("manifests"), count("wal")), (1, 1));
    assert_eq!(count("segments"), 2, "one of the head and one of the pin");
    assert!(store.snapshot_at("main", At::Version(newest - 1)).unwrap_err().is(codes::NOT_RETAINED));
    assert_eq!((ids_at(&store, pinned, table), ids_at(&store, newest, table)), (vec![0], vec![29]));
    drop(store);
    let store = Store::open(folder.path(), &small(keep)).unwrap();
    assert_eq!(ids_at(&store, pinned, table), [0]);
    on(&store, "main", |main| main.unpin("release").unwrap());
    store.checkpoint().unwrap();
    store.forget_history().unwrap();
    assert_eq!(count("segments"), 1);
    assert!(store.snapshot_at("main", At::Version(pinned)).unwrap_err().is(codes::NOT_RETAINED));
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn history_is_let_go_when_it_takes_too_much_room() {
    let folder = tempfile::tempdir().unwrap();
    let keep = Retention { versions: u64::MAX, time: 0, bytes: 150_000 };
    let store = Store::open(folder.path(), &small(keep)).unwrap();
    let table = table_with(&store, &[]);
    for round in 0..60 {
        on(&store, "main", |main| insert(main, table, &[(round, "y".repeat(900).as_str())]));
        store.checkpoint().unwrap();
    }
    assert!(store.snapshot_at("main", At::Version(store.version() - 1)).is_ok());
    assert!(store.snapshot_at("main", At::Version(2)).unwrap_err().is(codes::NOT_RETAINED));
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn a_process_that_fell_behind_removes_nothing_that_another_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) =
        (Store::open(folder.path(), &small(ALWAYS)).unwrap(), Store::open(folder.path(), &small(ALWAYS)).unwrap());
    let table = table_with(&one, &[(0, "x")]);
    let other = table_with(&two, &[(0, "x")]);
    for id in 1..6 {
        on(&one, "main", |main| insert(main, table, &[(id, "x")]));
        one.checkpoint().unwrap();
    }
    // Dropping a table makes it look for what can be removed.
    on(&two, "main", |main| main.drop_table(other).unwrap());
    let third = Store::open(folder.path(), &small(ALWAYS)).unwrap();
    for store in [&one, &two, &third] {
        assert_eq!(ids(store, "main", table), [0, 1, 2, 3, 4, 5]);
        assert_eq!(ids_at(store, 4, table), [0, 1, 2]);
        assert_eq!(store.check().unwrap(), []);
    }
}

#[derive(Clone, Debug)]
enum Action {
    Set(usize, i64, i64),
    Delete(usize, i64),
    Put(usize, u8),
    Create(usize, usize),
    CreateAt(usize, usize),
    Drop(usize),
    Move(usize, usize),
    Pin(usize, usize),
    Unpin(usize),
    Checkpoint,
    Forget,
    Reopen,
}

fn action() -> impl Strategy<Value = Action> {
    let (branch, key) = (0usize..4, 0i64..12);
    prop_oneof![
        6 => (branch.clone(), key.clone(), 1i64..12).prop_map(|(on, key, count)| Action::Set(on, key, count)),
        3 => (branch.clone(), key).prop_map(|(on, key)| Action::Delete(on, key)),
        1 => (branch.clone(), 0u8..3).prop_map(|(on, key)| Action::Put(on, key)),
        2 => (branch.clone(), branch.clone()).prop_map(|(new, from)| Action::Create(new, from)),
        1 => (branch.clone(), any::<usize>()).prop_map(|(new, at)| Action::CreateAt(new, at)),
        1 => branch.clone().prop_map(Action::Drop),
        1 => (branch.clone(), any::<usize>()).prop_map(|(on, at)| Action::Move(on, at)),
        1 => (0usize..3, any::<usize>()).prop_map(|(pin, at)| Action::Pin(pin, at)),
        1 => (0usize..3).prop_map(Action::Unpin),
        2 => Just(Action::Checkpoint),
        1 => Just(Action::Forget),
        1 => Just(Action::Reopen),
    ]
}

type Model = (BTreeMap<i64, String>, BTreeMap<u8, String>);

fn shown(snapshot: &Snapshot, table: TableId) -> Model {
    let all = rows(snapshot, table);
    let model: BTreeMap<i64, String> = all.iter().cloned().collect();
    assert_eq!(model.len(), all.len(), "a key is there twice");
    let entries = snapshot.scan(b"e").into_iter();
    (model, entries.map(|(key, value)| (key[1], String::from_utf8(value.to_vec()).unwrap())).collect())
}

/// Everything that can be done to branches, pins and rows, at random; every version that is kept reads back as the map
/// that it was.
fn run(actions: &[Action], on_disk: bool) {
    let twin = Twin::new(11);
    let open = || match on_disk {
        true => Store::open_on(Arc::new(twin.clone()), Twin::root(), &small(ALWAYS)).unwrap(),
        false => Store::memory().unwrap(),
    };
    let mut store = open();
    let table = table_with(&store, &[]);
    let name = |branch: usize| if branch == 0 { "main".to_owned() } else { format!("b{branch}") };
    let mut heads: BTreeMap<String, u64> = [("main".to_owned(), store.version())].into();
    let mut pins: BTreeMap<String, u64> = BTreeMap::new();
    // What every version was, and from which on all are kept.
    let mut all: BTreeMap<u64, Model> = [(0, Model::default()), (store.version(), Model::default())].into();
    let mut kept = 1;
    for (number, action) in actions.iter().enumerate() {
        let text = format!("write {number}");
        let readable =
            |at: &usize, heads: &BTreeMap<String, u64>, pins: &BTreeMap<String, u64>, all: &BTreeMap<u64, Model>| {
                let held: Vec<u64> = heads.values().chain(pins.values()).copied().collect();
                let can: Vec<u64> = all
                    .keys()
                    .copied()
                    .filter(|version| *version > 0 && (*version >= kept || held.contains(version)))
                    .collect();
                can[at % can.len()]
            };
        match action {
            Action::Set(branch, key, count) if heads.contains_key(&name(*branch)) => {
                let branch = name(*branch);
                let mut next = all[&heads[&branch]].clone();
                let version = on(&store, &branch, |transaction| {
                    let snapshot = transaction.snapshot();
                    let old: Vec<u64> = (*key..key + count).filter_map(|id| find(&snapshot, table, id)).collect();
                    transaction.delete(table, &old).unwrap();
                    let new: Vec<(i64, &str)> = (*key..key + count).map(|id| (id, text.as_str())).collect();
                    insert(transaction, table, &new);
                    next.0.extend(new.iter().map(|(id, text)| (*id, (*text).to_owned())));
                });
                all.insert(version, next);
                heads.insert(branch, version);
            }
            Action::Delete(branch, key) if heads.contains_key(&name(*branch)) => {
                let branch = name(*branch);
                let mut next = all[&heads[&branch]].clone();
                let transaction = store.begin_on(&branch).unwrap();
                if let Some(row) = find(&transaction.snapshot(), table, *key) {
                    transaction.delete(table, &[row]).unwrap();
                    let version = transaction.commit().unwrap();
                    next.0.remove(key).unwrap();
                    all.insert(version, next);
                    heads.insert(branch, version);
                }
            }
            Action::Put(branch, key) if heads.contains_key(&name(*branch)) => {
                let branch = name(*branch);
                let mut next = all[&heads[&branch]].clone();
                next.1.insert(*key, text.clone());
                let version = on(&store, &branch, |on| on.put(&[b'e', *key], text.as_bytes()).unwrap());
                all.insert(version, next);
                heads.insert(branch, version);
            }
            Action::Create(new, from) if !heads.contains_key(&name(*new)) && heads.contains_key(&name(*from)) => {
                on(&store, "main", |main| main.create_branch(&name(*new), From::Branch(&name(*from))).unwrap());
                heads.insert(name(*new), heads[&name(*from)]);
            }
            Action::CreateAt(new, at) if !heads.contains_key(&name(*new)) => {
                let version = readable(at, &heads, &pins, &all);
                on(&store, "main", |main| main.create_branch(&name(*new), From::Version(version)).unwrap());
                heads.insert(name(*new), version);
            }
            Action::Drop(branch) if *branch > 0 && heads.contains_key(&name(*branch)) => {
                on(&store, "main", |main| main.drop_branch(&name(*branch)).unwrap());
                heads.remove(&name(*branch));
            }
            Action::Move(branch, at) if heads.contains_key(&name(*branch)) => {
                let (branch, version) = (name(*branch), readable(at, &heads, &pins, &all));
                on(&store, "main", |main| main.move_branch(&branch, heads[&branch], From::Version(version)).unwrap());
                heads.insert(branch, version);
            }
            Action::Pin(pin, at) => {
                let version = readable(at, &heads, &pins, &all);
                on(&store, "main", |main| main.pin(&format!("p{pin}"), From::Version(version)).unwrap());
                pins.insert(format!("p{pin}"), version);
            }
            Action::Unpin(pin) if pins.contains_key(&format!("p{pin}")) => {
                on(&store, "main", |main| main.unpin(&format!("p{pin}")).unwrap());
                pins.remove(&format!("p{pin}"));
            }
            Action::Checkpoint => store.checkpoint().unwrap(),
            Action::Forget => {
                store.forget_history().unwrap();
                kept = store.version() + 1;
            }
            Action::Reopen if on_disk => {
                drop(store);
                store = open();
            }
            _ => {}
        }
        for (branch, version) in &heads {
            let snapshot = store.snapshot_of(branch).unwrap();
            assert_eq!((snapshot.version(), shown(&snapshot, table)), (*version, all[version].clone()), "{action:?}");
        }
    }
    let held: Vec<u64> = heads.values().chain(pins.values()).copied().collect();
    for (version, model) in all.iter().filter(|(version, _)| **version > 0) {
        match store.snapshot_at("main", At::Version(*version)) {
            Ok(snapshot) => assert_eq!(shown(&snapshot, table), *model, "version {version}"),
            Err(error) => {
                assert!(*version < kept && !held.contains(version), "{version} {error:?}");
                assert!(error.is(codes::NOT_RETAINED), "{error:?}");
            }
        }
    }
    assert_eq!(store.check().unwrap(), []);
    if on_disk {
        store.forget_history().unwrap();
        assert_eq!(twin.list_files("segments").len() as u64, store.info().unwrap().segments, "files are left over");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..Default::default() })]

    #[test]
    fn random_histories_read_back_as_the_maps_that_they_were(actions in proptest::collection::vec(action(), 1..60)) {
        run(&actions, true);
    }

    #[test]
    fn random_histories_in_memory_read_back_as_the_maps_that_they_were(actions in proptest::collection::vec(action(), 1..60)) {
        run(&actions, false);
    }
}
