//! Calling a plugin's scalar function once a batch: borrowed views of the arguments in, and for fixed-width results the
//! host's own memory out, so that nothing is copied and hardly anything allocated.
#![allow(unsafe_code)]

use super::data::{import_array, import_type};
use arrow::array::{Array, ArrayData, ArrayRef, AsArray, make_array};
use arrow::buffer::{BooleanBuffer, MutableBuffer, NullBuffer};
use arrow::datatypes::DataType;
use kodiak_plugin_api::Error as PluginError;
use kodiak_plugin_api::abi::{
    AbiArray, AbiBuffer, AbiColumn, AbiOutput, AbiResult, AbiScalar, PluginContext, RSlice, ScalarVt_Ref, physical,
    scalar_mode,
};
use kodiak_plugin_api::arrow::export_array;

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
                let views = views(arguments)?;
                let array = with_columns(&views, |columns| (self.vt.eval())(self.context, id, columns, rows))?;
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
        let bitmap_bytes = rows.div_ceil(8);
        let mut validity = MutableBuffer::with_capacity(bitmap_bytes).with_bitset(bitmap_bytes, true);
        let mut output = AbiOutput {
            physical: if boolean { physical::BOOLEAN } else { physical::FIXED },
            width: u32::try_from(width.unwrap_or(0)).unwrap_or(0),
            rows,
            values: values.as_mut_ptr(),
            bytes,
            validity: validity.as_mut_ptr(),
            nulls: 0,
        };
        let views = views(arguments)?;
        with_columns(&views, |columns| (self.vt.eval_into())(self.context, id, columns, &mut output))?;
        let nulls = output.nulls;
        // SAFETY: the capacity is at least `bytes`; the callee's contract is to write all of them.
        unsafe { values.set_len(bytes) };
        let nulls = (nulls > 0).then(|| NullBuffer::new(BooleanBuffer::new(validity.into(), 0, rows)));
        let data = ArrayData::builder(self.result.clone()).len(rows).add_buffer(values.into()).nulls(nulls);
        // SAFETY: one buffer of `rows` fixed-width values, aligned by MutableBuffer; every bit pattern is a value.
        Ok(make_array(unsafe { data.build_unchecked() }))
    }
}

impl Drop for RawScalar {
    fn drop(&mut self) {
        // A plugin that panics while it drops has nobody left to tell: its guard contains it.
        let _ = (self.vt.release())(self.context);
    }
}

/// A borrowed argument, and the list of its data buffers, which the column points to.
struct View<'a> {
    column: AbiColumn<'a>,
    data: Vec<AbiBuffer>,
}

fn views(arguments: &[Argument]) -> Result<Vec<View<'_>>, PluginError> {
    arguments.iter().map(|argument| view(argument.array(), matches!(argument, Argument::Constant(_)))).collect()
}

/// Only once every list of data buffers stands where it stays can the columns point to them.
fn with_columns<T>(
    views: &[View<'_>],
    call: impl FnOnce(RSlice<'_, AbiColumn<'_>>) -> AbiResult<T>,
) -> Result<T, PluginError> {
    let columns: Vec<AbiColumn<'_>> =
        views.iter().map(|view| AbiColumn { data: RSlice::from_slice(&view.data), ..view.column }).collect();
    call(RSlice::from_slice(&columns)).into_result().map_err(PluginError::from)
}

fn view(array: &ArrayRef, constant: bool) -> Result<View<'_>, PluginError> {
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
        data: RSlice::from_slice(&[]),
    };
    let mut data = Vec::new();
    match array.data_type() {
        DataType::Boolean => {
            let bits = array.as_boolean().values();
            column.physical = physical::BOOLEAN;
            column.offset = bits.offset();
            column.values = buffer(bits.values());
        }
        DataType::Utf8View => {
            let array = array.as_string_view();
            column.physical = physical::VIEW;
            column.values = buffer(array.views().inner().as_slice());
            data = array.data_buffers().iter().map(|b| buffer(b.as_slice())).collect();
        }
        DataType::BinaryView => {
            let array = array.as_binary_view();
            column.physical = physical::VIEW;
            column.values = buffer(array.views().inner().as_slice());
            data = array.data_buffers().iter().map(|b| buffer(b.as_slice())).collect();
        }
        other => {
            let width = other.primitive_width().ok_or_else(|| no_view(other))?;
            column.width = u32::try_from(width).unwrap_or(u32::MAX);
            column.values = buffer(fixed_bytes(array, width));
        }
    }
    Ok(View { column, data })
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
    let bytes = arrow::array::downcast_primitive! {
        array.data_type() => (bytes),
        _ => &[],
    };
    &bytes[..array.len() * width]
}
