//! The language `sql`: a body is statements, run one after the other in the caller's transaction; the last one's rows
//! are the result. A trigger function of it sees `NEW` and `OLD` in a row trigger, and the tables `new_rows` and
//! `old_rows` in a statement trigger; before a row is written, the row of its last query takes the row's place.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::Expr;
use datafusion::sql::sqlparser::ast::{self, Statement};

use super::function;
use super::names::{Names, name_places, plain_expression};
use crate::catalog::{Level, Returns, Routine, RoutineKind, SqlType, Timing};
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::claim::{Checked, Fired, Firing, Language};
use crate::sql::fault::{fold, fold_arrow};
use crate::sql::outcome::{Outcome, Rows};
use crate::sql::scope::Scope;
use crate::sql::session::{Caller, Frame};
use crate::sql::{dispatch, parse, split, type_name};

/// The language itself.
#[derive(Debug)]
pub(super) struct SqlLanguage;

/// A statement of a body.
enum Step {
    Tree(Box<Statement>),
    /// One that only its own reader understands: of the host's, or an extension's.
    Text(String),
}

/// What a body runs with.
#[derive(Default)]
struct Given {
    values: Vec<ScalarValue>,
    tables: HashMap<String, RecordBatch>,
    /// The columns of `NEW` and `OLD`.
    columns: Vec<String>,
}

impl Language for SqlLanguage {
    fn extension(&self) -> Option<&str> {
        None
    }

    fn check(&self, caller: &Caller, routine: &Routine) -> Result<Checked> {
        let scope = scope(caller, routine, nulls(routine)?)?;
        let steps = read(&scope, routine)?;
        let [Step::Tree(only)] = steps.as_slice() else {
            return last_gives_rows(routine, steps.last()).map(|()| Checked::default());
        };
        last_gives_rows(routine, steps.last())?;
        match &routine.returns {
            Returns::Value(kind) => {
                if let Some(inline) = inline(&scope, routine, kind, only)? {
                    return Ok(Checked { inline: Some(inline) });
                }
                check_columns(&scope, routine, only, std::slice::from_ref(kind))?;
            }
            Returns::Table(columns) => {
                let kinds: Vec<SqlType> = columns.iter().map(|(_, kind)| kind.clone()).collect();
                check_columns(&scope, routine, only, &kinds)?;
            }
            Returns::Nothing | Returns::Trigger => {}
        }
        Ok(Checked::default())
    }

    fn scalar(&self, caller: &Caller, routine: &Routine, arguments: &RecordBatch) -> Result<ArrayRef> {
        let Returns::Value(kind) = &routine.returns else {
            return Err(Error::new(codes::INTERNAL, "a call of what gives no value"));
        };
        let kind = kind.arrow();
        let volatile = routine.volatility == crate::catalog::Volatile::Volatile;
        let mut known: HashMap<Vec<ScalarValue>, ScalarValue> = HashMap::new();
        let mut results = Vec::with_capacity(arguments.num_rows());
        for row in 0..arguments.num_rows() {
            caller.token().check()?;
            let values = values(arguments, row)?;
            if let Some(result) = known.get(&values).filter(|_| !volatile) {
                results.push(result.clone());
                continue;
            }
            let given = Given { values: values.clone(), ..Given::default() };
            let result = first_value(execute(caller, routine, &given)?, &kind)?;
            if !volatile {
                known.insert(values, result.clone());
            }
            results.push(result);
        }
        if results.is_empty() {
            return Ok(new_empty_array(&kind));
        }
        ScalarValue::iter_to_array(results).map_err(|error| fold(&error))
    }

    fn run(&self, caller: &Caller, routine: &Routine, arguments: &RecordBatch) -> Result<Option<Rows>> {
        let given = Given { values: values(arguments, 0)?, ..Given::default() };
        Ok(execute(caller, routine, &given)?.map(|(schema, batches)| Rows::ready(schema, batches)))
    }

