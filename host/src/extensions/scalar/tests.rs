//! Both sides of a scalar call in one process: a plugin's typed functions over columns of ours, against the plainest
//! model of what they should give. Columns are sliced, hold nulls, or are constants.

use super::{Argument, RawScalar};
use crate::extensions::services;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Float64Array, Int64Array, StringViewArray, UInt8Array,
};
use arrow::datatypes::{Field, Int64Type, Schema, UInt8Type};
use kodiak_plugin_api::abi::{AbiPlugin, RStr, root};
use kodiak_plugin_api::arrow::export_schema;
use kodiak_plugin_api::function::TinyUnsigned;
use kodiak_plugin_api::prelude::*;
use proptest::prelude::*;
use std::sync::Arc;

struct Toy;

impl Plugin for Toy {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("add", Signature::<(BigInt, BigInt), BigInt>::immutable(), |(a, b)| a.wrapping_add(b));
        r.scalar("small", Signature::<(TinyUnsigned,), TinyUnsigned>::immutable(), |(a,)| a.checked_add(1));
        r.scalar("half", Signature::<(Double,), Double>::immutable(), |(x,)| x / 2.0);
        r.scalar("not", Signature::<(Boolean,), Boolean>::immutable(), |(flag,)| !flag);
        r.scalar("even", Signature::<(BigInt,), Boolean>::immutable(), |(n,)| (n != 13).then_some(n % 2 == 0));
        r.scalar("upper", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_uppercase());
        r.scalar("length", Signature::<(Binary,), BigInt>::immutable(), |(bytes,)| bytes.len() as i64);
        r.scalar("twice", Signature::<(Binary,), Binary>::immutable(), |(bytes,)| bytes.repeat(2));
        r.scalar("pick", Signature::<(Boolean, Nullable<Text>, Text), Text>::immutable(), |(flag, a, b)| {
            flag.then(|| a.unwrap_or(b).to_owned())
        });
        r.scalar("known", Signature::<(Nullable<BigInt>,), Boolean>::immutable(), |(n,)| n.is_some());
        r.scalar("strict", Signature::<(BigInt,), BigInt>::immutable(), |(n,)| match n {
            0 => Err(Error::new("TOY-1", "no zero")),
            n => Ok(n),
        });
        r.scalar("seven", Signature::<(), BigInt>::immutable(), |()| 7);
    }
}

fn plugin() -> AbiPlugin {
    (root::<Toy>().activate())(services::host(), 0).into_result().expect("it activates")
}

/// Binds and calls a function, as a statement does.
fn call(name: &str, arguments: &[Argument], rows: usize) -> Result<ArrayRef, Error> {
    let plugin = plugin();
    let fields = arguments.iter().map(|argument| Field::new("a", argument.array().data_type().clone(), true));
    let schema = export_schema(&Schema::new(fields.collect::<Vec<_>>())).expect("plain types");
    let bound = (plugin.vt.scalar())(plugin.context, RStr::from_str(name), schema).into_result();
    let scalar = RawScalar::new(bound.map_err(Error::from)?)?;
    let result = scalar.invoke(0, arguments, rows);
    drop(scalar);
    (plugin.vt.release())(plugin.context).into_result().expect("it is released");
    result
}

fn column(array: impl Array + 'static) -> Argument {
    Argument::Column(Arc::new(array))
}

fn constant(array: impl Array + 'static) -> Argument {
    Argument::Constant(Arc::new(array))
}

fn flags(array: &ArrayRef) -> Vec<Option<bool>> {
    array.as_boolean().iter().collect()
}

fn integers(array: &ArrayRef) -> Vec<Option<i64>> {
    array.as_primitive::<Int64Type>().iter().collect()
}

