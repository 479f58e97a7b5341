//! What survives closing, opening, checkpoints and damage, on a real file system.

use std::path::Path;

use arrow::array::{ArrayRef, DictionaryArray, ListArray, StringArray, StructArray};
use arrow::datatypes::{Fields, Int32Type};

use super::faulty::Twin;
use super::*;
use crate::error::codes;
use crate::storage::{Options, Retention};

fn open(path: &Path) -> Store {
    Store::open(path, &Options::default()).unwrap()
}

/// Small bounds, so that a few rows take the paths of many.
fn small() -> Options {
    Options { spill_rows_max: 20, group_rows: 16, retention: Retention::NONE, background: false, ..Options::default() }
}

fn insert(store: &Store, table: TableId, rows: &[(i64, &str)]) {
    let transaction = store.begin().unwrap();
    transaction.append(table, batch(rows)).unwrap();
    transaction.commit().unwrap();
}

fn numbered(range: std::ops::Range<i64>) -> Vec<(i64, String)> {
    range.map(|id| (id, format!("note number {id}, long enough"))).collect()
}

fn as_batch(rows: &[(i64, String)]) -> RecordBatch {
    let rows: Vec<(i64, &str)> = rows.iter().map(|(id, note)| (*id, note.as_str())).collect();
    batch(&rows)
}

#[test]
fn everything_is_there_again_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.kdb");
    let store = open(&path);
    let table = table_with(&store, &[(1, "a"), (2, "b"), (3, "c")]);
    let transaction = store.begin().unwrap();
    transaction.delete(table, &[find(&transaction.snapshot(), table, 2).unwrap()]).unwrap();
    transaction.put(b"k", b"v").unwrap();
    let version = transaction.commit().unwrap();
    let before = rows(&store.begin().unwrap().snapshot(), table);
    drop(store);
    for _ in 0..2 {
        let store = open(&path);
        let snapshot = store.begin().unwrap().snapshot();
        assert_eq!((rows(&snapshot, table), snapshot.version()), (before.clone(), version));
        assert_eq!(snapshot.get(b"k").unwrap(), "v");
        assert!(find(&snapshot, table, 3).is_some() && find(&snapshot, table, 2).is_none());
        assert_eq!((store.check().unwrap(), store.warnings()), (vec![], vec![]));
        store.checkpoint().unwrap();
    }
    for name in ["FORMAT", "CURRENT", "lock", "wal", "manifests", "segments"] {
        assert!(path.join(name).exists(), "{name}");
    }
}

#[test]
fn a_checkpoint_makes_segments_and_lets_the_log_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let table = table_with(&store, &[]);
    for id in 0..50 {
        insert(&store, table, &[(id, "some text that does not fit a view")]);
    }
    let transaction = store.begin().unwrap();
    let snapshot = transaction.snapshot();
    let before = store.info().unwrap();
    let view = snapshot.table(table).unwrap();
    store.checkpoint().unwrap();
    let after = store.info().unwrap();
    assert!(before.segments == 0 && after.segments == 1 && after.wal_bytes < 100, "{after:?}");
    assert_eq!((after.version, after.rows), (before.version, 50));
    let now = store.begin().unwrap().snapshot();
    assert_eq!(now.table(table).unwrap().version(), view.version());
    assert_eq!(rows(&now, table), rows(&snapshot, table));
    transaction.delete(table, &[find(&snapshot, table, 7).unwrap()]).unwrap();
    transaction.commit().unwrap();
    assert_eq!(find(&store.begin().unwrap().snapshot(), table, 7), None);
    let part = &now.table(table).unwrap().parts()[0].clone();
    let bounds = part.statistics(0).unwrap();
    assert_eq!(bounds.max.as_ref().unwrap().as_primitive::<Int64Type>().value(0), 49);
    // Any Arrow reader reads the file.
    let name = std::fs::read_dir(folder.path().join("segments")).unwrap().next().unwrap().unwrap().path();
    let reader = arrow::ipc::reader::FileReader::try_new(std::fs::File::open(name).unwrap(), None).unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 50);
}

