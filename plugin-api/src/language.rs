//! Languages of routines: a body as text in, values, rows or changed rows out. The catalog, overloads, transactions and
//! triggers are the host's; how a body is compiled, and for how long that is kept, is the language's.

use crate::abi::{
    AbiArraySchema, AbiOption, AbiRoutine, AbiRoutineOutcome, RNone, ROption, RSome, RVec, routine as operation,
};
use crate::arrow::{BatchReader, export_stream, import_batch, import_schema};
use crate::error::{Error, Result};
use crate::host::Call;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchIterator, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

/// What a plugin of type `P` does for the routines of one language. Every call may come from any thread.
pub trait Language<P>: Send + Sync + 'static {
    /// Compiles a body without running it; `CREATE` asks.
    ///
    /// # Errors
    /// What is wrong with the body, with line and column counted from its first character.
    fn check(&self, plugin: &P, call: &Call, routine: &Routine) -> Result<Checked>;

    /// The results of a function, one of type [`Routine::result`] for each row of `arguments`.
    ///
    /// # Errors
    /// What the body refuses.
    fn scalar(&self, plugin: &P, call: &Call, routine: &Routine, arguments: &RecordBatch) -> Result<ArrayRef>;

    /// Runs a procedure, a function that returns rows, or an anonymous body, for one row of arguments.
    ///
    /// # Errors
    /// What the body refuses.
    fn run(&self, plugin: &P, call: &Call, routine: &Routine, arguments: &RecordBatch) -> Result<Option<BatchReader>>;

    /// Runs a trigger function. What it gives is asked for by `BEFORE ... FOR EACH ROW` alone; none leaves all rows as
    /// they are.
    ///
    /// # Errors
    /// What the body refuses; the statement that set it off is undone.
    fn fire(&self, plugin: &P, call: &Call, routine: &Routine, firing: &Firing) -> Result<Option<Fired>>;
}

/// A routine as the catalog has it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Routine {
    /// The language that it is written in.
    pub language: String,
    /// Its schema.
    pub schema: String,
    /// Its name; `DO` for an anonymous body.
    pub name: String,
    /// The text between the quotes.
    pub body: String,
    /// Names and types of the parameters.
    pub parameters: Arc<Schema>,
    /// The columns of the result: none for nothing, one for a value, several for rows.
    pub result: Arc<Schema>,
    /// `function` or `procedure`.
    pub kind: String,
    /// `value`, `table`, `trigger` or `nothing`.
    pub returns: String,
    /// `immutable`, `stable` or `volatile`.
    pub volatility: String,
    /// The schema that unqualified names in the body mean.
    pub path: String,
}

/// What a language found when it compiled a body.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The body as an SQL expression over the parameters' names, if it is no more than that: then the host puts it in
    /// the place of every call, and the language is not asked again.
    pub inline: Option<String>,
}

/// What a trigger function is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Firing {
    /// The trigger's name.
    pub trigger: String,
    /// The table's schema.
    pub schema: String,
    /// The table's name.
    pub table: String,
    /// `before`, `after` or `instead`.
    pub timing: String,
    /// `row` or `statement`.
    pub level: String,
    /// `insert`, `update` or `delete`.
    pub event: String,
    /// The arguments that the trigger was created with.
    pub arguments: Vec<String>,
    /// The rows before; none where there are none, such as for an insert.
    pub old: Option<RecordBatch>,
    /// The rows after; one for each of `old` where both are there.
    pub new: Option<RecordBatch>,
}

/// What a row trigger that comes before made of the rows.
#[derive(Clone, Debug)]
pub struct Fired {
    /// The numbers of the rows that go on, in order; the others are skipped.
    pub rows: Vec<usize>,
    /// Those rows as they shall be, with the table's columns; none leaves them as they were.
    pub new: Option<RecordBatch>,
}

/// The column of a [`Fired`]'s batch that holds the rows' numbers.
const ROW: &str = "row";

/// Answers one request of the host's.
#[allow(unsafe_code)]
pub(crate) fn answer<P: 'static>(
    language: &dyn Language<P>,
    plugin: &P,
    call: &Call,
    raw: AbiRoutine,
) -> Result<AbiRoutineOutcome> {
    let (options, operation) = (raw.options, raw.operation);
    let option = |key: &str| options.iter().find(|o| o.key == key).map(|o| o.value.to_string()).unwrap_or_default();
    let routine = Routine {
        language: raw.language.into(),
        schema: raw.schema.into(),
        name: raw.name.into(),
        body: raw.body.into(),
        parameters: Arc::new(import_schema(&raw.parameters)?),
        result: Arc::new(import_schema(&raw.result)?),
        kind: option("kind"),
        returns: option("returns"),
        volatility: option("volatility"),
        path: option("path"),
    };
    let batch = |raw: AbiArraySchema| {
        // SAFETY: the host hands over a valid struct array for its schema; plugins trust their host.
        unsafe { import_batch(raw) }
    };
    let arguments = batch(raw.arguments)?;
    let optional = |raw: ROption<AbiArraySchema>| raw.into_option().map(batch).transpose();
    let (old, new) = (optional(raw.old)?, optional(raw.new)?);
    match operation {
        operation::CHECK => {
            let checked = language.check(plugin, call, &routine)?;
            let inline = checked.inline.map(|text| AbiOption { key: "inline".into(), value: text.into() });
            Ok(AbiRoutineOutcome { rows: RNone, options: inline.into_iter().collect() })
        }
        operation::SCALAR => {
            let result = language.scalar(plugin, call, &routine, &arguments)?;
            let field = Field::new("result", result.data_type().clone(), true);
            outcome(Some(one(RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![result])?)))
        }
        operation::RUN => outcome(language.run(plugin, call, &routine, &arguments)?),
        operation::FIRE => {
            let firing = Firing {
                trigger: option("trigger"),
                schema: option("table_schema"),
                table: option("table"),
                timing: option("timing"),
                level: option("level"),
                event: option("event"),
                arguments: options.iter().filter(|o| o.key == "argument").map(|o| o.value.to_string()).collect(),
                old,
                new,
            };
            let fired = language.fire(plugin, call, &routine, &firing)?;
            outcome(fired.map(|fired| numbered(fired).map(one)).transpose()?)
        }
        other => Err(Error::new("KDK-0454", format!("the language knows no operation {other}"))),
    }
}

fn outcome(rows: Option<BatchReader>) -> Result<AbiRoutineOutcome> {
    Ok(AbiRoutineOutcome { rows: rows.map_or(RNone, |rows| RSome(export_stream(rows))), options: RVec::new() })
}

fn one(batch: RecordBatch) -> BatchReader {
    let schema = batch.schema();
    Box::new(RecordBatchIterator::new(std::iter::once(Ok(batch)), schema))
}

/// The rows with their numbers in front.
fn numbered(fired: Fired) -> Result<RecordBatch> {
    let numbers: ArrayRef = Arc::new(fired.rows.iter().map(|row| *row as u64).collect::<UInt64Array>());
    let mut fields = vec![Arc::new(Field::new(ROW, DataType::UInt64, false))];
    let mut columns = vec![numbers];
    if let Some(new) = &fired.new {
        fields.extend(new.schema().fields().iter().cloned());
        columns.extend(new.columns().iter().cloned());
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
