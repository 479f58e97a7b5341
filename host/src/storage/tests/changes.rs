//! What changed between two versions: against plain maps, and that it costs what changed.

use proptest::prelude::*;

use super::faulty::Twin;
use super::*;
use crate::storage::{At, Change, From, Options};

fn small() -> Options {
    Options { spill_rows_max: 9, group_rows: 5, ..Options::default() }
}

/// The changes as rows.
fn shown(store: &Store, table: TableId, from: u64, to: u64) -> Vec<(Change, i64, String)> {
    let at = |version| store.snapshot_at("main", At::Version(version)).unwrap();
    let changes = at(to).changes_since(&at(from), table).unwrap();
    let mut rows = Vec::new();
    for (change, batch) in changes.batches {
        let (ids, notes) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string_view());
        rows.extend(ids.values().iter().zip(notes).map(|(id, note)| (change, *id, note.unwrap().to_owned())));
    }
    rows
}

fn commit(store: &Store, branch: &str, change: impl FnOnce(&crate::storage::Transaction)) -> u64 {
    let transaction = store.begin_on(branch).unwrap();
    change(&transaction);
    transaction.commit().unwrap()
}

fn set(transaction: &crate::storage::Transaction, table: TableId, id: i64, note: Option<&str>) {
    if let Some(row) = find(&transaction.snapshot(), table, id) {
        transaction.delete(table, &[row]).unwrap();
    }
    if let Some(note) = note {
        transaction.append(table, batch(&[(id, note)])).unwrap();
    }
}

#[test]
fn inserts_deletes_and_updates_are_told_apart_also_across_branches() {
    let store = Store::memory().unwrap();
    let table = table_with(&store, &[(1, "a"), (2, "b"), (3, "c")]);
    let before = store.version();
    commit(&store, "main", |main| main.create_branch("dev", From::Branch("main")).unwrap());
    let after = commit(&store, "main", |main| {
        set(main, table, 1, Some("changed"));
        set(main, table, 2, None);
        // Deleted and inserted again as it was.
        set(main, table, 3, Some("c"));
        set(main, table, 4, Some("new"));
    });
    let text =
        |rows: &[(Change, i64, &str)]| rows.iter().map(|row| (row.0, row.1, row.2.to_owned())).collect::<Vec<_>>();
    let forward = [
        (Change::Delete, 2, "b"),
        (Change::UpdateBefore, 1, "a"),
        (Change::UpdateAfter, 1, "changed"),
        (Change::Insert, 4, "new"),
    ];
    assert_eq!(shown(&store, table, before, after), text(&forward));
    let backward = [
        (Change::Delete, 4, "new"),
        (Change::UpdateBefore, 1, "changed"),
        (Change::UpdateAfter, 1, "a"),
        (Change::Insert, 2, "b"),
    ];
    assert_eq!(shown(&store, table, after, before), text(&backward));
    assert_eq!(shown(&store, table, after, after), []);
    let dev = commit(&store, "dev", |dev| set(dev, table, 4, Some("of dev")));
    let across = [
        (Change::UpdateBefore, 1, "changed"),
        (Change::UpdateBefore, 4, "new"),
        (Change::UpdateAfter, 1, "a"),
        (Change::UpdateAfter, 4, "of dev"),
        (Change::Insert, 2, "b"),
    ];
    assert_eq!(shown(&store, table, after, dev), text(&across));
}

/// Equal row groups are not read: all of them are damaged here, so that reading any would be an error.
#[test]
fn only_rows_that_differ_are_read_whatever_moved_between_files() {
    let twin = Twin::new(6);
    let open = || Store::open_on(Arc::new(twin.clone()), Twin::root(), &small()).unwrap();
    let store = open();
    let table = table_with(&store, &[]);
    for start in (0..100).step_by(10) {
        let rows: Vec<(i64, String)> = (start..start + 10).map(|id| (id, format!("note {id}"))).collect();
        let rows: Vec<(i64, &str)> = rows.iter().map(|(id, note)| (*id, note.as_str())).collect();
        commit(&store, "main", |main| main.append(table, batch(&rows)).unwrap());
    }
    store.checkpoint().unwrap();
    let before = store.version();
    let old = twin.list_files("segments");
    let after = commit(&store, "main", |main| {
        main.append(table, batch(&[(500, "new")])).unwrap();
        main.delete(table, &[find(&main.snapshot(), table, 42).unwrap()]).unwrap();
    });
    store.checkpoint().unwrap();
    drop(store);
    // The one row that is gone must be read; the file that it is in stays whole.
    let probe = open();
    let snapshot = probe.snapshot_at("main", At::Version(before)).unwrap();
    let row = find(&snapshot, table, 42).unwrap();
    let view = snapshot.table(table).unwrap();
    let part = view.parts().iter().find(|part| part.ids().position(row).is_some()).unwrap();
    let needed = part.stored().unwrap().0.name();
    drop((view, snapshot, probe));
    let mut damaged = 0;
    for name in old.iter().map(|name| format!("segments/{name}")).filter(|name| *name != needed) {
        twin.damage(&name, |bytes| bytes.iter_mut().skip(600).for_each(|byte| *byte ^= 0x55));
        damaged += 1;
    }
    assert!(damaged > 0);
    let store = open();
    let expected = [(Change::Delete, 42, "note 42".to_owned()), (Change::Insert, 500, "new".to_owned())];
    assert_eq!(shown(&store, table, before, after), expected);
    let all = store.snapshot_at("main", At::Version(before)).unwrap().table(table).unwrap();
    assert!(all.parts().iter().any(|part| part.read(&[1]).is_err()), "the damage would be seen");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..Default::default() })]

    #[test]
    fn changes_lead_from_one_version_to_the_other(steps in proptest::collection::vec((0usize..2, 0i64..8, 0u8..4), 2..40)) {
        let twin = Twin::new(8);
        let store = Store::open_on(Arc::new(twin), Twin::root(), &small()).unwrap();
        let table = table_with(&store, &[]);
        commit(&store, "main", |main| main.create_branch("dev", From::Branch("main")).unwrap());
        let mut versions = vec![store.version()];
        for (number, (branch, id, what)) in steps.iter().enumerate() {
            let branch = ["main", "dev"][*branch];
            let note = format!("{}", number / 5);
            versions.push(commit(&store, branch, |on| set(on, table, *id, (*what > 0).then_some(&note))));
            if number % 9 == 7 {
                store.checkpoint().unwrap();
            }
        }
        let all = |version| -> std::collections::BTreeMap<i64, String> {
            rows(&store.snapshot_at("main", At::Version(version)).unwrap(), table).into_iter().collect()
        };
        for pair in versions.windows(2).chain(versions.windows(3)) {
            let (from, to) = (pair[0], pair[pair.len() - 1]);
            let mut rows = all(from);
            for (change, id, note) in shown(&store, table, from, to) {
                match change {
                    Change::Delete | Change::UpdateBefore => assert_eq!(rows.remove(&id), Some(note)),
                    Change::Insert | Change::UpdateAfter => assert_eq!(rows.insert(id, note), None),
                }
            }
            assert_eq!(rows, all(to), "from {from} to {to}");
        }
    }
}
