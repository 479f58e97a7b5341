//! Commits no sin: the control, and what the benches call.
use kodiak_plugin_api::arrow_array::{Int64Array, RecordBatch, StringViewArray};
use kodiak_plugin_api::arrow_schema::{DataType, Field, Schema};
use kodiak_plugin_api::clap;
use kodiak_plugin_api::prelude::*;
use std::sync::Arc;

struct Good;

impl Plugin for Good {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.command(|_, call, args: Arguments| {
            call.log(Level::Info, "greeting");
            Ok(Output::text(format!("hello {}\n", args.name)))
        });
        r.statement("GOOD QUERY", |_, call, statement| {
            let mut cursor = statement.cursor();
            let sql = cursor.expression(&[])?;
            let mut rows = 0;
            for batch in call.query(&format!("SELECT {sql}"), &[])? {
                rows += batch?.num_rows();
            }
            Ok(Outcome::affected(rows as u64))
        });
        r.statement("GOOD RANGE", |_, call, statement| {
            let rows =
                call.query(&format!("SELECT * FROM generate_series(1, {})", statement.cursor().unsigned()?), &[])?;
            let schema = rows.schema();
            Ok(Outcome::rows(batches(schema, rows.collect()?)))
        });
        r.scalar("good_add", Signature::<(BigInt, BigInt), BigInt>::immutable(), |(a, b)| a.wrapping_add(b));
        r.scalar("good_half", Signature::<(Double,), Double>::immutable(), |(x,)| x / 2.0);
        r.scalar("good_even", Signature::<(BigInt,), Boolean>::immutable(), |(n,)| n % 2 == 0);
        r.scalar("good_upper", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_uppercase());
        r.scalar("good_or", Signature::<(Nullable<Text>, Text), Text>::immutable(), |(text, other)| {
            text.unwrap_or(other).to_owned()
        });
        r.scalar("good_root", Signature::<(Double,), Double>::immutable(), |(x,)| {
            if x < 0.0 {
                Err(Error::new("GOOD-1", "no root of a negative number").help("take abs(x)"))
            } else {
                Ok(x.sqrt())
            }
        });
        r.scalar_with(
            "good_count",
            Signature::<(Text,), BigInt>::stable(),
            |_, call, (table,)| -> Result<Option<i64>> {
                let row = call.query_row(&format!("SELECT count(*) FROM {table}"), &[])?;
                row.as_ref().and_then(|row| rows(row).next()).map_or(Ok(None), |row| row.integer(0))
            },
        );
        r.table("good_numbers", |_, _, arguments| {
            let count = arguments.integer(0)?.unwrap_or(10);
            let schema = Arc::new(Schema::new(vec![
                Field::new("n", DataType::Int64, false),
                Field::new("text", DataType::Utf8View, false),
            ]));
            Ok(Table::new(schema.clone(), move |_, scan| {
                let count = scan.limit.map_or(count, |limit| count.min(limit as i64));
                let numbers = Int64Array::from_iter_values(0..count);
                let text = StringViewArray::from_iter_values((0..count).map(|n| format!("number {n}")));
                let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(numbers), Arc::new(text)])?;
                Ok(batches(schema.clone(), vec![batch]))
            }))
        });
    }
}

#[derive(clap::Parser)]
#[command(name = "kodiak good", about = "Greets")]
struct Arguments {
    /// Whom.
    name: String,
}

export_plugin!(Good, manifest = "manifests/good.toml");
