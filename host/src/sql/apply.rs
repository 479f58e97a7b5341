//! Correlated subqueries that the optimizer cannot unfold into joins: each is run once for every different set of outer
//! values. It is the last resort, tried when a plan has failed without it; what can be a join stays one.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray, UInt32Array, new_empty_array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, JoinType, NullHandling, Result as EngineResult, ScalarValue, UnnestOptions};
use datafusion::execution::{SessionState, TaskContext};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Subquery, Volatility,
};

use super::fault::{external, fold, fold_arrow};
use super::run;
use super::token::Token;
use super::{query, unsupported};
use crate::error::{Error, Result, codes};

/// The plan in which every correlated subquery is a function of the outer values.
pub(super) fn unfold(state: &SessionState, token: &Token, plan: LogicalPlan) -> Result<LogicalPlan> {
    let maker = Maker { state: state.clone(), token: token.clone() };
    let unfolded = plan.transform_up(|plan| maker.plan(plan)).data();
    unfolded.map_err(|error| fold(&error))
}

/// Whether a subquery in the plan uses values of the query around it.
pub(super) fn is_correlated(plan: &LogicalPlan) -> bool {
    any_correlated(plan, &|_| true)
}

/// Whether such a subquery has a window in it: as a join, its window would see the rows of all outer rows at once.
pub(super) fn must_unfold(plan: &LogicalPlan) -> bool {
    let has_window = |plan: &LogicalPlan| plan.exists(|plan| Ok(matches!(plan, LogicalPlan::Window(_))));
    any_correlated(plan, &|subquery| has_window(&subquery.subquery).unwrap_or(false))
}

fn any_correlated(plan: &LogicalPlan, is_meant: &dyn Fn(&Subquery) -> bool) -> bool {
    let meant = |subquery: &Subquery| !subquery.outer_ref_columns.is_empty() && is_meant(subquery);
    let here = |plan: &LogicalPlan| match plan {
        LogicalPlan::Subquery(subquery) => meant(subquery),
        other => other.expressions().iter().any(|expr| {
            let found = expr.exists(|expr| {
                Ok(match expr {
                    Expr::ScalarSubquery(subquery) => meant(subquery),
                    Expr::Exists(exists) => meant(&exists.subquery),
                    Expr::InSubquery(one) => meant(&one.subquery),
                    _ => false,
                })
            });
            found.unwrap_or(false)
        }),
    };
    plan.exists(|plan| Ok(here(plan))).unwrap_or(false)
}

struct Maker {
    state: SessionState,
    token: Token,
}

/// What a subquery gives for a set of outer values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Gives {
    /// Its only value; NULL without a row.
    Value,
    /// Whether there is a row.
    Existence,
    /// Its rows, as a list of structs.
    Rows,
    /// As rows, but NULL when there are none.
    RowsOrNull,
    /// Its first column, as a list.
    Column,
}

impl Maker {
    fn plan(&self, plan: LogicalPlan) -> EngineResult<Transformed<LogicalPlan>> {
        if let LogicalPlan::Join(join) = &plan
            && let Some((subquery, qualified)) = lateral(&join.right)
        {
            return self.join(join, &subquery, &qualified).map(Transformed::yes);
        }
        plan.map_expressions(|expr| expr.transform_up(|expr| self.expr(expr)))
    }