#[test]
fn many_rows_go_to_segments_and_only_their_names_to_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small()).unwrap();
    let table = table_with(&store, &[(-1, "first")]);
    let log = store.info().unwrap().wal_bytes;
    let transaction = store.begin().unwrap();
    let all = numbered(0..500);
    for chunk in all.chunks(7) {
        transaction.append(table, as_batch(chunk)).unwrap();
    }
    let error = transaction.append(table, batch(&[(3, "again")])).unwrap_err();
    assert!(error.is(codes::UNIQUE));
    let own = find(&transaction.snapshot(), table, 5).unwrap();
    transaction.delete(table, &[own]).unwrap();
    assert_eq!(rows(&transaction.snapshot(), table).len(), 500);
    transaction.commit().unwrap();
    let info = store.info().unwrap();
    assert!(info.segments >= 4, "{info:?}");
    assert!(info.wal_bytes - log < 80_000, "{}", info.wal_bytes - log);
    drop(store);
    let store = Store::open(folder.path(), &small()).unwrap();
    let found = rows(&store.begin().unwrap().snapshot(), table);
    assert!(found[0].0 == -1 && found.len() == 500 && found.iter().all(|row| row.0 != 5));
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn a_bulk_load_that_is_rolled_back_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small()).unwrap();
    let table = table_with(&store, &[]);
    let count = || std::fs::read_dir(folder.path().join("segments")).unwrap().count();
    let transaction = store.begin().unwrap();
    transaction.append(table, as_batch(&numbered(0..40))).unwrap();
    let savepoint = transaction.savepoint();
    transaction.append(table, as_batch(&numbered(40..400))).unwrap();
    assert!(count() > 1);
    transaction.rollback_to(&savepoint).unwrap();
    assert_eq!(rows(&transaction.snapshot(), table), numbered(0..40));
    transaction.append(table, as_batch(&numbered(100..140))).unwrap();
    drop((transaction, savepoint));
    assert_eq!(count(), 0);
}

#[test]
fn segments_of_a_crashed_load_are_swept_and_those_of_a_running_one_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small()).unwrap();
    let table = table_with(&store, &[]);
    let transaction = store.begin().unwrap();
    transaction.append(table, as_batch(&numbered(0..100))).unwrap();
    let segments = folder.path().join("segments");
    std::fs::write(segments.join("01ARZ3NDEKTSV4RRFFQ69G5FAV.arrow"), b"left over").unwrap();
    let other = Store::open(folder.path(), &small()).unwrap();
    assert!(!segments.join("01ARZ3NDEKTSV4RRFFQ69G5FAV.arrow").exists());
    other.checkpoint().unwrap();
    transaction.commit().unwrap();
    assert_eq!(rows(&other.begin().unwrap().snapshot(), table), numbered(0..100));
}

#[test]
fn space_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &small()).unwrap();
    let table = table_with(&store, &[]);
    insert(&store, table, &[(1000, "stays")]);
    let transaction = store.begin().unwrap();
    transaction.append(table, as_batch(&numbered(0..200))).unwrap();
    transaction.commit().unwrap();
    let transaction = store.begin().unwrap();
    let view = transaction.snapshot().table(table).unwrap();
    let ids: Vec<u64> = view.parts().iter().flat_map(|part| part.row_ids().unwrap().values().to_vec()).collect();
    assert_eq!(transaction.delete(table, &ids[1..195]).unwrap(), 194);
    transaction.commit().unwrap();
    store.vacuum(None).unwrap();
    assert_eq!(store.info().unwrap().segments, 1);
    assert_eq!(std::fs::read_dir(folder.path().join("segments")).unwrap().count(), 1);
    // A reader of the old version still reads what it saw.
    assert_eq!(view.parts().iter().map(|part| part.read(&[1]).unwrap().num_rows()).sum::<usize>(), 201);
    let now = store.begin().unwrap().snapshot();
    assert_eq!(rows(&now, table).len(), 7);
    assert!(find(&now, table, 1000).is_some() && find(&now, table, 199).is_some() && find(&now, table, 20).is_none());
    let transaction = store.begin().unwrap();
    transaction.drop_table(table).unwrap();
    transaction.commit().unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("segments")).unwrap().count(), 0);
}

