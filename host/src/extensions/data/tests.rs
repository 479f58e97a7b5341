//! Structs of the C data interface written by hand, right and wrong: what is right comes through unchanged, what is
//! wrong is an error and never a panic.

use super::{import_array, import_batch, import_columns, import_stream, import_text, import_type};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, FixedSizeListArray, Int32Array, Int64Array, ListArray,
    RecordBatch, RecordBatchIterator, StringArray, StringViewArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema};
use kodiak_plugin_api::Error as PluginError;
use kodiak_plugin_api::abi::{AbiArray, AbiSchema, AbiStream, RStr};
use kodiak_plugin_api::arrow::{export_array, export_batch, export_schema, export_stream};
use proptest::prelude::*;
use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::Arc;

/// `struct ArrowArray`; the fields of arrow's own are private.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const u8,
    children: *mut *mut RawArray,
    dictionary: *mut RawArray,
    release: Option<unsafe extern "C" fn(*mut RawArray)>,
    private_data: *mut c_void,
}

/// `struct ArrowSchema`.
#[repr(C)]
struct RawSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut RawSchema,
    dictionary: *mut RawSchema,
    release: Option<unsafe extern "C" fn(*mut RawSchema)>,
    private_data: *mut c_void,
}

extern "C" fn release_array(array: *mut RawArray) {
    // SAFETY: the interface passes the array that is released.
    unsafe { (*array).release = None };
}

extern "C" fn release_schema(schema: *mut RawSchema) {
    // SAFETY: the interface passes the schema that is released.
    unsafe { (*schema).release = None };
}

/// An array whose buffers are leaked: tests are short.
fn raw(length: i64, buffers: &[*const u8]) -> RawArray {
    RawArray {
        length,
        null_count: 0,
        offset: 0,
        n_buffers: buffers.len() as i64,
        n_children: 0,
        buffers: Box::leak(buffers.to_vec().into_boxed_slice()).as_mut_ptr(),
        children: null_mut(),
        dictionary: null_mut(),
        release: Some(release_array),
        private_data: null_mut(),
    }
}

fn with_children(array: RawArray, children: &[RawArray]) -> RawArray {
    let children: Vec<*mut RawArray> = children.iter().map(|child| Box::into_raw(Box::new(*child))).collect();
    let n_children = children.len() as i64;
    RawArray { n_children, children: Box::leak(children.into_boxed_slice()).as_mut_ptr(), ..array }
}

fn leaked<T: Copy>(values: &[T]) -> *const u8 {
    Box::leak(values.to_vec().into_boxed_slice()).as_ptr().cast()
}

fn import(array: RawArray, data_type: &DataType, rows: usize) -> Result<ArrayRef, PluginError> {
    // SAFETY: both are the interface's `struct ArrowArray`.
    import_array(unsafe { std::mem::transmute::<RawArray, AbiArray>(array) }, data_type, rows)
}

fn refused(array: RawArray, data_type: &DataType, rows: usize, words: &str) {
    let error = import(array, data_type, rows).expect_err(words);
    assert_eq!(error.code(), "KDK-0472");
    assert!(error.text().starts_with("malformed data: ") && error.text().contains(words), "{words}: {error}");
}

/// What arrow exports, for its numbers to be changed.
fn exported(array: &dyn Array) -> RawArray {
    // SAFETY: both are the interface's `struct ArrowArray`.
    unsafe { std::mem::transmute::<AbiArray, RawArray>(export_array(array)) }
}

#[test]
fn a_right_array_comes_through() {
    let array = import(raw(3, &[null(), leaked(&[1i64, 2, 3])]), &DataType::Int64, 3).expect("it is right");
    assert_eq!(array.as_ref(), &Int64Array::from(vec![1, 2, 3]) as &dyn Array);
    let nulls = RawArray { null_count: -1, ..raw(3, &[leaked(&[0b101u8]), leaked(&[1i64, 2, 3])]) };
    let array = import(nulls, &DataType::Int64, 3).expect("an unknown number of nulls is right");
    assert_eq!(array.as_ref(), &Int64Array::from(vec![Some(1), None, Some(3)]) as &dyn Array);
    let part = RawArray { offset: 1, ..raw(2, &[null(), leaked(&[1i64, 2, 3])]) };
    let array = import(part, &DataType::Int64, 2).expect("an offset is right");
    assert_eq!(array.as_ref(), &Int64Array::from(vec![2, 3]) as &dyn Array);
    assert!(import(raw(0, &[null(), null()]), &DataType::Int64, 0).expect("no rows need no buffer").is_empty());
}

