//! `CALL`, `DO`, and functions that stand in `FROM`.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArguments, SelectItem, SetExpr, Statement};

use super::overload::choose;
use super::rewrite::arranged;
use super::{body, find, function, language, language_of, no_routine, syntax};
use crate::catalog::{Returns, Routine, RoutineKind};
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::claim::RowStream;
use crate::sql::fault::{fold, fold_arrow};
use crate::sql::outcome::{Outcome, Rows};
use crate::sql::scope::Scope;
use crate::sql::stream_table::StreamTable;
use crate::sql::{parse, query, unsupported};

/// `CALL procedure(arguments)`.
pub(crate) fn call(scope: &Arc<Scope>, function: &Function) -> Result<Outcome> {
    let (schema, name) = syntax::called(&function.name)?;
    let routines = find(scope, &scope.path, schema.as_deref(), &name)?;
    let procedures: Vec<Routine> =
        routines.iter().filter(|routine| routine.kind == RoutineKind::Procedure).cloned().collect();
    if procedures.is_empty() {
        if routines.is_empty() {
            return Err(no_routine(scope, RoutineKind::Procedure.noun(), schema.as_deref(), &name));
        }
        return Err(Error::new(codes::NO_FUNCTION, format!("`{name}` is a function, not a procedure"))
            .help(format!("SELECT {name}(...)")));
    }
    let args = match &function.args {
        FunctionArguments::None => &[][..],
        FunctionArguments::List(list) if list.clauses.is_empty() && list.duplicate_treatment.is_none() => &list.args,
        _ => return Err(unsupported("this form of CALL")),
    };
    let (routine, arguments) = bind(scope, &name, &procedures, args)?;
    let language = language_of(scope, &routine)?;
    let caller = scope.caller().deeper()?;
    let rows = language.run(&caller, &routine, &arguments).map_err(|error| within(error, &routine))?;
    Ok(match rows {
        Some(rows) => Outcome::rows("CALL", rows),
        None => Outcome::done("CALL"),
    })
}

fn within(error: Error, routine: &Routine) -> Error {
    // A body of SQL has told the place already.
    if error.details().iter().any(|line| line.contains(&format!("`{}`", routine.label()))) {
        return error;
    }
    error.replace_place(None).detail(format!("in the {} `{}`", routine.kind.noun(), routine.label()))
}

