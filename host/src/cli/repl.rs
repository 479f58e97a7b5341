//! `kodiak` without a command on a terminal: the interactive session, shown by the ui.

use clap::ValueEnum;

use super::context::Context;
use super::exit::Exit;
use super::format::Format;
use super::interrupt::Interrupt;
use super::sql;
use crate::database::Outcome;
use crate::error::{Error, Result, codes};
use crate::repl::{Repl, Screen};

/// Talks until the user ends it.
///
/// # Errors
/// When the database cannot be opened or the terminal cannot be read.
pub(super) fn run(context: &Context) -> Result<Exit> {
    let database = context.open()?;
    let connection = database.connect()?;
    let interrupt = Interrupt::watch(connection.cancel_handle());
    let screen = UiScreen { context, interrupt: &interrupt };
    Repl::new(&database, &connection, &screen).interact()?;
    Ok(Exit::Done)
}

/// The ui as a session sees it.
pub(super) struct UiScreen<'a> {
    pub(super) context: &'a Context,
    pub(super) interrupt: &'a Interrupt,
}

impl Screen for UiScreen<'_> {
    fn show(&self, outcome: Outcome) -> Result<u64> {
        sql::show(self.context, outcome)
    }

    fn say(&self, line: &str) {
        self.context.ui.say(line);
    }

    fn note(&self, line: &str) {
        self.context.ui.note(line);
    }

    fn error(&self, error: &Error) {
        self.context.ui.error(error);
    }

    fn set_format(&self, name: &str) -> Result<()> {
        let format = Format::from_str(name, true).map_err(|_| {
            Error::new(codes::USAGE, format!("no format `{name}`"))
                .detail("there are table, csv, tsv, json, jsonl, markdown, arrow")
        })?;
        self.context.ui.set_format(format);
        Ok(())
    }

    fn format(&self) -> String {
        let value = self.context.ui.format().to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn width(&self) -> usize {
        self.context.ui.width()
    }

    fn colour(&self) -> bool {
        self.context.ui.colours_stdout()
    }

    fn during(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.interrupt.during(work)
    }

    fn is_closed(&self) -> bool {
        self.context.ui.is_closed()
    }
}
