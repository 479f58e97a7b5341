//! One condition of a scan, and the cheapest way to evaluate it on each part: once for each word of a dictionary, on
//! numbers in the small type in which they lie, or on the table's own type. It refuses to evaluate what may fail on a row
//! that another condition has ruled out.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, Int8Type, Int16Type, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal, NotExpr,
};
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr_common::physical_expr::snapshot_generation;

use super::lean;

/// A condition that tightens while the query runs is left out when it lets through more than this share of the rows.
const IDLE_SHARE: f64 = 0.8;
/// After so many rows a condition's share is known well enough.
const KNOWN_ROWS: usize = 32_768;

/// A condition is evaluated on all rows of a batch while at least one in so many is left.
const CHEAP: usize = 64;
const DEAR: usize = 4;

/// One condition; all of a scan's conditions must hold.
#[derive(Clone)]
pub(super) struct Conjunct {
    /// Columns of the table that it looks at.
    pub(super) columns: Vec<usize>,
    /// Over these columns in their own types.
    exposed: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    /// Whether it may be left out, because somebody else evaluates it too.
    is_optional: bool,
    /// Whether no row makes it fail.
    pub(super) is_safe: bool,
    cost: f64,
    /// Whether it only compares numbers, in the type in which they lie on the current part.
    is_cheap: bool,
    generation: u64,
    seen: usize,
    passed: usize,
    way: Way,
}

/// How it is evaluated on the current part.
#[derive(Clone)]
enum Way {
    Exposed,
    /// On columns as they lie in memory.
    Lean(Arc<dyn PhysicalExpr>, SchemaRef),
    /// Whether each word passes, and whether null does.
    Words(Arc<(Vec<bool>, bool)>),
}

impl Conjunct {
    /// A condition over the columns of the table.
    pub(super) fn new(condition: &Arc<dyn PhysicalExpr>, table: &SchemaRef, is_optional: bool) -> Result<Self> {
        let columns: BTreeSet<usize> = collect_columns(condition).iter().map(Column::index).collect();
        let columns: Vec<usize> = columns.into_iter().collect();
        let schema = Arc::new(table.project(&columns)?);
        let exposed = reassign_expr_columns(Arc::clone(condition), &schema)?;
        let cost = if is_optional { 6.0 } else { columns.iter().map(|&column| cost(table.field(column))).sum() };
        let is_safe = is_optional || is_safe(condition);
        let generation = snapshot_generation(&exposed);
        Ok(Self {
            is_cheap: false,
            columns,
            exposed,
            schema,
            is_optional,
            is_safe,
            cost,
            generation,
            seen: 0,
            passed: 0,
            way: Way::Exposed,
        })
    }

    /// Chooses the way for a part, whose columns `lean` gives in the order of `columns`.
    pub(super) fn prepare(&mut self, lean: &[ArrayRef]) -> Result<()> {
        let generation = snapshot_generation(&self.exposed);
        if generation != self.generation {
            (self.generation, self.seen, self.passed) = (generation, 0, 0);
        }
        self.way = match lean {
            [words] if self.is_safe && !self.is_optional && matches!(words.data_type(), DataType::Dictionary(..)) => {
                self.of_words(words)?
            }
            _ => {
                let differs =
                    lean.iter().zip(self.schema.fields()).any(|(lean, field)| lean.data_type() != field.data_type());
                self.is_cheap = !differs
                    && !self.is_optional
                    && lean.iter().all(|lean| lean.data_type().primitive_width().is_some());
                let stored = || {
                    let fields = self.schema.fields().iter().zip(lean);
                    let fields =
                        fields.map(|(field, lean)| Field::clone(field).with_data_type(lean.data_type().clone()));
                    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
                };
                let schema = (differs && self.is_safe && !self.is_optional).then(stored);
                match schema.and_then(|schema| Some((lean::translate(&self.exposed, &schema)?, schema))) {
                    Some((condition, schema)) => Way::Lean(condition, schema),
                    None => Way::Exposed,
                }
            }
        };
        Ok(())
    }

    fn of_words(&self, column: &ArrayRef) -> Result<Way> {
        let words = column.as_any_dictionary().values();
        let kind = self.schema.field(0).data_type();
        let with_null = concat(&[words, &new_null_array(words.data_type(), 1)])?;
        let with_null = if with_null.data_type() == kind { with_null } else { arrow::compute::cast(&with_null, kind)? };
        let passes = self.mask(&self.exposed, &self.schema, vec![with_null])?;
        let mut passes: Vec<bool> = passes.iter().collect();
        let null = passes.pop().unwrap_or_default();
        Ok(Way::Words(Arc::new((passes, null))))
    }

