//! A failure that a plugin reports: data that travels unchanged to the user. It refuses to carry causes or backtraces;
//! what a person needs is the message, a stable code and a way out.

use crate::abi::{AbiError, RString};
use std::fmt;

/// The result of everything that a plugin does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: message, code, and optionally SQLSTATE, facts and help.
///
/// ```
/// use kodiak_plugin_api::Error;
/// let error = Error::new("GEO-0007", "latitude 91 is out of range").help("latitudes lie between -90 and 90");
/// assert_eq!(error.code(), "GEO-0007");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Inner {
    code: String,
    sqlstate: String,
    message: String,
    details: Vec<String>,
    help: String,
    panicked: bool,
}

impl Error {
    /// A failure with a stable code of the extension's own; empty stands for the host's `KDK-0480`.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { code: code.into(), message: message.into(), ..Inner::default() }))
    }

    /// A failure without a code of its own.
    pub fn message(message: impl Into<String>) -> Self {
        Self::new("", message)
    }

    pub(crate) fn panic(message: String) -> Self {
        Self(Box::new(Inner { message, panicked: true, ..Inner::default() }))
    }

    /// Adds what the user can do, as a command whenever possible.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = help.into();
        self
    }

    /// Adds a line of facts.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.0.details.push(line.into());
        self
    }

    /// Sets the five characters that SQL users expect.
    #[must_use]
    pub fn sqlstate(mut self, sqlstate: impl Into<String>) -> Self {
        self.0.sqlstate = sqlstate.into();
        self
    }

    /// The code, empty when the extension gave none.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The message.
    pub fn text(&self) -> &str {
        &self.0.message
    }

    /// The lines of facts.
    pub fn details(&self) -> &[String] {
        &self.0.details
    }

    /// The help, empty for none.
    pub fn help_text(&self) -> &str {
        &self.0.help
    }

    /// The SQLSTATE, empty for none.
    pub fn state(&self) -> &str {
        &self.0.sqlstate
    }

    /// Whether the other side panicked instead of reporting.
    pub fn panicked(&self) -> bool {
        self.0.panicked
    }

    /// Streams of the Arrow C interface carry errors as text only; so all of it goes into one.
    #[doc(hidden)]
    pub fn encode(&self) -> String {
        let panicked = if self.0.panicked { "1" } else { "0" };
        let mut fields = vec![MARK, panicked, &self.0.code, &self.0.sqlstate, &self.0.message, &self.0.help];
        fields.extend(self.0.details.iter().map(String::as_str));
        fields.join(SEPARATOR)
    }

    /// The inverse of [`Error::encode`]; text that was not encoded becomes a message.
    #[doc(hidden)]
    pub fn decode(text: &str) -> Self {
        let Some(start) = text.find(MARK) else { return Self::message(text) };
        let mut fields = text[start..].split(SEPARATOR).skip(1).map(str::to_owned);
        let mut next = || fields.next().unwrap_or_default();
        let (panicked, code, sqlstate, message, help) = (next() == "1", next(), next(), next(), next());
        Self(Box::new(Inner { code, sqlstate, message, help, panicked, details: fields.collect() }))
    }
}

const MARK: &str = "\u{1e}kodiak-error";
const SEPARATOR: &str = "\u{1f}";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for AbiError {
    fn from(error: Error) -> Self {
        let Inner { code, sqlstate, message, details, help, panicked } = *error.0;
        AbiError {
            code: code.into(),
            sqlstate: sqlstate.into(),
            message: message.into(),
            details: details.into_iter().map(RString::from).collect(),
            help: help.into(),
            panicked,
            options: Default::default(),
        }
    }
}

impl From<AbiError> for Error {
    fn from(error: AbiError) -> Self {
        Self(Box::new(Inner {
            code: error.code.into(),
            sqlstate: error.sqlstate.into(),
            message: error.message.into(),
            details: error.details.into_iter().map(String::from).collect(),
            help: error.help.into(),
            panicked: error.panicked,
        }))
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::message(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::message(message)
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::message(error.to_string())
    }
}

impl From<arrow_schema::ArrowError> for Error {
    fn from(error: arrow_schema::ArrowError) -> Self {
        match error {
            arrow_schema::ArrowError::ExternalError(inner) => match inner.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(other) => Self::decode(&other.to_string()),
            },
            other => Self::decode(&other.to_string()),
        }
    }
}

impl From<Error> for arrow_schema::ArrowError {
    fn from(error: Error) -> Self {
        Self::ExternalError(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn everything_survives_a_stream() {
        let error = Error::new("X-1", "no `a`").sqlstate("42P01").help("do b").detail("one").detail("two");
        assert_eq!(Error::decode(&format!("C Data interface error: {}", error.encode())), error);
        assert_eq!(Error::decode("plain"), Error::message("plain"));
    }
}
