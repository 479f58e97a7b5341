//! Transactions in memory: what they see, what stops them, what they leave behind.

use super::*;
use crate::error::codes;

fn pairs(rows: &[(i64, &str)]) -> Vec<(i64, String)> {
    rows.iter().map(|(id, note)| (*id, (*note).to_owned())).collect()
}

#[test]
fn a_transaction_sees_its_own_rows_and_nobody_else_does_before_commit() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[(1, "a")]);
    let writer = store.begin().unwrap();
    writer.append(table, batch(&[(2, "b")])).unwrap();
    let before = store.begin().unwrap().snapshot();
    assert_eq!(rows(&writer.snapshot(), table), pairs(&[(1, "a"), (2, "b")]));
    assert_eq!(rows(&before, table), pairs(&[(1, "a")]));
    let version = writer.commit().unwrap();
    assert_eq!(version, store.version());
    assert_eq!(rows(&before, table), pairs(&[(1, "a")]));
    assert_eq!(rows(&store.begin().unwrap().snapshot(), table), pairs(&[(1, "a"), (2, "b")]));
}

#[test]
fn a_dropped_transaction_leaves_no_trace() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[(1, "a")]);
    let version = store.version();
    let transaction = store.begin().unwrap();
    transaction.append(table, batch(&[(2, "b")])).unwrap();
    transaction.put(b"k", b"v").unwrap();
    drop(transaction);
    let snapshot = store.begin().unwrap().snapshot();
    assert_eq!((rows(&snapshot, table), snapshot.get(b"k")), (pairs(&[(1, "a")]), None));
    assert_eq!(store.begin().unwrap().commit().unwrap(), version);
}

#[test]
fn a_key_is_unique_against_the_snapshot_and_against_own_rows() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[(1, "a")]);
    let transaction = store.begin().unwrap();
    transaction.append(table, batch(&[(2, "b")])).unwrap();
    for taken in [&[(1, "x")][..], &[(2, "x")], &[(5, "x"), (4, "x"), (5, "y")]] {
        let error = transaction.append(table, batch(taken)).unwrap_err();
        assert!(error.is(codes::UNIQUE) && error.message().contains("notes_pkey"), "{error:?}");
    }
    let first = find(&transaction.snapshot(), table, 1).unwrap();
    assert_eq!(transaction.delete(table, &[first, first, 999]).unwrap(), 1);
    transaction.append(table, batch(&[(1, "again")])).unwrap();
    transaction.commit().unwrap();
    let snapshot = store.begin().unwrap().snapshot();
    assert_eq!(rows(&snapshot, table), pairs(&[(2, "b"), (1, "again")]));
    assert_ne!(find(&snapshot, table, 1), Some(first));
    assert_eq!(find(&snapshot, table, 7), None);
}

#[test]
fn the_first_committer_wins() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[(1, "a"), (2, "b")]);
    let (one, two, three) = (store.begin().unwrap(), store.begin().unwrap(), store.begin().unwrap());
    let row = find(&one.snapshot(), table, 1).unwrap();
    one.delete(table, &[row]).unwrap();
    one.append(table, batch(&[(1, "one"), (7, "seven")])).unwrap();
    two.delete(table, &[row]).unwrap();
    three.append(table, batch(&[(7, "other")])).unwrap();
    one.commit().unwrap();
    for loser in [two, three] {
        let error = loser.commit().unwrap_err();
        assert!(error.is(codes::CONFLICT) && error.sqlstate() == Some("40001"), "{error:?}");
    }
    assert_eq!(rows(&store.begin().unwrap().snapshot(), table), pairs(&[(2, "b"), (1, "one"), (7, "seven")]));
}

#[test]
fn other_keys_other_rows_and_other_tables_do_not_conflict() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[(1, "a"), (2, "b")]);
    let (one, two, three) = (store.begin().unwrap(), store.begin().unwrap(), store.begin().unwrap());
    let snapshot = one.snapshot();
    one.delete(table, &[find(&snapshot, table, 1).unwrap()]).unwrap();
    two.delete(table, &[find(&snapshot, table, 2).unwrap()]).unwrap();
    two.append(table, batch(&[(3, "c")])).unwrap();
    let other = three.create_table(notes()).unwrap();
    three.append(other, batch(&[(1, "z")])).unwrap();
    for transaction in [one, two, three] {
        transaction.commit().unwrap();
    }
    let snapshot = store.begin().unwrap().snapshot();
    assert_eq!((rows(&snapshot, table), rows(&snapshot, other)), (pairs(&[(3, "c")]), pairs(&[(1, "z")])));
}

#[test]
fn entries_conflict_by_key_and_scan_in_order() {
    let store = Store::memory().unwrap();
    let (one, two, three) = (store.begin().unwrap(), store.begin().unwrap(), store.begin().unwrap());
    one.put(b"a/2", b"x").unwrap();
    one.put(b"a/1", b"y").unwrap();
    one.put(b"b", b"z").unwrap();
    two.put(b"a/2", b"other").unwrap();
    three.put(b"a/3", b"w").unwrap();
    one.commit().unwrap();
    assert!(two.commit().unwrap_err().is(codes::CONFLICT));
    three.commit().unwrap();
    let keys: Vec<_> = store.begin().unwrap().snapshot().scan(b"a/").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a/1", "a/2", "a/3"]);
}