    fn fire(&self, caller: &Caller, routine: &Routine, firing: &Firing) -> Result<Option<Fired>> {
        let both = [&firing.new, &firing.old];
        let Some(any) = both.iter().find_map(|rows| rows.as_ref()) else {
            execute(caller, routine, &Given::default())?;
            return Ok(None);
        };
        if firing.level == Level::Statement {
            let mut tables = HashMap::new();
            let (old, new) = &firing.names;
            for (name, rows) in [(new, &firing.new), (old, &firing.old)] {
                let rows = rows.clone().unwrap_or_else(|| RecordBatch::new_empty(any.schema()));
                tables.insert(name.clone(), rows);
            }
            execute(caller, routine, &Given { tables, ..Given::default() })?;
            return Ok(None);
        }
        let columns: Vec<String> = any.schema().fields().iter().map(|field| field.name().clone()).collect();
        let (mut rows, mut made) = (Vec::new(), Vec::new());
        for row in 0..any.num_rows() {
            caller.token().check()?;
            let mut row_values = Vec::with_capacity(2 * columns.len());
            for side in both {
                match side {
                    Some(side) => row_values.extend(values(side, row)?),
                    None => row_values.extend(nulls_of(&any.schema())?),
                }
            }
            let given = Given { values: row_values, columns: columns.clone(), ..Given::default() };
            let result = execute(caller, routine, &given)?;
            if firing.timing != Timing::Before {
                continue;
            }
            match (result, &firing.new) {
                // A body without a query leaves the row as it is.
                (None, new) => {
                    rows.push(row);
                    made.extend(new.as_ref().map(|new| new.slice(row, 1)));
                }
                (Some((_, batches)), new) => {
                    let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else { continue };
                    rows.push(row);
                    if new.is_some() {
                        made.push(as_row(batch, &any.schema(), routine)?);
                    }
                }
            }
        }
        if firing.timing != Timing::Before {
            return Ok(None);
        }
        let new = match &firing.new {
            Some(new) => Some(concat_batches(&new.schema(), &made).map_err(|error| fold_arrow(&error))?),
            None => None,
        };
        Ok(Some(Fired { rows, new }))
    }
}

/// The first row of a result as a row of the table.
fn as_row(batch: &RecordBatch, schema: &SchemaRef, routine: &Routine) -> Result<RecordBatch> {
    if batch.num_columns() != schema.fields().len() {
        let text = format!(
            "the last query of `{}` gives {} columns, the row has {}",
            routine.label(),
            batch.num_columns(),
            schema.fields().len()
        );
        return Err(Error::new(codes::TYPE, text).help("SELECT NEW.*"));
    }
    let first = batch.slice(0, 1);
    let cast = |(column, field): (&ArrayRef, &Arc<arrow::datatypes::Field>)| {
        arrow::compute::cast(column, field.data_type()).map_err(|error| fold_arrow(&error))
    };
    let columns = first.columns().iter().zip(schema.fields()).map(cast).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| fold_arrow(&error))
}

/// The surroundings of a body's statements.
fn scope(caller: &Caller, routine: &Routine, values: Vec<ScalarValue>) -> Result<Arc<Scope>> {
    let frame = Frame { path: Some(routine.path.clone()), values: values.into(), ..Frame::default() };
    let session = Arc::new(caller.routine_session(routine.owner.as_deref(), frame));
    Ok(Arc::new(Scope::new(&session, caller.unit(), routine.owner.clone())?))
}

/// Reads the statements of a body.
fn read(scope: &Scope, routine: &Routine) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for piece in split::statements(&routine.body) {
        let step = || -> Result<Step> {
            if scope.extensions.claim(piece.text)?.is_some() {
                return Ok(Step::Text(piece.text.to_owned()));
            }
            if let Some(own) = dispatch::own_statement(piece.text) {
                return own.map(|_| Step::Text(piece.text.to_owned()));
            }
            parse::statement(piece.text).map(|tree| Step::Tree(Box::new(tree)))
        };
        steps.push(step().map_err(|error| placed(error, routine, piece.start))?);
    }
    if steps.is_empty() {
        let noun = routine.kind.noun();
        return Err(Error::new(codes::SYNTAX, format!("the body of the {noun} `{}` is empty", routine.label())));
    }
    Ok(steps)
}

