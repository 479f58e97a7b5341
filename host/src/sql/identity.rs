//! Numbers that no row has had before, for identity columns. They come in blocks that a transaction of their own takes
//! from the database, so that inserts never conflict over them; a block that was not used up leaves a gap.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};

use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use datafusion::common::{Result as EngineResult, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::engine::Engine;
use super::fault::external;
use super::session::lock;
use crate::error::{Error, Result, codes};

/// The function that identity columns have for a default: `next_identity(key, start, step)`.
pub(crate) const FUNCTION: &str = "next_identity";
/// Numbers that are taken at once.
const BLOCK: i64 = 64;

/// Blocks that this process has taken: the next number and how many are left.
#[derive(Default)]
pub(crate) struct Blocks(Mutex<HashMap<String, (i64, i64)>>);

/// The function, bound to an open database.
pub(crate) fn function(engine: &Arc<Engine>) -> ScalarUDF {
    let signature = Signature::exact(vec![DataType::Utf8, DataType::Int64, DataType::Int64], Volatility::Volatile);
    ScalarUDF::new_from_impl(Next { engine: Arc::clone(engine), signature })
}

/// The default of a new identity column.
pub(crate) fn default(start: i64, step: i64) -> String {
    format!("{FUNCTION}('{}', {start}, {step})", ulid::Ulid::generate())
}

struct Next {
    engine: Arc<Engine>,
    signature: Signature,
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FUNCTION)
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.engine, &other.engine)
    }
}

impl Eq for Next {}

impl Hash for Next {
    fn hash<H: Hasher>(&self, state: &mut H) {
        FUNCTION.hash(state);
    }
}

impl ScalarUDFImpl for Next {
    fn name(&self) -> &str {
        FUNCTION
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let [ColumnarValue::Scalar(key), ColumnarValue::Scalar(start), ColumnarValue::Scalar(step)] = &args.args[..]
        else {
            return Err(external(Error::new(codes::UNSUPPORTED, format!("`{FUNCTION}` takes constants"))));
        };
        let (Some(Some(key)), ScalarValue::Int64(Some(start)), ScalarValue::Int64(Some(step))) =
            (key.try_as_str(), start, step)
        else {
            return Err(external(Error::new(codes::TYPE, format!("`{FUNCTION}` takes a key and two numbers"))));
        };
        let mut numbers = Vec::with_capacity(args.number_rows);
        take(&self.engine, key, (*start, *step), args.number_rows, &mut numbers).map_err(external)?;
        Ok(ColumnarValue::Array(Arc::new(Int64Array::from(numbers))))
    }
}

fn take(engine: &Engine, key: &str, (start, step): (i64, i64), count: usize, out: &mut Vec<i64>) -> Result<()> {
    let mut blocks = lock(&engine.identities.0);
    let (next, left) = blocks.entry(key.to_owned()).or_insert((start, 0));
    while out.len() < count {
        if *left == 0 {
            let wanted = i64::try_from(count - out.len()).unwrap_or(i64::MAX).max(BLOCK);
            (*next, *left) = (reserve(engine, key, start, step, wanted)?, wanted);
        }
        out.push(*next);
        *next = next.checked_add(step).ok_or_else(exhausted)?;
        *left -= 1;
    }
    Ok(())
}

/// Takes a block from the database; another process may be doing the same.
fn reserve(engine: &Engine, key: &str, start: i64, step: i64, count: i64) -> Result<i64> {
    let key = [b"catalog/identity/", key.as_bytes()].concat();
    loop {
        let transaction = engine.store.begin()?;
        let stored = transaction.snapshot().get(&key);
        let next = match stored.as_deref().map(<[u8; 8]>::try_from) {
            None => start,
            Some(Ok(bytes)) => i64::from_le_bytes(bytes),
            Some(Err(_)) => return Err(Error::new(codes::CORRUPT, "the counter of an identity column is damaged")),
        };
        let after = step.checked_mul(count).and_then(|all| next.checked_add(all)).ok_or_else(exhausted)?;
        transaction.put(&key, &after.to_le_bytes())?;
        match transaction.commit() {
            Ok(_) => return Ok(next),
            Err(error) if error.is(codes::CONFLICT) => {}
            Err(error) => return Err(error),
        }
    }
}

fn exhausted() -> Error {
    Error::new(codes::VALUE, "an identity column has no numbers left").with_sqlstate("2200H")
}
