//! Keys of every shape find what a scan finds, wherever rows are: in a transaction, in the log, in segments, after
//! reopening, and with index files missing or harmed.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, Float64Array};
use proptest::prelude::*;
use ulid::Ulid;

use super::faulty::Twin;
use super::*;
use crate::error::codes;
use crate::storage::{KeySpan, Options, Transaction, index};

/// `id` is the primary key; `number`, `name` and `share` have indexes, `name` also a unique one together with `id`.
fn spec() -> TableSpec {
    let key = |name: &str, columns: &[usize], unique: bool| Key {
        name: name.into(),
        columns: columns.to_vec(),
        primary: name == "pkey",
        unique,
    };
    TableSpec {
        schema: Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("number", DataType::Int64, true),
            Field::new("name", DataType::Utf8View, true),
            Field::new("share", DataType::Float64, true),
        ])),
        keys: vec![
            key("pkey", &[0], true),
            key("numbers", &[1], false),
            key("names", &[2], false),
            key("shares", &[3], false),
            key("both", &[1, 2], false),
            key("pair", &[2, 0], true),
        ],
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    number: Option<i64>,
    name: Option<String>,
    share: Option<f64>,
}

type Rows = BTreeMap<i64, Row>;

fn batch_of(rows: &[(i64, Row)]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(rows.iter().map(|row| row.1.number).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1.name.as_deref()).collect::<StringViewArray>()),
        Arc::new(rows.iter().map(|row| row.1.share).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(spec().schema, columns).unwrap()
}

fn row() -> impl Strategy<Value = Row> {
    let name = (0usize..7).prop_map(|which| {
        [None, Some(""), Some("a"), Some("user_00000001"), Some("user_00000002"), Some("user_00000002\0"), Some("zz")]
            [which]
            .map(str::to_owned)
    });
    let share = (0usize..7)
        .prop_map(|which| [None, Some(0.0), Some(-0.0), Some(f64::NAN), Some(-f64::NAN), Some(1.5), Some(-2.0)][which]);
    (proptest::option::of(-3i64..4), name, share).prop_map(|(number, name, share)| Row { number, name, share })
}

#[derive(Clone, Debug)]
enum Action {
    Insert(i64, Vec<Row>),
    Delete(i64, i64),
    Savepoint,
    RollbackTo,
    Rollback,
    Commit,
    Checkpoint,
    Reopen,
    /// Takes index files away.
    Lose,
    /// Flips a byte in each index file.
    Harm(usize),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (-40i64..40, proptest::collection::vec(row(), 1..9)).prop_map(|(id, rows)| Action::Insert(id, rows)),
        3 => (-40i64..40, 1i64..20).prop_map(|(id, count)| Action::Delete(id, count)),
        1 => Just(Action::Savepoint),
        1 => Just(Action::RollbackTo),
        1 => Just(Action::Rollback),
        4 => Just(Action::Commit),
        2 => Just(Action::Checkpoint),
        1 => Just(Action::Reopen),
        1 => Just(Action::Lose),
        1 => any::<usize>().prop_map(Action::Harm),
    ]
}

fn tiny() -> Options {
    Options {
        wal_bytes_max: 9000,
        close_wal_bytes_max: 2000,
        spill_rows_max: 9,
        group_rows: 5,
        background: false,
        ..Options::default()
    }
}

fn same(one: f64, other: f64) -> bool {
    one == other || (one.is_nan() && other.is_nan())
}

