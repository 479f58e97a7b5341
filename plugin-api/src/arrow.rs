//! Arrow data across the boundary: arrays, record batches and streams by the C data interface, and borrowed columns
//! for functions that are called once a batch. It refuses to trust nothing and to check nothing: what a host receives
//! is checked by the host.
#![allow(unsafe_code)]

use crate::abi::{AbiArray, AbiArraySchema, AbiColumn, AbiOutput, AbiSchema, AbiStream, physical};
use crate::error::{Error, Result};
use crate::guard::guarded;
use arrow_array::ffi_stream::{ArrowArrayStreamReader, FFI_ArrowArrayStream};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchReader, StructArray, make_array};
use arrow_data::ffi::FFI_ArrowArray;
use arrow_schema::ffi::FFI_ArrowSchema;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// Rows as they come, with their schema.
pub type BatchReader = Box<dyn RecordBatchReader + Send>;

/// Hands an array over.
pub fn export_array(array: &dyn Array) -> AbiArray {
    FFI_ArrowArray::new(&array.to_data()).into()
}

/// Takes an array over.
///
/// # Safety
/// `array` must be a valid array of type `data_type`, as the C data interface defines it.
///
/// # Errors
/// When the struct cannot belong to that type.
pub unsafe fn import_array(array: AbiArray, data_type: &DataType) -> Result<ArrayRef> {
    // SAFETY: the caller upholds it.
    let data = unsafe { arrow_array::ffi::from_ffi_and_data_type(array.inner, data_type.clone()) }?;
    Ok(make_array(data))
}

/// Describes a type.
///
/// # Errors
/// For a type that the C data interface cannot name.
pub fn export_type(data_type: &DataType) -> Result<AbiSchema> {
    Ok(FFI_ArrowSchema::try_from(data_type)?.into())
}

/// Describes a field, with its name and nullability.
///
/// # Errors
/// As [`export_type`].
pub fn export_field(field: &Field) -> Result<AbiSchema> {
    Ok(FFI_ArrowSchema::try_from(field)?.into())
}

/// Describes columns as a struct.
///
/// # Errors
/// As [`export_type`].
pub fn export_schema(schema: &Schema) -> Result<AbiSchema> {
    Ok(FFI_ArrowSchema::try_from(schema)?.into())
}

/// Reads a field.
///
/// # Errors
/// When the description cannot be understood.
pub fn import_field(schema: &AbiSchema) -> Result<Field> {
    Ok(Field::try_from(&schema.inner)?)
}

/// Reads columns.
///
/// # Errors
/// When the description cannot be understood or is no struct.
pub fn import_schema(schema: &AbiSchema) -> Result<Schema> {
    Ok(Schema::try_from(&schema.inner)?)
}

/// Hands a batch over as a struct array with its schema.
///
/// # Errors
/// As [`export_type`].
pub fn export_batch(batch: &RecordBatch) -> Result<AbiArraySchema> {
    let schema = export_schema(batch.schema_ref())?;
    let data = StructArray::try_new_with_length(
        batch.schema_ref().fields().clone(),
        batch.columns().to_vec(),
        None,
        batch.num_rows(),
    )?;
    Ok(AbiArraySchema { array: export_array(&data), schema })
}

/// Takes a batch over.
///
/// # Safety
/// The array must be valid for its schema, as the C data interface defines it.
///
/// # Errors
/// When the two do not fit each other.
pub unsafe fn import_batch(batch: AbiArraySchema) -> Result<RecordBatch> {
    let schema = Arc::new(import_schema(&batch.schema)?);
    // SAFETY: the caller upholds it.
    let array = unsafe { import_array(batch.array, &DataType::Struct(schema.fields().clone())) }?;
    let rows = array.len();
    let columns = StructArray::from(array.to_data()).into_parts().1;
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// Hands a stream over. Panics and errors of the reader reach the other side as errors.
pub fn export_stream(reader: BatchReader) -> AbiStream {
    FFI_ArrowArrayStream::new(Box::new(Guarded { schema: reader.schema(), reader: Some(reader) })).into()
}

/// Takes a stream over; its errors come back as they were reported.
///
/// # Errors
/// When the stream has been released or cannot tell its schema.
pub fn import_stream(stream: AbiStream) -> Result<Rows> {
    Ok(Rows { reader: ArrowArrayStreamReader::try_new(stream.inner)? })
}

/// arrow's callbacks must not unwind, so nothing leaves this reader but values.
struct Guarded {
    schema: SchemaRef,
    reader: Option<BatchReader>,
}

impl Iterator for Guarded {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        match guarded(|| Ok(reader.next().transpose()?)) {
            Ok(batch) => batch.map(Ok),
            Err(error) => {
                self.release();
                Some(Err(ArrowError::CDataInterface(error.encode())))
            }
        }
    }
}

