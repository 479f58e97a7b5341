//! Returns data that is not what it says.
use kodiak_plugin_api::arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, StringViewArray};
use kodiak_plugin_api::arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use kodiak_plugin_api::arrow_schema::{DataType, Field, Schema};
use kodiak_plugin_api::prelude::*;
use std::sync::Arc;

struct BadData;

impl Plugin for BadData {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        let any = |_: &[DataType]| Ok(DataType::Utf8View);
        let text = Some(vec![DataType::Utf8View]);
        r.scalar_arrays("bad_utf8", Volatility::Immutable, text.clone(), any, |_, _, _, rows| Ok(bad_utf8(rows)));
        r.scalar_arrays("bad_view", Volatility::Immutable, text.clone(), any, |_, _, _, rows| Ok(bad_view(rows)));
        r.scalar_arrays(
            "bad_offsets",
            Volatility::Immutable,
            text.clone(),
            |_| Ok(DataType::Utf8),
            |_, _, _, rows| Ok(bad_offsets(rows)),
        );
        r.scalar_arrays("bad_length", Volatility::Immutable, text.clone(), any, |_, _, _, rows| Ok(bad_utf8(rows + 1)));
        r.scalar_arrays("bad_type", Volatility::Immutable, text, any, |_, _, _, rows| {
            Ok(Arc::new(Int64Array::from(vec![1; rows])) as ArrayRef)
        });
        r.table("bad_columns", |_, _, _| {
            let declared = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
            Ok(Table::new(declared, |_, _| {
                let other = Arc::new(Schema::new(vec![Field::new("n", DataType::Utf8View, false)]));
                let batch = RecordBatch::try_new(other.clone(), vec![Arc::new(StringViewArray::from(vec!["x"]))])?;
                Ok(batches(other, vec![batch]))
            }))
        });
        r.table("bad_rows", |_, _, _| {
            let schema = Arc::new(Schema::new(vec![Field::new("t", DataType::Utf8View, true)]));
            Ok(Table::new(schema.clone(), move |_, _| {
                let batch = RecordBatch::try_new(schema.clone(), vec![bad_utf8(3)])?;
                Ok(batches(schema.clone(), vec![batch]))
            }))
        });
    }
}

/// Inline views whose bytes are no UTF-8.
fn bad_utf8(rows: usize) -> ArrayRef {
    let view = 2u128 | (0xfffe << 32);
    // SAFETY: deliberately broken: this is what the host must refuse.
    Arc::new(unsafe { StringViewArray::new_unchecked(ScalarBuffer::from(vec![view; rows]), vec![], None) })
}

/// Views that point behind their buffer.
fn bad_view(rows: usize) -> ArrayRef {
    let view = 100u128 | (1_000_000u128 << 96);
    let data = Buffer::from(vec![b'x'; 16]);
    // SAFETY: deliberately broken: this is what the host must refuse.
    Arc::new(unsafe { StringViewArray::new_unchecked(ScalarBuffer::from(vec![view; rows]), vec![data], None) })
}

/// Offsets that go back.
fn bad_offsets(rows: usize) -> ArrayRef {
    let mut offsets = vec![0i32; rows + 1];
    offsets[0] = 8;
    // SAFETY: deliberately broken: this is what the host must refuse.
    unsafe {
        let offsets = OffsetBuffer::new_unchecked(ScalarBuffer::from(offsets));
        Arc::new(StringArray::new_unchecked(offsets, Buffer::from(vec![b'x'; 16]), None))
    }
}

export_plugin!(BadData, manifest = "manifests/bad_data.toml");