    /// Whether it is not worth evaluating.
    pub(super) fn is_idle(&self) -> bool {
        self.is_optional && self.seen > KNOWN_ROWS && self.passed as f64 > self.seen as f64 * IDLE_SHARE
    }

    /// Whether it is better evaluated on all rows of a batch, of which `left` are still in question: choosing those costs
    /// more than a comparison of numbers does, and less than one of texts.
    pub(super) fn is_better_on_all(&self, left: usize, rows: usize) -> bool {
        let worth = match &self.way {
            Way::Lean(..) | Way::Words(_) => CHEAP,
            Way::Exposed if self.is_cheap => CHEAP,
            Way::Exposed => DEAR,
        };
        self.is_safe && left * worth >= rows
    }

    /// What comes first: cheap ones that rule out much.
    pub(super) fn rank(&self) -> (bool, f64) {
        let share = if self.seen > KNOWN_ROWS { self.passed as f64 / self.seen as f64 } else { 0.5 };
        (!self.is_safe, self.cost / (1.02 - share))
    }

    /// Which rows pass. `column` gives the rows of a column of the table, exposed or as they lie in memory.
    pub(super) fn evaluate(
        &self,
        rows: usize,
        column: &mut dyn FnMut(usize, Form) -> Result<ArrayRef>,
    ) -> Result<BooleanBuffer> {
        let (condition, schema, form) = match &self.way {
            Way::Words(passes) => {
                let codes = column(self.columns[0], Form::Lean)?;
                return Ok(pick(&codes, passes));
            }
            Way::Lean(condition, schema) => (condition, schema, Form::Lean),
            Way::Exposed => (&self.exposed, &self.schema, Form::Exposed),
        };
        let arrays = self.columns.iter().map(|&of| column(of, form)).collect::<Result<Vec<_>>>()?;
        if arrays.is_empty() {
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let batch = RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?;
            return holds(condition, &batch);
        }
        self.mask(condition, schema, arrays)
    }

