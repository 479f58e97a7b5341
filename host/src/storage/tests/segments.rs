//! Values of every type through files and back: whatever was narrowed, put into a dictionary or compressed on the way must
//! come back as it was, be found when it is damaged, and take no memory that nobody announced.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    Float64Array, Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::compute::{concat_batches, max, min};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int8Type, Int64Type, Schema};
use proptest::prelude::*;

use super::super::{Options, Store, TableSpec, expose};
use super::faulty::Twin;
use crate::error::codes;

/// So many rows make a row group here.
const GROUP_ROWS: usize = 64;

fn options() -> Options {
    Options { spill_rows_max: 16, group_rows: GROUP_ROWS, ..Options::default() }
}

/// A column of a kind, whose values come from seeds; about one in eight is null.
fn column(kind: usize, seeds: &[i64]) -> ArrayRef {
    let ints = |bits: u32| seeds.iter().map(move |seed| (seed % 8 != 0).then_some(seed >> (64 - bits)));
    let texts = |seed: &i64| match seed % 4 {
        0 => None,
        1 => Some(String::new()),
        2 => Some(format!("word {}", seed.unsigned_abs() % 5)),
        _ => Some(format!("a text that is longer than a view, {seed}")),
    };
    match kind {
        0 => Arc::new(ints(64).collect::<Int64Array>()),
        1 => Arc::new(ints(7).collect::<Int64Array>()),
        2 => Arc::new(ints(33).collect::<Int64Array>()),
        3 => Arc::new(ints(8).map(|value| value.map(|value| value as i16)).collect::<Int16Array>()),
        4 => Arc::new(ints(9).map(|value| value.map(|value| value as i32)).collect::<Int32Array>()),
        5 => Arc::new(ints(64).map(|value| value.map(|value| value as u64)).collect::<UInt64Array>()),
        6 => Arc::new(
            ints(30)
                .map(|value| value.map(i128::from))
                .collect::<Decimal128Array>()
                .with_data_type(DataType::Decimal128(15, 2)),
        ),
        7 => Arc::new(
            ints(59)
                .map(|value| value.map(i128::from))
                .collect::<Decimal128Array>()
                .with_data_type(DataType::Decimal128(38, 10)),
        ),
        8 => {
            let extreme = |value: i64| i128::from(value) << 60;
            Arc::new(
                ints(60)
                    .map(|value| value.map(extreme))
                    .collect::<Decimal128Array>()
                    .with_data_type(DataType::Decimal128(38, 0)),
            )
        }
        9 => Arc::new(seeds.iter().map(texts).collect::<StringViewArray>()),
        10 => Arc::new(
            seeds
                .iter()
                .map(|seed| {
                    (seed % 9 != 0).then(|| ["", "R", "a", "DELIVER IN PERSON"][seed.unsigned_abs() as usize % 4])
                })
                .collect::<StringViewArray>(),
        ),
        11 => Arc::new(seeds.iter().map(|seed| texts(seed).map(String::into_bytes)).collect::<BinaryViewArray>()),
        12 => {
            let floats = [f64::NAN, -0.0, f64::MIN_POSITIVE, f64::NEG_INFINITY, 1.5];
            Arc::new(
                seeds
                    .iter()
                    .map(|seed| (seed % 7 != 0).then(|| floats[seed.unsigned_abs() as usize % 5]))
                    .collect::<Float64Array>(),
            )
        }
        13 => Arc::new(seeds.iter().map(|seed| (seed % 3 != 0).then_some(seed % 2 == 0)).collect::<BooleanArray>()),
        14 => Arc::new(ints(20).map(|value| value.map(|value| value as i32)).collect::<Date32Array>()),
        15 => Arc::new(ints(64).collect::<TimestampMicrosecondArray>()),
        16 => Arc::new(StringViewArray::from(vec![None::<&str>; seeds.len()])),
        17 => Arc::new(Int64Array::from(vec![None; seeds.len()])),
        18 => {
            let lists = seeds.iter().map(|seed| (seed % 5 != 0).then(|| vec![Some(*seed), None, Some(1)]));
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
        }
        19 => Arc::new(
            seeds
                .iter()
                .map(|seed| (seed % 5 != 0).then(|| ["x", "y"][seed.unsigned_abs() as usize % 2]))
                .collect::<DictionaryArray<Int8Type>>(),
        ),
        _ => Arc::new(seeds.iter().map(texts).collect::<StringArray>()),
    }
}

const KINDS: usize = 21;

