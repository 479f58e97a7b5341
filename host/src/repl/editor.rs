//! Edits a text of several lines on a terminal: cursor keys, history, completion. What the keys do to the text is
//! [`Buffer`]'s; the rest of the file draws it. The terminal stays in raw mode while a text is edited, and in no other
//! moment, so that Ctrl-C reaches a running statement as a signal.

use std::io;

use console::{Key, Term};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use unicode_width::UnicodeWidthStr;

use super::history::History;

/// What was typed.
pub(super) enum Input {
    Text(String),
    /// Ctrl-C: the text is given up.
    Interrupted,
    /// Ctrl-D on an empty line.
    End,
}

/// Completions for a text and a cursor: where the word begins, and what it may become.
type Complete<'a> = &'a dyn Fn(&str, usize) -> (usize, Vec<String>);

/// Completions that are listed at once.
const LISTED_MAX: usize = 40;

/// Reads texts from the terminal.
pub(super) struct Editor {
    term: Term,
    history: History,
}

impl Editor {
    pub(super) fn new(history: History) -> Self {
        Self { term: Term::stdout(), history }
    }

    /// Keeps a text in the history.
    pub(super) fn keep(&mut self, text: &str) {
        self.history.keep(text);
    }

    /// Lets a text be typed until Enter is pressed on a finished one.
    pub(super) fn read(
        &mut self,
        prompt: &str,
        complete: Complete<'_>,
        finished: &dyn Fn(&str) -> bool,
    ) -> io::Result<Input> {
        let _raw = Raw::enter()?;
        let mut view = View { term: &self.term, prompt, cursor_row: 0 };
        let mut buffer = Buffer::default();
        let mut older = self.history.entries().len();
        view.draw(&buffer)?;
        loop {
            match self.term.read_key_raw()? {
                Key::Enter if finished(&buffer.text) => {
                    buffer.cursor = buffer.text.len();
                    view.draw(&buffer)?;
                    self.term.write_str("\r\n")?;
                    return Ok(Input::Text(buffer.text));
                }
                Key::Enter => buffer.insert('\n'),
                Key::CtrlC => {
                    self.term.write_str("^C\r\n")?;
                    return Ok(Input::Interrupted);
                }
                Key::Char('\u{4}') if buffer.text.is_empty() => {
                    self.term.write_str("\r\n")?;
                    return Ok(Input::End);
                }
                Key::Char('\u{c}') => {
                    self.term.clear_screen()?;
                    view.cursor_row = 0;
                }
                Key::Tab => self.complete(&mut view, &mut buffer, complete)?,
                Key::ArrowUp | Key::Char('\u{10}') => {
                    if !buffer.up() && older > 0 {
                        older -= 1;
                        buffer.replace(&self.history.entries()[older]);
                    }
                }
                Key::ArrowDown | Key::Char('\u{e}') => {
                    if !buffer.down() && older < self.history.entries().len() {
                        older += 1;
                        buffer.replace(self.history.entries().get(older).map_or("", String::as_str));
                    }
                }
                key => buffer.press(&key),
            }
            view.draw(&buffer)?;
        }
    }

    /// One candidate is taken, of several what they have in common; when that is nothing new, they are listed.
    fn complete(&self, view: &mut View<'_>, buffer: &mut Buffer, complete: Complete<'_>) -> io::Result<()> {
        let (start, candidates) = complete(&buffer.text, buffer.cursor);
        let word = buffer.text[start..buffer.cursor].to_owned();
        match candidates.as_slice() {
            [] => {}
            [only] => buffer.put(start, only),
            several => {
                let common = common_prefix(several);
                if common.len() > word.len() {
                    buffer.put(start, &common);
                    return Ok(());
                }
                let mut listed: Vec<&str> = several.iter().take(LISTED_MAX).map(String::as_str).collect();
                let more = format!("and {} more", several.len().saturating_sub(LISTED_MAX));
                if several.len() > LISTED_MAX {
                    listed.push(&more);
                }
                view.below(&listed)?;
            }
        }
        Ok(())
    }
}

