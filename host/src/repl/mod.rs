//! The interactive session: reads statements and `.commands` from a terminal and runs them. It shows nothing by itself:
//! a [`Screen`] does, so that results look as they do everywhere else. The commands work in piped input too.

mod chart;
mod command;
mod complete;
mod editor;
mod history;

use std::path::Path;
use std::time::Instant;

use crate::database::{Connection, Database, Outcome, Rows};
use crate::error::{Error, Result};
use crate::sql::split;

use complete::Completer;
use editor::{Editor, Input};
use history::History;

/// Where a session shows what it has to show.
pub trait Screen {
    /// Shows the result of a statement; gives how many rows it returned or changed.
    ///
    /// # Errors
    /// The first error that comes while rows are read.
    fn show(&self, outcome: Outcome) -> Result<u64>;
    /// A line that was asked for.
    fn say(&self, line: &str);
    /// A line that was not asked for but helps.
    fn note(&self, line: &str);
    /// An error, after which the session goes on.
    fn error(&self, error: &Error);
    /// Changes how results look.
    ///
    /// # Errors
    /// When there is no such format.
    fn set_format(&self, name: &str) -> Result<()>;
    /// How results look.
    fn format(&self) -> String;
    /// Characters of a line.
    fn width(&self) -> usize;
    /// Whether escape sequences for colour are welcome.
    fn colour(&self) -> bool;
    /// Works so that Ctrl-C cancels the statement.
    ///
    /// # Errors
    /// Those of the work.
    fn during(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()>;
    /// Whether nobody is left to show anything to.
    fn is_closed(&self) -> bool;
}

/// A session of statements and commands.
pub struct Repl<'a> {
    database: &'a Database,
    connection: &'a Connection,
    screen: &'a dyn Screen,
    timer: bool,
    /// The last query, which `.chart` draws.
    last_query: Option<String>,
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It does.
    Continue,
    /// `.quit` was said.
    Quit,
}

impl<'a> Repl<'a> {
    /// A session on a connection of `database`.
    pub fn new(database: &'a Database, connection: &'a Connection, screen: &'a dyn Screen) -> Self {
        Self { database, connection, screen, timer: false, last_query: None }
    }

    /// Talks until `.quit` or the end of input. An error ends a statement, never the session.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub fn interact(&mut self) -> Result<()> {
        let place =
            self.database.store().path().map_or_else(|| "in memory".to_owned(), |path| path.display().to_string());
        self.screen.note(&format!("Kodiak {}, {place}; .help shows what to type", env!("CARGO_PKG_VERSION")));
        let history = History::open();
        let mut editor = Editor::new(history);
        let completer = Completer::new(self.database);
        loop {
            let prompt = if self.connection.in_transaction() { "kodiak*> " } else { "kodiak> " };
            let complete = |text: &str, at: usize| completer.complete(text, at);
            match editor.read(prompt, &complete, &is_finished) {
                Ok(Input::Text(text)) if text.trim().is_empty() => {}
                Ok(Input::Text(text)) => {
                    editor.keep(&text);
                    if self.run(&text) == Next::Quit {
                        break;
                    }
                }
                Ok(Input::Interrupted) => {}
                Ok(Input::End) => break,
                Err(error) => return Err(Error::io("read from", Path::new("the terminal"), &error)),
            }
            if self.screen.is_closed() {
                break;
            }
        }
        if self.connection.in_transaction() {
            self.screen.note("the open transaction is rolled back");
        }
        Ok(())
    }

    /// Runs what was typed, and shows its errors.
    fn run(&mut self, text: &str) -> Next {
        let trimmed = text.trim();
        let done = match trimmed.trim_end_matches(';') {
            "quit" | "exit" => return Next::Quit,
            _ if is_command(trimmed) => self.command(trimmed),
            _ => self.statements(text, "input").map(|()| Next::Continue),
        };
        done.unwrap_or_else(|error| {
            self.screen.error(&error);
            Next::Continue
        })
    }

    /// Runs the statements of `text` up to the first that fails.
    ///
    /// # Errors
    /// That of the statement.
    pub fn statements(&mut self, text: &str, source: &str) -> Result<()> {
        let mut pieces = split::statements(text);
        let mut script = self.connection.script(text, source);
        loop {
            let started = Instant::now();
            let mut more = false;
            self.screen.during(&mut || {
                if let Some(outcome) = script.next() {
                    self.screen.show(outcome?)?;
                    more = true;
                }
                Ok(())
            })?;
            if !more || self.screen.is_closed() {
                return Ok(());
            }
            if let Some(piece) = pieces.next() {
                self.remember(piece.text);
            }
            if self.timer {
                self.screen.note(&format!("Time: {:.3} ms", started.elapsed().as_secs_f64() * 1e3));
            }
        }
    }

    /// Notes a statement that was run elsewhere, so that `.chart` knows the last query.
    pub fn remember(&mut self, statement: &str) {
        let words = split::leading_words(statement, 1);
        if matches!(words.first().map(String::as_str), Some("SELECT" | "WITH" | "FROM" | "VALUES" | "TABLE")) {
            self.last_query = Some(statement.to_owned());
        }
    }

    /// Rows of a query of the session's own.
    fn query(&self, sql: &str) -> Result<Rows> {
        self.connection.query(sql, &[])
    }
}

/// Whether a text is a command of the session's and not SQL, which never begins with a dot.
pub fn is_command(text: &str) -> bool {
    text.trim_start().starts_with('.')
}

/// Whether nothing more has to be typed.
fn is_finished(text: &str) -> bool {
    let trimmed = text.trim();
    if trimmed.is_empty() || is_command(trimmed) || matches!(trimmed, "quit" | "exit") {
        return true;
    }
    let mut last = None;
    let mut rest = text;
    while let Some(piece) = split::first(rest) {
        rest = &rest[piece.length..];
        last = Some(piece);
    }
    // A comment without its end counts as blank, and goes on all the same.
    let is_open = |text: &str| text.rfind("/*").is_some_and(|start| !text[start..].contains("*/"));
    last.is_some_and(|piece| piece.complete || (piece.is_blank() && !is_open(piece.text)))
}

#[cfg(test)]
mod tests {
    use super::is_finished;

    #[test]
    fn a_statement_is_finished_by_its_semicolon_alone() {
        for text in ["select 1;", "select ';' ; -- done", ".tables", "", "exit", "select $$ ; $$;", "a; b;\n"] {
            assert!(is_finished(text), "{text}");
        }
        for text in ["select 1", "select ';", "select $$ ;", "a; b", "/* ;"] {
            assert!(!is_finished(text), "{text}");
        }
    }
}
