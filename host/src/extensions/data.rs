//! What comes from a plugin is data from outside: lengths, offsets, buffers, text and types are checked before they are
//! believed, once a batch. Arrow's own import trusts all of it, so the structs are walked first.
//!
//! What cannot be checked: a pointer that is not null but wrong. In-process plugins are trusted with memory.
#![allow(unsafe_code)]

use super::MALFORMED;
use arrow::array::{Array, ArrayData, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, make_array};
use arrow::datatypes::{DataType, Schema, SchemaRef, UnionMode};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow::ffi_stream::FFI_ArrowArrayStream;
use kodiak_plugin_api::Error as PluginError;
use kodiak_plugin_api::abi::{AbiArray, AbiArraySchema, AbiSchema, AbiStream, RStr};
use kodiak_plugin_api::arrow::{import_field, import_schema};
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Types nest this deep at most: a schema from outside may not exhaust the stack.
const DEPTH_MAX: usize = 32;
/// More children or buffers than this are taken for a number that makes no sense, such as a negative one.
const COUNT_MAX: usize = 1 << 20;

fn malformed(problem: impl Into<String>) -> PluginError {
    PluginError::new("KDK-0472", format!("{MALFORMED}{}", problem.into()))
}

/// Text from outside.
pub(crate) fn import_text<'a>(text: RStr<'a>) -> Result<&'a str, PluginError> {
    let bytes = text.as_rslice().as_slice();
    std::str::from_utf8(bytes).map_err(|_| malformed("text that is not UTF-8"))
}

/// An array of `rows` values of `data_type`, checked.
pub(crate) fn import_array(array: AbiArray, data_type: &DataType, rows: usize) -> Result<ArrayRef, PluginError> {
    import_ffi(array.inner, data_type, Some(rows))
}

/// A struct array with its schema, checked.
pub(crate) fn import_batch(batch: AbiArraySchema) -> Result<RecordBatch, PluginError> {
    let schema = Arc::new(import_columns(&batch.schema)?);
    import_struct(batch.array.inner, &schema)
}

/// Columns, checked.
pub(crate) fn import_columns(schema: &AbiSchema) -> Result<Schema, PluginError> {
    read_schema(schema, import_schema)
}

/// The type of a field, checked.
pub(crate) fn import_type(schema: &AbiSchema) -> Result<DataType, PluginError> {
    read_schema(schema, import_field).map(|field| field.data_type().clone())
}

/// A stream whose batches are checked as they come.
pub(crate) fn import_stream(stream: AbiStream) -> Result<CheckedStream, PluginError> {
    let mut raw = stream.inner;
    if raw.release.is_none() {
        return Err(malformed("a stream that was released already"));
    }
    let get_schema = raw.get_schema.ok_or_else(|| malformed("a stream without `get_schema`"))?;
    let mut schema = FFI_ArrowSchema::empty();
    // SAFETY: the stream is not released, and `schema` is a place to write to, as the interface asks.
    let code = unsafe { get_schema(&raw mut raw, &raw mut schema) };
    if code != 0 {
        return Err(last_error(&mut raw, code));
    }
    let schema = Arc::new(import_columns(&schema.into())?);
    Ok(CheckedStream { raw: Some(raw), schema })
}

/// Arrow's reading of a schema recurses without a bound, and panics on one that makes no sense.
fn read_schema<T>(schema: &AbiSchema, read: fn(&AbiSchema) -> Result<T, PluginError>) -> Result<T, PluginError> {
    let checked = || {
        check_schema(&schema.inner, 0)?;
        read(schema).map_err(|error| malformed(error.text()))
    };
    catch_unwind(AssertUnwindSafe(checked)).unwrap_or_else(|_| Err(malformed("a schema that makes no sense")))
}

fn check_schema(schema: &FFI_ArrowSchema, depth: usize) -> Result<(), PluginError> {
    if depth > DEPTH_MAX {
        return Err(malformed(format!("a type nested deeper than {DEPTH_MAX}")));
    }
    let children = schema.children();
    if children.size_hint().0 > COUNT_MAX {
        return Err(malformed("a type with more children than can be"));
    }
    children.chain(schema.dictionary()).try_for_each(|child| check_schema(child, depth + 1))
}