    fn mask(
        &self,
        condition: &Arc<dyn PhysicalExpr>,
        schema: &SchemaRef,
        arrays: Vec<ArrayRef>,
    ) -> Result<BooleanBuffer> {
        // A column that is never null in the table may be so here, for the null behind the words.
        let fields = schema.fields().iter().map(|field| Field::clone(field).with_nullable(true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        holds(condition, &RecordBatch::try_new(schema, arrays)?)
    }

    /// Learns how many rows it was asked for and how many passed.
    pub(super) fn learn(&mut self, seen: usize, passed: usize) {
        self.seen += seen;
        self.passed += passed;
    }
}

/// In which type a column is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it lies in memory.
    Lean,
    /// In the table's own type.
    Exposed,
}

fn holds(condition: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanBuffer> {
    let mask = condition.evaluate(batch)?.into_array(batch.num_rows())?;
    if mask.data_type().is_null() {
        return Ok(BooleanBuffer::new_unset(batch.num_rows()));
    }
    let mask: &BooleanArray = mask.as_boolean();
    Ok(if mask.null_count() > 0 { prep_null_mask_filter(mask).values().clone() } else { mask.values().clone() })
}

/// Looks every row's word up.
fn pick(column: &ArrayRef, (passes, null): &(Vec<bool>, bool)) -> BooleanBuffer {
    let of = |codes: &dyn Fn(usize) -> usize| match column.nulls() {
        None => BooleanBuffer::collect_bool(column.len(), |row| passes[codes(row)]),
        Some(nulls) => {
            BooleanBuffer::collect_bool(column.len(), |row| if nulls.is_null(row) { *null } else { passes[codes(row)] })
        }
    };
    match column.data_type() {
        DataType::Dictionary(key, _) if **key == DataType::Int8 => {
            let codes = column.as_dictionary::<Int8Type>().keys().values();
            of(&|row| codes[row] as usize)
        }
        DataType::Dictionary(key, _) if **key == DataType::Int16 => {
            let codes = column.as_dictionary::<Int16Type>().keys().values();
            of(&|row| codes[row] as usize)
        }
        _ => {
            let codes = column.as_any_dictionary().normalized_keys();
            of(&|row| codes[row])
        }
    }
}

/// Whether evaluating it cannot fail, whatever the values: comparisons and what combines them.
fn is_safe(condition: &Arc<dyn PhysicalExpr>) -> bool {
    let known = condition.downcast_ref::<Column>().is_some()
        || condition.downcast_ref::<Literal>().is_some()
        || condition.downcast_ref::<InListExpr>().is_some()
        || condition.downcast_ref::<IsNullExpr>().is_some()
        || condition.downcast_ref::<IsNotNullExpr>().is_some()
        || condition.downcast_ref::<LikeExpr>().is_some()
        || condition.downcast_ref::<NotExpr>().is_some()
        || condition.downcast_ref::<BinaryExpr>().is_some_and(|binary| {
            use Operator as O;
            matches!(
                binary.op(),
                O::Eq
                    | O::NotEq
                    | O::Lt
                    | O::LtEq
                    | O::Gt
                    | O::GtEq
                    | O::And
                    | O::Or
                    | O::IsDistinctFrom
                    | O::IsNotDistinctFrom
            )
        });
    known && condition.children().into_iter().all(is_safe)
}

fn cost(field: &Field) -> f64 {
    match field.data_type() {
        DataType::Utf8View | DataType::BinaryView | DataType::Utf8 | DataType::Binary => 8.0,
        DataType::Decimal128(..) => 2.0,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DictionaryArray, StringViewArray};
    use arrow::datatypes::ArrowDictionaryKeyType;
    use datafusion::common::ScalarValue;
    use datafusion::physical_expr::expressions::{binary, col, in_list, like, lit};

    fn text(text: &str) -> Arc<dyn PhysicalExpr> {
        lit(ScalarValue::Utf8View(Some(text.to_owned())))
    }

    fn of_codes<K: ArrowDictionaryKeyType>(rows: &[Option<&str>]) -> ArrayRef {
        let words: DictionaryArray<K> = rows.iter().copied().collect();
        let values: ArrayRef = Arc::new(StringViewArray::from_iter(words.values().as_string::<i32>().iter()));
        Arc::new(words.with_values(values))
    }

    #[test]
    fn words_pass_as_the_texts_themselves_would() {
        let rows = [Some("AIR"), None, Some(""), Some("MAIL"), Some("AIR REG"), Some("AIR"), Some("é")];
        let plain: ArrayRef = Arc::new(StringViewArray::from_iter(rows));
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8View, true)]));
        let a = || col("a", &schema).expect("a");
        let conditions: Vec<Arc<dyn PhysicalExpr>> = vec![
            binary(a(), Operator::Eq, text("AIR"), &schema).expect("equal"),
            binary(a(), Operator::NotEq, text("AIR"), &schema).expect("not equal"),
            binary(a(), Operator::GtEq, text("B"), &schema).expect("not less"),
            binary(a(), Operator::IsDistinctFrom, text("AIR"), &schema).expect("distinct"),
            like(false, false, a(), text("AIR%"), &schema).expect("like"),
            like(true, false, a(), text("%I%"), &schema).expect("not like"),
            in_list(a(), vec![text("MAIL"), text("")], &false, &schema).expect("in"),
            in_list(a(), vec![text("MAIL"), text("")], &true, &schema).expect("not in"),
            Arc::new(IsNullExpr::new(a())),
            Arc::new(IsNotNullExpr::new(a())),
        ];
        for condition in conditions {
            let mut conjunct = Conjunct::new(&condition, &schema, false).expect("a conjunct");
            assert!(conjunct.is_safe, "{condition}");
            let mut found = Vec::new();
            for lean in [Arc::clone(&plain), of_codes::<Int8Type>(&rows), of_codes::<Int16Type>(&rows)] {
                conjunct.prepare(std::slice::from_ref(&lean)).expect("prepared");
                let is_dictionary = matches!(lean.data_type(), DataType::Dictionary(..));
                assert_eq!(matches!(conjunct.way, Way::Words(_)), is_dictionary);
                let mask = conjunct.evaluate(rows.len(), &mut |_, _| Ok(Arc::clone(&lean))).expect("evaluates");
                found.push(mask.iter().collect::<Vec<bool>>());
            }
            assert!(found[0] == found[1] && found[0] == found[2], "{condition}: {found:?}");
        }
    }

    #[test]
    fn what_may_fail_is_not_safe() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let a = || col("a", &schema).expect("a");
        let quotient = binary(lit(6_i64), Operator::Divide, a(), &schema).expect("divides");
        let condition = binary(quotient, Operator::Gt, lit(1_i64), &schema).expect("compares");
        assert!(!Conjunct::new(&condition, &schema, false).expect("a conjunct").is_safe);
    }
}
