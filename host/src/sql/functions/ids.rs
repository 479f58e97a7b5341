//! Identifiers: `generate_ulid`, `generate_uuid_v4`, `_v5`, `_v7` and `ulid_timestamp`. ULIDs of one process grow, also
//! within a millisecond, so that rows keep the order in which a statement made them.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::cast::as_string_view_array;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use ulid::{Generator, Ulid};
use uuid::Uuid;

use crate::catalog::ZONE;
use crate::error::{Error, codes};
use crate::sql::fault::external;

pub(super) fn functions() -> Vec<ScalarUDF> {
    let made = [("generate_ulid", Make::Ulid), ("generate_uuid_v4", Make::V4), ("generate_uuid_v7", Make::V7)];
    let mut functions: Vec<ScalarUDF> =
        made.into_iter().map(|(name, make)| ScalarUDF::new_from_impl(Generate::new(name, make))).collect();
    functions.push(ScalarUDF::new_from_impl(UuidV5::new()));
    functions.push(ScalarUDF::new_from_impl(UlidTimestamp::new()));
    functions
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Make {
    Ulid,
    V4,
    V7,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Generate {
    name: &'static str,
    make: Make,
    signature: Signature,
}

impl Generate {
    fn new(name: &'static str, make: Make) -> Self {
        Self { name, make, signature: Signature::new(TypeSignature::Nullary, Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Generate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let array: StringViewArray = match self.make {
            Make::Ulid => ulids(rows).into_iter().map(|id| Some(id.to_string())).collect(),
            Make::V4 => (0..rows).map(|_| Some(Uuid::new_v4().to_string())).collect(),
            Make::V7 => (0..rows).map(|_| Some(Uuid::now_v7().to_string())).collect(),
        };
        Ok(ColumnarValue::Array(Arc::new(array)))
    }
}

/// `count` ULIDs, each greater than every earlier one of this process.
fn ulids(count: usize) -> Vec<Ulid> {
    static GENERATOR: Mutex<Option<Generator>> = Mutex::new(None);
    let mut guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let generator = guard.get_or_insert_with(Generator::new);
    let mut made = Vec::with_capacity(count);
    for _ in 0..count {
        // Beyond the last one of a millisecond the next millisecond's are taken, which keeps the order.
        made.push(generator.generate().unwrap_or_else(|overflow| overflow.commit_overflow_increment()));
    }
    made
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct UuidV5(Signature);

impl UuidV5 {
    fn new() -> Self {
        Self(Signature::exact(vec![DataType::Utf8View, DataType::Utf8View], Volatility::Immutable))
    }
}

impl ScalarUDFImpl for UuidV5 {
    fn name(&self) -> &str {
        "generate_uuid_v5"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (namespaces, names) = (as_string_view_array(&arrays[0])?, as_string_view_array(&arrays[1])?);
        let made = namespaces.iter().zip(names).map(|(namespace, name)| {
            let (Some(namespace), Some(name)) = (namespace, name) else { return Ok(None) };
            let namespace = namespace_of(namespace)?;
            Ok(Some(Uuid::new_v5(&namespace, name.as_bytes()).to_string()))
        });
        let array = made.collect::<Result<StringViewArray>>()?;
        Ok(as_given(&args, Arc::new(array)))
    }
}

/// A namespace is a UUID or one of the names that RFC 9562 gives to four of them.
fn namespace_of(text: &str) -> Result<Uuid> {
    match text {
        "dns" => Ok(Uuid::NAMESPACE_DNS),
        "url" => Ok(Uuid::NAMESPACE_URL),
        "oid" => Ok(Uuid::NAMESPACE_OID),
        "x500" => Ok(Uuid::NAMESPACE_X500),
        _ => Uuid::parse_str(text).map_err(|_| {
            let error = Error::new(codes::VALUE, format!("`{text}` is no namespace for a UUID"));
            external(error.help("use a UUID, or one of 'dns', 'url', 'oid', 'x500'"))
        }),
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct UlidTimestamp(Signature);

impl UlidTimestamp {
    fn new() -> Self {
        Self(Signature::exact(vec![DataType::Utf8View], Volatility::Immutable))
    }
}

impl ScalarUDFImpl for UlidTimestamp {
    fn name(&self) -> &str {
        "ulid_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(ZONE.into())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let ids = as_string_view_array(&arrays[0])?;
        let times = ids.iter().map(|id| id.map(milliseconds).transpose().map(|ms| ms.map(|ms| ms * 1000)));
        let array = times.collect::<Result<TimestampMicrosecondArray>>()?.with_timezone(ZONE);
        Ok(as_given(&args, Arc::new(array)))
    }
}

/// The time in a ULID. The largest that 26 characters could spell does not fit 128 bits and is refused.
fn milliseconds(id: &str) -> Result<i64> {
    let wrong = || external(Error::new(codes::VALUE, format!("`{id}` is not a ULID")));
    if id.as_bytes().first().is_some_and(|first| *first > b'7') {
        return Err(wrong());
    }
    let id = Ulid::from_string(id).map_err(|_| wrong())?;
    i64::try_from(id.timestamp_ms()).map_err(|_| wrong())
}

/// A scalar when every argument was one, so that constants stay constants.
fn as_given(args: &ScalarFunctionArgs, array: ArrayRef) -> ColumnarValue {
    let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    match ScalarValue::try_from_array(&array, 0) {
        Ok(value) if constant => ColumnarValue::Scalar(value),
        _ => ColumnarValue::Array(array),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulids_grow() {
        let made = ulids(5000);
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn a_ulid_tells_its_time_and_too_large_ones_are_refused() {
        // The example of the ULID specification.
        assert_eq!(milliseconds("01ARYZ6S41TSV4RRFFQ69G5FAV").expect("reads"), 1_469_918_176_385);
        for wrong in ["", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01ARYZ6S41TSV4RRFFQ69G5FA", "U1ARYZ6S41TSV4RRFFQ69G5FAV", "€"]
        {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
    }
}
