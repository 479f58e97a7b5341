//! Routines as functions in expressions. One that is a plain expression is put in the place of its call; the others are
//! called with whole batches, each in its language.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::{cast, filter_record_batch, is_not_null, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{DFSchema, Result as EngineResult, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit, when,
};
use datafusion::physical_expr::PhysicalExpr;

use super::overload::choose;
use super::{find, language_of};
use crate::catalog::{Returns, Routine, RoutineKind, Volatile};
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::claim::Language;
use crate::sql::fault::{external, fold, fold_arrow};
use crate::sql::parse;
use crate::sql::scope::{Refused, Scope};
use crate::sql::session::{Caller, lock};

/// Whether there is a function of this name, whatever it returns.
pub(crate) fn exists(scope: &Scope, path: &str, name: &str) -> Result<bool> {
    Ok(functions(scope, path, name)?.iter().any(|routine| routine.kind == RoutineKind::Function))
}

/// The function of this name that gives a value.
pub(crate) fn scalar(scope: &Arc<Scope>, path: &str, name: &str) -> Result<Option<ScalarUDF>> {
    let mut routines = functions(scope, path, name)?;
    let Some(first) = routines.first().cloned() else { return Ok(None) };
    routines.retain(|routine| routine.kind == RoutineKind::Function && matches!(routine.returns, Returns::Value(_)));
    if routines.is_empty() {
        let label = first.label();
        return Err(match (first.kind, &first.returns) {
            (RoutineKind::Procedure, _) => {
                Error::new(codes::NO_FUNCTION, format!("`{label}` is a procedure")).help(format!("CALL {label}(...)"))
            }
            (_, Returns::Trigger) => Error::new(codes::NO_FUNCTION, format!("`{label}` is a function for triggers")),
            (_, Returns::Table(_)) => Error::new(codes::NO_FUNCTION, format!("`{label}` returns rows"))
                .help(format!("SELECT * FROM {label}(...)")),
            _ => Error::new(codes::NO_FUNCTION, format!("`{label}` returns nothing")),
        });
    }
    let volatility = routines.iter().map(|routine| routine.volatility).max().unwrap_or(Volatile::Volatile);
    let volatility = match volatility {
        Volatile::Immutable => Volatility::Immutable,
        Volatile::Stable => Volatility::Stable,
        Volatile::Volatile => Volatility::Volatile,
    };
    let bound = routines.iter().map(|routine| Bound::new(scope, routine)).collect::<Result<Vec<_>>>()?;
    let signature = Signature::user_defined(volatility);
    let refused = Arc::clone(&lock(&scope.found).refused);
    let function = Function { name: name.to_owned(), routines, bound, caller: scope.caller(), signature, refused };
    Ok(Some(ScalarUDF::new_from_impl(function)))
}

fn functions(scope: &Scope, path: &str, name: &str) -> Result<Vec<Routine>> {
    match name.split_once('.') {
        Some((schema, name)) => find(scope, path, Some(schema), name),
        None => find(scope, path, None, name),
    }
}

/// A routine, ready to be called.
struct Bound {
    language: Arc<dyn Language>,
    schema: SchemaRef,
    plain: Option<Plain>,
}

/// A body that is an expression over the parameters.
struct Plain {
    expr: Expr,
    physical: Arc<dyn PhysicalExpr>,
}

impl Bound {
    fn new(scope: &Arc<Scope>, routine: &Routine) -> Result<Self> {
        let language = language_of(scope, routine)?;
        Ok(Self { language, schema: parameters(routine), plain: Plain::read(scope, routine)? })
    }
}