#[test]
fn every_type_survives() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let fields = Fields::from(vec![Field::new("a", DataType::Utf8View, true), Field::new("b", DataType::Int32, true)]);
    let structs = StructArray::new(
        fields,
        vec![
            Arc::new(StringViewArray::from(vec![Some("x"), None, Some("a text that is longer")])),
            Arc::new(arrow::array::Int32Array::from(vec![1, 2, 3])),
        ],
        Some(vec![true, true, false].into()),
    );
    let dictionary: DictionaryArray<Int32Type> = [Some("one"), None, Some("two")].into_iter().collect();
    let decimal = arrow::array::Decimal128Array::from(vec![Some(1), None, Some(i128::MAX / 7)]);
    let mut map =
        arrow::array::MapBuilder::new(None, arrow::array::StringBuilder::new(), arrow::array::Int64Builder::new());
    map.keys().append_value("k");
    map.values().append_value(1);
    map.append(true).unwrap();
    map.append(false).unwrap();
    map.append(true).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("list", Arc::new(list)),
        ("struct", Arc::new(structs)),
        ("dictionary", Arc::new(dictionary)),
        ("decimal", Arc::new(decimal)),
        ("map", Arc::new(map.finish())),
        ("none", Arc::new(arrow::array::NullArray::new(3))),
        ("text", Arc::new(StringArray::from(vec![Some("a"), None, Some("ccc")]))),
        ("view", Arc::new(StringViewArray::from(vec![Some("a"), None, Some("longer than twelve bytes")]))),
        ("flag", Arc::new(arrow::array::BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("binary", Arc::new(arrow::array::BinaryViewArray::from_iter([Some(&b"\0\xff"[..]), None, Some(&[7; 40])]))),
    ];
    let schema = Schema::new(
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect::<Vec<_>>(),
    );
    let original =
        RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|column| column.1).collect()).unwrap();
    let all: Vec<usize> = (0..original.num_columns()).collect();
    for columns in [all.clone(), vec![2], vec![0, 1, 3, 4, 5, 6, 7, 8, 9]] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let original = original.project(&columns).unwrap();
        let transaction = store.begin().unwrap();
        let table = transaction.create_table(TableSpec { schema: original.schema(), keys: vec![] }).unwrap();
        for _ in 0..2 {
            transaction.append(table, original.clone()).unwrap();
        }
        transaction.commit().unwrap();
        drop(store);
        let store = open(folder.path());
        for _ in 0..2 {
            let view = store.begin().unwrap().snapshot().table(table).unwrap();
            let all: Vec<usize> = (0..original.num_columns()).collect();
            let read: Vec<_> = view.parts().iter().map(|part| part.read(&all).unwrap()).collect();
            let read = arrow::compute::concat_batches(&original.schema(), &read).unwrap();
            let twice = arrow::compute::concat_batches(&original.schema(), [&original, &original]).unwrap();
            assert_eq!(read, twice);
            assert_eq!(store.check().unwrap(), []);
            store.checkpoint().unwrap();
        }
    }
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let file = folder.path().join("thesis.txt");
    for path in [folder.path(), &file] {
        let error = Store::open(path, &Options::default()).unwrap_err();
        assert!(error.is(codes::NOT_A_DATABASE), "{error:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let missing = Options { create: false, ..Options::default() };
    assert!(Store::open(&folder.path().join("x.kdb"), &missing).unwrap_err().is(codes::NOT_A_DATABASE));
    let path = folder.path().join("new.kdb");
    drop(open(&path));
    let mut format = std::fs::read(path.join("FORMAT")).unwrap();
    format[8] = 99;
    std::fs::write(path.join("FORMAT"), format).unwrap();
    assert!(Store::open(&path, &Options::default()).unwrap_err().is(codes::FORMAT_VERSION));
}

#[test]
fn a_read_only_store_reads_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let table = table_with(&store, &[(1, "a")]);
    let reader = Store::open(folder.path(), &Options { read_only: true, ..Options::default() }).unwrap();
    insert(&store, table, &[(2, "b")]);
    assert_eq!(rows(&reader.begin().unwrap().snapshot(), table).len(), 2);
    let transaction = reader.begin().unwrap();
    transaction.set_read_only(false);
    assert!(transaction.put(b"k", b"v").unwrap_err().is(codes::READ_ONLY));
    assert!(reader.checkpoint().unwrap_err().is(codes::READ_ONLY));
}