fn texts(array: &ArrayRef) -> Vec<Option<String>> {
    array.as_string_view().iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn no_rows_and_no_arguments() {
    assert!(
        call("add", &[column(Int64Array::from(Vec::<i64>::new())), constant(Int64Array::from(vec![1]))], 0)
            .is_ok_and(|array| array.is_empty())
    );
    assert_eq!(call("seven", &[], 3).map(|array| integers(&array)), Ok(vec![Some(7); 3]));
    assert!(call("seven", &[], 0).is_ok_and(|array| array.is_empty()));
}

#[test]
fn a_null_constant_makes_everything_null() {
    let nothing = constant(Int64Array::from(vec![None::<i64>]));
    let result = call("add", &[column(Int64Array::from(vec![1, 2, 3])), nothing.clone()], 3);
    assert_eq!(result.map(|array| integers(&array)), Ok(vec![None; 3]));
    assert_eq!(call("known", &[nothing], 2).map(|array| flags(&array)), Ok(vec![Some(false); 2]));
}

#[test]
fn what_a_function_reports_comes_back_whole() {
    let error = call("strict", &[column(Int64Array::from(vec![1, 0]))], 2).expect_err("there is a zero");
    assert_eq!((error.code(), error.text()), ("TOY-1", "no zero"));
    // The zero behind a null is nobody's.
    let masked = Int64Array::new(vec![1, 0].into(), Some(vec![true, false].into()));
    assert_eq!(call("strict", &[column(masked)], 2).map(|array| integers(&array)), Ok(vec![Some(1), None]));
}

#[test]
fn other_types_and_other_lengths_are_refused() {
    let error = call("add", &[column(StringViewArray::from(vec!["x"])), column(Int64Array::from(vec![1]))], 1);
    assert_eq!(error.expect_err("no such overload").code(), "KDK-0103");
    assert!(call("add", &[column(Int64Array::from(vec![1, 2])), column(Int64Array::from(vec![1]))], 2).is_err());
    assert!(call("not", &[constant(BooleanArray::from(vec![true, false]))], 2).is_err());
    assert!(call("nobody", &[], 1).is_err());
}

proptest! {
    #[test]
    fn typed_functions_agree_with_their_model(
        rows in proptest::collection::vec(
            (
                proptest::option::of(any::<i64>()), proptest::option::of(0..20i64), proptest::option::of(any::<bool>()),
                proptest::option::of("\\PC{0,30}"), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..30)),
            ),
            0..60,
        ),
        skipped in 0..20usize,
        dropped in 0..20usize,
        other in "\\PC{0,30}",
        step in any::<i64>(),
    ) {
        let from = skipped.min(rows.len());
        let length = (rows.len() - from).saturating_sub(dropped);
        let part = &rows[from..from + length];
        let slice = |array: ArrayRef| Argument::Column(array.slice(from, length));
        let a = slice(Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()));
        let b = slice(Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()));
        let flag = slice(Arc::new(rows.iter().map(|row| row.2).collect::<BooleanArray>()));
        let text = slice(Arc::new(StringViewArray::from_iter(rows.iter().map(|row| row.3.as_deref()))));
        let bytes = slice(Arc::new(BinaryViewArray::from_iter(rows.iter().map(|row| row.4.as_deref()))));
        let tiny = slice(Arc::new(rows.iter().map(|row| row.1.map(|n| (n as u8).wrapping_mul(15))).collect::<UInt8Array>()));
        let real = slice(Arc::new(rows.iter().map(|row| row.1.map(|n| n as f64)).collect::<Float64Array>()));
        let call = |name: &str, arguments: &[&Argument]| {
            let arguments: Vec<Argument> = arguments.iter().map(|argument| (*argument).clone()).collect();
            call(name, &arguments, length).expect("it works")
        };

        let sum = part.iter().map(|row| Some(row.0?.wrapping_add(row.1?))).collect::<Vec<_>>();
        prop_assert_eq!(integers(&call("add", &[&a, &b])), sum);
        let stepped = part.iter().map(|row| Some(step.wrapping_add(row.1?))).collect::<Vec<_>>();
        prop_assert_eq!(integers(&call("add", &[&constant(Int64Array::from(vec![step])), &b])), stepped);
        let next = part.iter().map(|row| (row.1? as u8).wrapping_mul(15).checked_add(1)).collect::<Vec<_>>();
        prop_assert_eq!(call("small", &[&tiny]).as_primitive::<UInt8Type>().iter().collect::<Vec<_>>(), next);
        let halves = part.iter().map(|row| Some(row.1? as f64 / 2.0)).collect::<Float64Array>();
        prop_assert_eq!(&call("half", &[&real]), &(Arc::new(halves) as ArrayRef));
        let opposite = part.iter().map(|row| Some(!row.2?)).collect::<Vec<_>>();
        prop_assert_eq!(flags(&call("not", &[&flag])), opposite);
        let even = part.iter().map(|row| row.1.filter(|n| *n != 13).map(|n| n % 2 == 0)).collect::<Vec<_>>();
        prop_assert_eq!(flags(&call("even", &[&b])), even);
        let upper = part.iter().map(|row| Some(row.3.as_ref()?.to_uppercase())).collect::<Vec<_>>();
        prop_assert_eq!(texts(&call("upper", &[&text])), upper);
        let lengths = part.iter().map(|row| Some(row.4.as_ref()?.len() as i64)).collect::<Vec<_>>();
        prop_assert_eq!(integers(&call("length", &[&bytes])), lengths);
        let twice = part.iter().map(|row| Some(row.4.as_ref()?.repeat(2))).collect::<Vec<_>>();
        let found = call("twice", &[&bytes]);
        prop_assert_eq!(found.as_binary_view().iter().collect::<Vec<_>>(), twice.iter().map(Option::as_deref).collect::<Vec<_>>());
        let picked = part.iter().map(|row| row.2?.then(|| row.3.clone().unwrap_or_else(|| other.clone())));
        let picked = picked.collect::<Vec<_>>();
        let fallback = constant(StringViewArray::from(vec![other.as_str()]));
        prop_assert_eq!(texts(&call("pick", &[&flag, &text, &fallback])), picked);
        let known = part.iter().map(|row| Some(row.0.is_some())).collect::<Vec<_>>();
        prop_assert_eq!(flags(&call("known", &[&a])), known);
        prop_assert_eq!(call("not", &[&constant(BooleanArray::from(vec![true]))]).len(), length);
    }
}
