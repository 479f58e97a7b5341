//! Draws a result with characters: bars for a few named numbers, a line for many in a row. The first column that is no
//! number names the rows; the first that is one is drawn.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use unicode_width::UnicodeWidthStr;

use crate::error::{Error, Result, codes};

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bar,
    Line,
}

/// Bars that are drawn; of more the rest is counted.
const BARS_MAX: usize = 40;
const LABEL_WIDTH_MAX: usize = 24;
const LINE_HEIGHT: usize = 12;
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// The picture of a result, at most `width` characters wide.
pub(super) fn draw(batches: &[RecordBatch], kind: Kind, width: usize) -> Result<String> {
    let points = points(batches)?;
    if points.is_empty() {
        return Ok("0 rows\n".to_owned());
    }
    Ok(match kind {
        Kind::Bar => bars(&points, width.max(20)),
        Kind::Line => line(&points, width.max(20)),
    })
}

/// A name, its number, and the number as the result shows it.
struct Point {
    label: String,
    value: f64,
    shown: String,
}

fn points(batches: &[RecordBatch]) -> Result<Vec<Point>> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let schema = first.schema();
    let number = |kind: &DataType| kind.is_numeric();
    let drawn = schema.fields().iter().rposition(|field| number(field.data_type()));
    // With a name in front the first number behind it is meant; with numbers alone the last.
    let named = schema.fields().iter().position(|field| !number(field.data_type()));
    let drawn = match named {
        Some(_) => schema.fields().iter().position(|field| number(field.data_type())),
        None => drawn,
    };
    let drawn = drawn.ok_or_else(|| {
        Error::new(codes::TYPE, "the result has no column of numbers to draw").help(".chart SELECT name, amount FROM t")
    })?;
    let label = named.or((drawn > 0).then_some(0));
    let column = |at: usize| -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        concat(&parts).map_err(failed)
    };
    let numbers = column(drawn)?;
    let values = cast(&numbers, &DataType::Float64).map_err(failed)?;
    let values = values.as_primitive::<Float64Type>();
    let options = FormatOptions::default().with_null("NULL");
    let labels = label.map(column).transpose()?;
    let labels = labels.as_ref().map(|labels| ArrayFormatter::try_new(labels.as_ref(), &options)).transpose();
    let labels = labels.map_err(failed)?;
    let shown = ArrayFormatter::try_new(numbers.as_ref(), &options).map_err(failed)?;
    let point = |row: usize| Point {
        label: labels.as_ref().map_or_else(|| (row + 1).to_string(), |labels| plain(&labels.value(row).to_string())),
        value: if values.is_null(row) { f64::NAN } else { values.value(row) },
        shown: shown.value(row).to_string(),
    };
    Ok((0..values.len()).map(point).collect())
}

fn failed(error: arrow::error::ArrowError) -> Error {
    Error::new(codes::VALUE, format!("the result cannot be drawn: {}", error.to_string().to_lowercase()))
}

/// A label on one line that cannot move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        if short.width() + 2 > width {
            break;
        }
        short.push(c);
    }
    short.push('…');
    short
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

fn bars(points: &[Point], width: usize) -> String {
    let drawn = &points[..points.len().min(BARS_MAX)];
    let label_width = drawn.iter().map(|point| point.label.width()).max().unwrap_or(0).min(LABEL_WIDTH_MAX);
    let value_width = drawn.iter().map(|point| point.shown.width()).max().unwrap_or(0);
    let room = width.saturating_sub(label_width + value_width + 5).max(8);
    let finite = || drawn.iter().map(|point| point.value).filter(|value| value.is_finite());
    let (least, most) = (finite().fold(0.0, f64::min), finite().fold(0.0, f64::max));
    let span = if most > least { most - least } else { 1.0 };
    // Bars of negative numbers grow to the left of where zero stands.
    let zero = ((-least / span) * room as f64).round() as usize;
    let mut text = String::new();
    for point in drawn {
        let label = padded(&shortened(&point.label, label_width), label_width);
        let bar = if point.value.is_finite() {
            let cells = point.value.abs() / span * room as f64;
            let whole = cells as usize;
            if point.value < 0.0 {
                let whole = (cells.round() as usize).min(zero);
                format!("{}{}", " ".repeat(zero - whole), "█".repeat(whole))
            } else {
                let eighth = EIGHTHS[((cells - whole as f64) * 8.0) as usize % 8];
                format!("{}{}{eighth}", " ".repeat(zero), "█".repeat(whole))
            }
        } else {
            String::new()
        };
        text.push_str(format!("{label} │{bar} {}", point.shown).trim_end());
        text.push('\n');
    }
    if drawn.len() < points.len() {
        text.push_str(&format!("{} more rows\n", points.len() - drawn.len()));
    }
    text
}