/// The parameters as columns.
pub(super) fn parameters(routine: &Routine) -> SchemaRef {
    let fields = routine.parameters.iter().map(|one| Field::new(&one.name, one.kind.arrow(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl Plain {
    /// None when the body is more than an expression, or is being read already: then it calls itself.
    fn read(scope: &Arc<Scope>, routine: &Routine) -> Result<Option<Self>> {
        let Some(text) = &routine.inline else { return Ok(None) };
        let label = routine.full_label();
        if lock(&scope.reading).contains(&label) {
            return Ok(None);
        }
        lock(&scope.reading).push(label.clone());
        let planned = plan(scope, routine, text);
        lock(&scope.reading).retain(|known| *known != label);
        let (expr, schema) = planned.map_err(|error| {
            error.replace_place(None).detail(format!("in the {} `{}`", routine.kind.noun(), routine.label()))
        })?;
        let physical = scope.state()?.create_physical_expr(expr.clone(), &schema).map_err(|error| fold(&error))?;
        Ok(Some(Self { expr, physical }))
    }
}

/// An expression over the parameters, in the type that the routine returns.
pub(super) fn plan(scope: &Arc<Scope>, routine: &Routine, text: &str) -> Result<(Expr, DFSchema)> {
    let schema = DFSchema::try_from_qualified_schema(routine.name.as_str(), &parameters(routine));
    let schema = schema.map_err(|error| fold(&error))?;
    let expr = Binder::at(scope, &routine.path).expression(parse::expression(text)?, &schema)?;
    let Returns::Value(kind) = &routine.returns else {
        return Err(Error::new(codes::INTERNAL, "an expression as the body of what gives no value"));
    };
    let mut expr = expr.cast_to(&kind.arrow(), &schema).map_err(|error| fold(&error))?;
    if routine.strict {
        let columns = schema.columns().into_iter().map(|column| Expr::Column(column).is_null());
        if let Some(missing) = columns.reduce(Expr::or) {
            let null = ScalarValue::try_from(&kind.arrow()).map_err(|error| fold(&error))?;
            expr = when(missing, lit(null)).otherwise(expr).map_err(|error| fold(&error))?;
        }
    }
    Ok((expr, schema))
}

struct Function {
    name: String,
    routines: Vec<Routine>,
    /// In the order of `routines`.
    bound: Vec<Bound>,
    caller: Caller,
    signature: Signature,
    refused: Refused,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.routines == other.routines
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Function {
    fn choose(&self, args: &[DataType]) -> EngineResult<(&Routine, &Bound)> {
        let chosen = choose(&self.name, &self.routines, args).map_err(external)?;
        let at = self.routines.iter().position(|routine| std::ptr::eq(routine, chosen));
        let bound = at.and_then(|at| self.bound.get(at)).filter(|_| chosen.parameters.len() == args.len());
        match bound {
            Some(bound) => Ok((chosen, bound)),
            None => {
                let text = format!("`{}` needs all of its arguments here", self.name);
                Err(external(Error::new(codes::NO_FUNCTION, text)))
            }
        }
    }

    fn call(&self, routine: &Routine, bound: &Bound, columns: Vec<ArrayRef>, rows: usize) -> Result<ArrayRef> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&bound.schema), columns, &options);
        let batch = batch.map_err(|error| fold_arrow(&error))?;
        if let Some(plain) = &bound.plain {
            let value = plain.physical.evaluate(&batch).and_then(|value| value.into_array(rows));
            return value.map_err(|error| fold(&error));
        }
        let Returns::Value(kind) = &routine.returns else {
            return Err(Error::new(codes::INTERNAL, "a call of what gives no value"));
        };
        let caller = self.caller.deeper()?;
        let named = |error: Error| {
            error.replace_place(None).detail(format!("in the {} `{}`", routine.kind.noun(), routine.label()))
        };
        let (kind, given) = (kind.arrow(), if routine.strict { present(&batch)? } else { None });
        let result = match &given {
            None => bound.language.scalar(&caller, routine, &batch).map_err(named)?,
            Some(present) => {
                let some = filter_record_batch(&batch, present).map_err(|error| fold_arrow(&error))?;
                let some = match some.num_rows() {
                    0 => new_null_array(&kind, 0),
                    _ => bound.language.scalar(&caller, routine, &some).map_err(named)?,
                };
                spread(&some, present)?
            }
        };
        if result.len() != rows {
            let text = format!("`{}` gave {} results for {rows} rows", routine.label(), result.len());
            return Err(Error::new(codes::BAD_DATA, text));
        }
        if *result.data_type() == kind { Ok(result) } else { cast(&result, &kind).map_err(|error| fold_arrow(&error)) }
    }
}

/// The rows without a NULL; none when all are.
fn present(batch: &RecordBatch) -> Result<Option<BooleanArray>> {
    let mut mask: Option<BooleanArray> = None;
    for column in batch.columns().iter().filter(|column| column.logical_null_count() > 0) {
        let here = is_not_null(column).map_err(|error| fold_arrow(&error))?;
        mask = Some(match mask {
            None => here,
            Some(mask) => arrow::compute::and(&mask, &here).map_err(|error| fold_arrow(&error))?,
        });
    }
    Ok(mask)
}

/// Values at the rows that are set, NULL elsewhere.
fn spread(values: &ArrayRef, set: &BooleanArray) -> Result<ArrayRef> {
    let mut next = 0;
    let at: UInt32Array = set
        .values()
        .iter()
        .map(|set| {
            set.then(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    take(values, &at, None).map_err(|error| fold_arrow(&error))
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> EngineResult<Vec<DataType>> {
        let (routine, _) = self.choose(args).inspect_err(|error| *lock(&self.refused) = Some(fold(error)))?;
        Ok(routine.parameters.iter().map(|parameter| parameter.kind.arrow()).collect())
    }

    fn return_type(&self, args: &[DataType]) -> EngineResult<DataType> {
        match &self.choose(args)?.0.returns {
            Returns::Value(kind) => Ok(kind.arrow()),
            _ => Err(external(Error::new(codes::INTERNAL, "a call of what gives no value"))),
        }
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> EngineResult<ExprSimplifyResult> {
        let types = args.iter().map(|arg| info.get_data_type(arg)).collect::<EngineResult<Vec<_>>>()?;
        let (routine, bound) = self.choose(&types)?;
        let Some(plain) = &bound.plain else { return Ok(ExprSimplifyResult::Original(args)) };
        // What is volatile must be evaluated once, however often the body names its parameter.
        if args.iter().any(Expr::is_volatile) {
            return Ok(ExprSimplifyResult::Original(args));
        }
        let replaced = plain.expr.clone().transform_up(|expr| match &expr {
            Expr::Column(column) => {
                let at = routine.parameters.iter().position(|parameter| parameter.name == column.name);
                Ok(at.map_or(Transformed::no(expr.clone()), |at| Transformed::yes(args[at].clone())))
            }
            _ => Ok(Transformed::no(expr)),
        });
        Ok(ExprSimplifyResult::Simplified(replaced.data()?))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let constant = constant && self.signature.volatility != Volatility::Volatile;
        let rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|arg| arg.to_array(rows)).collect::<EngineResult<Vec<_>>>()?;
        let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
        let (routine, bound) = self.choose(&types)?;
        let result = self.call(routine, bound, columns, rows).map_err(external)?;
        if constant {
            return ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// Whether a column of conditions holds for each row; NULL does not hold.
pub(super) fn holds(array: &ArrayRef) -> Result<BooleanArray> {
    match array.data_type() {
        DataType::Null => Ok(BooleanArray::from(vec![false; array.len()])),
        DataType::Boolean => Ok(array.as_boolean().iter().map(|value| Some(value == Some(true))).collect()),
        _ => Err(Error::new(codes::TYPE, "the condition is not a boolean")),
    }
}