/// Tells the place in the body; that of the calling statement is not the error's.
fn placed(error: Error, routine: &Routine, start: usize) -> Error {
    let before = &routine.body[..start];
    let lines = before.matches('\n').count() as u64;
    let indent = before.rsplit('\n').next().map_or(0, |line| line.chars().count() as u64);
    let whose = format!("the body of the {} `{}`", routine.kind.noun(), routine.label());
    let detail = match error.place().filter(|place| place.source.is_empty()) {
        Some(place) => {
            let column = if place.line == 1 { indent + place.column } else { place.column };
            format!("at line {}, column {column} of {whose}", lines + place.line)
        }
        None => format!("in the statement at line {} of {whose}", lines + 1 + leading_lines(&routine.body[start..])),
    };
    error.replace_place(None).detail(detail)
}

fn leading_lines(text: &str) -> u64 {
    text[..split::skip_blank(text)].matches('\n').count() as u64
}

/// A function of values needs a last statement that gives some.
fn last_gives_rows(routine: &Routine, last: Option<&Step>) -> Result<()> {
    if matches!(routine.returns, Returns::Nothing | Returns::Trigger) {
        return Ok(());
    }
    let gives = match last {
        Some(Step::Tree(tree)) => match tree.as_ref() {
            Statement::Query(_) | Statement::Call(_) => true,
            Statement::Insert(insert) => insert.returning.is_some(),
            Statement::Update(update) => update.returning.is_some(),
            Statement::Delete(delete) => delete.returning.is_some(),
            _ => false,
        },
        Some(Step::Text(_)) => true,
        None => false,
    };
    if gives {
        return Ok(());
    }
    let text = format!("the last statement of the function `{}` gives no rows", routine.label());
    Err(Error::new(codes::TYPE, text).detail(format!("it returns {}", routine.returns)).help("end it with SELECT"))
}

/// The body as an expression over the parameters, if it is no more than that.
fn inline(scope: &Arc<Scope>, routine: &Routine, kind: &SqlType, statement: &Statement) -> Result<Option<String>> {
    let Some(expr) = plain_expression(statement) else { return Ok(None) };
    let mut expr = expr.clone();
    name_places(&mut expr, &routine.name, &routine.parameters);
    if has_query(&expr) {
        return Ok(None);
    }
    let text = expr.to_string();
    let (planned, schema) = function::plan(scope, routine, &text).map_err(|error| in_body(error, routine))?;
    let more = planned.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) | Expr::ScalarSubquery(_) | Expr::Unnest(_)
        ))
    });
    if more.map_err(|error| fold(&error))? {
        return Ok(None);
    }
    let given = match &planned {
        Expr::Cast(cast) => datafusion::logical_expr::ExprSchemable::get_type(cast.expr.as_ref(), &schema),
        other => datafusion::logical_expr::ExprSchemable::get_type(other, &schema),
    };
    check_type(routine, &given.map_err(|error| fold(&error))?, kind)?;
    Ok(Some(text))
}

fn in_body(error: Error, routine: &Routine) -> Error {
    placed(error, routine, 0)
}

