//! Commits no sin: brings the language `words`, whose bodies are a word or two, one for each thing that a language can be
//! asked.
use kodiak_plugin_api::arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};
use kodiak_plugin_api::language::{Checked, Fired, Firing, Language, Routine};
use kodiak_plugin_api::prelude::*;
use std::sync::Arc;

struct Speaks;

struct Words;

/// A body: a word, and what stands behind it.
fn words(routine: &Routine) -> (&str, &str) {
    let body = routine.body.trim();
    body.split_once(' ').unwrap_or((body, ""))
}

fn integers(array: Option<&ArrayRef>) -> Result<&Int64Array> {
    array.and_then(|array| array.as_any().downcast_ref()).ok_or_else(|| Error::message("expected a BIGINT"))
}

fn names(rows: &RecordBatch) -> Result<&StringViewArray> {
    let column = rows.column_by_name("name").and_then(|array| array.as_any().downcast_ref());
    column.ok_or_else(|| Error::message("expected a column `name`"))
}

impl Language<Speaks> for Words {
    fn check(&self, _: &Speaks, _: &Call, routine: &Routine) -> Result<Checked> {
        match words(routine) {
            ("inline", expression) => Ok(Checked { inline: Some(expression.to_owned()) }),
            ("double" | "fail" | "count" | "run" | "upper" | "skip" | "tell" | "wrong" | "panic", _) => {
                Ok(Checked::default())
            }
            (other, _) => Err(Error::new("WORDS-1", format!("line 1, column 1: no word `{other}`"))),
        }
    }

    fn scalar(&self, _: &Speaks, call: &Call, routine: &Routine, arguments: &RecordBatch) -> Result<ArrayRef> {
        match words(routine) {
            ("double", _) => {
                let values = integers(arguments.columns().first())?;
                Ok(Arc::new(values.iter().map(|value| value.map(|value| value * 2)).collect::<Int64Array>()))
            }
            // What it asks the host happens in the transaction of the statement that called.
            ("count", table) => {
                let row = call.query_row(&format!("SELECT count(*) FROM {table}"), &[])?;
                let count = row.as_ref().and_then(|row| rows(row).next()).map_or(Ok(None), |row| row.integer(0))?;
                Ok(Arc::new(Int64Array::from(vec![count; arguments.num_rows()])))
            }
            ("wrong", _) => Ok(Arc::new(Int64Array::from(vec![1; arguments.num_rows() + 1]))),
            ("panic", text) => panic!("{text}"),
            (_, text) => Err(Error::new("WORDS-2", text.to_owned())),
        }
    }

    fn run(
        &self,
        _: &Speaks,
        call: &Call,
        routine: &Routine,
        _: &RecordBatch,
    ) -> Result<Option<kodiak_plugin_api::arrow::BatchReader>> {
        match words(routine) {
            ("run", sql) if sql.starts_with("SELECT") => {
                let rows = call.query(sql, &[])?;
                let schema = rows.schema();
                Ok(Some(batches(schema, rows.collect()?)))
            }
            ("run", sql) => call.execute(sql, &[]).map(|_| None),
            (_, text) => Err(Error::new("WORDS-2", text.to_owned())),
        }
    }

    fn fire(&self, _: &Speaks, call: &Call, routine: &Routine, firing: &Firing) -> Result<Option<Fired>> {
        match (words(routine).0, &firing.new) {
            ("upper", Some(new)) => {
                let upper = names(new)?.iter().map(|name| name.map(str::to_uppercase)).collect::<StringViewArray>();
                let at = new.schema().index_of("name")?;
                let mut columns = new.columns().to_vec();
                columns[at] = Arc::new(upper);
                let rows = (0..new.num_rows()).collect();
                Ok(Some(Fired { rows, new: Some(RecordBatch::try_new(new.schema(), columns)?) }))
            }
            ("skip", Some(new)) => {
                let unwanted = &firing.arguments;
                let names = names(new)?.iter().enumerate();
                let kept = names.filter(|(_, name)| !unwanted.iter().any(|one| Some(one.as_str()) == *name));
                Ok(Some(Fired { rows: kept.map(|(row, _)| row).collect(), new: None }))
            }
            ("tell", new) => {
                let (new, old) = (new.as_ref(), firing.old.as_ref());
                let count = |rows: Option<&RecordBatch>| rows.map_or(-1, |rows| rows.num_rows() as i64);
                let text = format!("{} {} {} {}", firing.timing, firing.level, firing.event, firing.table);
                let sql = "INSERT INTO told VALUES (?, ?, ?)";
                call.execute(sql, &[text.into(), count(old).into(), count(new).into()])?;
                Ok(None)
            }
            (_, _) => Err(Error::new("WORDS-2", words(routine).1.to_owned())),
        }
    }
}

impl Plugin for Speaks {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.language("words", Words);
    }
}

export_plugin!(Speaks, manifest = "manifests/speaks.toml");
