//! Answers the planner's questions about names: tables, views, files, functions, types. Everything is read from the
//! statement's scope; what is unknown becomes an error that names the nearest known.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::catalog::view::ViewTable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result as EngineResult, ScalarValue, TableReference};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::logical_expr::planner::{
    ContextProvider, ExprPlanner, PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
    TypePlanner,
};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{
    DataType as SqlDataType, FunctionArg, FunctionArgExpr, ObjectName, Statement, TableFactor, TableVersion,
};

use super::fault::{external, fold, no_function};
use super::functions::{Functions, TABLE_FUNCTIONS, built_in, series};
use super::names::{name_columns, split_name};
use super::nearest::nearest;
use super::scope::Scope;
use super::session::lock;
use super::{extension, file, history, parse, routine, scan, survey, system, types, unsupported};
use crate::catalog::{Relation, View, is_virtual};
use crate::error::{Error, Result, codes};
use crate::storage::TableId;

/// The catalog part of a name that means a table with its row ids; no user can write it.
pub(crate) const WITH_ROW_IDS: &str = "\u{1}rows";
/// The catalog part of a name that means a table given by the statement itself.
pub(crate) const GIVEN: &str = "\u{1}given";
/// How deep views may stand on views.
const VIEWS_MAX: usize = 64;

/// The planner's view of a scope.
#[derive(Clone)]
pub(crate) struct Binder {
    scope: Arc<Scope>,
    /// The schema that a name without one means.
    path: String,
    /// Views around what is planned.
    depth: usize,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
}

impl Binder {
    pub(crate) fn new(scope: &Arc<Scope>) -> Self {
        Self::within(scope, scope.path.clone(), 0)
    }

    /// As [`Binder::new`], for names that mean those of another schema.
    pub(crate) fn at(scope: &Arc<Scope>, path: &str) -> Self {
        Self::within(scope, path.to_owned(), 0)
    }

    fn within(scope: &Arc<Scope>, path: String, depth: usize) -> Self {
        let relations: Arc<dyn RelationPlanner> = Arc::new(Relations { scope: Arc::clone(scope) });
        Self { scope: Arc::clone(scope), path, depth, relation_planners: vec![relations] }
    }

    /// Plans a query.
    pub(crate) fn plan(&self, mut statement: Statement) -> Result<LogicalPlan> {
        routine::rewrite(&self.scope, &self.path, &mut statement)?;
        survey::check(&self.scope, &self.path, &statement)?;
        if let Statement::Query(query) = &mut statement {
            name_columns(query);
        }
        // Made here, because the planner asks for options by reference.
        self.scope.state()?;
        let plan = SqlToRel::new(self).sql_statement_to_plan_with_context(statement, &mut self.context());
        let plan = plan.and_then(|plan| match self.scope.values.is_empty() {
            true => Ok(plan),
            false => plan.with_param_values(self.scope.values.to_vec()),
        });
        plan.map_err(|error| self.refusal(fold(&error)))
    }

    /// Plans an expression over the columns of `schema`.
    pub(crate) fn expression(
        &self,
        mut expr: datafusion::sql::sqlparser::ast::Expr,
        schema: &DFSchema,
    ) -> Result<Expr> {
        routine::rewrite(&self.scope, &self.path, &mut expr)?;
        survey::check(&self.scope, &self.path, &expr)?;
        self.scope.state()?;
        let planned = SqlToRel::new(self).sql_to_expr(expr, schema, &mut self.context());
        let planned = planned.and_then(|planned| {
            let replaced = planned.transform_up(|expr| match &expr {
                Expr::Placeholder(placeholder) => match self.value(&placeholder.id) {
                    Some(value) => Ok(Transformed::yes(Expr::Literal(value.clone(), None))),
                    None => Ok(Transformed::no(expr)),
                },
                _ => Ok(Transformed::no(expr)),
            });
            replaced.data()
        });
        planned.map_err(|error| self.refusal(fold(&error)))
    }

    /// What a function said itself when no function of its name fits.
    fn refusal(&self, error: Error) -> Error {
        if !error.is(codes::NO_FUNCTION) {
            return error;
        }
        let refused = Arc::clone(&lock(&self.scope.found).refused);
        let refused = lock(&refused).take();
        match (refused, error.place()) {
            (Some(refused), Some(place)) => refused.at(place.clone()),
            (Some(refused), None) => refused,
            (None, _) => error,
        }
    }

