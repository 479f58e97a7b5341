//! What happens beside commits: folding the log in, in the background or on demand, giving space back, and backups.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::faulty::{Fault, Twin};
use super::*;
use crate::error::codes;
use crate::storage::{At, Options, Retention};

/// Tiny bounds, and nothing is kept for old versions.
fn tiny() -> Options {
    Options {
        wal_bytes_max: 4000,
        close_wal_bytes_max: 2000,
        spill_rows_max: 50,
        group_rows: 16,
        retention: Retention::NONE,
        ..Options::default()
    }
}

fn open(path: &Path) -> Store {
    Store::open(path, &tiny()).unwrap()
}

fn insert(store: &Store, table: TableId, ids: std::ops::Range<i64>) {
    let transaction = store.begin().unwrap();
    let rows: Vec<(i64, String)> = ids.map(|id| (id, format!("note {id}, which is long enough"))).collect();
    let rows: Vec<(i64, &str)> = rows.iter().map(|(id, note)| (*id, note.as_str())).collect();
    transaction.append(table, batch(&rows)).unwrap();
    transaction.commit().unwrap();
}

fn delete(store: &Store, table: TableId, ids: std::ops::Range<i64>) {
    let transaction = store.begin().unwrap();
    let rows: Vec<u64> = ids.map(|id| find(&transaction.snapshot(), table, id).unwrap()).collect();
    assert_eq!(transaction.delete(table, &rows).unwrap(), rows.len() as u64);
    transaction.commit().unwrap();
}

fn ids(store: &Store, table: TableId) -> Vec<i64> {
    let mut ids: Vec<i64> = rows(&store.begin().unwrap().snapshot(), table).into_iter().map(|row| row.0).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn the_log_is_folded_in_by_a_thread_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let table = table_with(&store, &[]);
    for id in 0..200 {
        insert(&store, table, id..id + 1);
    }
    store.rest();
    let info = store.info().unwrap();
    assert!(info.manifest > 2 && info.segments > 0 && info.wal_bytes < 4 * 4000, "{info:?}");
    let groups = store.begin().unwrap().snapshot().table(table).unwrap().parts().len();
    assert!(groups < 60, "{groups} parts of 200 rows, 16 in a full one");
    assert_eq!((ids(&store, table), store.check().unwrap(), store.warnings()), ((0..200).collect(), vec![], vec![]));
    drop(store);
    let store = open(folder.path());
    assert!(store.info().unwrap().wal_bytes <= 2000 + 48, "closing left much to read");
    assert_eq!(ids(&store, table).len(), 200);
}

#[test]
fn deleting_gives_space_back_though_the_log_is_short() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &Options { wal_bytes_max: 1 << 20, ..tiny() }).unwrap();
    let table = table_with(&store, &[]);
    insert(&store, table, 0..400);
    store.checkpoint().unwrap();
    let before = store.info().unwrap();
    delete(&store, table, 0..390);
    store.rest();
    let after = store.info().unwrap();
    assert!(after.segment_bytes * 3 < before.segment_bytes, "{before:?} {after:?}");
    let files = std::fs::read_dir(folder.path().join("segments")).unwrap().count() as u64;
    assert_eq!(files, after.segments);
}

