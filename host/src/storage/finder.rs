//! Finding rows of a table by a key, without scanning: over each part, or all parts of a file, bounds tell whether it
//! can have the key, and its sorted run, or the part itself if it lies in the key's order, tells where. It refuses to
//! judge: which rows count is the caller's to say.

use std::cell::{OnceCell, RefCell};
use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, new_null_array};
use ulid::Ulid;

use super::index::{self, FileRun};
use super::keys::{Comparator, EncodedKeys, KeyEncoder, KeyRange};
use super::part::Part;
use super::run::{self, Run, Words};
use super::segment::Group;
use crate::error::{Error, Result};

/// Where a row is: its part, and its position there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowPlace {
    pub(crate) part: usize,
    pub(crate) row: u32,
}

/// Rows by a key: values for its first columns, and bounds for the next one. Each value is an array of one row.
#[derive(Clone, Debug, Default)]
pub struct KeySpan {
    /// What the first columns equal.
    pub equal: Vec<ArrayRef>,
    /// The least value of the next column, and whether it counts itself.
    pub lower: Option<(ArrayRef, bool)>,
    /// The greatest value of the next column, likewise.
    pub upper: Option<(ArrayRef, bool)>,
}

/// How to find rows of one version of a table by one key.
#[derive(Debug)]
pub(crate) struct Finder {
    parts: Arc<Vec<Part>>,
    units: Vec<Unit>,
}

/// Parts that are searched together.
#[derive(Debug)]
struct Unit {
    kind: Kind,
    /// Least and greatest key as words.
    words: Option<(u64, u64)>,
    /// What is known of the keys, where they are not words.
    range: Option<KeyRange>,
    parts: Vec<usize>,
    /// The greatest row id.
    last: u64,
    ready: OnceLock<Ready>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One part, in the order of the key.
    Sorted,
    /// One part.
    Part,
    /// The parts of a finished file.
    File,
}

#[derive(Debug)]
enum Ready {
    /// The key's words, in order.
    Words(Words, usize),
    /// The rows themselves are in order, so many.
    Rows(usize),
    /// A run, and for each number of a group the part.
    Run(Held, Vec<Option<usize>>),
}

#[derive(Debug)]
enum Held {
    Part(Arc<Run>),
    File(Arc<FileRun>),
}

impl std::ops::Deref for Held {
    type Target = Run;

    fn deref(&self) -> &Run {
        match self {
            Self::Part(run) => run,
            Self::File(file) => &file.run,
        }
    }
}

impl Finder {
    pub(crate) fn new(key: &KeyEncoder, parts: &Arc<Vec<Part>>) -> Self {
        let mut units: Vec<Unit> = Vec::with_capacity(parts.len());
        // Files with a run, and their units.
        let mut files: Vec<(Ulid, Option<usize>)> =
            index::files(parts, key).into_iter().map(|(file, _)| (file.id, None)).collect();
        for (at, part) in parts.iter().enumerate() {
            // A part that is older than a column of the key has none but nulls there.
            let Some(columns) = key.body_columns(part) else { continue };
            let index = part.body().keys.of(&columns);
            let last = part.ids().last().unwrap_or_default();
            let file = part.stored().and_then(|(file, _)| files.iter_mut().find(|(known, _)| *known == file.id));
            if let Some((_, Some(unit))) = file {
                let unit = &mut units[*unit];
                unit.parts.push(at);
                unit.last = unit.last.max(last);
                unit.range = match (unit.range.take(), &index.range) {
                    (Some(one), Some(other)) => Some(one.then(other)),
                    _ => None,
                };
                continue;
            }
            let kind = match (file, index.is_sorted()) {
                (Some((_, unit)), _) => {
                    *unit = Some(units.len());
                    Kind::File
                }
                (None, true) => Kind::Sorted,
                (None, false) => Kind::Part,
            };
            let range = index.range.clone();
            units.push(Unit { kind, words: None, range, parts: vec![at], last, ready: OnceLock::new() });
        }
        if key.is_word {
            for unit in &mut units {
                unit.words = match unit.range.take() {
                    None => Some((0, u64::MAX)),
                    Some(KeyRange { bounds: None, .. }) => None,
                    Some(KeyRange { bounds: Some((min, max)), .. }) => {
                        Some((Words::from_bytes(&min), Words::from_bytes(&max)))
                    }
                };
            }
        }
        Self { parts: Arc::clone(parts), units }
    }