    /// The types of the routine's parameters, for the statement that stands in its body.
    fn context(&self) -> PlannerContext {
        let types = self.scope.values.iter().map(|value| Some(Arc::new(Field::new("", value.data_type(), true)) as _));
        PlannerContext::new().with_prepare_param_data_types(types.collect())
    }

    fn value(&self, placeholder: &str) -> Option<&ScalarValue> {
        let number: usize = placeholder.strip_prefix('$')?.parse().ok()?;
        self.scope.values.get(number.checked_sub(1)?)
    }

    fn source(&self, name: &TableReference) -> Result<Arc<dyn TableSource>> {
        let scope = &self.scope;
        match name.catalog() {
            Some(GIVEN) => {
                let given = lock(&scope.found).given.get(name.table()).cloned();
                let given = given.ok_or_else(|| Error::new(codes::INTERNAL, "a table of the statement is missing"))?;
                return Ok(provider_as_source(given));
            }
            Some(WITH_ROW_IDS) => {
                let table = scope.table_to_change(name.schema().unwrap_or(&self.path), name.table())?;
                let view = scope.catalog_of(&table)?.snapshot().table(TableId(table.id))?;
                return Ok(provider_as_source(Arc::new(scan::TableScan::with_row_ids(&table, view))));
            }
            Some(other) if scope.attached(other).is_some() => {
                let table = scope.attached_table(other, name.schema().unwrap_or(crate::catalog::MAIN), name.table())?;
                return self.attached(&table);
            }
            Some(other) => return Err(Error::new(codes::NO_SCHEMA, format!("no database `{other}`"))),
            None => {}
        }
        if name.schema().is_none()
            && let Some(named) = lock(&scope.found).named.get(name.table())
        {
            return Ok(provider_as_source(Arc::clone(named)));
        }
        let schema = name.schema().unwrap_or(&self.path);
        if let Some((database, inner)) = scope.attached(schema) {
            return self.attached(&scope.attached_table(&database, &inner, name.table())?);
        }
        if is_virtual(schema)
            && let Some(table) = system::table(scope, schema, name.table())?
        {
            return Ok(provider_as_source(table));
        }
        match scope.catalog.relation(schema, name.table())? {
            Some(relation) => match relation.as_ref() {
                Relation::Table(table) => {
                    let view = scope.catalog.snapshot().table(TableId(table.id))?;
                    Ok(provider_as_source(Arc::new(scan::TableScan::new(table, view))))
                }
                Relation::View(view) => self.view(view),
            },
            None => match scope.extensions.relation(schema, name.table())? {
                Some(function) => extension::table(scope, &*function, &[]).map(provider_as_source),
                None => Err(no_table(scope, schema, name.table())),
            },
        }
    }

    fn attached(&self, table: &crate::catalog::Table) -> Result<Arc<dyn TableSource>> {
        let view = self.scope.catalog_of(table)?.snapshot().table(TableId(table.id))?;
        Ok(provider_as_source(Arc::new(scan::TableScan::new(table, view))))
    }

    fn view(&self, view: &View) -> Result<Arc<dyn TableSource>> {
        let plan = self.view_plan(view).map_err(|error| {
            let error = error.replace_place(None);
            error.detail(format!("in the view `{}`", view.name))
        })?;
        Ok(provider_as_source(Arc::new(ViewTable::new(plan, Some(view.text.clone())))))
    }

    fn view_plan(&self, view: &View) -> Result<LogicalPlan> {
        if self.depth >= VIEWS_MAX {
            return Err(Error::new(
                codes::PLAN,
                format!("the view `{}` stands on itself, or on too many views", view.name),
            ));
        }
        let query = parse::query(&view.text)?;
        let binder = Self::within(&self.scope, view.path.clone(), self.depth + 1);
        let plan = binder.plan(Statement::Query(Box::new(query)))?;
        rename(plan, &view.columns)
    }
}

/// The plan under other names for its columns; without names it stays as it is.
pub(crate) fn rename(plan: LogicalPlan, names: &[String]) -> Result<LogicalPlan> {
    if names.is_empty() {
        return Ok(plan);
    }
    let columns = plan.schema().columns();
    if columns.len() != names.len() {
        let message = format!("the query has {} columns, {} names are given", columns.len(), names.len());
        return Err(Error::new(codes::PLAN, message));
    }
    let renamed = columns.into_iter().zip(names).map(|(column, name)| Expr::Column(column).alias(name));
    LogicalPlanBuilder::from(plan).project(renamed).and_then(LogicalPlanBuilder::build).map_err(|error| fold(&error))
}

