//! The text of errors and warnings: code, message, place with a caret, facts, way out. It refuses to write it anywhere.

use std::fmt::Write;

use unicode_width::UnicodeWidthChar;

use crate::error::{Error, Place};

/// Columns of source text shown around the caret; longer lines are cut on both sides.
const TEXT_WIDTH_MAX: usize = 120;
const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const RESET: &str = "\x1b[0m";

/// The lines that tell a person about `error`.
pub(super) fn error_text(error: &Error, colour: bool) -> String {
    let paint = Paint(colour);
    let mut text = format!("{}: {}\n", paint.in_colour(RED, &format!("error[{}]", error.code())), error.message());
    if let Some(place) = error.place() {
        write_place(&mut text, place, &paint);
    }
    for line in error.details() {
        let _ = writeln!(text, "  {line}");
    }
    if let Some(help) = error.help_text() {
        let _ = writeln!(text, "{}: {help}", paint.in_colour(BLUE, "help"));
    }
    text
}

/// The line that tells a person about something that went less well than it should.
pub(super) fn warning_text(message: &str, colour: bool) -> String {
    format!("{}: {message}\n", Paint(colour).in_colour(YELLOW, "warning"))
}

fn write_place(text: &mut String, place: &Place, paint: &Paint) {
    let number = place.line.to_string();
    let gutter = " ".repeat(number.len() + 1);
    let (arrow, bar) = (paint.in_colour(BLUE, "-->"), paint.in_colour(BLUE, "|"));
    let _ = writeln!(text, "{gutter}{arrow} {}:{}:{}", place.source, place.line, place.column);
    if place.text.trim().is_empty() {
        return;
    }
    let (line, caret) = window(&place.text, usize::try_from(place.column).unwrap_or(usize::MAX));
    let _ = writeln!(text, "{gutter} {bar}");
    let _ = writeln!(text, " {} {bar} {line}", paint.in_colour(BLUE, &number));
    let _ = writeln!(text, "{gutter} {bar} {}{}", " ".repeat(caret), paint.in_colour(RED, "^"));
}

/// The part of `text` around the character number `column` (from 1), and how many columns of a terminal stand before it.
fn window(text: &str, column: usize) -> (String, usize) {
    // A tab has no width of its own and a control character could repaint the terminal: both become blanks.
    let characters: Vec<char> = text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let target = column.saturating_sub(1).min(characters.len());
    let width = |part: &[char]| part.iter().map(|c| c.width().unwrap_or(0)).sum::<usize>();
    let (mut from, mut to) = (0, characters.len());
    if width(&characters) > TEXT_WIDTH_MAX {
        from = target.saturating_sub(TEXT_WIDTH_MAX / 2);
        to = (from + TEXT_WIDTH_MAX).min(characters.len());
    }
    let mut line = String::new();
    let cut_before = if from > 0 { "…" } else { "" };
    let cut_after = if to < characters.len() { "…" } else { "" };
    line.push_str(cut_before);
    line.extend(&characters[from..to]);
    line.push_str(cut_after);
    (line, usize::from(from > 0) + width(&characters[from..target.min(to)]))
}

struct Paint(bool);

impl Paint {
    fn in_colour(&self, colour: &str, text: &str) -> String {
        if self.0 { format!("{colour}{text}{RESET}") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::{error_text, window};
    use crate::error::{Error, Place, codes};

    #[test]
    fn an_error_shows_place_facts_and_help() {
        let error = Error::new(codes::NO_COLUMN, "no column `x` in `t`")
            .at(Place { source: "-c".into(), line: 12, column: 8, text: "SELECT x FROM t".into() })
            .detail("columns: id, name")
            .help("SELECT id FROM t");
        assert_snapshot!(error_text(&error, false), @r"
        error[KDK-0102]: no column `x` in `t`
           --> -c:12:8
            |
         12 | SELECT x FROM t
            |        ^
          columns: id, name
        help: SELECT id FROM t
        ");
    }

    #[test]
    fn colour_adds_escape_sequences_and_nothing_else() {
        let error = Error::new(codes::NO_COLUMN, "no column `x`").help("DESCRIBE t");
        let coloured = error_text(&error, true);
        assert!(coloured.contains("\x1b[1;31merror[KDK-0102]\x1b[0m"));
        let stripped = coloured.replace(super::RED, "").replace(super::BLUE, "").replace(super::RESET, "");
        assert_eq!(stripped, error_text(&error, false));
    }

    #[test]
    fn the_caret_stands_under_wide_characters_and_at_the_end() {
        assert_eq!(window("SELECT '日本', x", 14), ("SELECT '日本', x".into(), 15));
        assert_eq!(window("SELECT", 99), ("SELECT".into(), 6));
        assert_eq!(window("\tx", 2), (" x".into(), 1));
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let text = format!("{}!{}", "a".repeat(500), "b".repeat(500));
        let (line, caret) = window(&text, 501);
        assert_eq!(line.chars().nth(caret), Some('!'));
        assert!(line.starts_with('…') && line.ends_with('…') && line.chars().count() < 130);
    }
}