    /// Whether it was made for these parts.
    pub(crate) fn is_of(&self, parts: &Arc<Vec<Part>>) -> bool {
        Arc::ptr_eq(&self.parts, parts)
    }

    /// Calls for every live row that has one of these keys, newer parts first, with the key's position; a row whose
    /// part has no ids from `from` on is left out.
    pub(crate) fn visit(
        &self,
        key: &KeyEncoder,
        keys: &EncodedKeys,
        from: u64,
        mut take: impl FnMut(usize, RowPlace, u64),
    ) -> Result<()> {
        for unit in self.units.iter().rev().filter(|unit| unit.last >= from) {
            let mut compare = None;
            for position in (0..keys.len()).filter(|&position| keys.is_valid(position)) {
                if !unit.admits(keys, position) {
                    continue;
                }
                let ready = unit.ready(key, &self.parts)?;
                let mut take = |part: usize, row: u32| {
                    let held = &self.parts[part];
                    if held.is_live(row)
                        && let Some(id) = held.ids().at(row).filter(|&id| id >= from)
                    {
                        take(position, RowPlace { part, row }, id);
                    }
                };
                let word = keys.word(position);
                match (ready, word) {
                    (Ready::Words(words, count), Some(word)) => {
                        let mut row = run::lower_bound(0..*count, |row| words.at(row), word);
                        while row < *count && words.at(row) == word {
                            take(unit.parts[0], row as u32);
                            row += 1;
                        }
                    }
                    (Ready::Run(run, slots), Some(word)) => {
                        let mut at = run.lower_bound(word);
                        while run.words.get(at) == Some(&word) {
                            let (group, row) = run::group_and_row(run.places[at]);
                            if let Some(part) = slots[group] {
                                take(part, row);
                            }
                            at += 1;
                        }
                    }
                    (Ready::Rows(count), _) => {
                        let compare = compare.get_or_insert_with(|| Comparators::new(self, key, &keys.values));
                        let part = unit.parts[0];
                        let order = |row: usize| compare.order(part, row as u32, position);
                        let mut row = run::partition_point(0..*count, |row| order(row).is_lt());
                        while row < *count && order(row).is_eq() {
                            take(part, row as u32);
                            row += 1;
                        }
                        compare.check()?;
                    }
                    (Ready::Run(run, slots), None) => {
                        let compare = compare.get_or_insert_with(|| Comparators::new(self, key, &keys.values));
                        let order = |place: u32| {
                            let (group, row) = run::group_and_row(place);
                            slots[group].map_or(Ordering::Less, |part| compare.order(part, row, position))
                        };
                        let mut at = run.bound(keys.bytes(position), false, order);
                        while let Some(&place) = run.places.get(at).filter(|&&place| order(place).is_eq()) {
                            let (group, row) = run::group_and_row(place);
                            if let Some(part) = slots[group] {
                                take(part, row);
                            }
                            at += 1;
                        }
                        compare.check()?;
                    }
                    (Ready::Words(..), None) => {}
                }
            }
        }
        Ok(())
    }

