//! Small functions about the program and the statement: `version()`, and `error(text)`, which refuses to go on.

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use crate::error::{Error, codes};
use crate::sql::fault::external;

pub(super) fn functions() -> Vec<ScalarUDF> {
    let signature = Signature::new(TypeSignature::Nullary, Volatility::Stable);
    // Never folded away, so that a branch that is not taken says nothing.
    let raise = Signature::string(1, Volatility::Volatile);
    vec![ScalarUDF::new_from_impl(Version(signature)), ScalarUDF::new_from_impl(Raise(raise))]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Raise(Signature);

impl ScalarUDFImpl for Raise {
    fn name(&self) -> &str {
        "error"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    /// NULL's own type fits beside any other branch of a CASE.
    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Null)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if args.number_rows > 0
            && let Some(text) = args.args.first()
        {
            let texts = cast(&text.to_array(args.number_rows)?, &DataType::Utf8View)?;
            if let Some(text) = texts.as_string_view().iter().flatten().next() {
                return Err(external(Error::new(codes::RAISED, text)));
            }
        }
        Ok(ColumnarValue::Scalar(ScalarValue::Null))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Version(Signature);

impl ScalarUDFImpl for Version {
    fn name(&self) -> &str {
        "version"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = concat!("Kodiak ", env!("CARGO_PKG_VERSION"));
        Ok(ColumnarValue::Scalar(ScalarValue::Utf8View(Some(text.to_owned()))))
    }
}