impl RecordBatchReader for Guarded {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Guarded {
    fn release(&mut self) {
        let reader = self.reader.take();
        // A panicking Drop has nobody left to tell.
        let _ = guarded(|| {
            drop(reader);
            Ok(())
        });
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.release();
    }
}

/// Rows that come from the other side, batch by batch.
#[derive(Debug)]
pub struct Rows {
    reader: ArrowArrayStreamReader,
}

impl Rows {
    /// The columns.
    pub fn schema(&self) -> SchemaRef {
        self.reader.schema()
    }

    /// All batches.
    ///
    /// # Errors
    /// The first that the stream reports.
    pub fn collect(self) -> Result<Vec<RecordBatch>> {
        Iterator::collect(self)
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.reader.next().map(|batch| batch.map_err(Error::from))
    }
}

/// The arguments of a scalar function, as the host passed them.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Columns<'a> {
    raw: &'a [AbiColumn<'a>],
}

impl<'a> Columns<'a> {
    /// # Safety
    /// The pointers of every column must be valid for `'a` and of the sizes that it states, strings valid UTF-8.
    pub(crate) unsafe fn new(raw: &'a [AbiColumn<'a>]) -> Self {
        Self { raw }
    }

    pub(crate) fn get(self, index: usize) -> Option<Column<'a>> {
        self.raw.get(index).map(|raw| Column { raw })
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Column<'a>> {
        self.raw.iter().map(|raw| Column { raw })
    }
}

/// One argument of a scalar function: a column of the host's, borrowed for the call.
#[derive(Clone, Copy)]
pub struct Column<'a> {
    raw: &'a AbiColumn<'a>,
}

impl<'a> Column<'a> {
    /// Whether row `row` is not null.
    pub fn is_valid(&self, row: usize) -> bool {
        if self.raw.validity.is_null() {
            return true;
        }
        // SAFETY: the host states that the bitmap covers every row; a constant has one.
        unsafe { bit(self.raw.validity, self.raw.validity_offset + if self.raw.constant { 0 } else { row }) }
    }

    /// Whether any row may be null.
    pub fn may_be_null(&self) -> bool {
        !self.raw.validity.is_null()
    }

    pub(crate) fn fixed<T: Native>(&self) -> Result<FixedReader<'a, T>> {
        if self.raw.physical != physical::FIXED || self.raw.width as usize != size_of::<T>() {
            return Err(mismatch());
        }
        let values = self.raw.values.data.cast::<T>();
        // SAFETY: a constant has one value.
        let constant = self.raw.constant.then(|| unsafe { values.read_unaligned() });
        Ok(FixedReader { values, constant, _column: std::marker::PhantomData })
    }

    pub(crate) fn booleans(&self) -> Result<BooleanReader<'a>> {
        if self.raw.physical != physical::BOOLEAN {
            return Err(mismatch());
        }
        Ok(BooleanReader { column: *self })
    }

    pub(crate) fn views(&self) -> Result<ViewReader<'a>> {
        if self.raw.physical != physical::VIEW {
            return Err(mismatch());
        }
        Ok(ViewReader { column: *self })
    }
}

fn mismatch() -> Error {
    Error::new("KDK-0472", "the host passed a column of another type than the function was bound to")
}

/// # Safety
/// `bitmap` must hold bit `index`.
unsafe fn bit(bitmap: *const u8, index: usize) -> bool {
    // SAFETY: the caller upholds it.
    unsafe { *bitmap.add(index / 8) & (1 << (index % 8)) != 0 }
}