    fn expr(&self, expr: Expr) -> EngineResult<Transformed<Expr>> {
        let correlated = |subquery: &Subquery| !subquery.outer_ref_columns.is_empty();
        Ok(match expr {
            Expr::ScalarSubquery(subquery) if correlated(&subquery) => {
                Transformed::yes(self.call(&subquery, Gives::Value)?)
            }
            Expr::Exists(exists) if correlated(&exists.subquery) => {
                let found = self.call(&exists.subquery, Gives::Existence)?;
                Transformed::yes(if exists.negated { !found } else { found })
            }
            Expr::InSubquery(one) if correlated(&one.subquery) => {
                let found = self.call(&one.subquery, Gives::Column)?;
                let membership = ScalarUDF::new_from_impl(Membership(Signature::any(2, Volatility::Immutable)));
                let found = Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(membership), vec![*one.expr, found]));
                Transformed::yes(if one.negated { !found } else { found })
            }
            other => Transformed::no(other),
        })
    }

    fn call(&self, subquery: &Subquery, gives: Gives) -> EngineResult<Expr> {
        let mut outer: Vec<Column> = Vec::new();
        for expr in &subquery.outer_ref_columns {
            if let Expr::OuterReferenceColumn(_, column) = expr
                && !outer.contains(column)
            {
                outer.push(column.clone());
            }
        }
        let schema: SchemaRef = Arc::clone(subquery.subquery.schema().inner());
        let kind = match gives {
            Gives::Value => schema.field(0).data_type().clone(),
            Gives::Existence => DataType::Boolean,
            Gives::Column => list(schema.field(0).data_type().clone()),
            Gives::Rows | Gives::RowsOrNull => list(DataType::Struct(numbered(&schema).fields().clone())),
        };
        let applied = Applied {
            plan: Arc::clone(&subquery.subquery),
            outer: outer.clone(),
            gives,
            kind,
            state: self.state.clone(),
            token: self.token.clone(),
            // Rows of a table may change what it gives, but not within the statement.
            signature: Signature::any(outer.len(), Volatility::Stable),
        };
        let args = outer.into_iter().map(Expr::Column).collect();
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(applied)), args)))
    }

    /// A lateral join: the rows of the subquery become a list beside the outer row, and the list is spread.
    fn join(
        &self,
        join: &datafusion::logical_expr::Join,
        subquery: &Subquery,
        qualified: &LogicalPlan,
    ) -> EngineResult<LogicalPlan> {
        const LIST: &str = "\u{1}lateral";
        let always = |filter: &Expr| matches!(filter, Expr::Literal(ScalarValue::Boolean(Some(true)), _));
        let plain = join.on.is_empty() && join.filter.as_ref().is_none_or(always);
        let gives = match join.join_type {
            JoinType::Inner => Gives::Rows,
            JoinType::Left if plain => Gives::RowsOrNull,
            _ => return Err(external(unsupported("a LATERAL subquery in this kind of join"))),
        };
        let left = Arc::unwrap_or_clone(Arc::clone(&join.left));
        let columns: Vec<Column> = left.schema().columns();
        let mut items: Vec<Expr> = columns.iter().cloned().map(Expr::Column).collect();
        items.push(self.call(subquery, gives)?.alias(LIST));
        let handling = if gives == Gives::Rows { NullHandling::Drop } else { NullHandling::Preserve };
        let options = UnnestOptions { null_handling: handling, recursions: Vec::new() };
        let spread = LogicalPlanBuilder::from(left)
            .project(items)?
            .unnest_columns_with_options(vec![Column::from_name(LIST)], options)?;
        let mut items: Vec<Expr> = columns.into_iter().map(Expr::Column).collect();
        for (number, (relation, field)) in qualified.schema().iter().enumerate() {
            let value = get_field(Expr::Column(Column::from_name(LIST)), position(number));
            items.push(value.alias_qualified(relation.cloned(), field.name()));
        }
        let mut spread = spread.project(items)?;
        for (left, right) in &join.on {
            spread = spread.filter(left.clone().eq(right.clone()))?;
        }
        if let Some(filter) = join.filter.clone().filter(|filter| !always(filter)) {
            spread = spread.filter(filter)?;
        }
        spread.build()
    }
}

/// The subquery on the right of a lateral join, and the plan around it that names its columns.
fn lateral(right: &Arc<LogicalPlan>) -> Option<(Subquery, Arc<LogicalPlan>)> {
    match right.as_ref() {
        LogicalPlan::Subquery(subquery) if !subquery.outer_ref_columns.is_empty() => {
            Some((subquery.clone(), Arc::clone(right)))
        }
        LogicalPlan::SubqueryAlias(alias) => lateral(&alias.input).map(|(subquery, _)| (subquery, Arc::clone(right))),
        LogicalPlan::Projection(projection) => {
            // An alias with names for its columns renames them one by one.
            let plain = |expr: &Expr| matches!(expr.clone().unalias(), Expr::Column(_));
            let renames = projection.expr.iter().all(plain);
            let found = if renames { lateral(&projection.input) } else { None };
            found
                .filter(|(subquery, _)| subquery.subquery.schema().fields().len() == projection.expr.len())
                .map(|(subquery, _)| (subquery, Arc::clone(right)))
        }
        _ => None,
    }
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

fn position(number: usize) -> String {
    format!("c{number}")
}

/// The columns under names of their own: those of a query may occur twice.
fn numbered(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().enumerate();
    let fields = fields.map(|(number, field)| field.as_ref().clone().with_name(position(number)).with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A subquery as a function of the values that it takes from outside.
struct Applied {
    plan: Arc<LogicalPlan>,
    outer: Vec<Column>,
    gives: Gives,
    kind: DataType,
    state: SessionState,
    token: Token,
    signature: Signature,
}

impl fmt::Debug for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applied").field("outer", &self.outer).field("gives", &self.gives).finish_non_exhaustive()
    }
}

impl PartialEq for Applied {
    fn eq(&self, other: &Self) -> bool {
        self.plan == other.plan && self.gives == other.gives && self.outer == other.outer
    }
}

impl Eq for Applied {}

impl Hash for Applied {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.gives.hash(state);
        self.outer.hash(state);
    }
}

