//! How values lie in a file: each column in the smallest Arrow type that carries its values exactly, so that the file is
//! small and a scan touches few bytes. Text is plain or, where few words repeat, a dictionary; integers and decimals get
//! the fewest bits that hold them. It refuses to lose anything: what comes back has the type and the values that went in.
//!
//! There are three forms of a column. *Stored* is what the file has, readable by every Arrow tool. *Lean* is what a scan
//! works on in memory: as stored, but text as views. *Exposed* is the table's own type. The file's schema names, in the
//! metadata of a field, the exposed type where it differs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryViewArray, DictionaryArray, PrimitiveArray, StringArray,
    StringViewArray,
};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    ArrowDictionaryKeyType, ArrowNativeType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Field, Int8Type,
    Int16Type, Int32Type, Int64Type, Schema, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::part::from_arrow;
use super::statistics::ColumnStatistics;
use crate::error::Result;

/// The key of a field's metadata under which its exposed type stands.
pub(crate) const EXPOSED: &str = "kodiak.type";

/// More different words than this are no dictionary.
const WORDS_MAX: usize = 4096;

/// A dictionary pays off when a word stands in so many rows on average.
const ROWS_PER_WORD: usize = 8;

/// Digits that fit.
const DECIMAL32_DIGITS: u8 = 9;
const DECIMAL64_DIGITS: u8 = 18;

/// How one column of a file is stored.
#[derive(Debug)]
pub(crate) enum Shape {
    /// In this type.
    Plain(DataType),
    /// As codes of these words.
    Words(Arc<Words>),
}

/// The words of a dictionary and their codes.
#[derive(Debug)]
pub(crate) struct Words {
    values: ArrayRef,
    codes: HashMap<Box<[u8]>, i16, BuildHasherDefault<Mix>>,
}

impl Shape {
    /// The best shape for these values.
    pub(crate) fn of(column: &ArrayRef, facts: &ColumnStatistics) -> Self {
        let plain = narrow(column.data_type(), facts);
        match (column.data_type(), Words::collect(column)) {
            (DataType::Utf8View, Some(words)) => Self::Words(Arc::new(words)),
            _ => Self::Plain(plain),
        }
    }

    /// The values in this shape; `None` if it does not hold them.
    pub(crate) fn store(&self, column: &ArrayRef, facts: &ColumnStatistics) -> Result<Option<ArrayRef>> {
        match self {
            Self::Words(words) => Ok(words.encode(column)),
            Self::Plain(kind) if kind == column.data_type() => Ok(Some(column.clone())),
            Self::Plain(kind) => {
                let least = narrow(column.data_type(), facts);
                let fits = bits(kind).zip(bits(&least)).map_or(*kind == least, |(has, needs)| needs <= has);
                let options = CastOptions { safe: false, ..CastOptions::default() };
                let stored = fits.then(|| cast_with_options(column, kind, &options).map_err(from_arrow));
                stored.transpose()
            }
        }
    }

    fn kind(&self) -> DataType {
        match self {
            Self::Plain(kind) => kind.clone(),
            Self::Words(words) if words.values.len() <= i8::MAX as usize => {
                DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
            }
            Self::Words(_) => DataType::Dictionary(Box::new(DataType::Int16), Box::new(DataType::Utf8)),
        }
    }
}

/// The schema of a file whose columns have these shapes.
pub(crate) fn stored_schema(exposed: &Schema, shapes: &[Shape]) -> Schema {
    let fields = exposed.fields().iter().zip(shapes).map(|(field, shape)| {
        let kind = shape.kind();
        if kind == *field.data_type() {
            return Field::clone(field);
        }
        let mut metadata = field.metadata().clone();
        metadata.insert(EXPOSED.to_owned(), field.data_type().to_string());
        Field::new(field.name(), kind, field.is_nullable()).with_metadata(metadata)
    });
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), exposed.metadata().clone())
}

/// The type in which a file's column is exposed.
pub(crate) fn exposed_type(field: &Field) -> Result<DataType, String> {
    let Some(name) = field.metadata().get(EXPOSED) else { return Ok(field.data_type().clone()) };
    let kind = DataType::from_str(name).map_err(|_| format!("a column has the unknown type `{name}`"))?;
    let known = match (field.data_type(), &kind) {
        (DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale), DataType::Decimal128(_, exposed)) => {
            scale == exposed
        }
        (stored, exposed) if exposed.is_integer() => stored.is_signed_integer() && bits(stored) <= bits(exposed),
        (DataType::Utf8, DataType::Utf8View) | (DataType::Binary, DataType::BinaryView) => true,
        (DataType::Dictionary(key, words), DataType::Utf8View) => {
            matches!(**key, DataType::Int8 | DataType::Int16) && **words == DataType::Utf8
        }
        _ => false,
    };
    if known { Ok(kind) } else { Err(format!("a column of type {} cannot be {kind}", field.data_type())) }
}