mod native {
    pub trait Sealed: Copy + Default + Send + Sync + 'static {}
}

/// Rust's types of fixed-width SQL values.
pub trait Native: native::Sealed {}

macro_rules! native {
    ($($t:ty),*) => { $(impl native::Sealed for $t {} impl Native for $t {})* };
}
native!(i8, i16, i32, i64, i128, u8, u16, u32, u64, f32, f64);

/// Values of a fixed width. Whether it is a constant does not change in a loop, so compilers make a loop of each kind.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct FixedReader<'a, T> {
    values: *const T,
    constant: Option<T>,
    _column: std::marker::PhantomData<&'a T>,
}

impl<T: Native> FixedReader<'_, T> {
    #[inline(always)]
    pub(crate) fn get(&self, row: usize) -> T {
        if let Some(constant) = self.constant {
            return constant;
        }
        // SAFETY: loops over rows stay below the number of rows that the host stated, and `Columns::new` vouches for it.
        unsafe { self.values.add(row).read_unaligned() }
    }
}

#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct BooleanReader<'a> {
    column: Column<'a>,
}

impl BooleanReader<'_> {
    #[inline]
    pub(crate) fn get(&self, row: usize) -> bool {
        let raw = self.column.raw;
        // SAFETY: as for FixedReader.
        unsafe { bit(raw.values.data, raw.offset + if raw.constant { 0 } else { row }) }
    }
}

#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct ViewReader<'a> {
    column: Column<'a>,
}

impl<'a> ViewReader<'a> {
    #[inline]
    pub(crate) fn bytes(&self, row: usize) -> &'a [u8] {
        let raw = self.column.raw;
        let row = if raw.constant { 0 } else { row };
        // SAFETY: the host states that there are `rows` views of 16 bytes, each within itself or a data buffer.
        unsafe {
            let view = raw.values.data.add(row * 16);
            let length = view.cast::<u32>().read_unaligned() as usize;
            if length <= 12 {
                return std::slice::from_raw_parts(view.add(4), length);
            }
            let buffer = view.add(8).cast::<u32>().read_unaligned() as usize;
            let offset = view.add(12).cast::<u32>().read_unaligned() as usize;
            std::slice::from_raw_parts(raw.data[buffer].data.add(offset), length)
        }
    }

    #[inline]
    pub(crate) fn text(&self, row: usize) -> &'a str {
        // SAFETY: the host states that text columns are valid UTF-8 (`Columns::new`).
        unsafe { std::str::from_utf8_unchecked(self.bytes(row)) }
    }
}

/// Where a fixed-width result goes: memory of the host's.
#[doc(hidden)]
pub struct Output<'a> {
    raw: &'a mut AbiOutput,
}

impl<'a> Output<'a> {
    /// # Safety
    /// The pointers of `raw` must be valid for writes of the sizes that it states.
    pub(crate) unsafe fn new(raw: &'a mut AbiOutput) -> Self {
        Self { raw }
    }

    pub(crate) fn fixed<T: Native>(&mut self, rows: usize) -> Result<&mut [T]> {
        let aligned = self.raw.values.cast::<T>().is_aligned();
        if self.raw.physical != physical::FIXED || self.raw.bytes < rows * size_of::<T>() || !aligned {
            return Err(mismatch());
        }
        // SAFETY: the host states size and validity; alignment was just checked.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.raw.values.cast(), rows) })
    }

    pub(crate) fn bits(&mut self, rows: usize) -> Result<&mut [u8]> {
        if self.raw.physical != physical::BOOLEAN || self.raw.bytes < rows.div_ceil(8) {
            return Err(mismatch());
        }
        // SAFETY: the host states size and validity.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.raw.values, rows.div_ceil(8)) })
    }

    pub(crate) fn set_null(&mut self, row: usize) {
        assert!(row < self.raw.rows, "rows are counted by the caller");
        // SAFETY: the bitmap covers `rows` bits.
        unsafe { *self.raw.validity.add(row / 8) &= !(1 << (row % 8)) };
        self.raw.nulls += 1;
    }
}
