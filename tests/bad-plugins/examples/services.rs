//! Commits no sin but one: asks its host for everything that there is, and once for a call that is over.
use kodiak_plugin_api::arrow_array::{ArrayRef, BinaryViewArray, Int64Array, RecordBatch, StringViewArray};
use kodiak_plugin_api::arrow_schema::{DataType, Field, Schema};
use kodiak_plugin_api::clap;
use kodiak_plugin_api::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default)]
struct Services {
    kept: Mutex<Option<Call>>,
}

impl Plugin for Services {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self::default())
    }

    fn register(r: &mut Registrar<Self>) {
        r.command(|_, call, arguments: Arguments| run(call, &arguments));
        statements(r);
        functions(r);
    }
}

fn statements(r: &mut Registrar<Services>) {
    // Runs both or neither, and reports a failure as a row: the statement itself succeeds.
    r.statement("SERVE ATOMIC", |_, call, statement| {
        let mut cursor = statement.cursor();
        let (first, second) = (cursor.string()?, cursor.string()?);
        let both = call.atomically(|| Ok(call.execute(&first, &[])? + call.execute(&second, &[])?));
        let text = both.map_or_else(|error| error.code().to_owned(), |rows| rows.to_string());
        Ok(Outcome::batch(RecordBatch::try_from_iter([(
            "outcome",
            Arc::new(StringViewArray::from(vec![text])) as ArrayRef,
        )])?))
    });
    // In a session of its own, which the caller's transaction does not reach.
    r.statement("SERVE APART", |_, call, statement| {
        let sql = statement.cursor().string()?;
        let session = call.session()?;
        session.begin()?;
        let rows = session.execute(&sql, &[])?;
        session.commit()?;
        Ok(Outcome::affected(rows))
    });
    // Keeps the call that it got first, and uses it when it is long over.
    r.statement("SERVE LATE", |services, call, _| {
        let mut kept = services.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match *kept {
            Some(late) => Ok(Outcome::affected(late.execute("SELECT 1", &[])?)),
            None => {
                *kept = Some(*call);
                Ok(Outcome::done())
            }
        }
    });
    r.statement("SERVE LOG", |_, call, statement| {
        call.log(Level::Warn, &statement.cursor().string()?);
        Ok(Outcome::done())
    });
    r.statement("SERVE QUERY", |_, call, statement| {
        let rows = call.query(&statement.cursor().string()?, &[])?;
        let schema = rows.schema();
        Ok(Outcome::rows(batches(schema, rows.collect()?)))
    });
}

fn functions(r: &mut Registrar<Services>) {
    let pair = Signature::<(Text, Text), Text>::volatile();
    let one = Signature::<(Text,), Text>::volatile();
    r.scalar_with("services_put", pair, |_, call, (key, value)| -> Result<String> {
        call.kv_put(key.as_bytes(), value.as_bytes())?;
        Ok(value.to_owned())
    });
    r.scalar_with("services_get", one, |_, call, (key,)| -> Result<Option<String>> {
        Ok(call.kv_get(key.as_bytes())?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    });
    r.scalar_with("services_remove", one, |_, call, (key,)| -> Result<String> {
        call.kv_remove(key.as_bytes())?;
        Ok(key.to_owned())
    });
    r.table("services_keys", |_, _, arguments| {
        let prefix = arguments.required_text(0, "prefix")?;
        let columns = [("key", DataType::Utf8View), ("value", DataType::BinaryView)];
        let schema = Schema::new(columns.map(|(name, kind)| Field::new(name, kind, false)).to_vec());
        let schema = Arc::new(schema);
        Ok(Table::new(schema.clone(), move |call, _| {
            let entries = call.kv_scan(prefix.as_bytes())?;
            let keys = StringViewArray::from_iter_values(entries.iter().map(|(key, _)| String::from_utf8_lossy(key)));
            let values = BinaryViewArray::from_iter_values(entries.iter().map(|(_, value)| value));
            let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(keys), Arc::new(values)])?;
            Ok(batches(schema.clone(), vec![batch]))
        }))
    });
    r.scalar_with("services_call", pair, |_, call, (name, text)| -> Result<Option<String>> {
        let result = call.call_function(name, &[Arc::new(StringViewArray::from(vec![text]))])?;
        Ok(result.as_any().downcast_ref::<StringViewArray>().map(|result| result.value(0).to_owned()))
    });
    r.scalar_with("services_config", one, |_, call, (key,)| call.config(key));
    r.scalar_with("services_dir", one, |_, call, (name,)| -> Result<String> {
        let file = call.data_dir()?.join(name);
        std::fs::write(&file, b"kept")?;
        Ok(file.display().to_string())
    });
    r.scalar_with("services_spin", Signature::<(), BigInt>::volatile(), |_, call, ()| -> Result<i64> {
        loop {
            call.check_cancelled()?;
            std::hint::spin_loop();
        }
    });
}

#[derive(clap::Parser)]
#[command(name = "kodiak services", about = "Asks its host for everything")]
enum Arguments {
    /// Copies standard input to standard output in upper case, and counts on standard error
    Upper,
    /// Shows a table
    Table,
    /// Ends with this exit code
    Exit {
        /// The code
        code: u8,
    },
}

fn run(call: &Call, arguments: &Arguments) -> Result<Output> {
    match arguments {
        Arguments::Upper => {
            let mut bytes = 0;
            loop {
                let piece = call.read_input(7)?;
                if piece.is_empty() {
                    break;
                }
                bytes += piece.len();
                call.write_output(&piece.to_ascii_uppercase())?;
                call.progress(bytes as u64, 0, "reading");
            }
            call.write_note(&format!("{bytes} bytes\n"))?;
            Ok(Output::done())
        }
        Arguments::Table => {
            let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
            Ok(Output::batch(RecordBatch::try_from_iter([("n", numbers)])?))
        }
        Arguments::Exit { code } => Ok(Output::text("over\n").exit_code(*code)),
    }
}

export_plugin!(Services, manifest = "manifests/services.toml");