#[test]
fn two_stores_on_one_directory_see_each_other_and_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()), open(folder.path()));
    let table = table_with(&one, &[(1, "0")]);
    let count = |store: &Store| {
        let transaction = store.begin().unwrap();
        let snapshot = transaction.snapshot();
        let value: u64 = rows(&snapshot, table)[0].1.parse().unwrap();
        transaction.delete(table, &[find(&snapshot, table, 1).unwrap()]).unwrap();
        transaction.append(table, batch(&[(1, &(value + 1).to_string())])).unwrap();
        transaction.commit()
    };
    for round in 0..30 {
        count(&one).unwrap();
        count(&two).unwrap();
        match round % 3 {
            0 => one.checkpoint().unwrap(),
            1 => two.checkpoint().unwrap(),
            _ => {}
        }
    }
    let (first, second) = (one.begin().unwrap(), two.begin().unwrap());
    for transaction in [&first, &second] {
        transaction.delete(table, &[find(&transaction.snapshot(), table, 1).unwrap()]).unwrap();
    }
    first.commit().unwrap();
    assert!(second.commit().unwrap_err().is(codes::CONFLICT));
    assert_eq!(rows(&two.begin().unwrap().snapshot(), table), []);
    let threads: Vec<_> = [&one, &two, &one, &two]
        .map(Store::clone)
        .into_iter()
        .zip(0..)
        .map(|(store, number)| {
            std::thread::spawn(move || (0..50).for_each(|id| insert(&store, table, &[(number * 1000 + id, "t")])))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    for store in [&one, &two] {
        assert_eq!(store.begin().unwrap().snapshot().table(table).unwrap().rows(), 200);
        assert_eq!(store.check().unwrap(), []);
    }
}

#[test]
fn a_process_that_fell_behind_two_checkpoints_catches_up() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path()), open(folder.path()));
    let table = table_with(&one, &[(0, "x")]);
    let old = two.begin().unwrap().snapshot();
    for id in 1..4 {
        insert(&one, table, &[(id, "x")]);
        one.checkpoint().unwrap();
    }
    assert_eq!(rows(&two.begin().unwrap().snapshot(), table).len(), 4);
    assert_eq!(rows(&old, table).len(), 1);
}

#[test]
fn a_log_that_another_process_cut_back_is_not_written_to_beyond_its_end() {
    let (twin, table) = damaged();
    let store = reopen(&twin).unwrap();
    let transaction = store.begin().unwrap();
    twin.damage("wal/00000002.wal", |contents| contents.truncate(100));
    transaction.append(table, batch(&[(9, "z")])).unwrap();
    assert!(transaction.commit().unwrap_err().is(codes::POISONED));
    let transaction = store.begin().unwrap();
    assert_eq!(rows(&transaction.snapshot(), table).len(), 3);
    transaction.put(b"k", b"v").unwrap();
    assert!(transaction.commit().unwrap_err().is(codes::POISONED));
}

/// Committed, checkpointed and logged rows on a twin disk, closed.
fn damaged() -> (Twin, TableId) {
    let twin = Twin::new(5);
    let store = Store::open_on(Arc::new(twin.clone()), Twin::root(), &small()).unwrap();
    let table = table_with(&store, &[(1, "a")]);
    store.checkpoint().unwrap();
    insert(&store, table, &[(2, "b")]);
    insert(&store, table, &[(3, "c")]);
    (twin, table)
}

fn reopen(twin: &Twin) -> crate::error::Result<Store> {
    Store::open_on(Arc::new(twin.clone()), Twin::root(), &small())
}

