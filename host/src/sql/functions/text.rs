//! Small functions about the program itself: `version()`.

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

pub(super) fn functions() -> Vec<ScalarUDF> {
    let signature = Signature::new(TypeSignature::Nullary, Volatility::Stable);
    vec![ScalarUDF::new_from_impl(Version(signature))]
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
