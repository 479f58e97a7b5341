//! Statements as they arrive: each is handed out as soon as its `;` has been read, so that a pipe can be a conversation.
//! It refuses text that is not UTF-8, and leaves the rest to the parser.

use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::error::{Error, Place, Result, codes};
use crate::sql::split;

const CHUNK_BYTES: usize = 64 * 1024;

/// Cuts what `input` delivers into statements.
pub(super) struct Statements<R> {
    input: R,
    /// Whether a text may hold what no message repeats.
    is_sensitive: Box<dyn Fn(&str) -> bool>,
    /// Bytes of a character that has not arrived whole.
    partial: Vec<u8>,
    /// Text from the beginning of a line on.
    text: String,
    /// Number of that line, from 1.
    line: u64,
    /// Where in `text` the next statement begins.
    start: usize,
    /// From where on no `;` has been looked for.
    unseen: usize,
    /// The last line of the last statement that brought a secret.
    secret_line: u64,
    ended: bool,
}

/// One statement and where it stood.
pub(super) struct Statement {
    /// Its text, with its `;`.
    pub text: String,
    /// What stands before it on its first line; none if that may be a part of a secret.
    before: Option<String>,
    /// Characters before it on its first line.
    indent: u64,
    line: u64,
}

/// What stands at the beginning of what is left.
enum Command {
    None,
    Unfinished,
    Whole(Statement),
}

impl Statement {
    /// Moves a place from the statement to the input it was cut from.
    pub(super) fn relocate(&self, place: Place) -> Place {
        let first = place.line == 1;
        let column = if first { self.indent } else { 0 } + place.column;
        let text = match &self.before {
            // No text means that it must not be shown.
            Some(before) if first && !place.text.is_empty() => format!("{before}{}", place.text),
            None if first => String::new(),
            _ => place.text,
        };
        Place { line: place.line + self.line - 1, column, text, ..place }
    }
}

impl<R: Read> Statements<R> {
    /// Nothing is read before the first statement is asked for.
    pub(super) fn new(input: R, is_sensitive: impl Fn(&str) -> bool + 'static) -> Self {
        Self {
            input,
            is_sensitive: Box::new(is_sensitive),
            partial: Vec::new(),
            text: String::new(),
            line: 1,
            start: 0,
            unseen: 0,
            secret_line: 0,
            ended: false,
        }
    }

    /// The next statement that is not blank; waits for input as long as none is complete.
    ///
    /// # Errors
    /// If the input cannot be read or is no text.
    pub(super) fn next(&mut self) -> Result<Option<Statement>> {
        loop {
            while let Some(statement) = self.take() {
                if let Some(statement) = statement {
                    return Ok(Some(statement));
                }
            }
            if self.ended {
                return Ok(None);
            }
            self.read()?;
        }
    }

    /// Cuts off one piece if it is complete: `Some(None)` if it was blank, `None` if more must be read.
    fn take(&mut self) -> Option<Option<Statement>> {
        match self.take_command() {
            Command::None => {}
            Command::Unfinished => return None,
            Command::Whole(command) => return Some(Some(command)),
        }
        // Without a `;` in what is new, a long statement is not scanned again for every chunk of it.
        if !self.ended && !self.text[self.unseen..].contains(';') {
            self.unseen = self.text.len();
            return None;
        }
        let piece = split::first(&self.text[self.start..])?;
        if !piece.complete && !self.ended {
            self.unseen = self.text.len();
            return None;
        }
        let (blank, end) = (piece.is_blank(), self.start + piece.length);
        let statement = (!blank).then(|| Statement {
            text: self.text[self.start..end].to_owned(),
            before: (self.secret_line != self.line).then(|| self.text[..self.start].to_owned()),
            indent: self.text[..self.start].chars().count() as u64,
            line: self.line,
        });
        // Who is asked may have to look into the database; what ends its line stands beside nothing.
        let ends_line = self.text[end..].starts_with(['\n', '\r']);
        let holds_secret = !ends_line && (self.is_sensitive)(piece.text);
        // Whole lines before the next statement are done with.
        let line_start = self.text[..end].rfind('\n').map_or(0, |at| at + 1);
        self.line += self.text[..line_start].bytes().filter(|byte| *byte == b'\n').count() as u64;
        if holds_secret {
            self.secret_line = self.line;
        }
        self.text.drain(..line_start);
        self.start = end - line_start;
        self.unseen = self.start;
        Some(statement)
    }

    /// A line that begins with a dot, which no statement does, ends where it ends.
    fn take_command(&mut self) -> Command {
        let rest = &self.text[self.start..];
        let blank = rest.len() - rest.trim_start().len();
        if !rest[blank..].starts_with('.') {
            return Command::None;
        }
        let end = match rest[blank..].find('\n') {
            Some(end) => self.start + blank + end + 1,
            None if self.ended => self.text.len(),
            None => return Command::Unfinished,
        };
        let text = rest[blank..end - self.start].trim_end().to_owned();
        let line = self.line + self.text[..self.start + blank].matches('\n').count() as u64;
        self.line += self.text[..end].matches('\n').count() as u64;
        self.text.drain(..end);
        (self.start, self.unseen) = (0, 0);
        Command::Whole(Statement { text, before: None, indent: 0, line })
    }

