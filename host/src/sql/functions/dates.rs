//! Dates and intervals: a day plus a time of day is a moment. The engine would keep the date and lose the hours.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator};
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// Plans `date + interval` and its kin.
#[derive(Debug)]
pub(super) struct DateArithmetic;

impl ExprPlanner for DateArithmetic {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let op = match raw.op {
            BinaryOperator::Plus => Operator::Plus,
            BinaryOperator::Minus => Operator::Minus,
            _ => return Ok(PlannerResult::Original(raw)),
        };
        let (left, right) = (raw.left.get_type(schema), raw.right.get_type(schema));
        let planned = match (left, right) {
            (Ok(DataType::Date32), Ok(DataType::Interval(_))) if !whole_days(&raw.right) => {
                (moment(raw.left), raw.right)
            }
            (Ok(DataType::Interval(_)), Ok(DataType::Date32)) if op == Operator::Plus && !whole_days(&raw.left) => {
                (raw.left, moment(raw.right))
            }
            _ => return Ok(PlannerResult::Original(raw)),
        };
        Ok(PlannerResult::Planned(Expr::BinaryExpr(BinaryExpr::new(Box::new(planned.0), op, Box::new(planned.1)))))
    }
}

/// A constant interval without hours leaves a date a date, which filters over dates profit from.
fn whole_days(interval: &Expr) -> bool {
    match interval {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => interval.nanoseconds == 0,
        Expr::Literal(ScalarValue::IntervalYearMonth(_), _) => true,
        Expr::Literal(ScalarValue::IntervalDayTime(Some(interval)), _) => interval.milliseconds == 0,
        _ => false,
    }
}

fn moment(date: Expr) -> Expr {
    Expr::Cast(Cast::new(Box::new(date), DataType::Timestamp(TimeUnit::Microsecond, None)))
}
