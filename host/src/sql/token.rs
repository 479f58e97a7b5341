//! What ends a statement early: a cancellation or its deadline. It is asked and waited for; it interrupts nobody.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::error::{Error, Result, codes};

/// One statement's permission to go on. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Token {
    cancelled: Arc<watch::Sender<bool>>,
    deadline: Option<(Instant, Duration)>,
}

impl Token {
    /// A token that ends after `timeout`, if there is one.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        let deadline = timeout.and_then(|timeout| Some((Instant::now().checked_add(timeout)?, timeout)));
        Self { cancelled: Arc::new(watch::Sender::new(false)), deadline }
    }

    /// Ends the statement.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Whether the statement was cancelled; a passed deadline does not count.
    pub fn is_cancelled(&self) -> bool {
        *self.cancelled.borrow()
    }

    /// The error that ends the statement, if it should end.
    ///
    /// # Errors
    /// `CANCELLED` or `TIMEOUT`.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(codes::CANCELLED, "the statement was cancelled"));
        }
        match self.deadline {
            Some((at, timeout)) if Instant::now() >= at => Err(timed_out(timeout)),
            _ => Ok(()),
        }
    }

    /// When the statement ends by itself.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline.map(|(at, _)| at)
    }

    /// Waits for a cancellation alone; needs no runtime.
    pub(crate) async fn cancelled(&self) {
        let mut receiver = self.cancelled.subscribe();
        // The sender lives in `self`, so waiting cannot fail before it is told.
        let _ = receiver.wait_for(|cancelled| *cancelled).await;
    }

    /// Waits until the statement should end, and says why.
    pub(crate) async fn ended(&self) -> Error {
        match self.deadline {
            None => self.cancelled().await,
            Some((at, timeout)) => tokio::select! {
                () = self.cancelled() => {}
                () = tokio::time::sleep_until(at.into()) => return timed_out(timeout),
            },
        }
        Error::new(codes::CANCELLED, "the statement was cancelled")
    }
}

fn timed_out(timeout: Duration) -> Error {
    let message = format!("the statement took longer than `statement_timeout` ({} ms)", timeout.as_millis());
    Error::new(codes::TIMEOUT, message).help("SET statement_timeout = 0 to wait for ever")
}
