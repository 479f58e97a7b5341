//! Languages of plugins in the form that the front end calls: the catalog's routine goes out with every request, and
//! what comes back is checked before it is believed.

use super::functions::ended;
use super::plugins::Plugins;
use super::services::from_arrow;
use crate::catalog::{Event, Level, Returns, Routine, Timing, Volatile};
use crate::error::{Error, Result, codes};
use crate::extensions::session::BatchReader;
use crate::extensions::{Grant, RoutineAnswer, RoutineRequest};
use crate::sql::claim::{Checked, Fired, Firing, Language};
use crate::sql::{Caller, Rows};
use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use kodiak_plugin_api::abi::routine as operation;
use std::sync::Arc;

/// A language of an extension, for one statement.
pub(super) struct PluginLanguage {
    plugins: Plugins,
    grant: Grant,
}

impl std::fmt::Debug for PluginLanguage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a language of {}", self.grant.name())
    }
}

/// What goes out beside the routine itself.
struct Request<'a> {
    operation: u32,
    arguments: &'a RecordBatch,
    firing: Option<&'a Firing>,
}

impl PluginLanguage {
    pub(super) fn new(plugins: Plugins, grant: Grant) -> Self {
        Self { plugins, grant }
    }

    fn ask(&self, caller: &Caller, routine: &Routine, request: &Request<'_>) -> Result<RoutineAnswer> {
        let statement = caller;
        let caller = self.plugins.caller(caller, self.grant.name());
        let instance = self.plugins.instance(&self.grant, &caller)?;
        let mut options = vec![
            ("kind", routine.kind.noun().to_owned()),
            ("returns", returns(&routine.returns).to_owned()),
            ("volatility", volatility(routine.volatility).to_owned()),
            ("path", routine.path.clone()),
        ];
        let firing = request.firing;
        if let Some(firing) = firing {
            options.push(("trigger", firing.trigger.clone()));
            options.push(("table_schema", firing.schema.clone()));
            options.push(("table", firing.table.clone()));
            options.push(("timing", timing(firing.timing).to_owned()));
            options.push(("level", level(firing.level).to_owned()));
            options.push(("event", event(&firing.event).to_owned()));
            options.extend(firing.arguments.iter().map(|argument| ("argument", argument.clone())));
        }
        let answer = instance.routine(
            &caller,
            RoutineRequest {
                operation: request.operation,
                language: &routine.language,
                schema: &routine.schema,
                name: &routine.name,
                body: &routine.body,
                parameters: parameters(routine),
                result: result(&routine.returns),
                arguments: request.arguments,
                old: firing.and_then(|firing| firing.old.as_ref()),
                new: firing.and_then(|firing| firing.new.as_ref()),
                options,
            },
        );
        answer.map_err(|error| ended(statement, error))
    }
}

impl Language for PluginLanguage {
    fn extension(&self) -> Option<&str> {
        Some(self.grant.name())
    }

    fn check(&self, caller: &Caller, routine: &Routine) -> Result<Checked> {
        let none = RecordBatch::new_empty(parameters(routine));
        let request = Request { operation: operation::CHECK, arguments: &none, firing: None };
        Ok(Checked { inline: self.ask(caller, routine, &request)?.inline })
    }

    fn scalar(&self, caller: &Caller, routine: &Routine, arguments: &RecordBatch) -> Result<ArrayRef> {
        let request = Request { operation: operation::SCALAR, arguments, firing: None };
        let rows = self.ask(caller, routine, &request)?.rows;
        let batches = collected(rows)?;
        let columns: Vec<&dyn arrow::array::Array> = batches.iter().map(|batch| batch.column(0).as_ref()).collect();
        let wanted = match &routine.returns {
            Returns::Value(kind) => kind.arrow(),
            _ => DataType::Null,
        };
        let given = match columns.as_slice() {
            [] => return Err(self.bad(routine, "no results")),
            columns => arrow::compute::concat(columns).map_err(from_arrow)?,
        };
        if given.len() != arguments.num_rows() {
            let text = format!("{} results for {} rows", given.len(), arguments.num_rows());
            return Err(self.bad(routine, &text));
        }
        if given.data_type() != &wanted && !given.data_type().is_null() {
            return Err(self.bad(routine, &format!("{}, not {wanted}", given.data_type())));
        }
        Ok(given)
    }

