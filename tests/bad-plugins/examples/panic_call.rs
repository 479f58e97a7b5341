//! Panics in every kind of call.
use kodiak_plugin_api::arrow_array::RecordBatchIterator;
use kodiak_plugin_api::arrow_schema::{DataType, Field, Schema, SchemaRef};
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
        r.statement("PANIC ROWS", |_, _, _| {
            let batches = std::iter::from_fn(|| panic!("in the rows"));
            Ok(Outcome::rows(Box::new(RecordBatchIterator::new(batches, one_column()))))
        });
        r.scalar("panic_call", Signature::<(Text,), Text>::immutable(), |(text,)| -> String {
            panic!("in the function: {text}")
        });
        r.scalar_arrays(
            "panic_arrays",
            Volatility::Volatile,
            None,
            |_| Ok(DataType::Int64),
            |_, _, _, _| panic!("in the function over arrays"),
        );
        r.scalar_arrays(
            "panic_types",
            Volatility::Volatile,
            None,
            |_| panic!("while it was bound"),
            |_, _, arrays, _| Ok(arrays[0].clone()),
        );
        r.table("panic_bind", |_, _, _| panic!("while the table was bound"));
        r.table("panic_scan", |_, _, _| Ok(Table::new(one_column(), |_, _| panic!("in the scan"))));
        r.table("panic_table", |_, _, _| {
            Ok(Table::new(one_column(), move |_, _| {
                let batches = std::iter::from_fn(|| panic!("in the stream"));
                Ok(Box::new(RecordBatchIterator::new(batches, one_column())))
            }))
        });
    }
}

fn one_column() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

#[derive(clap::Parser)]
struct Arguments {}

export_plugin!(PanicCall, manifest = "manifests/panic_call.toml");
