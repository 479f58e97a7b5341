//! Conditions over a table's types, said over the smaller types in which the values lie: `a < 5.00` over a decimal of 128
//! bits is `a < 5.00` over one of 32. It gives up rather than say something else.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, Literal, NotExpr, in_list,
};

/// The condition over columns of these types, if there is one.
pub(super) fn translate(condition: &Arc<dyn PhysicalExpr>, lean: &Schema) -> Option<Arc<dyn PhysicalExpr>> {
    if let Some(not) = condition.downcast_ref::<NotExpr>() {
        return Some(Arc::new(NotExpr::new(translate(not.arg(), lean)?)));
    }
    if let Some(null) = condition.downcast_ref::<IsNullExpr>() {
        return is_column(null.arg()).then(|| Arc::clone(condition));
    }
    if let Some(null) = condition.downcast_ref::<IsNotNullExpr>() {
        return is_column(null.arg()).then(|| Arc::clone(condition));
    }
    if let Some(list) = condition.downcast_ref::<InListExpr>() {
        return translate_list(list, lean);
    }
    let binary = condition.downcast_ref::<BinaryExpr>()?;
    let (left, op, right) = (binary.left(), *binary.op(), binary.right());
    if matches!(op, Operator::And | Operator::Or) {
        return Some(Arc::new(BinaryExpr::new(translate(left, lean)?, op, translate(right, lean)?)));
    }
    if !matches!(op, Operator::Eq | Operator::NotEq | Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq) {
        return None;
    }
    if let Some(literal) = left.downcast_ref::<Literal>() {
        return compare(right, op.swap()?, literal.value(), lean);
    }
    if let Some(literal) = right.downcast_ref::<Literal>() {
        return compare(left, op, literal.value(), lean);
    }
    let (one, other) = (left.downcast_ref::<Column>()?, right.downcast_ref::<Column>()?);
    let same = lean.field(one.index()).data_type() == lean.field(other.index()).data_type();
    (same && !matches!(lean.field(one.index()).data_type(), DataType::Dictionary(..))).then(|| Arc::clone(condition))
}

fn is_column(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.downcast_ref::<Column>().is_some()
}

fn compare(
    column: &Arc<dyn PhysicalExpr>,
    op: Operator,
    value: &ScalarValue,
    lean: &Schema,
) -> Option<Arc<dyn PhysicalExpr>> {
    let kind = lean.field(column.downcast_ref::<Column>()?.index()).data_type();
    let (op, value) = match place(value, kind)? {
        Place::Inside(value) => (op, value),
        // Every value that is not null lies on one side.
        Place::Above(greatest) => match op {
            Operator::Lt | Operator::LtEq | Operator::NotEq => (Operator::LtEq, greatest),
            _ => (Operator::Gt, greatest),
        },
        Place::Below(least) => match op {
            Operator::Gt | Operator::GtEq | Operator::NotEq => (Operator::GtEq, least),
            _ => (Operator::Lt, least),
        },
    };
    Some(Arc::new(BinaryExpr::new(Arc::clone(column), op, Arc::new(Literal::new(value)))))
}

fn translate_list(list: &InListExpr, lean: &Schema) -> Option<Arc<dyn PhysicalExpr>> {
    let kind = lean.field(list.expr().downcast_ref::<Column>()?.index()).data_type();
    let mut values: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    for item in list.list() {
        match place(item.downcast_ref::<Literal>()?.value(), kind)? {
            Place::Inside(value) => values.push(Arc::new(Literal::new(value))),
            Place::Above(_) | Place::Below(_) => {}
        }
    }
    if values.is_empty() {
        return None;
    }
    in_list(Arc::clone(list.expr()), values, &list.negated(), lean).ok()
}

/// Where a value lies to those of a smaller type.
enum Place {
    Inside(ScalarValue),
    /// Above all; with the greatest of them.
    Above(ScalarValue),
    /// Below all; with the least of them.
    Below(ScalarValue),
}

