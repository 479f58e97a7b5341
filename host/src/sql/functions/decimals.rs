//! Sums, differences and products of decimals that are small enough for plain arithmetic, which nearly all are: 64 bits
//! each. The engine's own kernels ask for every value whether 128 bits still hold the result; here that is asked once for
//! a batch, and they do the rest.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, Decimal128Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{DataType, Decimal128Type, DecimalType};
use arrow::error::ArrowError;
use datafusion::logical_expr::Operator;

/// Numbers below two to the power of this are exact, and so are their sums.
const BITS_MAX: u32 = 126;

/// The result of an operator on two decimals, as the engine's own kernels would give it.
pub(super) fn compute(op: Operator, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    if let Some(result) = exact(op, left, right) {
        return Ok(result);
    }
    match op {
        Operator::Plus => numeric::add(left, right),
        Operator::Minus => numeric::sub(left, right),
        _ => numeric::mul(left, right),
    }
}

/// One side: its values, of which there is one for all rows if it is a constant.
struct Side<'a> {
    values: &'a [i128],
    nulls: Option<&'a NullBuffer>,
    is_constant: bool,
    precision: u8,
    scale: i8,
    /// How many bits the greatest value has.
    bits: u32,
}

impl<'a> Side<'a> {
    fn new(array: &'a dyn Array, is_constant: bool) -> Option<Self> {
        let DataType::Decimal128(precision, scale) = *array.data_type() else { return None };
        let values = array.as_primitive_opt::<Decimal128Type>()?.values();
        let all = values.iter().fold(0, |all, value| all | (value ^ (value >> 127)));
        let bits = i128::BITS - all.leading_zeros();
        Some(Self { values, nulls: array.nulls(), is_constant, precision, scale, bits })
    }
}

fn exact(op: Operator, left: &dyn Datum, right: &dyn Datum) -> Option<ArrayRef> {
    let ((left, left_constant), (right, right_constant)) = (left.get(), right.get());
    let (left, right) = (Side::new(left, left_constant)?, Side::new(right, right_constant)?);
    if left.is_constant && right.is_constant || (left.bits.max(right.bits) >= i64::BITS) {
        return None;
    }
    if [&left, &right].iter().any(|side| side.is_constant && side.nulls.is_some_and(|nulls| nulls.null_count() > 0)) {
        return None;
    }
    let (values, precision, scale) = match op {
        Operator::Multiply => {
            let scale = left.scale.checked_add(right.scale).filter(|scale| *scale <= Decimal128Type::MAX_SCALE)?;
            let precision = left.precision.saturating_add(right.precision + 1).min(Decimal128Type::MAX_PRECISION);
            // Both have fewer than 64 bits, so that the product is one instruction.
            (zip(&left, &right, |one, other| i128::from(one as i64) * i128::from(other as i64)), precision, scale)
        }
        Operator::Plus | Operator::Minus => {
            let scale = left.scale.max(right.scale);
            let whole = (i16::from(left.precision) - i16::from(left.scale))
                .max(i16::from(right.precision) - i16::from(right.scale));
            let precision = u8::try_from(i16::from(scale) + whole + 1).ok()?.min(Decimal128Type::MAX_PRECISION);
            let factor = |side: &Side<'_>| {
                let factor = 10_i128.checked_pow(u32::try_from(i16::from(scale) - i16::from(side.scale)).ok()?)?;
                let bits = i128::BITS - factor.leading_zeros();
                (bits + side.bits < BITS_MAX).then_some(factor)
            };
            let (of_left, of_right) = (factor(&left)?, factor(&right)?);
            let values = match (op, of_left, of_right) {
                (Operator::Plus, 1, 1) => zip(&left, &right, |one, other| one + other),
                (Operator::Minus, 1, 1) => zip(&left, &right, |one, other| one - other),
                (Operator::Plus, ..) => zip(&left, &right, |one, other| one * of_left + other * of_right),
                _ => zip(&left, &right, |one, other| one * of_left - other * of_right),
            };
            (values, precision, scale)
        }
        _ => return None,
    };
    let nulls = NullBuffer::union(left.nulls.filter(|_| !left.is_constant), right.nulls.filter(|_| !right.is_constant));
    let array =
        Decimal128Array::try_new(values, nulls).and_then(|array| array.with_precision_and_scale(precision, scale));
    Some(Arc::new(array.ok()?))
}

fn zip(left: &Side<'_>, right: &Side<'_>, of: impl Fn(i128, i128) -> i128) -> ScalarBuffer<i128> {
    let values: Vec<i128> = match (left.is_constant, right.is_constant) {
        (true, _) => {
            let one = left.values[0];
            right.values.iter().map(|other| of(one, *other)).collect()
        }
        (_, true) => {
            let other = right.values[0];
            left.values.iter().map(|one| of(*one, other)).collect()
        }
        _ => left.values.iter().zip(right.values).map(|(one, other)| of(*one, *other)).collect(),
    };
    values.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Scalar;
    use proptest::prelude::*;

    fn decimals(values: &[Option<i128>], scale: i8) -> Decimal128Array {
        values.iter().copied().collect::<Decimal128Array>().with_data_type(DataType::Decimal128(38, scale))
    }

    fn agree(op: Operator, left: &dyn Datum, right: &dyn Datum) {
        let engine = match op {
            Operator::Plus => numeric::add(left, right),
            Operator::Minus => numeric::sub(left, right),
            _ => numeric::mul(left, right),
        };
        match (compute(op, left, right), engine) {
            (Ok(ours), Ok(theirs)) => {
                assert_eq!(ours.data_type(), theirs.data_type());
                assert_eq!(&ours, &theirs);
            }
            (ours, theirs) => assert!(ours.is_err() && theirs.is_err(), "{ours:?} and {theirs:?}"),
        }
    }

    fn value() -> impl Strategy<Value = Option<i128>> {
        let edges = [i64::MAX.into(), i64::MIN.into(), i128::from(i64::MAX) + 1, i128::MAX / 10, i128::MIN / 10, 0, -1];
        prop_oneof![
            1 => Just(None),
            6 => (-100_000_000..100_000_000_i128).prop_map(Some),
            2 => any::<i64>().prop_map(|value| Some(value.into())),
            1 => proptest::sample::select(edges.to_vec()).prop_map(Some),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn results_are_those_of_the_engine(
            pairs in proptest::collection::vec((value(), value()), 1..20),
            scales in (0..20_i8, 0..20_i8),
        ) {
            let (left, right): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let (left, right) = (decimals(&left, scales.0), decimals(&right, scales.1));
            for op in [Operator::Plus, Operator::Minus, Operator::Multiply] {
                agree(op, &left, &right);
                agree(op, &Scalar::new(left.slice(0, 1)), &right);
                agree(op, &left, &Scalar::new(right.slice(0, 1)));
            }
        }
    }
}
