//! The work of a scan: parts are taken from a counter that all partitions share, so that nobody idles while another
//! still has much to do; conditions run one after the other, the cheap and the strict first; a column is read when the
//! first row needs it, and brought into the table's type only for rows that pass.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::{BooleanBuffer, MutableBuffer};
use arrow::compute::{FilterBuilder, concat_batches};
use arrow::util::bit_util::set_bit;
use datafusion::common::Result;
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, MetricBuilder};

use super::conjunct::{Conjunct, Form};
use super::source::Source;
use super::zones;
use crate::sql::fault::external;
use crate::storage::{Part, expose};

/// A batch is handed on when it has this part of the rows that it might have.
const FULL_PART: usize = 4;

/// Which part comes next, and which can be left out: shared by the partitions of one execution.
#[derive(Debug, Default)]
pub(super) struct Morsels {
    next: AtomicUsize,
    keep: OnceLock<Vec<bool>>,
}

/// One partition's rows.
pub(super) struct Stream {
    source: Source,
    morsels: Arc<Morsels>,
    batch_rows: usize,
    metrics: BaselineMetrics,
    pruned: Count,
    conjuncts: Vec<Conjunct>,
    dynamic: Vec<zones::Dynamic>,
    current: Option<Current>,
    /// Rows that passed, too few to hand on.
    waiting: Vec<RecordBatch>,
    left: usize,
}

/// The part that is being read.
struct Current {
    part: Part,
    live: Option<BooleanArray>,
    offset: usize,
    /// By column of the table, as they lie in memory.
    lean: Vec<Option<ArrayRef>>,
}

impl Stream {
    pub(super) fn new(
        source: Source,
        morsels: Arc<Morsels>,
        batch_rows: usize,
        partition: usize,
        metrics: BaselineMetrics,
    ) -> Result<Self> {
        let schema = &source.table.schema;
        let fixed = source.filters.iter().map(|filter| Conjunct::new(filter, schema, false));
        let dynamic = source.dynamic.iter().map(|filter| Conjunct::new(filter, schema, true));
        let conjuncts = fixed.chain(dynamic).collect::<Result<Vec<_>>>()?;
        let dynamic = source.dynamic.iter().map(|filter| zones::Dynamic::new(Arc::clone(filter))).collect();
        let left = source.fetch.unwrap_or(usize::MAX);
        let pruned = MetricBuilder::new(&source.metrics).counter("parts_left_out", partition);
        let (current, waiting) = (None, Vec::new());
        Ok(Self { source, morsels, batch_rows, metrics, pruned, conjuncts, dynamic, current, waiting, left })
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        while self.left > 0 {
            if self.current.is_none() {
                self.current = self.next_part()?;
            }
            let Some(mut current) = self.current.take() else { return self.hand_on() };
            let (start, written) = (current.offset, current.part.written());
            let rows = self.batch_rows.min(written - start);
            current.offset += rows;
            let batch = self.passing(&mut current, start, rows)?;
            self.current = (current.offset < written).then_some(current);
            let Some(batch) = batch else { continue };
            let batch = if batch.num_rows() > self.left { batch.slice(0, self.left) } else { batch };
            self.left -= batch.num_rows();
            // A small batch costs everybody behind nearly as much as a large one.
            let is_large = batch.num_rows() >= self.batch_rows / FULL_PART;
            self.waiting.push(batch);
            let rows: usize = self.waiting.iter().map(RecordBatch::num_rows).sum();
            if is_large || rows >= self.batch_rows / FULL_PART {
                return self.hand_on();
            }
        }
        self.hand_on()
    }

    fn hand_on(&mut self) -> Result<Option<RecordBatch>> {
        let mut waiting = std::mem::take(&mut self.waiting);
        match waiting.len() {
            0 | 1 => Ok(waiting.pop()),
            _ => Ok(Some(concat_batches(&self.source.projected, &waiting)?)),
        }
    }

