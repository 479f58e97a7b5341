//! UUIDs as text in their canonical form, 36 characters in lower case, whose order is that of their bytes.

use std::sync::Arc;

use arrow::array::{AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result as EngineResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use uuid::Uuid;

use crate::error::{Error, codes};
use crate::sql::fault::external;

pub(super) fn functions() -> Vec<ScalarUDF> {
    vec![ScalarUDF::new_from_impl(Canonical(Signature::any(1, Volatility::Immutable)))]
}

/// The function that checks a UUID and writes it canonically.
pub(crate) fn check() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Canonical(Signature::any(1, Volatility::Immutable))))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Canonical(Signature);

impl ScalarUDFImpl for Canonical {
    fn name(&self) -> &str {
        "to_uuid"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let given = args.args[0].to_array(args.number_rows)?;
        let mut all = StringViewBuilder::with_capacity(given.len());
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        // Sixteen bytes are one already, as files carry them.
        if let DataType::FixedSizeBinary(16) = given.data_type() {
            for bytes in given.as_fixed_size_binary().iter() {
                let uuid = bytes.and_then(|bytes| Uuid::from_slice(bytes).ok());
                all.append_option(uuid.map(|uuid| uuid.hyphenated().encode_lower(&mut text).to_owned()));
            }
            return Ok(ColumnarValue::Array(Arc::new(all.finish())));
        }
        let texts = cast(&given, &DataType::Utf8View)?;
        for written in texts.as_string_view().iter() {
            let Some(written) = written else {
                all.append_null();
                continue;
            };
            let uuid = Uuid::try_parse(written.trim()).map_err(|_| {
                external(Error::new(codes::VALUE, format!("`{written}` is not a UUID")).with_sqlstate("22P02"))
            })?;
            all.append_value(uuid.hyphenated().encode_lower(&mut text));
        }
        Ok(ColumnarValue::Array(Arc::new(all.finish())))
    }
}