/// Stored values as a scan works on them: text as views that share the bytes.
pub(crate) fn lean(stored: ArrayRef, exposed: &DataType) -> ArrayRef {
    match (stored.data_type(), exposed) {
        (DataType::Utf8, DataType::Utf8View) => Arc::new(StringViewArray::from(stored.as_string::<i32>())),
        (DataType::Binary, DataType::BinaryView) => Arc::new(BinaryViewArray::from(stored.as_binary::<i32>())),
        (DataType::Dictionary(..), DataType::Utf8View) => {
            let dictionary = stored.as_any_dictionary();
            let words: ArrayRef = Arc::new(StringViewArray::from(dictionary.values().as_string::<i32>()));
            dictionary.with_values(words)
        }
        _ => stored,
    }
}

/// Values as [`super::Part::lean`] gives them, or some of them, in the column's own type.
///
/// # Errors
/// `INTERNAL` if they are not of that type.
pub fn expose(lean: &ArrayRef, exposed: &DataType) -> Result<ArrayRef> {
    use DataType as D;
    if lean.data_type() == exposed {
        return Ok(lean.clone());
    }
    Ok(match (lean.data_type(), exposed) {
        (D::Dictionary(key, _), D::Utf8View) if **key == D::Int8 => words::<Int8Type>(lean)?,
        (D::Dictionary(key, _), D::Utf8View) if **key == D::Int16 => words::<Int16Type>(lean)?,
        (D::Decimal32(..), D::Decimal128(..)) => widen::<Decimal32Type, Decimal128Type>(lean, exposed, i128::from),
        (D::Decimal64(..), D::Decimal128(..)) => widen::<Decimal64Type, Decimal128Type>(lean, exposed, i128::from),
        (D::Int8, D::Int64) => widen::<Int8Type, Int64Type>(lean, exposed, i64::from),
        (D::Int16, D::Int64) => widen::<Int16Type, Int64Type>(lean, exposed, i64::from),
        (D::Int32, D::Int64) => widen::<Int32Type, Int64Type>(lean, exposed, i64::from),
        (D::Int8, D::Int32) => widen::<Int8Type, Int32Type>(lean, exposed, i32::from),
        (D::Int16, D::Int32) => widen::<Int16Type, Int32Type>(lean, exposed, i32::from),
        _ => cast(lean, exposed).map_err(from_arrow)?,
    })
}

/// Each row's view of its word: the words' bytes are shared.
fn words<K: ArrowDictionaryKeyType>(lean: &ArrayRef) -> Result<ArrayRef> {
    let dictionary: &DictionaryArray<K> = lean.as_dictionary();
    let values = dictionary.values().as_string_view();
    if values.null_count() > 0 {
        return cast(lean, &DataType::Utf8View).map_err(from_arrow);
    }
    let taken = arrow::compute::take(values, dictionary.keys(), None).map_err(from_arrow)?;
    Ok(taken)
}

fn widen<F, T>(lean: &ArrayRef, exposed: &DataType, wide: impl Fn(F::Native) -> T::Native) -> ArrayRef
where
    F: ArrowPrimitiveType,
    T: ArrowPrimitiveType,
{
    let values: PrimitiveArray<T> = lean.as_primitive::<F>().unary(wide);
    Arc::new(values.with_data_type(exposed.clone()))
}

/// The narrowest type for values within these bounds; numbers without bounds are all null, and fit everywhere.
fn narrow(exposed: &DataType, facts: &ColumnStatistics) -> DataType {
    use DataType as D;
    match exposed {
        D::Int16 | D::Int32 | D::Int64 | D::UInt8 | D::UInt16 | D::UInt32 | D::UInt64 => {
            let (min, max) = integer(&facts.min).zip(integer(&facts.max)).unwrap_or_default();
            let fits = |low: i64, high: i64| i128::from(low) <= min && max <= i128::from(high);
            let narrow = if fits(i8::MIN.into(), i8::MAX.into()) {
                D::Int8
            } else if fits(i16::MIN.into(), i16::MAX.into()) {
                D::Int16
            } else if fits(i32::MIN.into(), i32::MAX.into()) {
                D::Int32
            } else {
                D::Int64
            };
            if bits(&narrow) < bits(exposed) { narrow } else { exposed.clone() }
        }
        D::Decimal128(precision, scale) => {
            let (min, max) = integer(&facts.min).zip(integer(&facts.max)).unwrap_or_default();
            let size = min.unsigned_abs().max(max.unsigned_abs());
            let fits = |digits: u8| (0..=digits as i8).contains(scale) && size < 10_u128.pow(digits.into());
            if fits(DECIMAL32_DIGITS) {
                D::Decimal32(DECIMAL32_DIGITS.min(*precision), *scale)
            } else if fits(DECIMAL64_DIGITS) {
                D::Decimal64(DECIMAL64_DIGITS.min(*precision), *scale)
            } else {
                exposed.clone()
            }
        }
        // Offsets and bytes are smaller than views, and more tools read them.
        D::Utf8View if facts.bytes <= i32::MAX as u64 => D::Utf8,
        D::BinaryView if facts.bytes <= i32::MAX as u64 => D::Binary,
        _ => exposed.clone(),
    }
}