#[test]
fn vacuum_writes_what_is_a_little_hollow_again_and_says_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &Options { background: false, ..tiny() }).unwrap();
    let (table, other) = (table_with(&store, &[]), table_with(&store, &[]));
    for table in [table, other] {
        insert(&store, table, 0..160);
    }
    store.checkpoint().unwrap();
    for table in [table, other] {
        (0..10).for_each(|group| delete(&store, table, group * 16..group * 16 + 2));
    }
    store.checkpoint().unwrap();
    let parts = |table| store.begin().unwrap().snapshot().table(table).unwrap().parts().len();
    let hollow = parts(other);
    let done = store.vacuum(Some(table)).unwrap();
    assert!(done.rows == 140 && done.row_groups >= 9 && done.files > 0 && done.bytes > 0, "{done:?}");
    let view = store.begin().unwrap().snapshot().table(table).unwrap();
    assert!(view.parts().iter().all(|part| part.rows() as u64 == part.row_ids().unwrap().len() as u64));
    assert_eq!((view.parts().len(), parts(other)), (9, hollow));
    let again = store.vacuum(Some(table)).unwrap();
    assert_eq!((again.rows, again.files), (0, 0));
    assert_eq!(ids(&store, table), ids(&store, other));
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn inserting_and_loading_never_conflict_beside_upkeep() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let tables = [table_with(&store, &[]), table_with(&store, &[])];
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let upkeep = scope.spawn(|| {
            // Another process, as far as locks can tell.
            let other = open(folder.path());
            let mut rounds = 0;
            while !is_done.load(Ordering::SeqCst) {
                other.vacuum(None).unwrap();
                store.checkpoint().unwrap();
                rounds += 1;
            }
            rounds
        });
        let writers: Vec<_> = (0..3i64)
            .map(|writer| {
                let (store, tables) = (&store, &tables);
                scope.spawn(move || {
                    for round in 0..40 {
                        let from = writer * 100_000 + round * 100;
                        insert(store, tables[0], from..from + 1);
                        insert(store, tables[1], from..from + if round % 8 == 0 { 60 } else { 1 });
                        delete(store, tables[0], from..from + 1);
                        insert(store, tables[0], from..from + 1);
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        is_done.store(true, Ordering::SeqCst);
        assert!(upkeep.join().unwrap() > 0);
    });
    assert_eq!((ids(&store, tables[0]).len(), ids(&store, tables[1]).len()), (120, 3 * (5 * 60 + 35)));
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn a_failure_in_the_background_is_a_warning_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let table = table_with(&store, &[]);
    // Nothing can be made where the next manifest should be.
    std::fs::remove_dir_all(folder.path().join("manifests")).unwrap();
    std::fs::write(folder.path().join("manifests"), b"").unwrap();
    (0..150).for_each(|id| insert(&store, table, id..id + 1));
    store.rest();
    assert!(store.warnings().iter().any(|warning| warning.contains("cannot be folded in")), "{:?}", store.warnings());
    assert_eq!(ids(&store, table).len(), 150);
    assert!(store.warnings().len() <= 64);
}

#[test]
fn a_backup_is_a_database_and_the_next_one_copies_only_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("x.kdb"), folder.path().join("backup"));
    let store = open(&path);
    let (table, other_table) = (table_with(&store, &[]), table_with(&store, &[]));
    insert(&store, table, 0..100);
    std::fs::create_dir_all(path.join("blobs/data")).unwrap();
    std::fs::write(path.join("blobs/data/one"), b"payload").unwrap();
    let first = store.backup(&to).unwrap();
    assert!(first.files > 3 && first.kept == 0, "{first:?}");
    let segments = |path: &Path| -> Vec<(String, std::time::SystemTime)> {
        let mut found: Vec<_> = std::fs::read_dir(path.join("segments"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().modified().unwrap()))
            .collect();
        found.sort();
        found
    };
    let before = segments(&to);
    insert(&store, other_table, 1000..1010);
    let second = store.backup(&to).unwrap();
    let after = segments(&to);
    assert!(before.iter().all(|file| after.contains(file)), "a segment that was there was written again");
    assert!(second.kept as usize >= before.len() && after.len() > before.len(), "{first:?} {second:?}");
    let copy = Store::open(&to, &Options::default()).unwrap();
    assert!(copy.is_read_only());
    assert_eq!((ids(&copy, table), copy.version()), (ids(&store, table), store.version()));
    assert_eq!(ids(&copy, other_table).len(), 10);
    assert_eq!(copy.check().unwrap(), []);
    let transaction = copy.begin().unwrap();
    assert!(transaction.put(b"k", b"v").unwrap_err().is(codes::READ_ONLY));
    assert_eq!(std::fs::read(to.join("blobs/data/one")).unwrap(), b"payload");

    // Other things are left alone.
    for wrong in [folder.path(), &path] {
        assert!(store.backup(wrong).unwrap_err().is(codes::EXISTS));
    }
    let other = open(&folder.path().join("other.kdb"));
    assert!(other.backup(&to).unwrap_err().is(codes::EXISTS));
}

#[test]
fn a_restored_database_is_what_was_backed_up_and_goes_its_own_way() {
    let folder = tempfile::tempdir().unwrap();
    let (path, to, new) = (folder.path().join("x.kdb"), folder.path().join("backup"), folder.path().join("new.kdb"));
    let store = open(&path);
    let table = table_with(&store, &[]);
    insert(&store, table, 0..100);
    delete(&store, table, 5..10);
    let transaction = store.begin().unwrap();
    transaction.put(b"k", b"as it was").unwrap();
    transaction.commit().unwrap();
    store.backup(&to).unwrap();
    let backed_up = ids(&store, table);
    insert(&store, table, 200..230);
    delete(&store, table, 0..5);
    let transaction = store.begin().unwrap();
    transaction.remove(b"k").unwrap();
    transaction.put(b"new", b"").unwrap();
    let extra = transaction.create_table(notes()).unwrap();
    transaction.commit().unwrap();
    let (held, late) = (store.begin().unwrap(), store.begin().unwrap());

    Store::restore_to(&to, &new).unwrap();
    let copy = open(&new);
    assert_eq!((ids(&copy, table), copy.check().unwrap()), (backed_up.clone(), vec![]));
    insert(&copy, table, 500..501);
    assert!(copy.backup(&to).unwrap_err().is(codes::EXISTS), "another line went over the backup");
    assert!(Store::restore_to(&to, &new).unwrap_err().is(codes::EXISTS));
    assert!(Store::restore_to(&path, &folder.path().join("y")).unwrap_err().is(codes::NOT_A_DATABASE));

    let newest = store.version();
    let (version, restored) = store.restore(&to, None).unwrap();
    assert!(version > newest && restored < newest);
    let snapshot = store.begin().unwrap().snapshot();
    assert_eq!((ids(&store, table), snapshot.get(b"k").unwrap().as_ref()), (backed_up.clone(), &b"as it was"[..]));
    assert!(snapshot.get(b"new").is_none() && snapshot.table(extra).is_err());
    assert!(find(&snapshot, table, 50).is_some() && find(&snapshot, table, 7).is_none());
    // Who reads goes on; who writes upon what is no more is told.
    assert_eq!(rows(&held.snapshot(), table).len(), backed_up.len() + 25);
    late.append(table, batch(&[(9999, "late")])).unwrap();
    assert!(late.commit().unwrap_err().is(codes::CONFLICT));
    assert!(store.restore(&path, None).unwrap_err().is(codes::NOT_A_DATABASE));
    drop((held, store, snapshot));
    let store = open(&path);
    assert_eq!((ids(&store, table), store.check().unwrap()), (backed_up, vec![]));
}