#[test]
fn a_savepoint_restores_rows_deletions_and_entries() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[(1, "a")]);
    let transaction = store.begin().unwrap();
    transaction.append(table, batch(&[(2, "b")])).unwrap();
    let savepoint = transaction.savepoint();
    for _ in 0..2 {
        let own = find(&transaction.snapshot(), table, 2).unwrap();
        transaction.delete(table, &[own, find(&transaction.snapshot(), table, 1).unwrap()]).unwrap();
        transaction.append(table, batch(&[(3, "c")])).unwrap();
        transaction.put(b"k", b"v").unwrap();
        let other = transaction.create_table(notes()).unwrap();
        assert_eq!(rows(&transaction.snapshot(), table), pairs(&[(3, "c")]));
        transaction.rollback_to(&savepoint).unwrap();
        assert!(transaction.snapshot().table(other).is_err());
    }
    assert_eq!(transaction.snapshot().get(b"k"), None);
    transaction.commit().unwrap();
    assert_eq!(rows(&store.begin().unwrap().snapshot(), table), pairs(&[(1, "a"), (2, "b")]));
}

#[test]
fn many_single_rows_make_few_parts_and_stay_in_order() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[]);
    for id in 0..1000 {
        let transaction = store.begin().unwrap();
        transaction.append(table, batch(&[(id, "a note that is longer than twelve bytes")])).unwrap();
        transaction.commit().unwrap();
    }
    let snapshot = store.begin().unwrap().snapshot();
    let view = snapshot.table(table).unwrap();
    assert!(view.parts().len() <= 32, "{} parts", view.parts().len());
    assert!(rows(&snapshot, table).iter().map(|row| row.0).eq(0..1000));
    let ids: Vec<u64> = (0..1000).map(|id| find(&snapshot, table, id).unwrap()).collect();
    assert!(ids.is_sorted());
    let fetched = view.fetch(&[ids[77], ids[5]], &[0]).unwrap();
    assert_eq!(fetched.column(0).as_primitive::<Int64Type>().values(), &[77, 5]);
}

#[test]
fn a_row_that_is_updated_over_and_over_takes_no_more_room() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[(1, "start")]);
    for count in 0..500 {
        let transaction = store.begin().unwrap();
        let row = find(&transaction.snapshot(), table, 1).unwrap();
        transaction.delete(table, &[row]).unwrap();
        transaction.append(table, batch(&[(1, &count.to_string())])).unwrap();
        transaction.commit().unwrap();
    }
    let snapshot = store.begin().unwrap().snapshot();
    assert_eq!(rows(&snapshot, table), pairs(&[(1, "499")]));
    assert_eq!(snapshot.table(table).unwrap().parts().len(), 1);
}

#[test]
fn altering_maps_columns_and_conflicts_with_writers_of_the_old_shape() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[(1, "a"), (2, "b")]);
    let (alters, appends) = (store.begin().unwrap(), store.begin().unwrap());
    let schema = Schema::new(vec![
        Field::new("text", DataType::Utf8View, true),
        Field::new("extra", DataType::Float64, true),
        Field::new("id", DataType::Int64, false),
    ]);
    let keys = vec![Key { name: "k".into(), columns: vec![2], primary: true, unique: true }];
    alters.alter_table(table, TableSpec { schema: Arc::new(schema), keys }, vec![Some(1), None, Some(0)]).unwrap();
    appends.append(table, batch(&[(3, "c")])).unwrap();
    alters.commit().unwrap();
    assert!(appends.commit().unwrap_err().is(codes::CONFLICT));
    let snapshot = store.begin().unwrap().snapshot();
    let read = snapshot.table(table).unwrap().parts()[0].read(&[2, 1, 0]).unwrap();
    assert_eq!(read.column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
    assert_eq!((read.column(1).null_count(), read.column(2).as_string_view().value(1)), (2, "b"));
    assert!(find(&snapshot, table, 2).is_some());
}

#[test]
fn a_key_that_rows_break_is_refused_when_it_is_added() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[(1, "same"), (2, "same")]);
    let mut spec = notes();
    spec.keys.push(Key { name: "by_note".into(), columns: vec![1], primary: false, unique: true });
    let transaction = store.begin().unwrap();
    let error = transaction.alter_table(table, spec, vec![Some(0), Some(1)]).unwrap_err();
    assert!(error.is(codes::UNIQUE) && error.message().contains("by_note"), "{error:?}");
}

#[test]
fn what_does_not_fit_the_table_is_refused() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[]);
    let transaction = store.begin().unwrap();
    let wrong = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1])) as _)]).unwrap();
    assert!(transaction.append(table, wrong).unwrap_err().is(codes::TYPE));
    let nothing = StringViewArray::from(vec![Some("a")]);
    let nulls = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(vec![None::<i64>])) as _, true),
        ("note", Arc::new(nothing) as _, true),
    ]);
    assert!(transaction.append(table, nulls.unwrap()).unwrap_err().is(codes::NOT_NULL));
    transaction.set_read_only(true);
    assert!(transaction.append(table, batch(&[(1, "a")])).unwrap_err().is(codes::READ_ONLY));
}
