//! Panics when it is dropped, and so does its stream.
use kodiak_plugin_api::arrow_array::{Int64Array, RecordBatch, RecordBatchReader};
use kodiak_plugin_api::arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use kodiak_plugin_api::prelude::*;
use std::sync::Arc;

struct PanicDrop;

impl Plugin for PanicDrop {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("panic_drop", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_owned());
        r.table("panic_drop_rows", |_, _, _| Ok(Table::new(columns(), |_, _| Ok(Box::new(Rows(1))))));
    }
}

impl Drop for PanicDrop {
    fn drop(&mut self) {
        panic!("while dropped");
    }
}

/// One row, and a panic when nobody wants more.
struct Rows(u8);

impl Iterator for Rows {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0 = self.0.checked_sub(1)?;
        Some(RecordBatch::try_new(columns(), vec![Arc::new(Int64Array::from(vec![7]))]))
    }
}

impl RecordBatchReader for Rows {
    fn schema(&self) -> SchemaRef {
        columns()
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        panic!("while the stream was dropped");
    }
}

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

export_plugin!(PanicDrop, manifest = "manifests/panic_drop.toml");
