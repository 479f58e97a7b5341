//! Panics in every kind of call.
use kodiak_plugin_api::arrow_array::RecordBatchIterator;
use kodiak_plugin_api::arrow_schema::{DataType, Field, Schema};
use kodiak_plugin_api::clap;
use kodiak_plugin_api::prelude::*;
use std::sync::Arc;

struct PanicCall;

impl Plugin for PanicCall {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.command(|_, _, _: Arguments| panic!("in the command"));
        r.statement("PANIC NOW", |_, _, _| panic!("in the statement"));
        r.scalar("panic_call", Signature::<(Text,), Text>::immutable(), |(text,)| -> String {
            panic!("in the function: {text}")
        });
        r.table("panic_table", |_, _, _| {
            let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
            let reader = schema.clone();
            Ok(Table::new(schema, move |_, _| {
                let batches = std::iter::from_fn(|| panic!("in the stream"));
                Ok(Box::new(RecordBatchIterator::new(batches, reader.clone())))
            }))
        });
    }
}

#[derive(clap::Parser)]
struct Arguments {}

export_plugin!(PanicCall, manifest = "manifests/panic_call.toml");