    /// The ids of the live rows in a span, ascending; `None` if more than `rows_max` come into question.
    pub(crate) fn select(&self, key: &KeyEncoder, span: &KeySpan, rows_max: usize) -> Result<Option<Vec<u64>>> {
        let Some(bounds) = SpanBounds::new(key, span)? else { return Ok(Some(Vec::new())) };
        let mut ids: Vec<u64> = Vec::new();
        let mut left = rows_max;
        for unit in &self.units {
            if !bounds.may_touch(unit, key) {
                continue;
            }
            let ready = unit.ready(key, &self.parts)?;
            let (range, place): (_, PlaceOf<'_>) = match ready {
                Ready::Words(words, count) => {
                    let range =
                        bounds.of_words(0, *count, |word| run::lower_bound(0..*count, |row| words.at(row), word));
                    (range, Box::new(|row| (Some(unit.parts[0]), row as u32)))
                }
                Ready::Run(run, slots) if run.is_exact => {
                    let range = bounds.of_words(run.nulls, run.len(), |word| run.lower_bound(word));
                    (
                        range,
                        Box::new(|at| {
                            let (group, row) = run::group_and_row(run.places[at]);
                            (slots[group], row)
                        }),
                    )
                }
                Ready::Rows(count) => {
                    let part = unit.parts[0];
                    let range = bounds.of_rows(self, key, 0..*count, |_, after, compare| {
                        run::partition_point(0..*count, |row| match compare.order(part, row as u32, 0) {
                            Ordering::Less => true,
                            Ordering::Equal => after,
                            Ordering::Greater => false,
                        })
                    })?;
                    (range, Box::new(move |row| (Some(part), row as u32)))
                }
                Ready::Run(run, slots) => {
                    let range = bounds.of_rows(self, key, run.nulls..run.len(), |bytes, after, compare| {
                        run.bound(bytes, after, |place| {
                            let (group, row) = run::group_and_row(place);
                            slots[group].map_or(Ordering::Less, |part| compare.order(part, row, 0))
                        })
                    })?;
                    (
                        range,
                        Box::new(|at| {
                            let (group, row) = run::group_and_row(run.places[at]);
                            (slots[group], row)
                        }),
                    )
                }
            };
            let Some(rest) = left.checked_sub(range.len()) else { return Ok(None) };
            left = rest;
            for at in range {
                if let (Some(part), row) = place(at)
                    && self.parts[part].is_live(row)
                    && let Some(id) = self.parts[part].ids().at(row)
                {
                    ids.push(id);
                }
            }
        }
        ids.sort_unstable();
        Ok(Some(ids))
    }
}

impl Unit {
    fn admits(&self, keys: &EncodedKeys, position: usize) -> bool {
        if let Some(word) = keys.word(position) {
            return self.words.is_some_and(|(min, max)| min <= word && word <= max);
        }
        let key = keys.bytes(position);
        match &self.range {
            Some(KeyRange { bounds: Some((min, max)), .. }) => **min <= *key && *key <= **max,
            Some(KeyRange { bounds: None, .. }) => false,
            None => true,
        }
    }

    fn ready(&self, key: &KeyEncoder, parts: &Arc<Vec<Part>>) -> Result<&Ready> {
        if let Some(ready) = self.ready.get() {
            return Ok(ready);
        }
        let ready = self.prepare(key, parts)?;
        Ok(self.ready.get_or_init(|| ready))
    }

    fn prepare(&self, key: &KeyEncoder, parts: &Arc<Vec<Part>>) -> Result<Ready> {
        let part = &parts[self.parts[0]];
        let count = usize::try_from(part.ids().count()).unwrap_or_default();
        match self.kind {
            Kind::Sorted if key.is_word => {
                let column = key.key.columns[0];
                let words = match part.schema().fields().get(column) {
                    Some(field) => Words::of_lean(&part.lean(column)?, field.data_type()),
                    None => None,
                };
                Ok(words.map_or(Ready::Rows(count), |words| Ready::Words(words, count)))
            }
            Kind::Sorted => Ok(Ready::Rows(count)),
            Kind::Part => {
                let columns = key.body_columns(part).unwrap_or_default();
                let index = part.body().keys.of(&columns);
                if index.run.get().is_none()
                    && let Some(keys) = key.encode_part(part)?
                {
                    let made = Arc::new(Run::build(&[(0, keys.sortable())]));
                    index.run.get_or_init(|| made);
                }
                let run = index.run.get().cloned();
                let run = run.unwrap_or_else(|| Arc::new(Run::build(&[])));
                Ok(Ready::Run(Held::Part(run), vec![Some(self.parts[0])]))
            }
            Kind::File => self.file(key, parts),
        }
    }

