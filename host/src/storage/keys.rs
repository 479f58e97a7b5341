//! Keys of a table: columns whose values are encoded so that they can be compared as words or bytes, what is known of a
//! part's keys (bounds and order), and, made when first needed, its rows in their order. It refuses to look anything up
//! in a table, which `finder` does, and to decide what a violation means for the caller.
//!
//! A row in which any column of a unique key is null has no key: it is never in the way of another. Floats are compared
//! by value: zero has one sign, and there is one NaN.

use std::cmp::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, make_array, make_comparator};
use arrow::buffer::NullBuffer;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::array_value_to_string;

use super::index::FileRun;
use super::part::{Part, from_arrow};
use super::run::{Run, Sortable, Words, canonical32, canonical64};
use super::spec::Key;
use crate::error::{Error, Result, codes};

/// Compares a row of one column list with a row of another.
pub(crate) type Comparator = Box<dyn Fn(usize, usize) -> Ordering + Send + Sync>;

/// A key of a table, ready to encode values.
#[derive(Debug)]
pub(crate) struct KeyEncoder {
    pub(crate) key: Key,
    types: Vec<DataType>,
    converter: RowConverter,
    /// Whether values are words: one column, of a type of at most 64 bits.
    pub(crate) is_word: bool,
}

impl KeyEncoder {
    pub(crate) fn new(schema: &Schema, key: &Key) -> Result<Self> {
        let types: Vec<_> = key.columns.iter().map(|&column| schema.field(column).data_type().clone()).collect();
        Self::of_types(key, types)
    }

    fn of_types(key: &Key, types: Vec<DataType>) -> Result<Self> {
        let fields = types.iter().cloned().map(SortField::new);
        let converter = RowConverter::new(fields.collect()).map_err(from_arrow)?;
        let is_word = types.len() == 1 && Words::has(&types[0]);
        Ok(Self { key: key.clone(), types, converter, is_word })
    }

    /// The encoder of the key's first columns.
    pub(crate) fn prefix(&self, columns: usize) -> Result<Self> {
        let key = Key { columns: self.key.columns[..columns].to_vec(), ..self.key.clone() };
        Self::of_types(&key, self.types[..columns].to_vec())
    }

    /// The type of a column of the key.
    pub(crate) fn kind(&self, column: usize) -> &DataType {
        &self.types[column]
    }

    /// Encodes values given in the order of the key's columns.
    pub(crate) fn encode(&self, values: Vec<ArrayRef>) -> Result<EncodedKeys> {
        let misfit = |what: &str| Error::new(codes::TYPE, format!("values do not fit key `{}`: {what}", self.key.name));
        if values.len() != self.types.len() || values.iter().zip(&self.types).any(|(one, kind)| one.data_type() != kind)
        {
            return Err(misfit("they are of other types"));
        }
        let mut valid: Option<NullBuffer> = None;
        for column in &values {
            valid = NullBuffer::union(valid.as_ref(), column.logical_nulls().as_ref());
        }
        let encoding = match Words::of(&values[0]).filter(|_| self.is_word) {
            Some(words) => {
                let width = words.width();
                Encoding::Words((0..values[0].len()).map(|row| words.at(row)).collect(), width)
            }
            None => {
                let canonical: Vec<ArrayRef> = values.iter().map(canonical).collect();
                let rows = self.converter.convert_columns(&canonical);
                Encoding::Rows(rows.map_err(|source| misfit(&source.to_string()))?)
            }
        };
        Ok(EncodedKeys { values, encoding, valid, run: OnceLock::new() })
    }

    /// Encodes values of other types; one that the key's type cannot hold becomes null.
    pub(crate) fn encode_as(&self, values: &[ArrayRef]) -> Result<EncodedKeys> {
        let cast = |(value, kind): (&ArrayRef, &DataType)| match value.data_type() == kind {
            true => Ok(value.clone()),
            false => arrow::compute::cast(value, kind),
        };
        let values = values.iter().zip(&self.types).map(cast).collect::<Result<_, _>>();
        self.encode(values.map_err(from_arrow)?)
    }