fn place(value: &ScalarValue, kind: &DataType) -> Option<Place> {
    use ScalarValue as S;
    if value.data_type() == *kind {
        return (!value.is_null()).then(|| Place::Inside(value.clone()));
    }
    let number: i128 = match (value, kind) {
        (S::Decimal128(Some(value), _, scale), DataType::Decimal32(_, of) | DataType::Decimal64(_, of)) => {
            if scale != of {
                return None;
            }
            *value
        }
        (S::Int64(Some(value)), _) => (*value).into(),
        (S::Int32(Some(value)), _) => (*value).into(),
        (S::Int16(Some(value)), _) => (*value).into(),
        (S::UInt8(Some(value)), _) => (*value).into(),
        (S::UInt16(Some(value)), _) => (*value).into(),
        (S::UInt32(Some(value)), _) => (*value).into(),
        (S::UInt64(Some(value)), _) => (*value).into(),
        _ => return None,
    };
    let scalar = |number: i128| match kind {
        DataType::Int8 => i8::try_from(number).ok().map(|value| S::Int8(Some(value))),
        DataType::Int16 => i16::try_from(number).ok().map(|value| S::Int16(Some(value))),
        DataType::Int32 => i32::try_from(number).ok().map(|value| S::Int32(Some(value))),
        DataType::Decimal32(precision, scale) => {
            i32::try_from(number).ok().map(|value| S::Decimal32(Some(value), *precision, *scale))
        }
        DataType::Decimal64(precision, scale) => {
            i64::try_from(number).ok().map(|value| S::Decimal64(Some(value), *precision, *scale))
        }
        _ => None,
    };
    let (least, greatest): (i128, i128) = match kind {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 | DataType::Decimal32(..) => (i32::MIN.into(), i32::MAX.into()),
        DataType::Decimal64(..) => (i64::MIN.into(), i64::MAX.into()),
        _ => return None,
    };
    Some(match number {
        number if number > greatest => Place::Above(scalar(greatest)?),
        number if number < least => Place::Below(scalar(least)?),
        number => Place::Inside(scalar(number)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch};
    use arrow::compute::{CastOptions, cast_with_options};
    use arrow::datatypes::Field;
    use datafusion::physical_expr::expressions::{binary, col, lit};
    use proptest::prelude::*;

    const OPERATORS: [Operator; 6] =
        [Operator::Eq, Operator::NotEq, Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq];

    /// A condition in the table's types on wide values, and its translation on narrow ones.
    fn answers(wide: ArrayRef, narrow: &DataType, condition: impl Fn(&Schema) -> Arc<dyn PhysicalExpr>) -> bool {
        let exact = CastOptions { safe: false, ..CastOptions::default() };
        let lean = cast_with_options(&wide, narrow, &exact).expect("narrow");
        let schema = |column: &ArrayRef| Arc::new(Schema::new(vec![Field::new("a", column.data_type().clone(), true)]));
        let condition = condition(&schema(&wide));
        let answer = |condition: &Arc<dyn PhysicalExpr>, column: ArrayRef| {
            let batch = RecordBatch::try_new(schema(&column), vec![column]).expect("a batch");
            let mask = condition.evaluate(&batch).expect("evaluates").into_array(batch.num_rows()).expect("an array");
            // Null and false are the same to a filter.
            mask.as_boolean().iter().map(|row| row == Some(true)).collect::<Vec<_>>()
        };
        let Some(translated) = translate(&condition, &schema(&lean)) else { return false };
        assert_eq!(answer(&translated, lean), answer(&condition, wide), "{condition} as {translated}");
        true
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_translated_condition_lets_the_same_rows_pass(
            values in proptest::collection::vec(proptest::option::weighted(0.9, -128..128_i64), 1..40),
            bound in prop_oneof![-130..130_i64, any::<i64>()],
            other in any::<i64>(),
            op in 0..6_usize,
        ) {
            let numbers: ArrayRef = Arc::new(Int64Array::from(values.clone()));
            let decimals: ArrayRef = Arc::new(
                values.iter().map(|value| value.map(i128::from)).collect::<Decimal128Array>().with_data_type(DataType::Decimal128(20, 2)),
            );
            let decimal = |value: i64| lit(ScalarValue::Decimal128(Some(value.into()), 20, 2));
            let compare = |schema: &Schema, value| binary(col("a", schema).expect("a"), OPERATORS[op], value, schema).expect("compares");
            for narrow in [DataType::Int8, DataType::Int16, DataType::Int32] {
                prop_assert!(answers(Arc::clone(&numbers), &narrow, |schema| compare(schema, lit(bound))));
                let not = |schema: &Schema| Arc::new(NotExpr::new(compare(schema, lit(bound)))) as Arc<dyn PhysicalExpr>;
                prop_assert!(answers(Arc::clone(&numbers), &narrow, not));
                let list = |negated: bool| move |schema: &Schema| {
                    let items = [0, bound, other].map(lit).to_vec();
                    in_list(col("a", schema).expect("a"), items, &negated, schema).expect("a list")
                };
                prop_assert!(answers(Arc::clone(&numbers), &narrow, list(false)));
                prop_assert!(answers(Arc::clone(&numbers), &narrow, list(true)));
            }
            for narrow in [DataType::Decimal32(9, 2), DataType::Decimal64(18, 2)] {
                prop_assert!(answers(Arc::clone(&decimals), &narrow, |schema| compare(schema, decimal(bound))));
                let both = |schema: &Schema| {
                    binary(compare(schema, decimal(bound)), Operator::Or, compare(schema, decimal(other)), schema).expect("or")
                };
                prop_assert!(answers(Arc::clone(&decimals), &narrow, both));
            }
        }
    }

    #[test]
    fn what_cannot_be_said_is_not_said() {
        let lean = Schema::new(vec![Field::new("a", DataType::Decimal32(9, 2), true)]);
        let wide = Schema::new(vec![Field::new("a", DataType::Decimal128(15, 2), true)]);
        let scale = lit(ScalarValue::Decimal128(Some(5), 15, 3));
        let column = col("a", &wide).expect("a");
        let condition: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(Arc::clone(&column), Operator::Lt, scale));
        assert!(translate(&condition, &lean).is_none());
        let null: Arc<dyn PhysicalExpr> =
            Arc::new(BinaryExpr::new(column, Operator::Lt, lit(ScalarValue::Decimal128(None, 15, 2))));
        assert!(translate(&null, &lean).is_none());
    }
}