#[test]
fn counts_that_do_not_fit_are_refused() {
    let good = || raw(2, &[null(), leaked(&[1i64, 2])]);
    let int = DataType::Int64;
    refused(RawArray { release: None, ..good() }, &int, 2, "released already");
    refused(good(), &int, 3, "expected 3 rows, found 2");
    refused(RawArray { length: -2, ..good() }, &int, 2, "expected 2 rows");
    refused(RawArray { offset: -1, ..good() }, &int, 2, "at offset");
    refused(RawArray { offset: i64::MAX, ..good() }, &int, 2, "at offset");
    refused(RawArray { n_buffers: 1, ..good() }, &int, 2, "has 2 buffers, found 1");
    refused(RawArray { n_buffers: -1, ..good() }, &int, 2, "has 2 buffers");
    refused(RawArray { buffers: null_mut(), ..good() }, &int, 2, "makes no sense");
    refused(RawArray { n_children: 1, ..good() }, &int, 2, "0 children, found 1");
    refused(raw(2, &[null(), null()]), &int, 2, "without a data buffer");
    let known = RawArray { null_count: 0, ..raw(2, &[leaked(&[0u8]), leaked(&[1i64, 2])]) };
    let read = import(known, &int, 2);
    assert!(read.is_err() || read.is_ok_and(|array| array.null_count() == array.logical_null_count()));
    let more = RawArray { null_count: 9, ..raw(2, &[leaked(&[0b11u8]), leaked(&[1i64, 2])]) };
    let read = import(more, &int, 2);
    assert!(read.is_err() || read.is_ok_and(|array| array.null_count() <= 2));
}

#[test]
fn text_is_checked() {
    let text = DataType::Utf8;
    let make = |offsets: &[i32], bytes: &[u8]| raw(2, &[null(), leaked(offsets), leaked(bytes)]);
    let array = import(make(&[0, 1, 3], b"abc"), &text, 2).expect("it is right");
    assert_eq!(array.as_ref(), &StringArray::from(vec!["a", "bc"]) as &dyn Array);
    refused(make(&[0, 3, 1], b"abc"), &text, 2, "");
    refused(make(&[5, 4, 3], b"abcde"), &text, 2, "offsets from 5 to 3");
    refused(make(&[-1, 0, 1], b"abc"), &text, 2, "offsets from -1");
    refused(make(&[0, 1, 3], b"a\xff\xfe"), &text, 2, "");
    refused(make(&[0, 1, 2], "ä".as_bytes()), &text, 2, "");
    refused(raw(2, &[null(), leaked(&[0i32, 1, 2]), null()]), &text, 2, "without a data buffer");
    refused(raw(2, &[null(), null(), leaked(b"abc")]), &text, 2, "without a data buffer");
    refused(raw(2, &[null(), leaked(&[0u64; 3]).wrapping_add(2), leaked(b"abc")]), &text, 2, "not aligned");
}