/// Batches of a plugin's stream.
pub(crate) struct CheckedStream {
    raw: Option<FFI_ArrowArrayStream>,
    schema: SchemaRef,
}

// SAFETY: the interface lets a stream move between threads; only one thread at a time uses it here.
unsafe impl Send for CheckedStream {}

impl CheckedStream {
    fn read(&mut self) -> Result<Option<RecordBatch>, PluginError> {
        let Some(raw) = self.raw.as_mut() else { return Ok(None) };
        let get_next = raw.get_next.ok_or_else(|| malformed("a stream without `get_next`"))?;
        let mut array = FFI_ArrowArray::empty();
        // SAFETY: the stream is not released, and `array` is a place to write to, as the interface asks.
        let code = unsafe { get_next(&raw mut *raw, &raw mut array) };
        if code != 0 {
            return Err(last_error(raw, code));
        }
        if array.is_released() {
            return Ok(None);
        }
        import_struct(array, &self.schema).map(Some)
    }
}

fn last_error(raw: &mut FFI_ArrowArrayStream, code: i32) -> PluginError {
    let Some(get_last_error) = raw.get_last_error else {
        return malformed(format!("a stream failed with code {code}"));
    };
    // SAFETY: the stream is not released.
    let text = unsafe { get_last_error(&raw mut *raw) };
    if text.is_null() {
        return malformed(format!("a stream failed with code {code}"));
    }
    // SAFETY: the interface promises a text that ends with 0 and lives until the next call.
    PluginError::decode(&unsafe { CStr::from_ptr(text) }.to_string_lossy())
}

impl Iterator for CheckedStream {
    type Item = Result<RecordBatch, PluginError>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read().transpose();
        if !matches!(read, Some(Ok(_))) {
            self.raw = None;
        }
        read
    }
}