/// Asks each key for values and spans, and compares with the model.
fn compare(snapshot: &Snapshot, table: TableId, rows: &Rows) {
    let view = snapshot.table(table).unwrap();
    let ids_of = |found: &[u64]| {
        let batch = view.fetch(found, &[0]).unwrap();
        let mut ids: Vec<i64> = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
        ids.sort_unstable();
        ids
    };
    let expected = |pass: &dyn Fn(&i64, &Row) -> bool| -> Vec<i64> {
        rows.iter().filter(|(id, row)| pass(id, row)).map(|(id, _)| *id).collect()
    };
    let select = |key: usize, span: KeySpan| ids_of(&view.select(key, &span, usize::MAX).unwrap().unwrap());
    let int = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let text = |value: &str| Arc::new(StringViewArray::from(vec![value])) as ArrayRef;
    let float = |value: f64| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
    for id in -41..42 {
        let place = view.locate(0, &[int(id)]).unwrap();
        assert_eq!(place.is_some(), rows.contains_key(&id), "id {id}");
        if let Some(place) = place {
            assert_eq!(view.value(place, 0).unwrap().as_primitive::<Int64Type>().value(0), id);
            let name = view.value(place, 2).unwrap();
            let name = name.as_string_view();
            assert_eq!(name.is_valid(0).then(|| name.value(0)), rows[&id].name.as_deref());
        }
    }
    for value in -4..5 {
        let equal = KeySpan { equal: vec![int(value)], ..KeySpan::default() };
        assert_eq!(select(1, equal.clone()), expected(&|_, row| row.number == Some(value)));
        assert_eq!(select(4, equal), expected(&|_, row| row.number == Some(value)));
        let above = KeySpan { lower: Some((int(value), false)), ..KeySpan::default() };
        assert_eq!(select(1, above.clone()), expected(&|_, row| row.number.is_some_and(|number| number > value)));
        assert_eq!(select(4, above), expected(&|_, row| row.number.is_some_and(|number| number > value)));
        let between = KeySpan { equal: vec![], lower: Some((int(value), true)), upper: Some((int(value + 2), false)) };
        let within = |row: &Row| row.number.is_some_and(|number| (value..value + 2).contains(&number));
        assert_eq!(select(1, between.clone()), expected(&|_, row| within(row)));
        assert_eq!(select(4, between), expected(&|_, row| within(row)));
        for name in ["", "a", "user_00000002", "z"] {
            let both = KeySpan { equal: vec![int(value)], lower: None, upper: Some((text(name), true)) };
            let pass = |row: &Row| row.number == Some(value) && row.name.as_deref().is_some_and(|known| known <= name);
            assert_eq!(select(4, both), expected(&|_, row| pass(row)));
        }
    }
    for name in ["", "a", "user_00000001", "user_00000002", "user_00000002\0", "user_", "zz", "zzz"] {
        let equal = KeySpan { equal: vec![text(name)], ..KeySpan::default() };
        assert_eq!(select(2, equal), expected(&|_, row| row.name.as_deref() == Some(name)));
        let from = KeySpan { lower: Some((text(name), true)), ..KeySpan::default() };
        assert_eq!(select(2, from), expected(&|_, row| row.name.as_deref().is_some_and(|known| known >= name)));
        let below = KeySpan { upper: Some((text(name), false)), ..KeySpan::default() };
        assert_eq!(select(5, below), expected(&|_, row| row.name.as_deref().is_some_and(|known| known < name)));
        for id in [-40, -1, 0, 7] {
            let found = view.locate(5, &[text(name), int(id)]).unwrap().is_some();
            assert_eq!(found, rows.get(&id).is_some_and(|row| row.name.as_deref() == Some(name)));
        }
    }
    for value in [0.0, -0.0, f64::NAN, 1.5, -2.0, 7.0] {
        let equal = KeySpan { equal: vec![float(value)], ..KeySpan::default() };
        assert_eq!(select(3, equal), expected(&|_, row| row.share.is_some_and(|share| same(share, value))));
    }
    let most = KeySpan { lower: Some((int(i64::MIN), true)), ..KeySpan::default() };
    let few = view.select(0, &most, rows.len().saturating_sub(1)).unwrap();
    assert!(rows.is_empty() || few.is_none(), "a bound on rows does not hold");
}