#[test]
fn views_are_checked() {
    let text = DataType::Utf8View;
    let inline = |bytes: [u8; 2]| 2u128 | u128::from(u16::from_le_bytes(bytes)) << 32;
    let far = |length: u32, buffer: u32, offset: u32| {
        u128::from(length)
            | u128::from(u32::from_le_bytes(*b"aaaa")) << 32
            | u128::from(buffer) << 64
            | u128::from(offset) << 96
    };
    let make = |view: u128| raw(1, &[null(), leaked(&[view]), leaked(&[b'a'; 20]), leaked(&[20i64])]);
    assert!(import(make(inline(*b"hi")), &text, 1).is_ok());
    assert!(import(make(far(20, 0, 0)), &text, 1).is_ok());
    refused(make(inline([0xff, 0xfe])), &text, 1, "text that is not UTF-8");
    assert!(import(make(inline([0xff, 0xfe])), &DataType::BinaryView, 1).is_ok(), "binary holds anything");
    refused(make(far(20, 1, 0)), &text, 1, "");
    refused(make(far(20, 0, 1)), &text, 1, "");
    refused(make(far(u32::MAX, 0, 0)), &text, 1, "");
    refused(raw(1, &[null(), leaked(&[0u128])]), &text, 1, "has 3 buffers, found 2");
    refused(raw(1, &[null(), null(), null()]), &text, 1, "");
    refused(raw(1, &[null(), leaked(&[0u128]), leaked(b"x"), null()]), &text, 1, "without the lengths");
    refused(raw(1, &[null(), leaked(&[0u128]), leaked(b"x"), leaked(&[i64::MIN])]), &text, 1, "bytes");
    refused(raw(1, &[null(), leaked(&[0u128]), null(), leaked(&[8i64])]), &text, 1, "");
    refused(RawArray { n_buffers: i64::MAX, ..make(inline(*b"hi")) }, &text, 1, "more buffers than can be");
    refused(RawArray { n_buffers: -7, ..make(inline(*b"hi")) }, &text, 1, "more buffers than can be");
    // Text behind a null is nobody's.
    let hidden = RawArray { null_count: 1, ..raw(1, &[leaked(&[0u8]), leaked(&[inline([0xff, 0xfe])]), null()]) };
    assert_eq!(import(hidden, &text, 1).expect("it is right").null_count(), 1);
}

/// The expected answer is that of the standard library for the same bytes.
#[test]
fn a_view_that_cuts_a_character_is_refused() {
    let text = "Grizzly bears – 灰熊, ours bruns, медведь гризли".as_bytes();
    for start in 0..text.len() - 13 {
        for end in start + 13..=text.len() {
            let prefix = u32::from_le_bytes([text[start], text[start + 1], text[start + 2], text[start + 3]]);
            let view = (end - start) as u128 | u128::from(prefix) << 32 | (start as u128) << 96;
            let array = raw(1, &[null(), leaked(&[view]), leaked(text), leaked(&[text.len() as i64])]);
            match std::str::from_utf8(&text[start..end]) {
                Ok(_) => assert!(import(array, &DataType::Utf8View, 1).is_ok(), "{start}..{end}"),
                Err(_) => refused(array, &DataType::Utf8View, 1, "text that is not UTF-8"),
            }
        }
    }
}

#[test]
fn children_are_checked() {
    let child = || raw(3, &[null(), leaked(&[1i64, 2, 3])]);
    let field = || Arc::new(Field::new("item", DataType::Int64, true));
    let list = DataType::List(field());
    let make = |offsets: &[i32]| with_children(raw(2, &[null(), leaked(offsets)]), &[child()]);
    assert!(import(make(&[0, 1, 3]), &list, 2).is_ok());
    refused(make(&[0, 1, 4]), &list, 2, "");
    refused(make(&[0, 2, 1]), &list, 2, "");
    refused(raw(2, &[null(), leaked(&[0i32, 1, 3])]), &list, 2, "has 1 children, found 0");
    refused(RawArray { children: null_mut(), ..make(&[0, 1, 3]) }, &list, 2, "makes no sense");
    let nothing = Box::leak(vec![null_mut::<RawArray>()].into_boxed_slice()).as_mut_ptr();
    refused(RawArray { children: nothing, ..make(&[0, 1, 3]) }, &list, 2, "makes no sense");

    let pair = DataType::FixedSizeList(field(), 2);
    refused(with_children(raw(2, &[null()]), &[child()]), &pair, 2, "");
    let record = DataType::Struct(vec![field()].into());
    assert!(import(with_children(raw(3, &[null()]), &[child()]), &record, 3).is_ok());
    refused(with_children(raw(4, &[null()]), &[child()]), &record, 4, "column 0 has 3 rows of 4");
    let behind = RawArray { offset: 2, ..with_children(raw(2, &[null()]), &[child()]) };
    refused(behind, &record, 2, "column 0 has 3 rows of 4");

    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Int64));
    let keyed =
        |keys: &[i32]| RawArray { dictionary: Box::into_raw(Box::new(child())), ..raw(2, &[null(), leaked(keys)]) };
    assert!(import(keyed(&[0, 2]), &dictionary, 2).is_ok());
    refused(keyed(&[0, 3]), &dictionary, 2, "");
    refused(keyed(&[-1, 0]), &dictionary, 2, "");
    refused(raw(2, &[null(), leaked(&[0i32, 1])]), &dictionary, 2, "a dictionary without values");
    refused(keyed(&[0, 1]), &DataType::Int32, 2, "");
}