/// The only value of an array of one integer or decimal.
fn integer(bound: &Option<ArrayRef>) -> Option<i128> {
    let bound = bound.as_ref()?;
    match bound.data_type() {
        DataType::UInt8 => Some(bound.as_primitive::<UInt8Type>().value(0).into()),
        DataType::UInt16 => Some(bound.as_primitive::<UInt16Type>().value(0).into()),
        DataType::UInt32 => Some(bound.as_primitive::<UInt32Type>().value(0).into()),
        DataType::UInt64 => Some(bound.as_primitive::<UInt64Type>().value(0).into()),
        DataType::Int8 => Some(bound.as_primitive::<Int8Type>().value(0).into()),
        DataType::Int16 => Some(bound.as_primitive::<Int16Type>().value(0).into()),
        DataType::Int32 => Some(bound.as_primitive::<Int32Type>().value(0).into()),
        DataType::Int64 => Some(bound.as_primitive::<Int64Type>().value(0).into()),
        DataType::Decimal128(..) => Some(bound.as_primitive::<Decimal128Type>().value(0)),
        _ => None,
    }
}

/// The width of numbers that may be narrowed; wider ones come after.
fn bits(kind: &DataType) -> Option<u32> {
    use DataType as D;
    Some(match kind {
        D::Int8 | D::UInt8 => 8,
        D::Int16 | D::UInt16 => 16,
        D::Int32 | D::UInt32 | D::Decimal32(..) => 32,
        D::Int64 | D::UInt64 | D::Decimal64(..) => 64,
        D::Decimal128(..) => 128,
        _ => return None,
    })
}

impl Words {
    /// The different words of a column, if they are few.
    fn collect(column: &ArrayRef) -> Option<Self> {
        let texts = column.as_string_view_opt()?;
        let most = WORDS_MAX.min(texts.len() / ROWS_PER_WORD);
        let mut codes: HashMap<Box<[u8]>, i16, BuildHasherDefault<Mix>> = HashMap::default();
        let mut values: Vec<&str> = Vec::new();
        let mut last = None;
        for text in texts.iter().flatten() {
            if last == Some(text) {
                continue;
            }
            last = Some(text);
            if !codes.contains_key(text.as_bytes()) {
                if values.len() == most {
                    return None;
                }
                codes.insert(text.as_bytes().into(), i16::try_from(values.len()).ok()?);
                values.push(text);
            }
        }
        // Without a word there is nothing to be said for a dictionary.
        (!values.is_empty()).then(|| Self { values: Arc::new(StringArray::from(values)), codes })
    }

    fn encode(&self, column: &ArrayRef) -> Option<ArrayRef> {
        if self.values.len() <= i8::MAX as usize {
            self.codes::<Int8Type>(column)
        } else {
            self.codes::<Int16Type>(column)
        }
    }

    fn codes<K: ArrowDictionaryKeyType>(&self, column: &ArrayRef) -> Option<ArrayRef> {
        let texts = column.as_string_view_opt()?;
        // A short word's view is its bytes; looking one up among those seen lately is quicker than hashing it.
        let mut seen: HashMap<u128, i16, BuildHasherDefault<Mix>> = HashMap::default();
        let mut codes: Vec<K::Native> = Vec::with_capacity(texts.len());
        for (row, view) in texts.views().iter().enumerate() {
            let is_short = *view as u32 <= 12;
            let code = if texts.is_null(row) {
                Some(0)
            } else if is_short {
                match seen.entry(*view) {
                    Entry::Occupied(known) => Some(*known.get()),
                    Entry::Vacant(place) => {
                        let code = self.codes.get(texts.value(row).as_bytes()).copied();
                        code.inspect(|code| {
                            place.insert(*code);
                        })
                    }
                }
            } else {
                self.codes.get(texts.value(row).as_bytes()).copied()
            };
            codes.push(K::Native::from_usize(usize::try_from(code?).ok()?)?);
        }
        let keys = PrimitiveArray::<K>::new(codes.into(), texts.nulls().cloned());
        DictionaryArray::try_new(keys, self.values.clone()).ok().map(|array| Arc::new(array) as ArrayRef)
    }
}

/// A quick hash for values that nobody chose to collide in a way that matters: a collision costs time, never rows.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mix(u64);

impl Mix {
    fn add(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93_u128;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        // The high bits choose a register of a sketch and must depend on all others.
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xe703_7ed1_a0b4_28db);
        mixed ^ (mixed >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(last));
        }
        self.add(bytes.len() as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_u128(&mut self, value: u128) {
        self.add(value as u64);
        self.add((value >> 64) as u64);
    }
}