    fn read(&mut self) -> Result<()> {
        let mut chunk = std::mem::take(&mut self.partial);
        let kept = chunk.len();
        chunk.resize(kept + CHUNK_BYTES, 0);
        let count = loop {
            match self.input.read(&mut chunk[kept..]) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", Path::new("stdin"), &error)),
            }
        };
        self.ended = count == 0;
        chunk.truncate(kept + count);
        match std::str::from_utf8(&chunk) {
            Ok(text) => self.text.push_str(text),
            Err(error) if error.error_len().is_none() && !self.ended => {
                let (text, partial) = chunk.split_at(error.valid_up_to());
                self.partial = partial.to_owned();
                self.text.push_str(&String::from_utf8_lossy(text));
            }
            Err(error) => {
                let lines = chunk[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
                let line = self.line + (self.text.matches('\n').count() + lines) as u64;
                return Err(Error::new(codes::SYNTAX, format!("line {line} of the input is not UTF-8 text")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::{Statement, Statements};
    use crate::error::{Place, codes};

    /// Delivers its parts one at a time, as a pipe may.
    struct Parts<'a>(std::iter::Copied<std::slice::Iter<'a, &'a [u8]>>);

    impl Read for Parts<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let part = self.0.next().unwrap_or_default();
            buffer[..part.len()].copy_from_slice(part);
            Ok(part.len())
        }
    }

    fn read<'a>(parts: &'a [&'a [u8]]) -> Statements<Parts<'a>> {
        Statements::new(Parts(parts.iter().copied()), crate::sql::split::holds_secret)
    }

    fn place(statement: &Statement, line: u64, column: u64, text: &str) -> (u64, u64, String) {
        let place = Place { source: "stdin".into(), line, column, text: text.into() };
        let moved = statement.relocate(place);
        (moved.line, moved.column, moved.text)
    }

    #[test]
    fn a_statement_is_there_before_the_next_part_is_read() {
        let mut statements = read(&[b"select 1;", b"select 2"]);
        assert_eq!(statements.next().unwrap().unwrap().text, "select 1;");
        assert_eq!(statements.input.0.len(), 1);
        assert_eq!(statements.next().unwrap().unwrap().text, "select 2");
        assert!(statements.next().unwrap().is_none());
    }

    #[test]
    fn a_line_with_a_dot_in_front_is_a_command() {
        let mut statements = read(&[b"select 1;\n\n .tab", b"les x\nselect\n.5;\n.quit"]);
        let texts: Vec<String> = std::iter::from_fn(|| statements.next().unwrap()).map(|one| one.text).collect();
        assert_eq!(texts, ["select 1;", ".tables x", "select\n.5;", ".quit"]);
    }

    #[test]
    fn places_are_those_of_the_input() {
        let mut statements = read(&[b"a;\n\n b; c\n", b"d;;e"]);
        let (a, b, c) = (statements.next().unwrap(), statements.next().unwrap(), statements.next().unwrap());
        assert_eq!(place(&a.unwrap(), 1, 1, "a"), (1, 1, "a".into()));
        assert_eq!(place(&b.unwrap(), 3, 2, " b"), (3, 2, " b".into()));
        let c = c.unwrap();
        assert_eq!(place(&c, 1, 2, " c"), (3, 5, " b; c".into()));
        assert_eq!(place(&c, 2, 1, "d;"), (4, 1, "d;".into()));
        let e = statements.next().unwrap().unwrap();
        assert_eq!(place(&e, 1, 1, "e"), (4, 4, "d;;e".into()));
    }

    #[test]
    fn a_secret_is_not_shown_with_the_statement_behind_it() {
        let mut statements = read(&[b"CREATE SECRET s (VALUE\n'top'); a;\nb"]);
        let (_, a, b) = (statements.next().unwrap(), statements.next().unwrap(), statements.next().unwrap());
        assert_eq!(place(&a.unwrap(), 1, 2, " a"), (2, 9, String::new()));
        assert_eq!(place(&b.unwrap(), 2, 1, "b"), (3, 1, "b".into()));
    }

    #[test]
    fn characters_may_arrive_in_halves_but_must_be_whole() {
        let mut statements = read(&[b"select '\xc3", b"\xa4;';"]);
        assert_eq!(statements.next().unwrap().unwrap().text, "select 'ä;';");
        let error = read(&[b"select 1\n'\xff';"]).next().err().unwrap();
        assert!(error.is(codes::SYNTAX) && error.message().contains("line 2"), "{error:?}");
    }
}