#[test]
fn schemas_that_make_no_sense_are_refused() {
    let leaf = || RawSchema {
        format: c"l".as_ptr(),
        name: c"n".as_ptr(),
        metadata: null(),
        flags: 2,
        n_children: 0,
        children: null_mut(),
        dictionary: null_mut(),
        release: Some(release_schema),
        private_data: null_mut(),
    };
    let list = |child: RawSchema| {
        let children = Box::leak(vec![Box::into_raw(Box::new(child))].into_boxed_slice()).as_mut_ptr();
        RawSchema { format: c"+l".as_ptr(), n_children: 1, children, ..leaf() }
    };
    let read = |schema: RawSchema| {
        // SAFETY: both are the interface's `struct ArrowSchema`.
        import_type(&unsafe { std::mem::transmute::<RawSchema, AbiSchema>(schema) })
    };
    assert_eq!(read(leaf()), Ok(DataType::Int64));
    let refused = |schema: RawSchema, words: &str| {
        let error = read(schema).expect_err(words);
        assert!(error.code() == "KDK-0472" && error.text().contains(words), "{words}: {error}");
    };
    refused(RawSchema { format: null(), release: None, ..leaf() }, "makes no sense");
    refused(RawSchema { format: c"nonsense".as_ptr(), ..leaf() }, "nonsense");
    refused(RawSchema { format: c"w:-5".as_ptr(), n_children: i64::MAX, ..leaf() }, "more children than can be");
    refused(RawSchema { format: c"\xff\xfe".as_ptr(), ..leaf() }, "");
    refused(RawSchema { format: c"+l".as_ptr(), n_children: 1, ..leaf() }, "makes no sense");
    refused(RawSchema { format: c"+l".as_ptr(), ..leaf() }, "");
    // Deep enough to end the process by its stack, if anybody walked it.
    let deep = (0..100_000).fold(leaf(), |inner, _| list(inner));
    refused(deep, "nested deeper than");
    // SAFETY: both are the interface's `struct ArrowSchema`.
    let columns = import_columns(&unsafe { std::mem::transmute::<RawSchema, AbiSchema>(leaf()) });
    assert!(columns.is_err(), "columns are a struct");
}

#[test]
fn text_from_outside_is_utf8() {
    assert_eq!(import_text(RStr::from_str("grüß")), Ok("grüß"));
    let bytes = vec![b'g', 0xff];
    // SAFETY: deliberately broken: this is what the host must refuse.
    let broken = RStr::from_str(unsafe { std::str::from_utf8_unchecked(&bytes) });
    assert!(import_text(broken).is_err_and(|error| error.code() == "KDK-0472"));
}

#[test]
fn a_stream_ends_with_its_first_error() {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![1]))]).expect("a batch");
    let failure = PluginError::new("GEO-1", "no map").help("draw one").detail("of anything");
    let items = vec![Ok(batch.clone()), Err(failure.clone().into()), Ok(batch.clone())];
    let mut stream = import_stream(export_stream(Box::new(RecordBatchIterator::new(items, schema)))).expect("a stream");
    assert_eq!(stream.next(), Some(Ok(batch)));
    assert_eq!(stream.next(), Some(Err(failure)));
    assert_eq!(stream.next(), None);
}

#[test]
fn a_released_stream_is_refused() {
    let released = AbiStream::from(arrow::ffi_stream::FFI_ArrowArrayStream::empty());
    assert!(import_stream(released).is_err_and(|error| error.text().contains("released already")));
}