#[test]
fn any_flipped_byte_of_the_log_is_a_dropped_tail_or_an_error_that_names_the_file() {
    let (twin, table) = damaged();
    let name = "wal/00000002.wal";
    let mut bytes = Vec::new();
    twin.damage(name, |contents| bytes = contents.clone());
    let last = {
        let mut at = 48;
        let mut last = at;
        while let super::super::wal::Next::Record(record) = super::super::wal::next(&bytes[at..]) {
            last = at;
            at += record.length;
        }
        assert_eq!(at, bytes.len());
        last
    };
    for at in 0..bytes.len() {
        twin.damage(name, |contents| {
            *contents = bytes.clone();
            contents[at] ^= 0x41;
        });
        match reopen(&twin) {
            Ok(store) if (44..48).contains(&at) => assert_eq!(store.warnings(), [""; 0]),
            Ok(store) => {
                assert!(at >= last, "byte {at} of the middle was taken for a tail");
                assert!(store.warnings()[0].contains(name));
                assert_eq!(rows(&store.begin().unwrap().snapshot(), table).len(), 2);
                assert_eq!(store.check().unwrap(), []);
            }
            Err(error) => {
                assert!(at < last && error.is(codes::CORRUPT) && error.message().contains(name), "{at} {error:?}");
            }
        }
    }
    for length in last..bytes.len() {
        twin.damage(name, |contents| *contents = bytes[..length].to_vec());
        let store = reopen(&twin).unwrap();
        assert_eq!(rows(&store.begin().unwrap().snapshot(), table).len(), 2);
    }
}

#[test]
fn any_flipped_or_missing_byte_of_manifest_current_or_format_is_an_error_that_names_the_file() {
    let (twin, table) = damaged();
    for name in ["manifests/00000002", "CURRENT", "FORMAT"] {
        let mut bytes = Vec::new();
        twin.damage(name, |contents| bytes = contents.clone());
        for at in 0..bytes.len() {
            for cut in [false, true] {
                twin.damage(name, |contents| {
                    *contents = bytes.clone();
                    if cut { contents.truncate(at) } else { contents[at] ^= 0x41 }
                });
                match reopen(&twin) {
                    Ok(store) => {
                        // The reserved bytes of a manifest.
                        assert!(name.starts_with("man") && (12..16).contains(&at) && !cut, "{name} {at}");
                        assert_eq!(rows(&store.begin().unwrap().snapshot(), table).len(), 3);
                    }
                    Err(error) => {
                        let kinds = [codes::CORRUPT, codes::NOT_A_DATABASE, codes::FORMAT_VERSION];
                        assert!(kinds.into_iter().any(|kind| error.is(kind)), "{name} {at} {error:?}");
                        assert!(!error.is(codes::CORRUPT) || error.message().contains(name), "{error:?}");
                    }
                }
            }
        }
        twin.damage(name, |contents| *contents = bytes.clone());
    }
    assert_eq!(rows(&reopen(&twin).unwrap().begin().unwrap().snapshot(), table).len(), 3);
}

#[test]
fn any_flipped_byte_of_a_segment_is_found_by_check_and_never_gives_wrong_rows() {
    let (twin, table) = damaged();
    let name = format!("segments/{}", twin.list_files("segments")[0]);
    let mut bytes = Vec::new();
    twin.damage(&name, |contents| bytes = contents.clone());
    for at in 0..bytes.len() {
        twin.damage(&name, |contents| {
            *contents = bytes.clone();
            contents[at] ^= 0x41;
        });
        let store = reopen(&twin).unwrap();
        let findings = store.check().unwrap();
        assert!(findings.iter().any(|finding| finding.file == name), "byte {at}: {findings:?}");
        let view = store.begin().unwrap().snapshot().table(table).unwrap();
        match view.parts()[0].read(&[0, 1]) {
            Ok(batch) => assert_eq!(batch, super::batch(&[(1, "a")])),
            Err(error) => assert!(error.is(codes::CORRUPT) && error.message().contains(&name), "{error:?}"),
        }
    }
    for length in [0, 1, 100, bytes.len() - 1] {
        twin.damage(&name, |contents| *contents = bytes[..length].to_vec());
        let store = reopen(&twin).unwrap();
        let view = store.begin().unwrap().snapshot().table(table).unwrap();
        let error = view.parts()[0].read(&[0]).unwrap_err();
        assert!(error.is(codes::CORRUPT) && error.message().contains(&name), "{error:?}");
        assert!(store.check().unwrap().iter().any(|finding| finding.file == name));
    }
}
