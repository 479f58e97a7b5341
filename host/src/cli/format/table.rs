//! The table for people: fits the terminal, numbers right, NULL marked, the middle of long results cut out with a count.
//! It keeps only rows that it will show, so memory stays bounded whatever the result.

use std::collections::VecDeque;
use std::fmt::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Row, presets};

use super::cell::{Column, is_number};
use super::{Screen, Sink};
use crate::error::Result;

/// Results of at most so many rows are read value by value: then texts wrap. In longer ones a row is a line.
const WRAPPED_ROWS_MAX: usize = 5;
/// Characters of one value shown on a terminal; longer ones end in an ellipsis.
const CELL_CHARS_MAX: usize = 2000;
/// A column narrower than this, borders included, is not worth showing: then the middle columns go.
const COLUMN_WIDTH_MIN: usize = 9;
const ELLIPSIS: &str = "…";

/// One result as a table.
pub(super) struct Table {
    screen: Screen,
    schema: Option<SchemaRef>,
    /// The first rows of the result.
    head: Vec<RecordBatch>,
    head_rows: usize,
    /// The last rows so far, behind those of `head`.
    tail: VecDeque<RecordBatch>,
    tail_rows: usize,
    rows: usize,
}

impl Table {
    /// An empty table for this screen.
    pub(super) fn new(screen: Screen) -> Self {
        let (head, tail) = (Vec::new(), VecDeque::new());
        Self { screen, schema: None, head, head_rows: 0, tail, tail_rows: 0, rows: 0 }
    }

    fn head_max(&self) -> usize {
        self.screen.rows_max.div_ceil(2)
    }

    fn tail_max(&self) -> usize {
        self.screen.rows_max - self.head_max()
    }

    /// Drops batches of the tail that later ones have pushed out.
    fn trim(&mut self) {
        while let Some(first) = self.tail.front() {
            let surplus = self.tail_rows.saturating_sub(self.tail_max());
            if surplus < first.num_rows() {
                break;
            }
            self.tail_rows -= first.num_rows();
            self.tail.pop_front();
        }
    }
}

impl Sink for Table {
    fn start(&mut self, schema: &SchemaRef, _: &mut Vec<u8>) -> Result<()> {
        self.schema = Some(schema.clone());
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch, _: &mut Vec<u8>) -> Result<()> {
        self.rows += batch.num_rows();
        let first = batch.num_rows().min(self.head_max() - self.head_rows);
        if first > 0 {
            self.head.push(batch.slice(0, first));
            self.head_rows += first;
        }
        if first < batch.num_rows() {
            self.tail.push_back(batch.slice(first, batch.num_rows() - first));
            self.tail_rows += batch.num_rows() - first;
            self.trim();
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let Some(schema) = self.schema.take() else { return Ok(()) };
        let shown = Shown::new(schema.fields().len(), self.screen.width);
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED).set_truncation_indicator(ELLIPSIS);
        match self.screen.width {
            Some(width) => table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        table.set_header(shown.cells(|index| self.header(&schema, index)));
        for batch in &self.head {
            self.add_rows(&mut table, batch, 0, &shown)?;
        }
        let mut surplus = self.tail_rows.saturating_sub(self.tail_max());
        let cut = self.rows - self.head_rows - (self.tail_rows - surplus);
        if cut > 0 {
            table.add_row(shown.cells(|index| self.aligned(ELLIPSIS, &schema, index)));
        }
        for batch in &self.tail {
            self.add_rows(&mut table, batch, surplus, &shown)?;
            surplus = 0;
        }
        out.extend_from_slice(table.to_string().as_bytes());
        out.push(b'\n');
        out.extend_from_slice(footer(self.rows, cut, &shown).as_bytes());
        Ok(())
    }
}

impl Table {
    fn header(&self, schema: &Schema, index: usize) -> Cell {
        let name = printable(schema.field(index).name(), self.screen.width.map(|_| CELL_CHARS_MAX));
        let cell = self.aligned(&name, schema, index);
        if self.screen.colour { cell.add_attribute(Attribute::Bold) } else { cell }
    }