/// The error for a table that is not there, with the nearest that is.
pub(crate) fn no_table(scope: &Scope, schema: &str, name: &str) -> Error {
    if !scope.catalog.has_schema(schema) {
        let error = Error::new(codes::NO_SCHEMA, format!("no schema `{schema}`"));
        let schemas = scope.catalog.schemas().unwrap_or_default();
        return match nearest(schema, schemas.iter().map(|schema| &schema.name)) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error,
        };
    }
    let shown = if schema == scope.path { name.to_owned() } else { format!("{schema}.{name}") };
    let error = Error::new(codes::NO_TABLE, format!("no table or view `{shown}`"));
    let relations = scope.catalog.all_relations().unwrap_or_default();
    let names = relations.iter().map(|relation| match relation.name() {
        (known, name) if known == scope.path => name.to_owned(),
        (known, name) => format!("{known}.{name}"),
    });
    let system = system::names().filter(|(known, _)| *known == schema).map(|(known, name)| format!("{known}.{name}"));
    match nearest(&shown, names.chain(system)) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error,
    }
}

impl ContextProvider for Binder {
    fn get_table_source(&self, name: TableReference) -> EngineResult<Arc<dyn TableSource>> {
        self.source(&name).map_err(external)
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> EngineResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &built_in().expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        let found = built_in().scalar.get(name).cloned();
        found.or_else(|| lock(&self.scope.found).scalars.get(name).cloned())
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        built_in().higher_order.get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        built_in().aggregate.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        built_in().window.get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.scope.state().expect("made before planning").config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        names(|functions| functions.scalar.keys().cloned().collect())
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        names(|functions| functions.higher_order.keys().cloned().collect())
    }

    fn udaf_names(&self) -> Vec<String> {
        names(|functions| functions.aggregate.keys().cloned().collect())
    }

    fn udwf_names(&self) -> Vec<String> {
        names(|functions| functions.window.keys().cloned().collect())
    }
}

fn names(list: impl FnOnce(&Functions) -> Vec<String>) -> Vec<String> {
    list(built_in())
}

/// Our names for types.
#[derive(Debug)]
struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, kind: &SqlDataType) -> EngineResult<Option<FieldRef>> {
        let kind = types::sql_type(kind).map_err(external)?;
        Ok(Some(Arc::new(Field::new("", kind.arrow(), true))))
    }
}

/// Tables that the engine's planner does not know: files, and functions with their arguments.
struct Relations {
    scope: Arc<Scope>,
}

impl std::fmt::Debug for Relations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Relations")
    }
}