/// A batch of most kinds of columns, sliced.
fn batch(values: &[Option<i32>], texts: &[String], from: usize) -> RecordBatch {
    let rows = values.len();
    let text = |row: usize| values[row].map(|_| texts[row % texts.len()].clone());
    let texts: Vec<Option<String>> = (0..rows).map(text).collect();
    let lists = values.iter().map(|value| value.map(|value| (0..value.rem_euclid(4)).map(|n| Some(i64::from(n)))));
    let ints: ArrayRef = Arc::new(Int32Array::from(values.to_vec()));
    let pairs = FixedSizeListArray::from_iter_primitive::<Int64Type, _, _>(
        values.iter().map(|value| value.map(|value| [Some(i64::from(value)), None])),
        2,
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("ints", ints.clone()),
        ("flags", Arc::new(values.iter().map(|value| value.map(|value| value > 0)).collect::<BooleanArray>())),
        ("texts", Arc::new(StringArray::from(texts.clone()))),
        ("views", Arc::new(StringViewArray::from_iter(texts.clone()))),
        ("bytes", Arc::new(BinaryArray::from_iter(texts.iter().map(|text| text.as_ref().map(String::as_bytes))))),
        ("keyed", Arc::new(texts.iter().map(Option::as_deref).collect::<DictionaryArray<Int32Type>>())),
        ("lists", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))),
        ("pairs", Arc::new(pairs)),
        ("record", Arc::new(StructArray::from(vec![(Arc::new(Field::new("a", DataType::Int32, true)), ints)]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)));
    batch.expect("columns of one length").slice(from, rows - from)
}

/// What an honest plugin returns for no rows was refused: its offsets point into text that arrow's import leaves out.
#[test]
fn empty_slices_are_right() {
    let texts = Arc::new(StringArray::from(vec!["one", "two"])).slice(1, 0);
    let read = import(exported(&texts), &DataType::Utf8, 0).expect("it is right");
    assert!(read.is_empty());
    let field = Arc::new(Field::new("item", DataType::Utf8, true));
    let lists = ListArray::new(field, OffsetBuffer::new(vec![0, 0, 0].into()), Arc::new(texts), None);
    let read = import(exported(&lists), lists.data_type(), 2).expect("it is right");
    assert_eq!(read.as_ref(), &lists as &dyn Array);
}

proptest! {
    #[test]
    fn what_arrow_exports_is_accepted_and_equal(
        values in proptest::collection::vec(proptest::option::of(any::<i32>()), 0..40),
        texts in proptest::collection::vec("\\PC{0,20}", 1..5),
        from in 0..10usize,
    ) {
        let batch = batch(&values, &texts, from.min(values.len()));
        let read = import_batch(export_batch(&batch).expect("it can be exported"));
        prop_assert_eq!(read.expect("it is right"), batch.clone());
        let schema = import_columns(&export_schema(batch.schema_ref()).expect("it can be exported"));
        prop_assert_eq!(schema.as_ref(), Ok(batch.schema_ref().as_ref()));
    }

    /// One number of a right struct is changed: an error, or an array of the rows that were asked for; never a panic.
    #[test]
    fn one_wrong_number_never_panics(
        values in proptest::collection::vec(proptest::option::of(any::<i32>()), 1..20),
        column in 0..9usize,
        field in 0..5usize,
        number in prop_oneof![Just(-1i64), Just(i64::MIN), Just(i64::MAX), Just(1i64 << 40), Just(0i64)],
    ) {
        let batch = batch(&values, &["short".to_owned(), "long enough for a buffer".to_owned()], 0);
        let array = batch.column(column);
        let mut raw = exported(array);
        // Fewer buffers and children than there are, or so many that nobody believes it: reading more than there is
        // cannot be told from reading what is there.
        match field {
            0 => raw.length = number,
            1 => raw.offset = number,
            2 => raw.n_buffers = number,
            3 => raw.n_children = number,
            _ => raw.null_count = number,
        }
        let plausible = field == 1 && number == 1 << 40;
        if !plausible {
            let read = import(raw, array.data_type(), values.len());
            prop_assert!(read.map_or(true, |read| read.len() == values.len()));
        }
    }
}
