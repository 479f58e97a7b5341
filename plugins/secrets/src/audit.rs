//! Who did what with which secret, written before the answer is given. A read is written in a session of its own, so
//! that a transaction which is rolled back has read all the same; a change is written with the change. It refuses to
//! let an operation through that cannot be written down.

use crate::sql;
use kodiak_plugin_api::prelude::*;
use std::env;
use std::os::unix::fs::MetadataExt;

/// What is written down.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// `get`, `create` and so on.
    pub action: &'a str,
    /// The secret, if it is about one.
    pub secret: Option<&'a str>,
    /// Its version, if it is known.
    pub version: Option<u32>,
    /// Where it came from: `command`, `statement`, or the extension that asked.
    pub source: &'a str,
}

/// What becomes of the line when the caller's transaction is rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Stays,
    /// It goes with the change that it is about.
    Goes,
}

impl Line<'_> {
    /// Writes down how an operation ended, and gives that on.
    ///
    /// # Errors
    /// Those of the operation; of an operation that ended well, that it could not be written down.
    pub fn record<T>(self, call: &Call, fate: Fate, done: Result<T>) -> Result<T> {
        let outcome = done.as_ref().err().map_or("ok", |error| match error.code() {
            "" => "failed",
            code => code,
        });
        // A failure undoes what was written in the caller's transaction.
        let fate = if done.is_err() { Fate::Stays } else { fate };
        let written = self.write(call, fate, outcome);
        match (done, written) {
            (Err(error), _) => Err(error),
            (Ok(_), Err(error)) => Err(error.detail("the audit of secrets could not be written, so nothing was done")),
            (Ok(done), Ok(())) => Ok(done),
        }
    }

    fn write(self, call: &Call, fate: Fate, outcome: &str) -> Result<()> {
        let values = [
            Value::Timestamp(call.now()),
            actor().into(),
            self.action.into(),
            self.secret.into(),
            self.version.into(),
            self.source.into(),
            outcome.into(),
        ];
        if fate == Fate::Goes {
            return sql::insert_audit(call, &values);
        }
        match call.session().and_then(|session| sql::insert_audit(&session, &values)) {
            // In the transaction in which the extension is used for the first time, only that transaction has the table.
            Err(error) if matches!(error.code(), "KDK-0101" | "KDK-0104") => sql::insert_audit(call, &values),
            done => done,
        }
    }
}

/// The user of the operating system.
fn actor() -> String {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| env::var(name).ok().filter(|name| !name.is_empty()));
    let number =
        || std::fs::metadata("/proc/self").map_or_else(|_| "unknown".to_owned(), |own| format!("uid {}", own.uid()));
    named.unwrap_or_else(number)
}