    fn aligned(&self, text: &str, schema: &Schema, index: usize) -> Cell {
        let right = is_number(schema.field(index).data_type());
        Cell::new(text).set_alignment(if right { CellAlignment::Right } else { CellAlignment::Left })
    }

    fn add_rows(&self, table: &mut comfy_table::Table, batch: &RecordBatch, from: usize, shown: &Shown) -> Result<()> {
        let schema = batch.schema();
        let columns = batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(array, field)| Column::new(array, field))
            .collect::<Result<Vec<_>>>()?;
        let (mut text, wrap) = (String::new(), self.screen.width.is_none() || self.rows <= WRAPPED_ROWS_MAX);
        for row in from..batch.num_rows() {
            let (mut cells, mut lines) = (Vec::with_capacity(columns.len()), 1);
            for index in shown.columns() {
                cells.push(match index {
                    None => Cell::new(ELLIPSIS),
                    Some(index) if columns[index].is_null(row) => self.null(&schema, index),
                    Some(index) => {
                        text.clear();
                        columns[index].write(row, &mut text)?;
                        let text = printable(text.trim_end_matches('\n'), self.screen.width.map(|_| CELL_CHARS_MAX));
                        lines = lines.max(text.matches('\n').count() + 1);
                        self.aligned(&text, &schema, index)
                    }
                });
            }
            let mut row = Row::from(cells);
            if !wrap {
                row.max_height(lines);
            }
            table.add_row(row);
        }
        Ok(())
    }

    fn null(&self, schema: &Schema, index: usize) -> Cell {
        let cell = self.aligned("NULL", schema, index);
        if self.screen.colour { cell.add_attribute(Attribute::Dim) } else { cell }
    }
}

/// Which columns are shown: all, or the first and the last of them around a gap.
struct Shown {
    left: usize,
    right: usize,
    all: usize,
}

impl Shown {
    fn new(all: usize, width: Option<u16>) -> Self {
        let fitting = width.map_or(all, |width| (usize::from(width) / COLUMN_WIDTH_MIN).max(3));
        if all <= fitting {
            return Self { left: all, right: 0, all };
        }
        let right = (fitting - 1) / 2;
        Self { left: fitting - 1 - right, right, all }
    }

    fn count(&self) -> usize {
        self.left + self.right
    }

    /// Indexes of the columns from left to right; none is the gap.
    fn columns(&self) -> impl Iterator<Item = Option<usize>> {
        let gap = (self.count() < self.all).then_some(None);
        (0..self.left).map(Some).chain(gap).chain((self.all - self.right..self.all).map(Some))
    }

    fn cells(&self, cell: impl Fn(usize) -> Cell) -> Vec<Cell> {
        self.columns().map(|index| index.map_or_else(|| Cell::new(ELLIPSIS), &cell)).collect()
    }
}

/// What was left out; nothing if everything is on the screen.
fn footer(rows: usize, cut: usize, shown: &Shown) -> String {
    let mut text = String::new();
    if rows == 0 {
        text.push_str("0 rows\n");
    }
    if cut > 0 {
        let _ = writeln!(text, "{rows} rows ({} shown)", rows - cut);
    }
    if shown.count() < shown.all {
        let _ = writeln!(text, "{} columns ({} shown)", shown.all, shown.count());
    }
    text
}

/// The text without anything that moves a cursor: a value must not be able to repaint the terminal or break the frame.
/// Line breaks stay, because the frame goes around them.
fn printable(text: &str, chars_max: Option<usize>) -> String {
    let max = chars_max.unwrap_or(usize::MAX);
    let mut result = String::with_capacity(text.len().min(max));
    for (count, character) in text.chars().enumerate() {
        if count == max {
            result.push_str(ELLIPSIS);
            break;
        }
        match character {
            '\r' => result.push_str("\\r"),
            '\t' => result.push_str("\\t"),
            control if control.is_control() && control != '\n' => {
                let _ = write!(result, "\\u{{{:x}}}", u32::from(control));
            }
            other => result.push(other),
        }
    }
    result
}
