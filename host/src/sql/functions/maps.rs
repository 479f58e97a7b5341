//! Maps: `m[key]`, with the key brought to the type of the map's keys. The engine would compare it as it was written.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, GetFieldAccess, lit};

use super::built_in;

/// Plans `map[key]`.
#[derive(Debug)]
pub(super) struct MapAccess;

impl ExprPlanner for MapAccess {
    fn plan_field_access(
        &self,
        raw: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let Ok(DataType::Map(entries, _)) = raw.expr.get_type(schema) else { return Ok(PlannerResult::Original(raw)) };
        let DataType::Struct(fields) = entries.data_type() else { return Ok(PlannerResult::Original(raw)) };
        let key = match &raw.field_access {
            GetFieldAccess::NamedStructField { name } => Expr::Literal(name.clone(), None),
            GetFieldAccess::ListIndex { key } => key.as_ref().clone(),
            GetFieldAccess::ListRange { .. } => return Ok(PlannerResult::Original(raw)),
        };
        let (Some(field), Some(extract), Some(element)) =
            (fields.first(), built_in().scalar.get("map_extract"), built_in().scalar.get("array_element"))
        else {
            return Ok(PlannerResult::Original(raw));
        };
        let key = Expr::Cast(Cast::new(Box::new(key), field.data_type().clone()));
        // A list of one value, null where the map lacks the key.
        let found = ScalarFunction::new_udf(extract.clone(), vec![raw.expr, key]);
        let value = ScalarFunction::new_udf(element.clone(), vec![Expr::ScalarFunction(found), lit(1i64)]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(value)))
    }
}
