//! Calling a plugin's scalar function once a batch: borrowed views of the arguments in, and for fixed-width results the
//! host's own memory out, so that nothing is copied and hardly anything allocated.
#![allow(unsafe_code)]

use super::data::{import_array, import_type};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, downcast_primitive};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use kodiak_plugin_api::Error as PluginError;
use kodiak_plugin_api::abi::{
    AbiArray, AbiBuffer, AbiColumn, AbiOutput, AbiResult, AbiScalar, PluginContext, RSlice, ScalarVt_Ref, physical,
    scalar_mode,
};
use kodiak_plugin_api::arrow::export_array;
use smallvec::SmallVec;
use std::cell::Cell;
use std::sync::Arc;

/// An argument: one value a row, or one for all.
#[derive(Clone, Debug)]
pub enum Argument {
    /// As many values as there are rows.
    Column(ArrayRef),
    /// An array of one value.
    Constant(ArrayRef),
}

impl Argument {
    /// The values.
    pub fn array(&self) -> &ArrayRef {
        match self {
            Self::Column(array) | Self::Constant(array) => array,
        }
    }
}

/// A scalar function of a plugin's, bound to argument types. The instance that made it must outlive it: its owner sees
/// to that.
pub(crate) struct RawScalar {
    context: PluginContext,
    vt: ScalarVt_Ref,
    mode: u32,
    pub result: DataType,
}

impl RawScalar {
    pub(crate) fn new(raw: AbiScalar) -> Result<Self, PluginError> {
        // Made first, so that what the plugin bound is released even when its result cannot be understood.
        let mut bound = Self { context: raw.context, vt: raw.vt, mode: raw.mode, result: DataType::Null };
        bound.result = import_type(&raw.result)?;
        Ok(bound)
    }

    /// Calls it on behalf of call `id`.
    pub(crate) fn invoke(&self, id: u64, arguments: &[Argument], rows: usize) -> Result<ArrayRef, PluginError> {
        let fits = arguments.iter().all(|argument| match argument {
            Argument::Column(array) => array.len() == rows,
            Argument::Constant(array) => array.len() == 1,
        });
        if !fits {
            return Err(PluginError::message("arguments of different lengths"));
        }
        match self.mode {
            scalar_mode::ARRAYS => self.invoke_arrays(id, arguments, rows),
            scalar_mode::VIEWS => {
                let array = with_columns(arguments, |columns| (self.vt.eval())(self.context, id, columns, rows))?;
                import_array(array, &self.result, rows)
            }
            scalar_mode::INTO => self.invoke_into(id, arguments, rows),
            other => Err(PluginError::new("KDK-0472", format!("a function of unknown mode {other}"))),
        }
    }

    fn invoke_arrays(&self, id: u64, arguments: &[Argument], rows: usize) -> Result<ArrayRef, PluginError> {
        let export = |argument: &Argument| -> Result<AbiArray, PluginError> {
            match argument {
                Argument::Column(array) => Ok(export_array(array)),
                Argument::Constant(array) => {
                    let zeros = arrow::array::UInt32Array::from(vec![0; rows]);
                    Ok(export_array(&arrow::compute::take(array, &zeros, None)?))
                }
            }
        };
        let arrays = arguments.iter().map(export).collect::<Result<_, _>>()?;
        let array = (self.vt.eval_arrays())(self.context, id, arrays, rows).into_result()?;
        import_array(array, &self.result, rows)
    }

    fn invoke_into(&self, id: u64, arguments: &[Argument], rows: usize) -> Result<ArrayRef, PluginError> {
        let boolean = self.result == DataType::Boolean;
        let width = self.result.primitive_width().filter(|_| !boolean);
        if width.is_none() && !boolean {
            return Err(PluginError::new("KDK-0472", format!("{} has no fixed width", self.result)));
        }
        let bytes = width.map_or_else(|| rows.div_ceil(8), |width| rows * width);
        let mut values = MutableBuffer::with_capacity(bytes);
        let mut validity = AllValid::with_bits(rows);
        let mut output = AbiOutput {
            physical: if boolean { physical::BOOLEAN } else { physical::FIXED },
            width: u32::try_from(width.unwrap_or(0)).unwrap_or(0),
            rows,
            values: values.as_mut_ptr(),
            bytes,
            validity: validity.0.as_mut_ptr(),
            nulls: 0,
        };
        with_columns(arguments, |columns| (self.vt.eval_into())(self.context, id, columns, &mut output))?;
        let nulls = validity.into_nulls(rows);
        // SAFETY: the capacity is at least `bytes`; the callee's contract is to write all of them.
        unsafe { values.set_len(bytes) };
        Ok(fixed_array(&self.result, values.into(), nulls, rows))
    }
}

