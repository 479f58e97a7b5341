//! `generate_series(first, last [, step])` and `range(...)` as tables. Only the arguments are ours: the engine's own
//! series knows nanoseconds alone, our timestamps are microseconds.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::Result;
use datafusion::execution::SessionState;
use datafusion::functions_table::generate_series::{GenerateSeriesFunc, RangeFunc};
use datafusion::logical_expr::Expr;

/// The table that `name(args)` stands for; `None` when it is no series.
pub(crate) fn series(name: &str, args: &[Expr], state: &SessionState) -> Result<Option<Arc<dyn TableProvider>>> {
    let function: &dyn TableFunctionImpl = match name {
        "generate_series" => &GenerateSeriesFunc {},
        "range" => &RangeFunc {},
        _ => return Ok(None),
    };
    let args = args.iter().map(in_nanoseconds).collect::<Result<Vec<_>>>()?;
    function.call_with_args(TableFunctionArgs::new(&args, state)).map(Some)
}

fn in_nanoseconds(arg: &Expr) -> Result<Expr> {
    let Expr::Literal(value, metadata) = arg else { return Ok(arg.clone()) };
    let value = match value.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => value.clone(),
        DataType::Timestamp(_, zone) => value.cast_to(&DataType::Timestamp(TimeUnit::Nanosecond, zone))?,
        _ => value.clone(),
    };
    Ok(Expr::Literal(value, metadata.clone()))
}