fn rows_of(seeds: &[i64]) -> RecordBatch {
    let columns: Vec<ArrayRef> = (0..KINDS).map(|kind| column(kind, seeds)).collect();
    let fields = columns.iter().enumerate();
    let fields = fields.map(|(at, column)| Field::new(format!("c{at}"), column.data_type().clone(), true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap()
}

fn stored(twin: &Twin, batches: &[RecordBatch]) -> (Store, super::TableId) {
    let store = Store::open_on(Arc::new(twin.clone()), Twin::root(), &options()).unwrap();
    let transaction = store.begin().unwrap();
    let table = transaction.create_table(TableSpec { schema: batches[0].schema(), keys: Vec::new() }).unwrap();
    for batch in batches {
        transaction.append(table, batch.clone()).unwrap();
    }
    transaction.commit().unwrap();
    (store, table)
}

fn seeds() -> impl Strategy<Value = Vec<i64>> {
    let seed = prop_oneof![any::<i64>(), -300..300_i64, Just(i64::MIN), Just(i64::MAX)];
    proptest::collection::vec(seed, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_value_comes_back_from_a_file_and_facts_hold(portions in proptest::collection::vec(seeds(), 1..4)) {
        let twin = Twin::new(7);
        let batches: Vec<RecordBatch> = portions.iter().map(|seeds| rows_of(seeds)).collect();
        let (store, table) = stored(&twin, &batches);
        let expected = concat_batches(&batches[0].schema(), &batches).unwrap();
        let all: Vec<usize> = (0..KINDS).collect();
        for store in [store, Store::open_on(Arc::new(twin.clone()), Twin::root(), &options()).unwrap()] {
            prop_assert_eq!(store.check().unwrap(), vec![]);
            let view = store.begin().unwrap().snapshot().table(table).unwrap();
            let parts: Vec<RecordBatch> = view.parts().iter().map(|part| part.read(&all).unwrap()).collect();
            let found = concat_batches(&parts[0].schema(), &parts).unwrap();
            for kind in 0..KINDS {
                // Floats are compared by their bits: NaN is equal to itself, and zero has a sign.
                let (one, other) = (found.column(kind), expected.column(kind));
                match one.data_type() {
                    DataType::Float64 => prop_assert_eq!(format!("{one:?}"), format!("{other:?}")),
                    _ => prop_assert_eq!(one, other),
                }
            }
            for part in view.parts() {
                let rows = part.read(&all).unwrap();
                for kind in [0, 1, 2] {
                    let (values, facts) = (rows.column(kind).as_primitive::<Int64Type>(), part.statistics(kind).unwrap());
                    let bound = |bound: &Option<ArrayRef>| bound.as_ref().map(|bound| bound.as_primitive::<Int64Type>().value(0));
                    prop_assert_eq!((bound(&facts.min), bound(&facts.max)), (min(values), max(values)));
                    prop_assert_eq!(facts.nulls, values.null_count() as u64);
                }
                let (values, facts) = (rows.column(6).as_primitive::<Decimal128Type>(), part.statistics(6).unwrap());
                prop_assert_eq!(facts.max.as_ref().map(|max| max.as_primitive::<Decimal128Type>().value(0)), max(values));
            }
        }
    }
}

#[test]
fn columns_lie_in_the_smallest_type_and_words_in_a_dictionary() {
    let seeds: Vec<i64> = (0..GROUP_ROWS as i64).map(|row| row * 12_345).collect();
    let twin = Twin::new(7);
    let (store, table) = stored(&twin, &[rows_of(&seeds), rows_of(&seeds)]);
    let view = store.begin().unwrap().snapshot().table(table).unwrap();
    assert_eq!(view.parts().len(), 2);
    for part in view.parts() {
        for (column, kind) in
            [(1, "Int8"), (4, "Int8"), (6, "Decimal32(9, 2)"), (7, "Decimal64(18, 10)"), (9, "Utf8View")]
        {
            let lean = part.lean(column).unwrap();
            assert_eq!(lean.data_type().to_string(), kind, "column {column}");
            let exposed = expose(&lean, part.read(&[column]).unwrap().schema().field(0).data_type()).unwrap();
            assert_eq!(&exposed, part.read(&[column]).unwrap().column(0));
        }
        let words = part.lean(10).unwrap();
        assert_eq!(words.as_dictionary::<Int8Type>().values().len(), 4);
    }
}

#[test]
fn a_flipped_byte_in_any_encoding_is_an_error_that_names_the_file() {
    let seeds: Vec<i64> = (0..2 * GROUP_ROWS as i64).map(|row| row * 7_654_321).collect();
    let twin = Twin::new(7);
    let (store, table) = stored(&twin, &[rows_of(&seeds)]);
    let all: Vec<usize> = (0..KINDS).collect();
    let read = |store: &Store| {
        let view = store.begin().unwrap().snapshot().table(table).unwrap();
        view.parts().iter().map(|part| part.read(&all)).collect::<Vec<_>>()
    };
    let whole: Vec<RecordBatch> = read(&store).into_iter().map(Result::unwrap).collect();
    drop(store);
    for file in twin.list_files("segments").into_iter().filter(|file| file.ends_with(".arrow")) {
        let name = format!("segments/{file}");
        let mut bytes = Vec::new();
        twin.damage(&name, |contents| bytes = contents.clone());
        for at in (0..bytes.len()).step_by(37) {
            twin.damage(&name, |contents| {
                *contents = bytes.clone();
                contents[at] ^= 0x10;
            });
            let store = Store::open_on(Arc::new(twin.clone()), Twin::root(), &options()).unwrap();
            for (found, whole) in read(&store).into_iter().zip(&whole) {
                match found {
                    Ok(found) => assert_eq!(format!("{found:?}"), format!("{whole:?}"), "byte {at}"),
                    Err(error) => assert!(error.is(codes::CORRUPT) && error.message().contains(&name), "{error:?}"),
                }
            }
        }
        twin.damage(&name, |contents| *contents = bytes.clone());
    }
}

#[test]
fn what_is_kept_in_memory_stays_within_its_budget() {
    let seeds: Vec<i64> = (0..8 * GROUP_ROWS as i64).map(|row| row * 7_654_321).collect();
    let twin = Twin::new(7);
    let (store, table) = stored(&twin, &[rows_of(&seeds)]);
    store.keep_hot(4096);
    let expected = rows_of(&seeds);
    let all: Vec<usize> = (0..KINDS).collect();
    for _ in 0..3 {
        let view = store.begin().unwrap().snapshot().table(table).unwrap();
        let parts: Vec<RecordBatch> = view.parts().iter().map(|part| part.read(&all).unwrap()).collect();
        assert_eq!(concat_batches(&parts[0].schema(), &parts).unwrap().column(9), expected.column(9));
        assert!(view.parts()[0].stored().unwrap().0.hot().bytes() <= 4096);
    }
}