    /// The run of a file: known already, on disk, or made now.
    fn file(&self, key: &KeyEncoder, parts: &Arc<Vec<Part>>) -> Result<Ready> {
        let part = &parts[self.parts[0]];
        let columns = key.body_columns(part).unwrap_or_default();
        let Some((file, _)) = part.stored() else { return Ok(Ready::Rows(0)) };
        let index = part.body().keys.of(&columns);
        let known = index.file.get().cloned();
        let known = known.or_else(|| index::open(file.directory(), file.id, &columns).map(Arc::new));
        let slots = |run: &FileRun| {
            let mut slots = vec![None; run.groups.len()];
            for &at in &self.parts {
                *slots.get_mut(run.number(parts[at].stored()?.1)?)? = Some(at);
            }
            // Rows that are compared must be at hand.
            (run.run.is_exact || slots.iter().all(Option::is_some)).then_some(slots)
        };
        if let Some(run) = known
            && let Some(slots) = slots(&run)
        {
            for &at in &self.parts {
                let _ = parts[at].body().keys.of(&columns).file.set(run.clone());
            }
            return Ok(Ready::Run(Held::File(run), slots));
        }
        let groups: Vec<&Group> = self.parts.iter().filter_map(|&at| Some(parts[at].stored()?.1.as_ref())).collect();
        let made = Arc::new(index::build(file, &groups, key, &columns)?);
        for &at in &self.parts {
            let _ = parts[at].body().keys.of(&columns).file.set(made.clone());
        }
        let slots = self.parts.iter().map(|&at| Some(at)).collect();
        Ok(Ready::Run(Held::File(made), slots))
    }
}

/// Comparisons of rows of parts with given values, made when first needed.
struct Comparators<'a> {
    finder: &'a Finder,
    key: &'a KeyEncoder,
    values: &'a [ArrayRef],
    made: Vec<OnceCell<Option<Comparator>>>,
    failed: RefCell<Option<Error>>,
}

impl<'a> Comparators<'a> {
    fn new(finder: &'a Finder, key: &'a KeyEncoder, values: &'a [ArrayRef]) -> Self {
        let made = std::iter::repeat_with(OnceCell::new).take(finder.parts.len()).collect();
        Self { finder, key, values, made, failed: RefCell::new(None) }
    }

    fn order(&self, part: usize, row: u32, position: usize) -> Ordering {
        let compare = self.made[part].get_or_init(|| {
            let made = self.key.comparator(&self.finder.parts[part], self.values);
            made.map_err(|error| *self.failed.borrow_mut() = Some(error)).ok()
        });
        compare.as_ref().map_or(Ordering::Less, |compare| compare(row as usize, position))
    }

    /// The error, if a part could not be read.
    fn check(&self) -> Result<()> {
        self.failed.borrow_mut().take().map_or(Ok(()), Err)
    }
}

/// The part, if the table has it, and the position there of what stands at a place of a run.
type PlaceOf<'a> = Box<dyn Fn(usize) -> (Option<usize>, u32) + 'a>;

/// A span in the forms in which it is searched.
struct SpanBounds {
    /// Values for the first columns, and whether rows that equal them stand before the span's beginning.
    lower: (Vec<ArrayRef>, bool, Vec<u8>),
    /// Likewise for its end; `None` if nothing bounds it.
    upper: Option<(Vec<ArrayRef>, bool, Vec<u8>)>,
    /// The first and the last word, for keys that are words.
    words: Option<(u64, u64)>,
}

