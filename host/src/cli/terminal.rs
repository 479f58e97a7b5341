//! Standard input, output and error for a command of an extension, which may use them from any thread. A reader of
//! standard output that went away is no error: what is written after that is thrown away.

use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

use crate::error::{Error, Result};
use crate::extensions::session::Terminal;

/// The process's own streams.
pub(super) struct CommandTerminal {
    quiet: bool,
    closed: AtomicBool,
    bar: Mutex<Option<ProgressBar>>,
}

impl CommandTerminal {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, closed: AtomicBool::new(false), bar: Mutex::default() }
    }

    /// Takes a progress bar off the screen.
    pub(super) fn finish(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

impl Terminal for CommandTerminal {
    fn read_input(&self, bytes_max: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(bytes_max.min(1 << 20));
        let mut stdin = io::stdin().lock().take(bytes_max as u64);
        stdin.read_to_end(&mut bytes).map_err(|error| Error::io("read from", Path::new("stdin"), &error))?;
        Ok(bytes)
    }

    fn write_output(&self, bytes: &[u8]) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed.store(true, Ordering::Relaxed);
                Ok(())
            }
            done => done.map_err(|error| Error::io("write to", Path::new("stdout"), &error)),
        }
    }

    fn write_note(&self, bytes: &[u8]) -> Result<()> {
        if self.quiet {
            return Ok(());
        }
        io::stderr().lock().write_all(bytes).map_err(|error| Error::io("write to", Path::new("stderr"), &error))
    }

    fn progress(&self, done: u64, total: u64, message: &str) {
        if self.quiet || !io::stderr().is_terminal() {
            return;
        }
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bar.get_or_insert_with(|| ProgressBar::new(total));
        bar.set_length(total.max(done));
        bar.set_position(done);
        bar.set_message(message.to_owned());
    }
}