#[test]
fn a_backup_restores_the_old_versions_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("x.kdb"), folder.path().join("backup"));
    let store = Store::open(&path, &Options { retention: Retention::default(), ..tiny() }).unwrap();
    let table = table_with(&store, &[]);
    insert(&store, table, 0..30);
    let (then, expected) = (store.version(), ids(&store, table));
    delete(&store, table, 0..10);
    store.checkpoint().unwrap();
    insert(&store, table, 40..50);
    store.backup(&to).unwrap();
    let newest = store.version();

    let (version, restored) = store.restore(&to, Some(At::Version(then))).unwrap();
    assert_eq!((restored, ids(&store, table)), (then, expected));
    assert!(version > newest);
    let yet_to_come = store.restore(&to, Some(At::Version(newest + 100))).unwrap_err();
    assert!(yet_to_come.is(codes::NO_VERSION), "{yet_to_come}");
    assert_eq!(store.check().unwrap(), vec![]);
}

#[test]
fn vacuum_lets_go_of_old_versions_and_gives_their_space_back() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        Store::open(&folder.path().join("x.kdb"), &Options { retention: Retention::default(), ..tiny() }).unwrap();
    let table = table_with(&store, &[]);
    insert(&store, table, 0..2000);
    store.checkpoint().unwrap();
    let before = store.version();
    delete(&store, table, 0..1990);
    store.checkpoint().unwrap();
    assert!(store.snapshot_at("main", At::Version(before)).is_ok(), "it is kept until it is let go of");
    let done = store.vacuum(None).unwrap();
    assert!(done.bytes > 0 && done.files > 0, "{done:?}");
    let gone = store.snapshot_at("main", At::Version(before)).err();
    assert!(gone.is_some_and(|error| error.is(codes::NOT_RETAINED)));
    assert_eq!((ids(&store, table).len(), store.check().unwrap()), (10, vec![]));
}

/// Every call to the disk fails once while a second backup is written: the backup is then the first or the second.
#[test]
fn an_interrupted_backup_leaves_the_one_before() {
    let to = Path::new("/backup");
    let prepared = |seed: u64| {
        let twin = Twin::new(seed);
        let options = Options { background: false, ..tiny() };
        let store = Store::open_on(Arc::new(twin.clone()), Twin::root(), &options).unwrap();
        let table = table_with(&store, &[]);
        insert(&store, table, 0..40);
        store.backup(to).unwrap();
        insert(&store, table, 100..160);
        delete(&store, table, 0..30);
        (twin, store, table)
    };
    let calls = {
        let (twin, store, _) = prepared(1);
        let before = twin.calls();
        store.backup(to).unwrap();
        twin.calls() - before
    };
    let (first, second): (Vec<i64>, Vec<i64>) = ((0..40).collect(), (30..40).chain(100..160).collect());
    let mut outcomes = [0, 0];
    for (fault, stride) in [(Fault::Error, 1), (Fault::Crash, 1), (Fault::NoSpace, 3)] {
        for call in (0..calls).step_by(stride) {
            let (twin, store, table) = prepared(call << 8 | 1);
            twin.fail_at(call, fault);
            let result = store.backup(to);
            drop(store);
            let after = if fault == Fault::Crash { twin.crash() } else { twin.restart_now() };
            let copy = Store::open_on(Arc::new(after.clone()), to, &Options::default())
                .unwrap_or_else(|error| panic!("{fault:?} at {call}: {error:?}"));
            let found = ids(&copy, table);
            assert!(found == first || found == second, "{fault:?} at {call}: {found:?}");
            assert!(result.is_err() || found == second, "{fault:?} at {call}: a backup that was done is not there");
            assert_eq!(copy.check().unwrap(), [], "{fault:?} at {call}");
            outcomes[usize::from(found == second)] += 1;
            drop(copy);
            // The next one goes through.
            let store = Store::open_on(Arc::new(after.clone()), Twin::root(), &Options { background: false, ..tiny() })
                .unwrap();
            store.backup(to).unwrap_or_else(|error| panic!("{fault:?} at {call}: {error:?}"));
            let copy = Store::open_on(Arc::new(after), to, &Options::default()).unwrap();
            assert_eq!((ids(&copy, table), copy.check().unwrap()), (second.clone(), vec![]), "{fault:?} at {call}");
        }
    }
    assert!(outcomes[0] > 10 && outcomes[1] > 0, "{outcomes:?}");
}
