//! Stores rows in a table: their types are brought to the columns', NOT NULL and CHECK are tested here, keys by storage.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_expr::PhysicalExpr;

use super::foreign::Referential;
use crate::catalog::{Column, Generated, SqlType, Table};
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::fault::{fold, fold_arrow};
use crate::sql::functions::{json, uuid_text};
use crate::sql::parse;
use crate::sql::scope::Scope;
use crate::storage::TableId;

/// A table that rows go into.
pub(crate) struct Writer<'a> {
    scope: &'a Scope,
    table: &'a Table,
    schema: SchemaRef,
    checks: Vec<(&'a str, Arc<dyn PhysicalExpr>)>,
    /// Columns that the row's other columns make.
    generated: Vec<(usize, Arc<dyn PhysicalExpr>)>,
    /// What foreign keys must be told besides the rows that are written.
    pub(super) referential: Referential,
    /// Rows written so far.
    pub(crate) rows: u64,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(scope: &'a Arc<Scope>, table: &'a Table) -> Result<Self> {
        let schema = table.arrow_schema();
        let mut checks = Vec::new();
        if !table.checks.is_empty() {
            let columns =
                DFSchema::try_from_qualified_schema(table.name.as_str(), &schema).map_err(|error| fold(&error))?;
            for check in &table.checks {
                let expr = Binder::new(scope).expression(parse::expression(&check.text)?, &columns)?;
                let expr = scope.state()?.create_physical_expr(expr, &columns).map_err(|error| fold(&error))?;
                checks.push((check.name.as_str(), expr));
            }
        }
        let referential = Referential::new(scope, table)?;
        let generated = generated(scope, table, &schema)?;
        Ok(Self { scope, table, schema, checks, generated, referential, rows: 0 })
    }

    /// The batch with its generated columns made.
    pub(super) fn generate(&self, batch: RecordBatch) -> Result<RecordBatch> {
        if self.generated.is_empty() {
            return Ok(batch);
        }
        let wide: Vec<Field> =
            self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let wide = Arc::new(Schema::new(wide));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&wide), batch.columns().to_vec(), &options)
            .map_err(|error| fold_arrow(&error))?;
        let mut columns = batch.columns().to_vec();
        for (position, expr) in &self.generated {
            let made = expr.evaluate(&rows).and_then(|value| value.into_array(rows.num_rows()));
            columns[*position] = made.map_err(|error| fold(&error))?;
        }
        RecordBatch::try_new_with_options(wide, columns, &options).map_err(|error| fold_arrow(&error))
    }

    /// The batch with the table's own schema; its columns must have the table's types.
    pub(crate) fn accept(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = self.generate(batch.clone())?;
        for (column, array) in self.table.columns.iter().zip(batch.columns()) {
            if column.not_null && array.is_nullable() && array.logical_null_count() > 0 {
                let message =
                    format!("the column `{}` of table `{}` must not be null", column.name, self.table.label());
                return Err(Error::new(codes::NOT_NULL, message));
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), batch.columns().to_vec(), &options)
            .map_err(|error| fold_arrow(&error))?;
        for (name, check) in &self.checks {
            let holds = check.evaluate(&batch).and_then(|value| value.into_array(batch.num_rows()));
            let holds = holds.map_err(|error| fold(&error))?;
            // NULL is no violation, as in every SQL.
            if holds.data_type().is_null() || holds.as_boolean().iter().all(|row| row != Some(false)) {
                continue;
            }
            let message = format!("a row violates the check `{name}` of table `{}`", self.table.label());
            return Err(Error::new(codes::CHECK, message));
        }
        Ok(batch)
    }

    /// Checks and stores rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        self.scope.token.check()?;
        let batch = self.accept(batch)?;
        let stored = self
            .scope
            .unit_of(self.table)?
            .with(|transaction| transaction.append(TableId(self.table.id), batch.clone()));
        stored.map_err(|error| self.name_key(error))?;
        self.referential.added(&batch)?;
        self.rows += batch.num_rows() as u64;
        Ok(batch)
    }

    /// Everything is written: foreign keys are judged, and gives the number of rows.
    pub(crate) fn finish(self) -> Result<u64> {
        self.referential.finish()?;
        Ok(self.rows)
    }

    pub(super) fn into_referential(self) -> Referential {
        self.referential
    }

    /// Storage knows no names of tables; its refusals get them here.
    fn name_key(&self, error: Error) -> Error {
        if !error.is(codes::UNIQUE) {
            return error;
        }
        error.detail(format!("in table `{}`", self.table.label()))
    }
}

/// The expressions of columns that the row's other columns make.
fn generated(scope: &Arc<Scope>, table: &Table, schema: &SchemaRef) -> Result<Vec<(usize, Arc<dyn PhysicalExpr>)>> {
    let mut all = Vec::new();
    for (position, column) in table.columns.iter().enumerate() {
        let Some(Generated::Stored(text)) = &column.generated else { continue };
        let columns = DFSchema::try_from_qualified_schema(table.name.as_str(), schema).map_err(|error| fold(&error))?;
        let expr = Binder::new(scope).expression(parse::expression(text)?, &columns)?;
        let expr = assign(expr, column, &columns)?;
        let expr = scope.state()?.create_physical_expr(expr, &columns).map_err(|error| fold(&error))?;
        all.push((position, expr));
    }
    Ok(all)
}

/// Brings a plan's columns to the table's types; `sources` tells for each column of the table what fills it.
pub(crate) fn fit(plan: LogicalPlan, table: &Table, sources: Vec<Expr>) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let columns = table
        .columns
        .iter()
        .zip(sources)
        .map(|(column, source)| Ok(assign(source, column, &schema)?.alias(&column.name)));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let built = LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build);
    built.map_err(|error| fold(&error))
}

/// What text carries is checked where it is stored.
fn checked(expr: Expr, kind: &SqlType) -> Expr {
    let function = match kind {
        SqlType::Json => json::check(),
        SqlType::Uuid => uuid_text::check(),
        _ => return expr,
    };
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![expr]))
}

/// An expression as a value of the column; refused where only an explicit cast would do.
pub(crate) fn assign(source: Expr, column: &Column, schema: &DFSchema) -> Result<Expr> {
    let given = source.get_type(schema).map_err(|error| fold(&error))?;
    let known = SqlType::of(&given);
    let fits = given.is_null() || known.as_ref().is_some_and(|known| column.kind.takes(known));
    if fits && let Ok(cast) = source.cast_to(&column.kind.arrow(), schema) {
        return Ok(checked(cast, &column.kind));
    }
    let message = format!("the column `{}` is of type {}, the value is not", column.name, column.kind);
    let error = Error::new(codes::TYPE, message);
    Err(match known {
        Some(known) => {
            error.detail(format!("the value is of type {known}")).help(format!("CAST(... AS {})", column.kind))
        }
        None => error,
    })
}