fn run(actions: &[Action], on_disk: bool) {
    let twin = Twin::new(9);
    let open_store = || match on_disk {
        true => Store::open_on(Arc::new(twin.clone()), Twin::root(), &tiny()).unwrap(),
        false => Store::memory().unwrap(),
    };
    let mut store = open_store();
    let transaction = store.begin().unwrap();
    let table = transaction.create_table(spec()).unwrap();
    transaction.commit().unwrap();
    let (mut head, mut now) = (Rows::new(), Rows::new());
    let mut open: Transaction = store.begin().unwrap();
    let mut savepoint = None;
    for (step, action) in actions.iter().enumerate() {
        match action {
            Action::Insert(id, rows) => {
                let new: Vec<(i64, Row)> = (*id..).zip(rows.iter().cloned()).collect();
                // Not in the order of the key.
                let mixed: Vec<_> = new.iter().rev().cloned().collect();
                match open.append(table, batch_of(&mixed)) {
                    Ok(()) => {
                        assert!(new.iter().all(|(id, _)| !now.contains_key(id)), "a key was taken twice");
                        now.extend(new);
                    }
                    Err(error) => {
                        assert!(error.is(codes::UNIQUE) && new.iter().any(|(id, _)| now.contains_key(id)), "{error:?}");
                    }
                }
            }
            Action::Delete(id, count) => {
                let snapshot = open.snapshot();
                let ids: Vec<u64> = (*id..id + count).filter_map(|id| find(&snapshot, table, id)).collect();
                open.delete(table, &ids).unwrap();
                now.retain(|row, _| !(*id..id + count).contains(row));
            }
            Action::Savepoint => savepoint = Some((open.savepoint(), now.clone())),
            Action::RollbackTo => {
                if let Some((savepoint, rows)) = &savepoint {
                    open.rollback_to(savepoint).unwrap();
                    now = rows.clone();
                }
            }
            Action::Rollback => {
                open = store.begin().unwrap();
                (now, savepoint) = (head.clone(), None);
            }
            Action::Commit => {
                open.commit().unwrap();
                open = store.begin().unwrap();
                (head, savepoint) = (now.clone(), None);
            }
            Action::Checkpoint => store.checkpoint().unwrap(),
            Action::Reopen if on_disk => {
                drop((open, std::mem::replace(&mut store, Store::memory().unwrap())));
                store = open_store();
                open = store.begin().unwrap();
                (now, savepoint) = (head.clone(), None);
            }
            Action::Reopen => {}
            Action::Lose | Action::Harm(_) => {
                let directory = twin.directory();
                for name in directory.list(index::FOLDER).unwrap_or_default() {
                    let name = format!("{}/{name}", index::FOLDER);
                    match action {
                        Action::Harm(at) => {
                            let mut bytes = directory.read(&name).unwrap().unwrap();
                            let length = bytes.len();
                            bytes[at % length] ^= 0x41;
                            directory.remove(&name).unwrap();
                            let file = directory.open(&name, crate::storage::io::Mode::Truncate).unwrap();
                            file.write_at(&bytes, 0).unwrap();
                        }
                        _ => directory.remove(&name).unwrap(),
                    }
                }
            }
        }
        if step % 3 == 0 {
            compare(&open.snapshot(), table, &now);
        }
    }
    compare(&open.snapshot(), table, &now);
    let is_harmed = actions.iter().any(|action| matches!(action, Action::Harm(_)));
    let findings = store.check().unwrap();
    assert!(findings.iter().all(|finding| is_harmed && finding.file.starts_with("indexes/")), "{findings:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..Default::default() })]

    #[test]
    fn every_key_finds_what_a_scan_finds(actions in proptest::collection::vec(action(), 1..50)) {
        run(&actions, true);
    }

    #[test]
    fn every_key_finds_what_a_scan_finds_in_memory(actions in proptest::collection::vec(action(), 1..40)) {
        run(&actions, false);
    }
}

/// A store with one segment whose rows do not lie in the order of the key, and so with index files.
fn indexed() -> (Twin, Store, TableId) {
    let twin = Twin::new(3);
    let store = Store::open_on(Arc::new(twin.clone()), Twin::root(), &Options::default()).unwrap();
    let transaction = store.begin().unwrap();
    let table = transaction.create_table(spec()).unwrap();
    let row = |id: i64| Row { number: Some(id % 5), name: Some(format!("user_{id:08}")), share: Some(id as f64) };
    let rows: Vec<(i64, Row)> = (0..200).map(|id| (id * 7919 % 200, row(id))).collect();
    transaction.append(table, batch_of(&rows)).unwrap();
    transaction.commit().unwrap();
    store.checkpoint().unwrap();
    (twin, store, table)
}

#[test]
fn a_checkpoint_leaves_index_files_and_nothing_is_sorted_after_reopening() {
    let (twin, store, table) = indexed();
    let names = twin.directory().list(index::FOLDER).unwrap();
    assert_eq!(names.len(), 3, "one for each key whose order the rows do not have: {names:?}");
    assert_eq!(store.check().unwrap(), []);
    drop(store);
    let store = Store::open_on(Arc::new(twin.clone()), Twin::root(), &Options::default()).unwrap();
    let view = store.snapshot().unwrap().table(table).unwrap();
    let part = &view.parts()[0];
    let (file, group) = part.stored().unwrap();
    let run = index::open(file.directory(), file.id, &[0]).expect("it can be read");
    assert_eq!((run.number(group), run.run.len()), (Some(0), 200));
    assert!(find(&store.snapshot().unwrap(), table, 77).is_some());
    // Dropping the table removes its files.
    let transaction = store.begin().unwrap();
    transaction.drop_table(table).unwrap();
    transaction.commit().unwrap();
    store.checkpoint().unwrap();
    drop((view, store));
    let store = Store::open_on(Arc::new(twin.clone()), Twin::root(), &Options::default()).unwrap();
    store.forget_history().unwrap();
    assert_eq!(twin.directory().list(index::FOLDER).unwrap(), [""; 0]);
}

#[test]
fn a_checkpoint_makes_index_files_that_are_missing_again() {
    let (twin, store, _) = indexed();
    let directory = twin.directory();
    let names = directory.list(index::FOLDER).unwrap();
    for name in &names {
        directory.remove(&format!("{}/{name}", index::FOLDER)).unwrap();
    }
    store.checkpoint().unwrap();
    assert_eq!(directory.list(index::FOLDER).unwrap(), names);
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn any_flipped_byte_of_an_index_is_found_by_check_and_rows_are_found_all_the_same() {
    let (twin, store, table) = indexed();
    drop(store);
    let directory = twin.directory();
    let name = directory.list(index::FOLDER).unwrap().into_iter().find(|name| name.ends_with("-0.index")).unwrap();
    let name = format!("{}/{name}", index::FOLDER);
    let whole = directory.read(&name).unwrap().unwrap();
    for at in (0..whole.len()).step_by(13) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let file = directory.open(&name, crate::storage::io::Mode::Truncate).unwrap();
        file.write_at(&bytes, 0).unwrap();
        let store = Store::open_on(Arc::new(twin.clone()), Twin::root(), &Options::default()).unwrap();
        for id in [0, 77, 199] {
            assert!(find(&store.snapshot().unwrap(), table, id).is_some(), "byte {at}");
        }
        let files: Vec<String> = store.check().unwrap().into_iter().map(|finding| finding.file).collect();
        // What pads the header is not read.
        let is_padding = (whole.len() - 200 * 12 - 64..whole.len() - 200 * 12).contains(&at) && whole[at] == 0;
        assert!(files == [name.clone()] || is_padding || (12..16).contains(&at), "byte {at}: {files:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..Default::default() })]

    #[test]
    fn a_harmed_index_is_refused_or_read_but_never_a_panic(
        flips in proptest::collection::vec((any::<usize>(), 1u8..), 1..4),
        cut in proptest::option::of(any::<usize>()),
    ) {
        let rows: Vec<u64> = (0..9).collect();
        let keys = crate::storage::run::Sortable::Words(&rows, None);
        let run = crate::storage::run::Run::build(&[(0, keys)]);
        let segment = Ulid::from_bytes([7; 16]);
        let whole = index::encode(segment, &[0, 2], &index::FileRun { run, groups: [(64, 9)].into() });
        prop_assert!(index::decode(whole.clone().into(), segment, &[0, 2]).is_ok());
        let mut bytes = whole;
        for (at, flip) in flips {
            let length = bytes.len();
            bytes[at % length] ^= flip;
        }
        // Past the checksums, as far as one can.
        let head = bytes.len() - 9 * 12;
        let (words, places) = (crc32c::crc32c(&bytes[head..head + 72]), crc32c::crc32c(&bytes[head + 72..]));
        let length = usize::from(bytes[16]).min(head - 24);
        if length >= 8 {
            bytes[24 + length - 8..24 + length - 4].copy_from_slice(&words.to_le_bytes());
            bytes[24 + length - 4..24 + length].copy_from_slice(&places.to_le_bytes());
            let checksum = crc32c::crc32c(&bytes[24..24 + length]);
            bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        }
        if let Some(cut) = cut {
            bytes.truncate(cut % (bytes.len() + 1));
        }
        if let Ok(file) = index::decode(bytes.into(), segment, &[0, 2]) {
            for word in [0, 4, u64::MAX] {
                let at = file.run.lower_bound(word);
                prop_assert!(at <= file.run.len());
            }
        }
    }
}