fn line(points: &[Point], width: usize) -> String {
    let values: Vec<f64> = points.iter().map(|point| point.value).filter(|value| value.is_finite()).collect();
    let (Some(least), Some(most)) = (values.iter().copied().reduce(f64::min), values.iter().copied().reduce(f64::max))
    else {
        return "no numbers\n".to_owned();
    };
    let top = points.iter().find(|point| point.value == most).map_or("", |point| &point.shown);
    let bottom = points.iter().find(|point| point.value == least).map_or("", |point| &point.shown);
    let axis = top.width().max(bottom.width());
    let columns = width.saturating_sub(axis + 2).max(8);
    // A character of braille is two dots wide and four high.
    let (dots_x, dots_y) = (columns * 2, LINE_HEIGHT * 4);
    let mut dots = vec![vec![false; dots_x]; dots_y];
    let span = if most > least { most - least } else { 1.0 };
    let x_of = |index: usize| match points.len() {
        1 => 0,
        count => index * (dots_x - 1) / (count - 1),
    };
    let y_of = |value: f64| (((most - value) / span) * (dots_y - 1) as f64).round() as usize;
    let mut last: Option<(usize, usize)> = None;
    for (index, point) in points.iter().enumerate() {
        if !point.value.is_finite() {
            last = None;
            continue;
        }
        let (x, y) = (x_of(index), y_of(point.value));
        let (from_x, from_y) = last.unwrap_or((x, y));
        let steps = (x - from_x).max(y.abs_diff(from_y)).max(1);
        for step in 0..=steps {
            let at = step as f64 / steps as f64;
            let y = from_y as f64 + (y as f64 - from_y as f64) * at;
            let x = from_x as f64 + (x as f64 - from_x as f64) * at;
            dots[y.round() as usize][x.round() as usize] = true;
        }
        last = Some((x, y));
    }
    let mut text = String::new();
    for row in 0..LINE_HEIGHT {
        let mark = if row == 0 {
            top
        } else if row + 1 == LINE_HEIGHT {
            bottom
        } else {
            ""
        };
        let cells: String = (0..columns).map(|column| braille(&dots, row, column)).collect();
        text.push_str(&format!("{}{mark} │{}\n", " ".repeat(axis - mark.width()), cells.trim_end_matches('\u{2800}')));
    }
    let first = points.first().map_or("", |point| &point.label);
    let end = points.last().map_or("", |point| &point.label);
    let half = columns / 2;
    let (first, end) = (shortened(first, half), shortened(end, half));
    let gap = columns.saturating_sub(first.width() + end.width());
    text.push_str(&format!("{}  {first}{}{end}\n", " ".repeat(axis), " ".repeat(gap)));
    text
}

/// Dots of a character: https://www.unicode.org/charts/PDF/U2800.pdf
fn braille(dots: &[Vec<bool>], row: usize, column: usize) -> char {
    const BITS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
    let mut code = 0x2800;
    for (y, bits) in BITS.iter().enumerate() {
        for (x, bit) in bits.iter().enumerate() {
            if dots[row * 4 + y][column * 2 + x] {
                code += bit;
            }
        }
    }
    char::from_u32(code).unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
        let fields = columns.iter().map(|column| Field::new("c", column.data_type().clone(), true));
        RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).expect("batch")
    }

    #[test]
    fn bars_are_as_long_as_their_numbers() {
        let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "bb", "c"]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(10), Some(5), None]));
        let text = draw(&[batch(vec![names, numbers])], Kind::Bar, 30).expect("draws");
        let lengths: Vec<usize> = text.lines().map(|line| line.matches('█').count()).collect();
        assert_eq!(lengths, [19, 9, 0], "{text}");
        assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("bb │") && line.ends_with(" 5")), "{text}");
        assert!(text.lines().all(|line| line.width() <= 30), "{text}");
    }

    #[test]
    fn bars_of_negative_numbers_stand_left_of_zero() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![-5, 5]));
        let text = draw(&[batch(vec![numbers])], Kind::Bar, 40).expect("draws");
        let starts: Vec<usize> = text.lines().map(|line| line.chars().position(|c| c == '█').expect("a bar")).collect();
        assert!(starts[0] < starts[1], "{text}");
    }

    #[test]
    fn a_line_rises_with_its_numbers() {
        let x: ArrayRef = Arc::new(Int64Array::from((0..50).collect::<Vec<_>>()));
        let y: ArrayRef = Arc::new(Float64Array::from((0..50).map(f64::from).collect::<Vec<_>>()));
        let text = draw(&[batch(vec![x, y])], Kind::Line, 60).expect("draws");
        let rows: Vec<&str> = text.lines().collect();
        let inked = |row: &str| row.chars().position(|c| ('\u{2801}'..='\u{28ff}').contains(&c)).expect("ink");
        assert!(inked(rows[0]) > inked(rows[LINE_HEIGHT - 1]), "{text}");
        assert!(rows[0].starts_with("49.0 │") && rows[LINE_HEIGHT - 1].trim_start().starts_with("0.0 │"), "{text}");
    }

    #[test]
    fn nothing_to_draw_is_said() {
        let names: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        assert!(draw(&[batch(vec![names])], Kind::Bar, 60).expect_err("no numbers").is(codes::TYPE));
        assert_eq!(draw(&[], Kind::Line, 60).expect("empty"), "0 rows\n");
    }
}