/// The procedure that a call means, and its arguments as one row.
fn bind(scope: &Arc<Scope>, name: &str, routines: &[Routine], args: &[FunctionArg]) -> Result<(Routine, RecordBatch)> {
    let mut fitting = Vec::new();
    let mut first = None;
    for routine in routines {
        match arranged(name, routine, args) {
            Ok(exprs) => fitting.push((routine.clone(), exprs)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let mut chosen = None;
    for (routine, exprs) in fitting {
        let row = evaluate(scope, exprs)?;
        let types: Vec<DataType> = row.columns().iter().map(|column| column.data_type().clone()).collect();
        match choose(name, std::slice::from_ref(&routine), &types) {
            Ok(_) => {
                chosen = Some((routine, row));
                break;
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    let Some((routine, row)) = chosen else {
        return Err(first.unwrap_or_else(|| no_routine(scope, RoutineKind::Procedure.noun(), None, name)));
    };
    let row = typed(&routine, row)?;
    Ok((routine, row))
}

/// Brings arguments to the types of the parameters.
fn typed(routine: &Routine, row: RecordBatch) -> Result<RecordBatch> {
    let schema = function::parameters(routine);
    let columns = row.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| {
        arrow::compute::cast_with_options(
            column,
            field.data_type(),
            &arrow::compute::CastOptions { safe: false, ..Default::default() },
        )
        .map_err(|error| fold_arrow(&error).detail(format!("the argument `{}`", field.name())))
    });
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| fold_arrow(&error))
}

/// The values of expressions, as one row.
fn evaluate(scope: &Arc<Scope>, exprs: Vec<Expr>) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    if exprs.is_empty() {
        let empty = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options);
        return empty.map_err(|error| fold_arrow(&error));
    }
    let mut select = parse::query("SELECT 1")?;
    if let SetExpr::Select(select) = select.body.as_mut() {
        select.projection = exprs.into_iter().map(SelectItem::UnnamedExpr).collect();
    }
    let plan = Binder::new(scope).plan(Statement::Query(Box::new(select)))?;
    let batches = query::start(scope, &plan)?.collect::<Result<Vec<_>>>()?;
    let row = batches.into_iter().find(|batch| batch.num_rows() > 0);
    row.map(|row| row.slice(0, 1)).ok_or_else(|| Error::new(codes::INTERNAL, "arguments without a row"))
}

/// `DO [LANGUAGE l] body`.
pub(super) fn anonymous(scope: &Arc<Scope>, name: &str, text: String) -> Result<Outcome> {
    let language = language(scope, name)?;
    let routine = body::anonymous(name, language.extension(), text, &scope.path);
    let caller = scope.caller().deeper()?;
    let none = evaluate(scope, Vec::new())?;
    let rows = language.run(&caller, &routine, &none).map_err(|error| within(error, &routine))?;
    for batch in rows.into_iter().flatten() {
        batch?;
    }
    Ok(Outcome::done("DO"))
}

/// The function of this name that returns rows, for constant arguments.
pub(crate) fn table(
    scope: &Arc<Scope>,
    name: &str,
    positional: &[ScalarValue],
    named: &[(String, ScalarValue)],
) -> Result<Option<Arc<dyn TableProvider>>> {
    let (schema, bare) = name.split_once('.').map_or((None, name), |(schema, bare)| (Some(schema), bare));
    let routines = find(scope, &scope.path, schema, bare)?;
    if routines.is_empty() {
        return Ok(None);
    }
    let candidates: Vec<Routine> =
        routines.into_iter().filter(|routine| matches!(routine.returns, Returns::Table(_))).collect();
    if candidates.is_empty() {
        let text = format!("`{name}` returns no rows and cannot stand in FROM");
        return Err(Error::new(codes::NO_FUNCTION, text).help(format!("SELECT {name}(...)")));
    }
    let mut first = None;
    for routine in &candidates {
        match placed(scope, name, routine, positional, named) {
            Ok(values) => return provider(scope, routine, &values).map(Some),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(None), Err)
}

/// The arguments in the order of the parameters, defaults included.
fn placed(
    scope: &Arc<Scope>,
    name: &str,
    routine: &Routine,
    positional: &[ScalarValue],
    named: &[(String, ScalarValue)],
) -> Result<RecordBatch> {
    let wrong =
        |text: String| Error::new(codes::NO_FUNCTION, text).detail(format!("it takes: {}", routine.full_label()));
    if positional.len() > routine.parameters.len() {
        return Err(wrong(format!("`{name}` takes {} arguments", routine.parameters.len())));
    }
    let mut values: Vec<Option<ScalarValue>> = positional.iter().cloned().map(Some).collect();
    values.resize(routine.parameters.len(), None);
    for (label, value) in named {
        let at = routine.parameters.iter().position(|parameter| parameter.name == *label);
        let at = at.ok_or_else(|| wrong(format!("`{name}` has no argument called `{label}`")))?;
        if values[at].replace(value.clone()).is_some() {
            return Err(wrong(format!("the argument `{label}` of `{name}` is given twice")));
        }
    }
    let mut arrays = Vec::with_capacity(values.len());
    for (value, parameter) in values.into_iter().zip(&routine.parameters) {
        let array = match (value, &parameter.default) {
            (Some(value), _) => value.to_array().map_err(|error| fold(&error))?,
            (None, Some(text)) => Arc::clone(evaluate(scope, vec![parse::expression(text)?])?.column(0)),
            (None, None) => return Err(wrong(format!("the argument `{}` of `{name}` is missing", parameter.name))),
        };
        arrays.push(array);
    }
    let types: Vec<DataType> = arrays.iter().map(|array| array.data_type().clone()).collect();
    choose(name, std::slice::from_ref(routine), &types)?;
    let fields = types.into_iter().map(|kind| Field::new("a", kind, true)).collect::<Vec<_>>();
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options);
    typed(routine, row.map_err(|error| fold_arrow(&error))?)
}

/// The rows, made when they are read.
fn provider(scope: &Arc<Scope>, routine: &Routine, arguments: &RecordBatch) -> Result<Arc<dyn TableProvider>> {
    let Returns::Table(columns) = &routine.returns else {
        return Err(Error::new(codes::INTERNAL, "a table of what gives no rows"));
    };
    let fields = columns.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(fields));
    let language = language_of(scope, routine)?;
    let (caller, routine, arguments) = (scope.caller().deeper()?, routine.clone(), arguments.clone());
    let made = Arc::clone(&schema);
    Ok(Arc::new(StreamTable::new(schema, move |projection| {
        let rows = language.run(&caller, &routine, &arguments).map_err(|error| within(error, &routine))?;
        rows.map_or_else(
            || Ok(Box::new(std::iter::empty()) as RowStream),
            |rows| shaped(rows, &made, projection, &routine),
        )
    })))
}

/// Rows in the declared types, and of those the columns that are wanted.
fn shaped(rows: Rows, schema: &Arc<Schema>, projection: &[usize], routine: &Routine) -> Result<RowStream> {
    let found = rows.schema();
    if found.fields().len() != schema.fields().len() {
        let text = format!("`{}` gave {} columns", routine.label(), found.fields().len());
        return Err(Error::new(codes::TYPE, text).detail(format!("it returns {}", routine.returns)));
    }
    let wanted = Arc::new(schema.project(projection).map_err(|error| fold_arrow(&error))?);
    let projection = projection.to_vec();
    Ok(Box::new(rows.map(move |batch| {
        let batch = batch?;
        let columns = projection.iter().zip(wanted.fields()).map(|(at, field)| {
            arrow::compute::cast(batch.column(*at), field.data_type()).map_err(|error| fold_arrow(&error))
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new_with_options(Arc::clone(&wanted), columns, &options).map_err(|error| fold_arrow(&error))
    })))
}