    /// Encodes the keys of all rows of a part; `None` if the part is older than one of the key's columns.
    pub(crate) fn encode_part(&self, part: &Part) -> Result<Option<EncodedKeys>> {
        if self.body_columns(part).is_none() {
            return Ok(None);
        }
        let values = self.key.columns.iter().map(|&column| part.column(column)).collect::<Result<_>>()?;
        self.encode(values).map(Some)
    }

    /// The columns of the part's body; `None` if the part is older than one of them.
    pub(crate) fn body_columns(&self, part: &Part) -> Option<Box<[usize]>> {
        self.key.columns.iter().map(|&column| part.body_column(column)).collect()
    }

    /// Compares rows of a part with rows of `values`, by as many columns as these are.
    pub(crate) fn comparator(&self, part: &Part, values: &[ArrayRef]) -> Result<Comparator> {
        let mut columns = Vec::with_capacity(values.len());
        for (&column, values) in self.key.columns.iter().zip(values) {
            let lean = part.lean(column)?;
            let words = Words::of_lean(&lean, values.data_type()).zip(Words::of(values));
            columns.push(match words {
                // A lookup must not cost as much as its column is long.
                Some((one, other)) => by_words(one, lean.logical_nulls(), other, values.logical_nulls()),
                None => comparator(&part.column(column)?, values)?,
            });
        }
        Ok(match <[Comparator; 1]>::try_from(columns) {
            Ok([only]) => only,
            Err(columns) => Box::new(move |left, right| {
                columns.iter().map(|column| column(left, right)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            }),
        })
    }

    /// The error for a key that exists already.
    pub(crate) fn violation(&self, schema: &Schema, keys: &EncodedKeys, position: usize) -> Error {
        let names: Vec<_> = self.key.columns.iter().map(|&column| schema.field(column).name().as_str()).collect();
        let values: Vec<_> = keys
            .values
            .iter()
            .map(|column| array_value_to_string(column, position).unwrap_or_else(|_| "?".to_owned()))
            .collect();
        Error::new(
            codes::UNIQUE,
            format!("key `{}` exists already: ({}) = ({})", self.key.name, names.join(", "), values.join(", ")),
        )
    }
}

/// Compares words; nulls come first.
fn by_words(one: Words, nulls: Option<NullBuffer>, other: Words, other_nulls: Option<NullBuffer>) -> Comparator {
    let is_valid = |nulls: &Option<NullBuffer>, row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    Box::new(move |left, right| match (is_valid(&nulls, left), is_valid(&other_nulls, right)) {
        (true, true) => one.at(left).cmp(&other.at(right)),
        (left, right) => left.cmp(&right),
    })
}

/// Compares rows of two columns of one type; nulls come first, as in Arrow's row encoding.
fn comparator(left: &ArrayRef, right: &ArrayRef) -> Result<Comparator> {
    if let (Some(one), Some(other)) = (Words::of(left), Words::of(right)) {
        return Ok(by_words(one, left.logical_nulls(), other, right.logical_nulls()));
    }
    let plain = |left: &ArrayRef, right: &ArrayRef| {
        make_comparator(left, right, SortOptions::default()).map(|compare| Box::new(compare) as Comparator)
    };
    let made = match has_float(left.data_type()) {
        false => plain(left, right),
        true => plain(&canonical(left), &canonical(right)),
    };
    made.map_err(from_arrow)
}

fn has_float(kind: &DataType) -> bool {
    match kind {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => has_float(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_float(field.data_type())),
        DataType::Dictionary(_, value) => has_float(value),
        DataType::RunEndEncoded(_, value) => has_float(value.data_type()),
        _ => false,
    }
}

/// The same values with one zero and one NaN.
fn canonical(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let values: Float32Array = array.as_primitive::<Float32Type>().unary(canonical32);
            Arc::new(values)
        }
        DataType::Float64 => {
            let values: Float64Array = array.as_primitive::<Float64Type>().unary(canonical64);
            Arc::new(values)
        }
        kind if has_float(kind) => {
            let data = array.to_data();
            let children = data.child_data().iter().map(|child| canonical(&make_array(child.clone())).to_data());
            let children = children.collect();
            data.into_builder().child_data(children).build().map_or_else(|_| array.clone(), make_array)
        }
        _ => array.clone(),
    }
}