impl CheckedStream {
    /// The columns.
    pub(crate) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

fn import_struct(array: FFI_ArrowArray, schema: &SchemaRef) -> Result<RecordBatch, PluginError> {
    let array = import_ffi(array, &DataType::Struct(schema.fields().clone()), None)?;
    let array = array.as_struct();
    if array.null_count() > 0 {
        return Err(malformed("a batch with null rows"));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(array.len()));
    RecordBatch::try_new_with_options(schema.clone(), array.columns().to_vec(), &options)
        .map_err(|error| malformed(error.to_string()))
}

/// Arrow asserts, rather than reports, some of what it can see: a panic of its own means that the data makes no sense.
fn import_ffi(array: FFI_ArrowArray, data_type: &DataType, rows: Option<usize>) -> Result<ArrayRef, PluginError> {
    let checked = || import_checked(array, data_type, rows);
    catch_unwind(AssertUnwindSafe(checked)).unwrap_or_else(|_| Err(malformed("an array that makes no sense")))
}

fn import_checked(array: FFI_ArrowArray, data_type: &DataType, rows: Option<usize>) -> Result<ArrayRef, PluginError> {
    if array.is_released() {
        return Err(malformed("an array that was released already"));
    }
    // Before any buffer is read: buffers of the wrong length are shorter than they claim to be.
    if rows.is_some_and(|rows| rows != array.len()) {
        return Err(malformed(format!("expected {} rows, found {}", rows.unwrap_or_default(), array.len())));
    }
    check_struct(&array, data_type, 0)?;
    // SAFETY: the struct was just walked: counts, offsets and buffers fit the type.
    let data = unsafe { arrow::ffi::from_ffi_and_data_type(array, data_type.clone()) };
    let data = without_empty_slices(data.map_err(|error| malformed(error.to_string()))?);
    validate(&data)?;
    Ok(make_array(data))
}

/// Arrow's import gives an empty slice no text although its offsets still point into it: nothing is wrong with that, but
/// no validation would take it.
fn without_empty_slices(data: ArrayData) -> ArrayData {
    if data.is_empty() {
        return ArrayData::new_empty(data.data_type());
    }
    if data.child_data().is_empty() {
        return data;
    }
    let children = data.child_data().iter().cloned().map(without_empty_slices).collect();
    // SAFETY: a child is what it was, or empty in another way; the whole is validated afterwards.
    unsafe { data.into_builder().child_data(children).build_unchecked() }
}

/// Offsets, text and dictionary keys; the text of views by a quicker way than arrow's.
fn validate(data: &ArrayData) -> Result<(), PluginError> {
    let result = match data.data_type() {
        DataType::Utf8View => {
            data.validate().and_then(|()| data.validate_nulls()).map_err(|error| malformed(error.to_string()))?;
            if is_plain_text(data) {
                return Ok(());
            }
            let bytes = data.clone().into_builder().data_type(DataType::BinaryView);
            // SAFETY: binary and text views have one layout; the views are validated below, their text after that.
            let bytes = unsafe { bytes.build_unchecked() };
            bytes.validate_full().map_err(|error| malformed(error.to_string()))?;
            return validate_text(&make_array(bytes));
        }
        DataType::Struct(_) => {
            data.validate().map_err(|error| malformed(error.to_string()))?;
            data.validate_nulls().map_err(|error| malformed(error.to_string()))?;
            return data.child_data().iter().try_for_each(validate);
        }
        _ => data.validate_full(),
    };
    result.map_err(|error| malformed(error.to_string()))
}

/// Whether every view, of nulls too, is sound and all text is UTF-8: one pass over the views and one over their data,
/// which nearly always suffices. What it does not vouch for may still be valid: data that no view needs may be no text.
fn is_plain_text(data: &ArrayData) -> bool {
    let Some((views, texts)) = data.buffers().split_first() else { return false };
    // SAFETY: every bit pattern is a `u128`; only the aligned middle is taken, and it must be everything.
    let (before, views, _) = unsafe { views.as_slice().align_to::<u128>() };
    let wanted = data.offset()..data.offset() + data.len();
    let Some(views) = views.get(wanted).filter(|_| before.is_empty()) else { return false };
    let is_sound = |view: &u128| {
        let length = *view as u32 as usize;
        if length <= 12 {
            let text = view >> 32;
            return text & ASCII_MASK == 0 && text.checked_shr(8 * length as u32).is_none_or(|rest| rest == 0);
        }
        let (buffer, start) = ((*view >> 64) as u32 as usize, (*view >> 96) as usize);
        let Some(text) = texts.get(buffer).and_then(|text| text.as_slice().get(start..)) else { return false };
        // Text that is whole, cut where characters begin.
        length <= text.len()
            && text[..4] == ((*view >> 32) as u32).to_le_bytes()
            && !is_continuation(text[0])
            && text.get(length).is_none_or(|&next| !is_continuation(next))
    };
    views.iter().all(is_sound) && texts.iter().all(|text| std::str::from_utf8(text).is_ok())
}

/// Whether a byte of UTF-8 goes on with a character.
fn is_continuation(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

fn validate_text(views: &ArrayRef) -> Result<(), PluginError> {
    let views = views.as_binary_view();
    // Text is nearly always ASCII, and then every piece of it is text.
    let inline_ascii = views.views().iter().all(|view| *view as u32 > 12 || (*view >> 32) & ASCII_MASK == 0);
    if inline_ascii && views.data_buffers().iter().all(|buffer| buffer.is_ascii()) {
        return Ok(());
    }
    let valid =
        (0..views.len()).filter(|row| views.is_valid(*row)).all(|row| std::str::from_utf8(views.value(row)).is_ok());
    if valid { Ok(()) } else { Err(malformed("text that is not UTF-8")) }
}

const ASCII_MASK: u128 = 0x8080_8080_8080_8080_8080_8080;

fn children(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => {
            vec![f.data_type()]
        }
        DataType::ListView(f) | DataType::LargeListView(f) => vec![f.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => Vec::new(),
    }
}

/// Buffers that a type has in the C interface, its validity bitmap included.
fn buffer_count(data_type: &DataType) -> usize {
    match data_type {
        DataType::Null | DataType::RunEndEncoded(..) => 0,
        DataType::Union(_, UnionMode::Sparse) => 1,
        DataType::Union(_, UnionMode::Dense) => 2,
        DataType::Struct(_) | DataType::FixedSizeList(..) => 1,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => 3,
        DataType::ListView(_) | DataType::LargeListView(_) => 3,
        DataType::Utf8View | DataType::BinaryView => 3,
        _ => 2,
    }
}

fn check_struct(array: &FFI_ArrowArray, data_type: &DataType, depth: usize) -> Result<(), PluginError> {
    if depth > DEPTH_MAX {
        return Err(malformed(format!("an array nested deeper than {DEPTH_MAX}")));
    }
    let (rows, offset) = (array.len(), array.offset());
    // Negative numbers arrive as huge ones.
    let end = rows.checked_add(offset).filter(|end| *end <= isize::MAX as usize / 16);
    let end = end.ok_or_else(|| malformed(format!("a length of {rows} at offset {offset}")))?;
    let (wanted, found) = (buffer_count(data_type), array.num_buffers());
    let views = matches!(data_type, DataType::Utf8View | DataType::BinaryView);
    if found != wanted && !(views && found > wanted) {
        return Err(malformed(format!("{data_type} has {wanted} buffers, found {found}")));
    }
    // The first buffer of nearly every type is the validity bitmap, which may be missing; the others may not.
    let first_data = usize::from(!matches!(data_type, DataType::Union(..)));
    if end > 0 && !views && (first_data..wanted.min(2)).any(|i| array.buffer(i).is_null()) {
        return Err(malformed(format!("{data_type} of {end} rows without a data buffer")));
    }
    check_offsets(array, data_type, rows, offset)?;
    if views {
        check_view_lengths(array)?;
    }
    if let DataType::Dictionary(_, values) = data_type {
        let dictionary = array.dictionary().ok_or_else(|| malformed("a dictionary without values"))?;
        return check_struct(dictionary, values, depth + 1);
    }
    let types = children(data_type);
    if types.len() != array.num_children() {
        return Err(malformed(format!("{data_type} has {} children, found {}", types.len(), array.num_children())));
    }
    for (i, child_type) in types.into_iter().enumerate() {
        let child = array.child(i);
        check_struct(child, child_type, depth + 1)?;
        if matches!(data_type, DataType::Struct(_)) && child.len() < end {
            return Err(malformed(format!("column {i} has {} rows of {end}", child.len())));
        }
    }
    Ok(())
}

/// The last offset is the size of the buffer behind it, so arrow's import believes it; the ones between are validated
/// afterwards.
fn check_offsets(array: &FFI_ArrowArray, data_type: &DataType, rows: usize, offset: usize) -> Result<(), PluginError> {
    let wide = match data_type {
        DataType::Utf8 | DataType::Binary | DataType::List(_) | DataType::Map(..) => false,
        DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_) => true,
        _ => return Ok(()),
    };
    if rows + offset == 0 {
        return Ok(());
    }
    let buffer = array.buffer(1);
    if !(if wide { buffer.cast::<i64>().is_aligned() } else { buffer.cast::<i32>().is_aligned() }) {
        return Err(malformed("offsets that are not aligned"));
    }
    let read = |i: usize| {
        // SAFETY: the buffer is not null, and the interface promises `rows + offset + 1` offsets.
        unsafe {
            if wide {
                buffer.cast::<i64>().add(i).read_unaligned()
            } else {
                buffer.cast::<i32>().add(i).read_unaligned().into()
            }
        }
    };
    let (first, last) = (read(offset), read(offset + rows));
    if first < 0 || last < first {
        return Err(malformed(format!("offsets from {first} to {last}")));
    }
    let text = matches!(data_type, DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary);
    if text && last > 0 && array.buffer(2).is_null() {
        return Err(malformed(format!("{data_type} without a data buffer")));
    }
    Ok(())
}

/// The last buffer of views holds the lengths of the data buffers before it; arrow's import believes that it is there.
fn check_view_lengths(array: &FFI_ArrowArray) -> Result<(), PluginError> {
    let buffers = array.num_buffers();
    if buffers > COUNT_MAX {
        return Err(malformed("views with more buffers than can be"));
    }
    // A validity bitmap, the views, and these lengths are always there.
    let data_buffers = buffers - 3;
    if data_buffers == 0 {
        return Ok(());
    }
    let lengths = array.buffer(buffers - 1).cast::<i64>();
    if lengths.is_null() || !lengths.is_aligned() {
        return Err(malformed("views without the lengths of their buffers"));
    }
    for i in 0..data_buffers {
        // SAFETY: the buffer is neither null nor misaligned, and the interface promises a length for every data buffer.
        let length = unsafe { lengths.add(i).read() };
        if length < 0 {
            return Err(malformed(format!("views over a buffer of {length} bytes")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