/// Values of a fixed width, or bits, as an array of `data_type`.
fn fixed_array(data_type: &DataType, values: Buffer, nulls: Option<NullBuffer>, rows: usize) -> ArrayRef {
    macro_rules! primitive {
        ($t:ty) => {
            Arc::new(
                PrimitiveArray::<$t>::new(ScalarBuffer::new(values, 0, rows), nulls).with_data_type(data_type.clone()),
            )
        };
    }
    downcast_primitive! {
        data_type => (primitive),
        _ => Arc::new(BooleanArray::new(BooleanBuffer::new(values, 0, rows), nulls)),
    }
}

/// A bitmap for the nulls of a result. Most results have none, so one for each thread is kept, all bits set.
struct AllValid(Vec<u8>);

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl AllValid {
    fn with_bits(rows: usize) -> Self {
        let mut bits = SPARE.take();
        let bytes = rows.div_ceil(8);
        if bits.len() < bytes {
            bits.resize(bytes, u8::MAX);
        }
        Self(bits)
    }

    /// The bitmap as the callee left it. What it says about that is not asked: a bit that stayed cleared here would
    /// be a null of the next call.
    fn into_nulls(self, rows: usize) -> Option<NullBuffer> {
        // Without a way out early, so that it is done many bytes at a time.
        if self.0.iter().fold(u8::MAX, |all, byte| all & byte) == u8::MAX {
            SPARE.set(self.0);
            return None;
        }
        let nulls = NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(self.0), 0, rows));
        Some(nulls).filter(|nulls| nulls.null_count() > 0)
    }
}

impl Drop for RawScalar {
    fn drop(&mut self) {
        // A plugin that panics while it drops has nobody left to tell: its guard contains it.
        let _ = (self.vt.release())(self.context);
    }
}

/// So many arguments are described without an allocation.
const INLINE: usize = 4;

/// Calls with borrowed views of the arguments.
fn with_columns<T>(
    arguments: &[Argument],
    call: impl FnOnce(RSlice<'_, AbiColumn<'_>>) -> AbiResult<T>,
) -> Result<T, PluginError> {
    // Columns point to the lists of their data buffers, so these stand first.
    let data: SmallVec<[Vec<AbiBuffer>; INLINE]> =
        arguments.iter().map(|argument| data_buffers(argument.array())).collect();
    let mut columns = SmallVec::<[AbiColumn<'_>; INLINE]>::with_capacity(arguments.len());
    for (argument, data) in arguments.iter().zip(&data) {
        columns.push(column(argument.array(), matches!(argument, Argument::Constant(_)), data)?);
    }
    call(RSlice::from_slice(&columns)).into_result().map_err(PluginError::from)
}

/// What the views of an array point into.
fn data_buffers(array: &ArrayRef) -> Vec<AbiBuffer> {
    match array.data_type() {
        DataType::Utf8View => array.as_string_view().data_buffers().iter().map(|b| buffer(b.as_slice())).collect(),
        DataType::BinaryView => array.as_binary_view().data_buffers().iter().map(|b| buffer(b.as_slice())).collect(),
        _ => Vec::new(),
    }
}

fn column<'a>(array: &'a ArrayRef, constant: bool, data: &'a [AbiBuffer]) -> Result<AbiColumn<'a>, PluginError> {
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let (validity, validity_offset) =
        nulls.map_or((std::ptr::null(), 0), |nulls| (nulls.validity().as_ptr(), nulls.offset()));
    let mut column = AbiColumn {
        physical: physical::FIXED,
        width: 0,
        rows: array.len(),
        constant,
        offset: 0,
        validity,
        validity_offset,
        values: AbiBuffer { data: std::ptr::null(), bytes: 0 },
        data: RSlice::from_slice(data),
    };
    match array.data_type() {
        DataType::Boolean => {
            let bits = array.as_boolean().values();
            column.physical = physical::BOOLEAN;
            column.offset = bits.offset();
            column.values = buffer(bits.values());
        }
        DataType::Utf8View => {
            column.physical = physical::VIEW;
            column.values = buffer(array.as_string_view().views().inner().as_slice());
        }
        DataType::BinaryView => {
            column.physical = physical::VIEW;
            column.values = buffer(array.as_binary_view().views().inner().as_slice());
        }
        other => {
            let width = other.primitive_width().ok_or_else(|| no_view(other))?;
            column.width = u32::try_from(width).unwrap_or(u32::MAX);
            column.values = buffer(fixed_bytes(array, width));
        }
    }
    Ok(column)
}

fn buffer(bytes: &[u8]) -> AbiBuffer {
    AbiBuffer { data: bytes.as_ptr(), bytes: bytes.len() }
}

fn no_view(data_type: &DataType) -> PluginError {
    PluginError::new("KDK-0472", format!("a function bound to views of {data_type}, which has none"))
}

/// The values of a primitive array, whatever its type, as bytes.
fn fixed_bytes(array: &ArrayRef, width: usize) -> &[u8] {
    macro_rules! bytes {
        ($t:ty) => {
            array.as_primitive::<$t>().values().inner().as_slice()
        };
    }
    let bytes = downcast_primitive! {
        array.data_type() => (bytes),
        _ => &[],
    };
    &bytes[..array.len() * width]
}

#[cfg(test)]
mod tests;