/// Keys of a batch of rows.
#[derive(Debug)]
pub(crate) struct EncodedKeys {
    pub(crate) values: Vec<ArrayRef>,
    encoding: Encoding,
    /// Rows of which no column is null.
    valid: Option<NullBuffer>,
    run: OnceLock<Arc<Run>>,
}

#[derive(Debug)]
enum Encoding {
    /// Values as words, and how many bytes each takes in Arrow's row encoding.
    Words(Vec<u64>, usize),
    Rows(Rows),
}

impl EncodedKeys {
    pub(crate) fn len(&self) -> usize {
        match &self.encoding {
            Encoding::Words(words, _) => words.len(),
            Encoding::Rows(rows) => rows.num_rows(),
        }
    }

    /// Whether no column of a row's key is null.
    pub(crate) fn is_valid(&self, position: usize) -> bool {
        self.valid.as_ref().is_none_or(|valid| valid.is_valid(position))
    }

    /// The row's key as a word, if it is one.
    pub(crate) fn word(&self, position: usize) -> Option<u64> {
        match &self.encoding {
            Encoding::Words(words, _) => words.get(position).copied(),
            Encoding::Rows(_) => None,
        }
    }

    /// The row's key in Arrow's row encoding, if it is not a word.
    pub(crate) fn bytes(&self, position: usize) -> &[u8] {
        match &self.encoding {
            Encoding::Words(..) => &[],
            Encoding::Rows(rows) => rows.row(position).data(),
        }
    }

    /// What a run is made of.
    pub(crate) fn sortable(&self) -> Sortable<'_> {
        match &self.encoding {
            Encoding::Words(words, _) => Sortable::Words(words, self.valid.as_ref()),
            Encoding::Rows(rows) => Sortable::Rows(rows, &self.values[0]),
        }
    }

    fn run(&self) -> &Arc<Run> {
        self.run.get_or_init(|| Arc::new(Run::build(&[(0, self.sortable())])))
    }

    /// Bounds and order of these keys.
    pub(crate) fn range(&self) -> KeyRange {
        match &self.encoding {
            Encoding::Words(words, width) => {
                let range = range((0..words.len()).map(|row| self.is_valid(row).then(|| words[row])));
                let bytes = |word| Words::to_bytes(word, *width);
                KeyRange { bounds: range.0.map(|(min, max)| (bytes(min), bytes(max))), sorted: range.1 }
            }
            Encoding::Rows(rows) => {
                let keys = (0..rows.num_rows()).map(|row| self.is_valid(row).then(|| rows.row(row).data()));
                let (bounds, sorted) = range(keys);
                KeyRange { bounds: bounds.map(|(min, max)| (min.into(), max.into())), sorted }
            }
        }
    }

    /// The position of a row whose key another row of the batch has too.
    pub(crate) fn duplicate(&self) -> Option<usize> {
        let same = |one: usize, other: usize| {
            let is_key = self.is_valid(one) && self.is_valid(other);
            is_key
                && match &self.encoding {
                    Encoding::Words(words, _) => words[one] == words[other],
                    Encoding::Rows(rows) => rows.row(one) == rows.row(other),
                }
        };
        let less = |one: usize, other: usize| match &self.encoding {
            Encoding::Words(words, _) => words[one] < words[other],
            Encoding::Rows(rows) => rows.row(one) < rows.row(other),
        };
        if self.valid.is_none() && (1..self.len()).all(|row| less(row - 1, row)) {
            return None;
        }
        let row = |place: u32| super::run::group_and_row(place).1 as usize;
        let pair = self.run().places.windows(2).find(|pair| same(row(pair[0]), row(pair[1])))?;
        Some(row(pair[0]).max(row(pair[1])))
    }

    /// What is known of a part that consists of exactly these rows.
    pub(crate) fn into_index(self, range: KeyRange) -> KeyIndex {
        KeyIndex { range: Some(range), run: self.run, file: OnceLock::new() }
    }
}

