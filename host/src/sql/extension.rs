//! Functions of extensions in the engine's form. They get the caller with them, so that SQL that they run happens in
//! the transaction of the statement that called.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::{Result as EngineResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility as EngineVolatility,
};

use super::claim::{Argument, ScalarFunction, TableFunction, Volatility};
use super::fault::{external, fold};
use super::scope::{Refused, Scope};
use super::session::{Caller, lock};
use super::stream_table::StreamTable;
use crate::error::Result;

/// A scalar function, bound to the statement that calls it.
pub(crate) fn scalar(scope: &Scope, name: &str, function: Arc<dyn ScalarFunction>) -> Result<ScalarUDF> {
    let caller = scope.caller();
    let volatility = match function.volatility(&caller)? {
        Volatility::Immutable => EngineVolatility::Immutable,
        Volatility::Stable => EngineVolatility::Stable,
        Volatility::Volatile => EngineVolatility::Volatile,
    };
    let signature = Signature::user_defined(volatility);
    let refused = Arc::clone(&lock(&scope.found).refused);
    Ok(ScalarUDF::new_from_impl(Scalar { name: name.to_owned(), function, caller, signature, refused }))
}

struct Scalar {
    name: String,
    function: Arc<dyn ScalarFunction>,
    caller: Caller,
    signature: Signature,
    refused: Refused,
}

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scalar").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.function, &other.function)
    }
}

impl Eq for Scalar {}

impl Hash for Scalar {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Scalar {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, args: &[DataType]) -> EngineResult<Vec<DataType>> {
        self.function.coerce(&self.caller, args).map_err(|error| {
            *lock(&self.refused) = Some(error.clone());
            external(error)
        })
    }

    fn return_type(&self, args: &[DataType]) -> EngineResult<DataType> {
        self.function.return_type(&self.caller, args).map_err(external)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let constant = !args.args.is_empty() && args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let constant = constant && self.signature.volatility != EngineVolatility::Volatile;
        let rows = if constant { 1 } else { args.number_rows };
        let argument = |arg: ColumnarValue| match arg {
            ColumnarValue::Array(array) => Ok(Argument::Column(array)),
            ColumnarValue::Scalar(value) => value.to_array().map(Argument::Constant),
        };
        let arguments = args.args.into_iter().map(argument).collect::<EngineResult<Vec<_>>>()?;
        let result = self.function.call(&self.caller, &arguments, rows).map_err(external)?;
        if constant {
            return ScalarValue::try_from_array(&result, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// The table that a function makes for constant arguments.
pub(crate) fn table(
    scope: &Scope,
    function: &dyn TableFunction,
    args: &[ScalarValue],
) -> Result<Arc<dyn TableProvider>> {
    let arrays = args.iter().map(ScalarValue::to_array).collect::<EngineResult<Vec<_>>>();
    let bound = function.bind(&scope.caller(), arrays.map_err(|error| fold(&error))?)?;
    Ok(Arc::new(StreamTable::new(bound.schema(), move |projection| bound.scan(projection))))
}