fn has_query(expr: &ast::Expr) -> bool {
    struct Finds;
    impl ast::Visitor for Finds {
        type Break = ();
        fn pre_visit_query(&mut self, _: &ast::Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    ast::Visit::visit(expr, &mut Finds).is_break()
}

/// A query must give what the function returns.
fn check_columns(scope: &Arc<Scope>, routine: &Routine, statement: &Statement, kinds: &[SqlType]) -> Result<()> {
    let Statement::Query(_) = statement else { return Ok(()) };
    let mut statement = statement.clone();
    names(routine, &[]).bind(scope, &routine.path, &mut statement);
    let plan = Binder::new(scope).plan(statement).map_err(|error| in_body(error, routine))?;
    let fields = plan.schema().fields();
    if fields.len() != kinds.len() {
        let text = format!("the query of `{}` gives {} columns", routine.label(), fields.len());
        return Err(Error::new(codes::TYPE, text).detail(format!("it returns {}", routine.returns)));
    }
    fields.iter().zip(kinds).try_for_each(|(field, kind)| check_type(routine, field.data_type(), kind))
}

fn check_type(routine: &Routine, given: &DataType, kind: &SqlType) -> Result<()> {
    if given.is_null() || SqlType::of(given).is_some_and(|given| kind.takes(&given)) {
        return Ok(());
    }
    let text = format!("the body of `{}` gives {}, not {kind}", routine.label(), type_name(given));
    Err(Error::new(codes::TYPE, text).help(format!("CAST(... AS {kind})")))
}

fn names<'a>(routine: &'a Routine, columns: &'a [String]) -> Names<'a> {
    Names { routine: &routine.name, parameters: &routine.parameters, columns }
}

type Table = (SchemaRef, Vec<RecordBatch>);

/// Runs a body; gives the rows of its last statement, if that gives rows.
fn execute(caller: &Caller, routine: &Routine, given: &Given) -> Result<Option<Table>> {
    let frame = Frame {
        path: Some(routine.path.clone()),
        values: given.values.clone().into(),
        tables: given.tables.clone(),
        ..Frame::default()
    };
    let session = Arc::new(caller.routine_session(routine.owner.as_deref(), frame));
    let mut last = None;
    // Each statement sees what those before it did, so each gets a scope of its own.
    let pieces: Vec<usize> = split::statements(&routine.body).map(|piece| piece.start).collect();
    let reading = Scope::new(&session, caller.unit(), routine.owner.clone())?;
    for (step, start) in read(&reading, routine)?.into_iter().zip(pieces) {
        let done = || -> Result<Option<Table>> {
            let outcome = match step {
                Step::Text(text) => session.run_text(&text, &[])?,
                Step::Tree(mut tree) => {
                    let scope = Arc::new(Scope::new(&session, caller.unit(), routine.owner.clone())?);
                    names(routine, &given.columns).bind(&scope, &routine.path, &mut tree);
                    session.run_statement(*tree)?
                }
            };
            collected(outcome)
        };
        last = done().map_err(|error| placed(error, routine, start))?;
    }
    Ok(last)
}

fn collected(outcome: Outcome) -> Result<Option<Table>> {
    let Some(rows) = outcome.rows else { return Ok(None) };
    let schema = rows.schema();
    Ok(Some((schema, rows.collect_batches()?)))
}

/// The value in the first row and column; NULL when there is no row.
fn first_value(table: Option<Table>, kind: &DataType) -> Result<ScalarValue> {
    let batches = table.map(|(_, batches)| batches).unwrap_or_default();
    let value = match batches.iter().find(|batch| batch.num_rows() > 0 && batch.num_columns() > 0) {
        Some(batch) => ScalarValue::try_from_array(batch.column(0), 0).and_then(|value| value.cast_to(kind)),
        None => ScalarValue::try_from(kind),
    };
    value.map_err(|error| fold(&error))
}

fn values(rows: &RecordBatch, row: usize) -> Result<Vec<ScalarValue>> {
    let values = rows.columns().iter().map(|column| ScalarValue::try_from_array(column, row));
    values.collect::<Result<Vec<_>, _>>().map_err(|error| fold(&error))
}

fn nulls(routine: &Routine) -> Result<Vec<ScalarValue>> {
    nulls_of(&function::parameters(routine))
}

fn nulls_of(schema: &SchemaRef) -> Result<Vec<ScalarValue>> {
    let nulls = schema.fields().iter().map(|field| ScalarValue::try_from(field.data_type()));
    nulls.collect::<Result<Vec<_>, _>>().map_err(|error| fold(&error))
}

/// A body without a name.
pub(super) fn anonymous(language: &str, extension: Option<&str>, body: String, path: &str) -> Routine {
    Routine {
        schema: path.to_owned(),
        name: "DO".to_owned(),
        kind: RoutineKind::Procedure,
        parameters: Vec::new(),
        returns: Returns::Nothing,
        language: language.to_owned(),
        extension: extension.map(str::to_owned),
        volatility: crate::catalog::Volatile::Volatile,
        strict: false,
        body,
        inline: None,
        path: path.to_owned(),
        owner: None,
    }
}