/// Least and greatest of the keys that are there, and whether all are there and ascend.
fn range<T: Copy + Ord>(keys: impl Iterator<Item = Option<T>>) -> (Option<(T, T)>, bool) {
    let mut sorted = true;
    let mut bounds: Option<(T, T)> = None;
    let mut previous: Option<T> = None;
    for key in keys {
        let Some(key) = key else {
            sorted = false;
            continue;
        };
        sorted &= previous.is_none_or(|previous| previous <= key);
        previous = Some(key);
        bounds = Some(bounds.map_or((key, key), |(min, max)| (min.min(key), max.max(key))));
    }
    (bounds, sorted)
}

/// Least and greatest key.
pub(crate) type KeyBounds = (Box<[u8]>, Box<[u8]>);

/// Indexes by the columns of the body that make the key.
pub(crate) type IndexList = Vec<(Box<[usize]>, Arc<KeyIndex>)>;

/// Bounds of the keys of a part, and whether its rows lie in ascending order of the key and none lacks one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyRange {
    /// Least and greatest key; `None` if no row has a key.
    pub(crate) bounds: Option<KeyBounds>,
    pub(crate) sorted: bool,
}

impl KeyRange {
    /// What holds for the rows of both, one after the other.
    pub(crate) fn then(self, next: &Self) -> Self {
        let (bounds, in_order) = match (self.bounds, next.bounds.clone()) {
            (Some((min, max)), Some((next_min, next_max))) => {
                let in_order = max <= next_min;
                (Some((min.min(next_min), max.max(next_max))), in_order)
            }
            (one, other) => (one.or(other), true),
        };
        Self { bounds, sorted: self.sorted && next.sorted && in_order }
    }
}

/// What is known of one key's values in one part.
#[derive(Debug, Default)]
pub(crate) struct KeyIndex {
    pub(crate) range: Option<KeyRange>,
    /// Of the part alone.
    pub(crate) run: OnceLock<Arc<Run>>,
    /// Of the file that the part is in.
    pub(crate) file: OnceLock<Arc<FileRun>>,
}

impl KeyIndex {
    pub(crate) fn with_range(range: KeyRange) -> Self {
        Self { range: Some(range), run: OnceLock::new(), file: OnceLock::new() }
    }

    pub(crate) fn is_sorted(&self) -> bool {
        self.range.as_ref().is_some_and(|range| range.sorted)
    }
}

/// The indexes of a part, by the columns of its body.
#[derive(Debug, Default)]
pub(crate) struct KeyIndexes(Mutex<IndexList>);

impl KeyIndexes {
    pub(crate) fn new(indexes: IndexList) -> Self {
        Self(Mutex::new(indexes))
    }

    pub(crate) fn of(&self, columns: &[usize]) -> Arc<KeyIndex> {
        let mut indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, index)) = indexes.iter().find(|(of, _)| **of == *columns) {
            return index.clone();
        }
        let index = Arc::new(KeyIndex::default());
        indexes.push((columns.into(), index.clone()));
        index
    }

    /// Every range that is known, for a part that takes over these rows or for the manifest.
    pub(crate) fn ranges(&self) -> Vec<(Box<[usize]>, KeyRange)> {
        let indexes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.iter().filter_map(|(columns, index)| Some((columns.clone(), index.range.clone()?))).collect()
    }
}