/// What all candidates begin with, in the letters of the first.
fn common_prefix(candidates: &[String]) -> String {
    let first = &candidates[0];
    let same = |other: &String| {
        let pairs = first.chars().zip(other.chars()).take_while(|(a, b)| a.eq_ignore_ascii_case(b));
        pairs.map(|(a, _)| a.len_utf8()).sum::<usize>()
    };
    first[..candidates.iter().map(same).min().unwrap_or(0)].to_owned()
}

/// A text under a cursor.
#[derive(Default)]
struct Buffer {
    text: String,
    /// A byte in the text, at the beginning of a character.
    cursor: usize,
}

impl Buffer {
    fn insert(&mut self, c: char) {
        self.text.insert(self.cursor, c);
        self.cursor += c.len_utf8();
    }

    fn replace(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        self.cursor = self.text.len();
    }

    /// Puts a word where the one at the cursor begins.
    fn put(&mut self, start: usize, word: &str) {
        self.text.replace_range(start..self.cursor, word);
        self.cursor = start + word.len();
    }

    fn press(&mut self, key: &Key) {
        match key {
            Key::ArrowLeft | Key::Char('\u{2}') => self.cursor = self.before(),
            Key::ArrowRight | Key::Char('\u{6}') => self.cursor = self.behind(),
            Key::Home => self.cursor = self.line_start(),
            Key::End => self.cursor = self.line_end(),
            Key::Backspace => {
                let start = self.before();
                self.text.replace_range(start..self.cursor, "");
                self.cursor = start;
            }
            Key::Del | Key::Char('\u{4}') => {
                let end = self.behind();
                self.text.replace_range(self.cursor..end, "");
            }
            // To the end of the line, to its beginning, the word before.
            Key::Char('\u{b}') => {
                let end = self.line_end();
                self.text.replace_range(self.cursor..end, "");
            }
            Key::Char('\u{15}') => self.put(self.line_start(), ""),
            Key::Char('\u{17}') => {
                let kept = self.text[..self.cursor].trim_end();
                let start = kept.rfind(char::is_whitespace).map_or(0, |at| at + 1);
                self.put(start, "");
            }
            Key::Char(c) if !c.is_control() => self.insert(*c),
            _ => {}
        }
    }

    fn before(&self) -> usize {
        self.text[..self.cursor].char_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn behind(&self) -> usize {
        self.text[self.cursor..].chars().next().map_or(self.cursor, |c| self.cursor + c.len_utf8())
    }

    fn line_start(&self) -> usize {
        self.text[..self.cursor].rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self) -> usize {
        self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at)
    }

    /// To the line above; false when there is none.
    fn up(&mut self) -> bool {
        let start = self.line_start();
        if start == 0 {
            return false;
        }
        let column = self.text[start..self.cursor].chars().count();
        let above = self.text[..start - 1].rfind('\n').map_or(0, |at| at + 1);
        self.cursor = at_column(&self.text, above, column);
        true
    }

    /// To the line below; false when there is none.
    fn down(&mut self) -> bool {
        let end = self.line_end();
        if end == self.text.len() {
            return false;
        }
        let column = self.text[self.line_start()..self.cursor].chars().count();
        self.cursor = at_column(&self.text, end + 1, column);
        true
    }
}

/// The byte of a column of the line that begins at `start`, or of the line's end.
fn at_column(text: &str, start: usize, column: usize) -> usize {
    let line = text[start..].split('\n').next().unwrap_or_default();
    start + line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)
}

/// The drawn text.
struct View<'a> {
    term: &'a Term,
    prompt: &'a str,
    /// Rows between the first and that of the cursor.
    cursor_row: usize,
}