impl Applied {
    /// Runs the subquery for one set of outer values.
    fn rows(&self, values: &[ScalarValue]) -> Result<RecordBatch> {
        self.token.check()?;
        let plan = LogicalPlan::clone(&self.plan).transform_up_with_subqueries(|plan| {
            plan.map_expressions(|expr| {
                expr.transform_up(|expr| {
                    let value = match &expr {
                        Expr::OuterReferenceColumn(_, column) => {
                            self.outer.iter().position(|known| known == column).map(|at| values[at].clone())
                        }
                        _ => None,
                    };
                    Ok(value
                        .map_or_else(|| Transformed::no(expr), |value| Transformed::yes(Expr::Literal(value, None))))
                })
            })
        });
        let plan = plan.data().and_then(|plan| plan.recompute_schema()).map_err(|error| fold(&error))?;
        let plan = match self.gives {
            Gives::Existence => LogicalPlanBuilder::from(plan).limit(0, Some(1)).and_then(LogicalPlanBuilder::build),
            _ => Ok(plan),
        };
        let plan = plan.map_err(|error| fold(&error))?;
        let physical = query::physical(&self.state, &self.token, &plan)?;
        let task = Arc::new(TaskContext::from(&self.state));
        let running = run::start(physical, task, &self.token, true)?;
        let schema = Arc::clone(running.schema());
        let batches = running.collect::<Result<Vec<_>>>()?;
        concat_batches(&schema, &batches).map_err(|error| fold_arrow(&error))
    }

    fn result(&self, rows: &RecordBatch) -> Result<ScalarValue> {
        match self.gives {
            Gives::Existence => Ok(ScalarValue::Boolean(Some(rows.num_rows() > 0))),
            Gives::Value if rows.num_rows() > 1 => {
                let text = "a subquery that stands for a value gave more than one row";
                Err(Error::new(codes::EXECUTION, text).with_sqlstate("21000"))
            }
            Gives::Value if rows.num_rows() == 0 => ScalarValue::try_from(&self.kind).map_err(|error| fold(&error)),
            Gives::Value => ScalarValue::try_from_array(rows.column(0), 0).map_err(|error| fold(&error)),
            Gives::Column => self.listed(Arc::clone(rows.column(0))),
            Gives::RowsOrNull if rows.num_rows() == 0 => {
                ScalarValue::try_from(&self.kind).map_err(|error| fold(&error))
            }
            Gives::Rows | Gives::RowsOrNull => {
                let fields = numbered(self.plan.schema().as_arrow()).fields().clone();
                let columns = rows.columns().to_vec();
                let structs = StructArray::try_new_with_length(fields, columns, None, rows.num_rows());
                self.listed(Arc::new(structs.map_err(|error| fold_arrow(&error))?))
            }
        }
    }

    fn listed(&self, items: ArrayRef) -> Result<ScalarValue> {
        let field = Arc::new(Field::new("item", items.data_type().clone(), true));
        let list = ListArray::try_new(field, OffsetBuffer::from_lengths([items.len()]), items, None);
        Ok(ScalarValue::List(Arc::new(list.map_err(|error| fold_arrow(&error))?)))
    }
}

impl ScalarUDFImpl for Applied {
    fn name(&self) -> &str {
        "subquery"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(self.kind.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let rows = args.number_rows;
        let columns = args.args.iter().map(|arg| arg.to_array(rows)).collect::<EngineResult<Vec<_>>>()?;
        let mut known: HashMap<Vec<ScalarValue>, u32> = HashMap::new();
        let (mut results, mut places) = (Vec::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            let values = columns.iter().map(|column| ScalarValue::try_from_array(column, row));
            let values = values.collect::<EngineResult<Vec<_>>>()?;
            if let Some(place) = known.get(&values) {
                places.push(*place);
                continue;
            }
            let result = self.rows(&values).and_then(|rows| self.result(&rows)).map_err(external)?;
            let place = u32::try_from(results.len()).unwrap_or(u32::MAX);
            results.push(result);
            known.insert(values, place);
            places.push(place);
        }
        if results.is_empty() {
            return Ok(ColumnarValue::Array(new_empty_array(&self.kind)));
        }
        let results = ScalarValue::iter_to_array(results)?;
        Ok(ColumnarValue::Array(take(&results, &UInt32Array::from(places), None)?))
    }
}

/// `value IN list` with the three answers of SQL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Membership(Signature);

impl ScalarUDFImpl for Membership {
    fn name(&self) -> &str {
        "member"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let rows = args.number_rows;
        let (values, lists) = (args.args[0].to_array(rows)?, args.args[1].to_array(rows)?);
        let lists = lists.as_list::<i32>();
        let mut found = Vec::with_capacity(rows);
        for row in 0..rows {
            let items = lists.value(row);
            if items.is_empty() {
                found.push(Some(false));
                continue;
            }
            let value = ScalarValue::try_from_array(&values, row)?;
            if value.is_null() {
                found.push(None);
                continue;
            }
            let value = value.cast_to(items.data_type())?;
            let mut here = None;
            for item in 0..items.len() {
                here = here.or((ScalarValue::try_from_array(&items, item)? == value).then_some(true));
            }
            let unknown = items.logical_nulls().as_ref().map_or(0, NullBuffer::null_count) > 0;
            found.push(here.or(if unknown { None } else { Some(false) }));
        }
        Ok(ColumnarValue::Array(Arc::new(found.into_iter().collect::<arrow::array::BooleanArray>())))
    }
}