impl SpanBounds {
    /// `None` if the span is empty.
    fn new(key: &KeyEncoder, span: &KeySpan) -> Result<Option<Self>> {
        let values = span.equal.iter().chain(span.lower.iter().chain(&span.upper).map(|(value, _)| value));
        if values.clone().any(|value| value.logical_null_count() > 0 || value.len() != 1) {
            return Ok(None);
        }
        let with = |bound: &Option<(ArrayRef, bool)>| -> Vec<ArrayRef> {
            span.equal.iter().chain(bound.iter().map(|(value, _)| value)).cloned().collect()
        };
        let mut lower = (with(&span.lower), span.lower.as_ref().is_some_and(|(_, counts)| !counts));
        if span.lower.is_none() && span.upper.is_some() {
            // Nulls come first, and are in no span.
            lower = (with(&Some((new_null_array(key.kind(span.equal.len()), 1), false))), true);
        }
        let upper = (with(&span.upper), span.upper.as_ref().is_none_or(|(_, counts)| *counts));
        let bytes = |values: &[ArrayRef]| -> Result<Vec<u8>> {
            match values.is_empty() {
                true => Ok(Vec::new()),
                false => Ok(key.prefix(values.len())?.encode(values.to_vec())?.bytes(0).to_vec()),
            }
        };
        let mut words = None;
        if key.is_word {
            let word = |value: &ArrayRef| Words::of(value).map_or(0, |words| words.at(0));
            let (low, high) = match span.equal.first() {
                Some(value) => (Some(word(value)), Some(word(value))),
                None => {
                    let low = span.lower.as_ref().map_or(Some(0), |(value, counts)| match counts {
                        true => Some(word(value)),
                        false => word(value).checked_add(1),
                    });
                    let high = span.upper.as_ref().map_or(Some(u64::MAX), |(value, counts)| match counts {
                        true => Some(word(value)),
                        false => word(value).checked_sub(1),
                    });
                    (low, high)
                }
            };
            match (low, high) {
                (Some(low), Some(high)) if low <= high => words = Some((low, high)),
                _ => return Ok(None),
            }
        }
        let lower_bytes = if key.is_word { Vec::new() } else { bytes(&lower.0)? };
        let upper_bytes = if key.is_word { Vec::new() } else { bytes(&upper.0)? };
        let upper = (!upper.0.is_empty()).then_some((upper.0, upper.1, upper_bytes));
        Ok(Some(Self { lower: (lower.0, lower.1, lower_bytes), upper, words }))
    }

    fn may_touch(&self, unit: &Unit, key: &KeyEncoder) -> bool {
        if let Some((low, high)) = self.words {
            return unit.words.is_some_and(|(min, max)| low <= max && min <= high);
        }
        // Bounds of several columns are of rows without nulls alone.
        let bounds = unit.range.as_ref().and_then(|range| range.bounds.as_ref());
        let Some((min, max)) = bounds.filter(|_| key.key.columns.len() == 1) else { return true };
        let cut = |bytes: &[u8], length: usize| bytes[..bytes.len().min(length)].to_vec();
        let above = cut(max, self.lower.2.len()) >= self.lower.2;
        let below = self.upper.as_ref().is_none_or(|(_, _, bytes)| cut(min, bytes.len()) <= *bytes);
        above && below
    }

    fn of_words(&self, first: usize, end: usize, lower_bound: impl Fn(u64) -> usize) -> std::ops::Range<usize> {
        let Some((low, high)) = self.words else { return first..first };
        let start = lower_bound(low).max(first);
        start..high.checked_add(1).map_or(end, lower_bound).max(start)
    }

    fn of_rows(
        &self,
        finder: &Finder,
        key: &KeyEncoder,
        all: std::ops::Range<usize>,
        bound: impl Fn(&[u8], bool, &Comparators<'_>) -> usize,
    ) -> Result<std::ops::Range<usize>> {
        let find = |values: &[ArrayRef], after: bool, bytes: &[u8]| {
            let compare = Comparators::new(finder, key, values);
            let found = bound(bytes, after, &compare);
            compare.check().map(|()| found)
        };
        let start = match self.lower.0.is_empty() {
            true => all.start,
            false => find(&self.lower.0, self.lower.1, &self.lower.2)?,
        };
        let end = match &self.upper {
            None => all.end,
            Some((values, after, bytes)) => find(values, *after, bytes)?,
        };
        Ok(start..end.max(start))
    }
}
