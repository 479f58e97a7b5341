//! The codes of an extension's errors, as one table. It refuses to word messages: those stand where the facts are known.

use crate::error::Error;

/// One row of a table of codes; [`codes!`](crate::codes) makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// What users look up, such as `GEO-0007`.
    pub code: &'static str,
    /// Five characters of SQLSTATE.
    pub sqlstate: &'static str,
    /// What it means, in a phrase.
    pub meaning: &'static str,
}

impl Code {
    /// An error of this code.
    pub fn error(self, message: impl Into<String>) -> Error {
        Error::new(self.code, message).sqlstate(self.sqlstate)
    }

    /// Whether `error` has this code.
    pub fn is(self, error: &Error) -> bool {
        error.code() == self.code
    }
}

/// Makes a constant of each code, and `ALL` of them in order.
///
/// ```
/// kodiak_plugin_api::codes! {
///     RANGE = "GEO-0007" "22003" "an angle that is out of range";
/// }
/// let error = RANGE.error("latitude 91 is out of range");
/// assert!(RANGE.is(&error) && error.code() == "GEO-0007" && ALL.len() == 1);
/// ```
#[macro_export]
macro_rules! codes {
    ($($name:ident = $code:literal $sqlstate:literal $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $name: $crate::code::Code =
                $crate::code::Code { code: $code, sqlstate: $sqlstate, meaning: $meaning };
        )*
        /// Every code, in order.
        pub const ALL: &[$crate::code::Code] = &[$($name),*];
    };
}