impl View<'_> {
    fn draw(&mut self, buffer: &Buffer) -> io::Result<()> {
        let width = usize::from(self.term.size().1).max(20);
        let (row, column, rows, text) = layout(self.prompt, buffer, width);
        self.term.move_cursor_up(self.cursor_row)?;
        self.term.write_str("\r")?;
        self.term.clear_to_end_of_screen()?;
        self.term.write_str(&text)?;
        self.term.move_cursor_up(rows - row)?;
        self.term.write_str("\r")?;
        self.term.move_cursor_right(column)?;
        self.term.flush()?;
        self.cursor_row = row;
        Ok(())
    }

    /// Writes words below the text, which is drawn anew behind them.
    fn below(&mut self, words: &[&str]) -> io::Result<()> {
        self.term.write_str("\r\n")?;
        self.term.clear_to_end_of_screen()?;
        self.term.write_str(&words.join("  "))?;
        self.term.write_str("\r\n")?;
        self.cursor_row = 0;
        Ok(())
    }
}

/// Row and column of the cursor, the last row, and the text with its prompts, for a terminal of this width.
fn layout(prompt: &str, buffer: &Buffer, width: usize) -> (usize, usize, usize, String) {
    let more = format!("{}... ", " ".repeat(prompt.width().saturating_sub(4)));
    let (mut text, mut rows, mut at) = (String::new(), 0, 0);
    let mut cursor = (0, 0);
    for (number, line) in buffer.text.split('\n').enumerate() {
        let lead = if number == 0 { prompt } else { &more };
        if number > 0 {
            text.push_str("\r\n");
            rows += 1;
        }
        text.push_str(lead);
        text.push_str(line);
        if (at..=at + line.len()).contains(&buffer.cursor) {
            let before = lead.width() + line[..buffer.cursor - at].width();
            cursor = (rows + before / width, before % width);
        }
        let all = lead.width() + line.width();
        rows += all / width;
        if all > 0 && all % width == 0 {
            // The terminal goes to the next row only with the next character.
            text.push_str(" \r");
        }
        at += line.len() + 1;
    }
    (cursor.0, cursor.1, rows, text)
}

/// The terminal in raw mode; dropping it brings back what was.
struct Raw(Termios);

impl Raw {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that went away needs no mode.
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[Key]) -> Buffer {
        let mut buffer = Buffer::default();
        keys.iter().for_each(|key| buffer.press(key));
        buffer
    }

    fn text(text: &str, cursor: usize) -> Buffer {
        Buffer { text: text.to_owned(), cursor }
    }

    #[test]
    fn keys_edit_the_text() {
        let word = |word: &str| word.chars().map(Key::Char).collect::<Vec<_>>();
        let mut keys = word("selekt 'ä'");
        keys.extend([Key::Home, Key::ArrowRight, Key::ArrowRight, Key::ArrowRight, Key::ArrowRight, Key::Del]);
        keys.extend(word("c"));
        keys.extend([Key::End, Key::ArrowLeft, Key::Backspace]);
        keys.extend(word("日"));
        assert_eq!(typed(&keys).text, "select '日'");
        let mut buffer = text("select one\nfrom two three", 25);
        buffer.press(&Key::Char('\u{17}'));
        assert_eq!((buffer.text.as_str(), buffer.cursor), ("select one\nfrom two ", 20));
        buffer.press(&Key::Char('\u{15}'));
        assert_eq!(buffer.text, "select one\n");
    }

    #[test]
    fn the_cursor_moves_between_lines() {
        let mut buffer = text("select 1,\n2\nfrom t", 16);
        assert!(buffer.up() && buffer.cursor == 11, "a shorter line ends the way");
        assert!(buffer.up() && buffer.cursor == 1);
        assert!(!buffer.up());
        assert!(buffer.down() && buffer.down() && !buffer.down());
    }

    #[test]
    fn the_cursor_is_drawn_where_it_is() {
        let (row, column, rows, drawn) = layout("kodiak> ", &text("select 1,\n日本", 16), 40);
        assert_eq!((row, column, rows), (1, 8 + 4, 1));
        assert_eq!(drawn, "kodiak> select 1,\r\n    ... 日本");
        let (row, column, rows, _) = layout("> ", &text(&"x".repeat(25), 20), 20);
        assert_eq!((row, column, rows), (1, 2, 1));
    }

    #[test]
    fn candidates_share_a_beginning() {
        let candidates = ["customer".to_owned(), "Customs".to_owned()];
        assert_eq!(common_prefix(&candidates), "custom");
    }
}