    fn run(&self, caller: &Caller, routine: &Routine, arguments: &RecordBatch) -> Result<Option<Rows>> {
        let request = Request { operation: operation::RUN, arguments, firing: None };
        let rows = self.ask(caller, routine, &request)?.rows;
        Ok(rows.map(|reader| {
            let schema = reader.schema();
            Rows::made(schema, Box::new(reader.map(|batch| batch.map_err(from_arrow))))
        }))
    }

    fn fire(&self, caller: &Caller, routine: &Routine, firing: &Firing) -> Result<Option<Fired>> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options);
        let none = none.map_err(from_arrow)?;
        let request = Request { operation: operation::FIRE, arguments: &none, firing: Some(firing) };
        let Some(rows) = self.ask(caller, routine, &request)?.rows else { return Ok(None) };
        let schema = rows.schema();
        let batches = collected(Some(rows))?;
        let all = arrow::compute::concat_batches(&schema, &batches).map_err(from_arrow)?;
        let numbers = all.columns().first().filter(|column| column.data_type() == &DataType::UInt64);
        let numbers = numbers.ok_or_else(|| self.bad(routine, "rows without their numbers"))?;
        let rows = numbers.as_primitive::<UInt64Type>().values().iter();
        let rows = rows.map(|row| usize::try_from(*row).unwrap_or(usize::MAX)).collect();
        let new: Vec<usize> = (1..all.num_columns()).collect();
        let new = if new.is_empty() { None } else { Some(all.project(&new).map_err(from_arrow)?) };
        Ok(Some(Fired { rows, new }))
    }
}

impl PluginLanguage {
    fn bad(&self, routine: &Routine, what: &str) -> Error {
        let text = format!("`{}` returned malformed data: {what} from `{}`", self.grant.name(), routine.label());
        Error::new(codes::BAD_DATA, text)
    }
}

fn collected(rows: Option<BatchReader>) -> Result<Vec<RecordBatch>> {
    rows.into_iter().flatten().map(|batch| batch.map_err(from_arrow)).collect()
}

fn parameters(routine: &Routine) -> SchemaRef {
    let fields = routine.parameters.iter().map(|one| Field::new(&one.name, one.kind.arrow(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn result(returns: &Returns) -> SchemaRef {
    let fields = match returns {
        Returns::Nothing | Returns::Trigger => Vec::new(),
        Returns::Value(kind) => vec![Field::new("result", kind.arrow(), true)],
        Returns::Table(columns) => {
            columns.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect::<Vec<_>>()
        }
    };
    Arc::new(Schema::new(fields))
}

fn returns(returns: &Returns) -> &'static str {
    match returns {
        Returns::Nothing => "nothing",
        Returns::Value(_) => "value",
        Returns::Table(_) => "table",
        Returns::Trigger => "trigger",
    }
}

fn volatility(volatility: Volatile) -> &'static str {
    match volatility {
        Volatile::Immutable => "immutable",
        Volatile::Stable => "stable",
        Volatile::Volatile => "volatile",
    }
}

fn timing(timing: Timing) -> &'static str {
    match timing {
        Timing::Before => "before",
        Timing::After => "after",
        Timing::Instead => "instead",
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Row => "row",
        Level::Statement => "statement",
    }
}

fn event(event: &Event) -> &'static str {
    match event {
        Event::Insert => "insert",
        Event::Update(_) => "update",
        Event::Delete => "delete",
    }
}