impl RelationPlanner for Relations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> EngineResult<RelationPlanning> {
        let (plan, alias) = match relation {
            TableFactor::Table { name, alias, args: Some(args), .. } => (self.call(&name, args.args, context)?, alias),
            TableFactor::Function { name, alias, args, .. } => (self.call(&name, args, context)?, alias),
            TableFactor::Table { name, alias, args: None, .. } if is_file(&name) => {
                let path = split_name(&name).map_err(external)?.1;
                let provider = file::table(&self.scope, &path, &file::Options::default()).map_err(external)?;
                let table = file::table_name(&path);
                (
                    LogicalPlanBuilder::scan(TableReference::bare(table), provider_as_source(provider), None)?
                        .build()?,
                    alias,
                )
            }
            TableFactor::Table { name, alias, version: Some(version), .. } => {
                (self.version(&name, version, context)?, alias)
            }
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

impl Relations {
    /// A table or view as it was.
    fn version(
        &self,
        name: &ObjectName,
        version: TableVersion,
        context: &mut dyn RelationPlannerContext,
    ) -> EngineResult<LogicalPlan> {
        let at = match version {
            TableVersion::ForSystemTimeAsOf(version) => history::version(self.constant(version, context)?),
            TableVersion::TimestampAsOf(time) => history::time(self.constant(time, context)?),
            _ => Err(unsupported("this way to name a version").help("AS OF VERSION n, or AS OF TIMESTAMP t")),
        };
        let scope = history::scope(&self.scope, at.map_err(external)?).map_err(external)?;
        let (schema, table) = split_name(name).map_err(external)?;
        let reference = match schema {
            Some(schema) => TableReference::partial(schema, table),
            None => TableReference::bare(table),
        };
        let source = Binder::new(&Arc::new(scope)).source(&reference).map_err(external)?;
        LogicalPlanBuilder::scan(reference, source, None)?.build()
    }

    fn constant(
        &self,
        expr: datafusion::sql::sqlparser::ast::Expr,
        context: &mut dyn RelationPlannerContext,
    ) -> EngineResult<ScalarValue> {
        let empty = DFSchema::empty();
        let planned = context.sql_to_expr(expr, &empty)?;
        let simplifier = self.simplifier()?;
        let planned = simplifier.simplify(simplifier.coerce(planned, &empty)?)?;
        match planned {
            Expr::Literal(value, _) => Ok(value),
            _ => Err(external(Error::new(codes::UNSUPPORTED, "the version after AS OF must be constant"))),
        }
    }

    fn simplifier(&self) -> EngineResult<ExprSimplifier> {
        let state = self.scope.state().map_err(external)?;
        let simplify = SimplifyContext::builder()
            .with_config_options(Arc::clone(state.config_options()))
            .with_query_execution_start_time(state.execution_props().query_execution_start_time)
            .build();
        Ok(ExprSimplifier::new(simplify))
    }

    fn call(
        &self,
        name: &ObjectName,
        args: Vec<FunctionArg>,
        context: &mut dyn RelationPlannerContext,
    ) -> EngineResult<LogicalPlan> {
        let name = name.to_string().to_lowercase();
        let (simplifier, empty) = (self.simplifier()?, DFSchema::empty());
        let (mut positional, mut named) = (Vec::new(), Vec::new());
        for arg in args {
            let (label, arg) = match arg {
                FunctionArg::Unnamed(arg) => (None, arg),
                FunctionArg::Named { name, arg, .. } => (Some(name.value.to_lowercase()), arg),
                FunctionArg::ExprNamed { name, arg, .. } => (Some(name.to_string().to_lowercase()), arg),
            };
            let FunctionArgExpr::Expr(arg) = arg else {
                return Err(external(Error::new(codes::SYNTAX, format!("`{name}` does not take `*`"))));
            };
            let planned = context.sql_to_expr(arg, &empty)?;
            let planned = simplifier.simplify(simplifier.coerce(planned, &empty)?)?;
            match label {
                None => positional.push(planned),
                Some(label) => named.push((label, planned)),
            }
        }
        let provider = self.function(&name, positional, named)?;
        LogicalPlanBuilder::scan(TableReference::bare(name), provider_as_source(provider), None)?.build()
    }

    fn function(
        &self,
        name: &str,
        positional: Vec<Expr>,
        named: Vec<(String, Expr)>,
    ) -> EngineResult<Arc<dyn datafusion::catalog::TableProvider>> {
        let state = self.scope.state().map_err(external)?;
        if named.is_empty()
            && let Some(series) = series(name, &positional, state)?
        {
            return Ok(series);
        }
        let values = positional.iter().map(|arg| constant(name, arg)).collect::<Result<Vec<_>>>().map_err(external)?;
        let named = named.into_iter().map(|(label, arg)| Ok((label, constant(name, &arg)?)));
        let named = named.collect::<Result<Vec<_>>>().map_err(external)?;
        if let Some(table) = file::function(&self.scope, name, &values, &named).map_err(external)? {
            return Ok(table);
        }
        if let Some(table) = routine::table(&self.scope, name, &values, &named).map_err(external)? {
            return Ok(table);
        }
        if name == history::CHANGES && named.is_empty() {
            return history::changes(&self.scope, &values).map_err(external);
        }
        let found = lock(&self.scope.found).tables.get(name).cloned();
        let Some(function) = found else {
            return Err(external(no_function(name, TABLE_FUNCTIONS)));
        };
        if let Some((label, _)) = named.first() {
            let message = format!("`{name}` has no argument called `{label}`");
            return Err(external(Error::new(codes::PARAMETERS, message)));
        }
        extension::table(&self.scope, &*function, &values).map_err(external)
    }
}

fn is_file(name: &ObjectName) -> bool {
    name.0.len() == 1 && name.0[0].as_ident().is_some_and(|ident| ident.quote_style == Some('\''))
}

fn constant(name: &str, arg: &Expr) -> Result<ScalarValue> {
    match arg {
        Expr::Literal(value, _) => Ok(value.clone()),
        _ => Err(Error::new(codes::UNSUPPORTED, format!("arguments of the table function `{name}` must be constant"))),
    }
}