    fn next_part(&mut self) -> Result<Option<Current>> {
        let table = Arc::clone(&self.source.table);
        let parts = table.view.parts();
        loop {
            let at = self.morsels.next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(at) else { return Ok(None) };
            let keep = self.morsels.keep.get_or_init(|| zones::keep(&table, &self.source.filters));
            if !keep[at] || !self.dynamic.iter_mut().all(|filter| filter.may_hold(&table, at)) {
                self.pruned.add(1);
                continue;
            }
            if part.rows() == 0 {
                continue;
            }
            let lean = vec![None; table.schema.fields().len()];
            let mut current = Current { part: part.clone(), live: part.live(), offset: 0, lean };
            for conjunct in &mut self.conjuncts {
                let lean = conjunct.columns.iter().map(|&column| current.lean(column));
                let lean = lean.collect::<Result<Vec<_>>>()?;
                conjunct.prepare(&lean)?;
            }
            self.conjuncts.sort_by(|one, other| {
                let ((unsafe_one, one), (unsafe_other, other)) = (one.rank(), other.rank());
                // What may fail comes last, in the order in which it was written.
                unsafe_one.cmp(&unsafe_other).then(if unsafe_one {
                    std::cmp::Ordering::Equal
                } else {
                    one.total_cmp(&other)
                })
            });
            return Ok(Some(current));
        }
    }

    /// The rows that pass, of those from `start` on.
    fn passing(&mut self, current: &mut Current, start: usize, rows: usize) -> Result<Option<RecordBatch>> {
        let schema = Arc::clone(&self.source.table.schema);
        let mut left: Option<BooleanBuffer> = current.live.as_ref().map(|live| live.values().slice(start, rows));
        let mut count = left.as_ref().map_or(rows, BooleanBuffer::count_set_bits);
        for conjunct in &mut self.conjuncts {
            if count == 0 {
                return Ok(None);
            }
            if conjunct.is_idle() {
                continue;
            }
            let is_dense = left.is_none() || conjunct.is_better_on_all(count, rows);
            let filter = match &left {
                Some(left) if !is_dense => {
                    Some(FilterBuilder::new(&BooleanArray::new(left.clone(), None)).optimize().build())
                }
                _ => None,
            };
            let mut column = |column: usize, form: Form| {
                let lean = current.lean(column)?.slice(start, rows);
                let lean = filter.as_ref().map_or(Ok(lean.clone()), |filter| filter.filter(&lean))?;
                match form {
                    Form::Lean => Ok(lean),
                    Form::Exposed => expose(&lean, schema.field(column).data_type()).map_err(external),
                }
            };
            let mask = conjunct.evaluate(if is_dense { rows } else { count }, &mut column)?;
            let now = match (&left, is_dense) {
                (None, _) => mask,
                (Some(left), true) => left & &mask,
                (Some(left), false) => spread(left, &mask),
            };
            let passed = now.count_set_bits();
            conjunct.learn(count, passed);
            count = passed;
            left = Some(now);
        }
        if count == 0 {
            return Ok(None);
        }
        let filter = left.filter(|_| count < rows);
        let filter = filter.map(|left| FilterBuilder::new(&BooleanArray::new(left, None)).optimize().build());
        let arrays = self.source.projection.iter().map(|&column| {
            let lean = current.lean(column)?.slice(start, rows);
            let lean = filter.as_ref().map_or(Ok(lean.clone()), |filter| filter.filter(&lean))?;
            expose(&lean, schema.field(column).data_type()).map_err(external)
        });
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.source.projected), arrays, &options)?))
    }
}

impl Current {
    /// A column of the table; behind the last one stand the row ids.
    fn lean(&mut self, column: usize) -> Result<ArrayRef> {
        if let Some(lean) = &self.lean[column] {
            return Ok(lean.clone());
        }
        let lean = match self.part.columns_count() {
            stored if column < stored => self.part.lean(column).map_err(external)?,
            _ => Arc::new(self.part.written_ids()),
        };
        self.lean[column] = Some(lean.clone());
        Ok(lean)
    }
}

/// Puts a mask over the rows that are left into its place among all rows.
fn spread(left: &BooleanBuffer, mask: &BooleanBuffer) -> BooleanBuffer {
    let mut spread = MutableBuffer::from_len_zeroed(left.len().div_ceil(8));
    for (at, row) in left.set_indices().enumerate() {
        if mask.value(at) {
            set_bit(spread.as_slice_mut(), row);
        }
    }
    BooleanBuffer::new(spread.into(), 0, left.len())
}

impl Iterator for Stream {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let step = self.step();
        match &step {
            Ok(Some(batch)) => self.metrics.record_output(batch.num_rows()),
            // An error is the last thing that is told.
            Ok(None) | Err(_) => (self.left, self.waiting) = (0, Vec::new()),
        }
        step.transpose()
    }
}
