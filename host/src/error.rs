//! What went wrong, in words a person can act on: a stable code, a SQLSTATE where SQL users expect one, a message,
//! a place in the text and a way out. It refuses to decide exit codes or to print: that is the command line's job.
//!
//! One opaque type serves the whole library because every failure must travel unchanged over the plugin boundary and
//! over `--protocol jsonl`, where only data crosses. The codes are a table, so that docs/errors.md can be checked.

use std::fmt;

/// The result of everything that can fail in this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: code, message, and optionally SQLSTATE, help, place and cause.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    code: String,
    sqlstate: Option<String>,
    message: String,
    detail: Vec<String>,
    help: Option<String>,
    place: Option<Place>,
}

/// Where in a statement's text something went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the file or of the source, such as `-c`.
    pub source: String,
    /// Line, counted from 1.
    pub line: u64,
    /// Column in characters, counted from 1.
    pub column: u64,
    /// The line of text, for the caret under it.
    pub text: String,
}

/// One row of the table of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// `KDK-nnnn`.
    pub code: &'static str,
    /// Five characters of SQLSTATE, or empty.
    pub sqlstate: &'static str,
    /// What it means, in a phrase, as docs/errors.md lists it.
    pub meaning: &'static str,
}

impl Error {
    /// An error of a known code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let sqlstate = (!code.sqlstate.is_empty()).then(|| code.sqlstate.to_owned());
        Self(Box::new(Inner {
            code: code.code.to_owned(),
            sqlstate,
            message: message.into(),
            detail: Vec::new(),
            help: None,
            place: None,
        }))
    }

    /// An error that came from outside (a plugin, the registry) and brings its own code.
    pub fn foreign(code: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::new(codes::EXTENSION_ERROR, message);
        error.0.code = code.into();
        error.0.sqlstate = None;
        error
    }

    /// An I/O failure: the verb and the path always travel with it.
    pub fn io(verb: &str, path: &std::path::Path, source: &std::io::Error) -> Self {
        let code = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => codes::NO_SPACE,
            _ => codes::IO,
        };
        Self::new(code, format!("cannot {verb} `{}`: {source}", path.display()))
    }

    /// Adds what the user can do, written as a command whenever possible.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Adds a line of facts between message and help.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.0.detail.push(line.into());
        self
    }

    /// Sets the SQLSTATE of an error that came from outside.
    #[must_use]
    pub fn with_sqlstate(mut self, sqlstate: impl Into<String>) -> Self {
        let sqlstate = sqlstate.into();
        self.0.sqlstate = (!sqlstate.is_empty()).then_some(sqlstate);
        self
    }

    /// Says where in the text it happened, unless that is known already.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.0.place.get_or_insert(place);
        self
    }

    /// Moves it elsewhere, or nowhere: what knew the place only within a statement is told the whole text's.
    #[must_use]
    pub(crate) fn replace_place(mut self, place: Option<Place>) -> Self {
        self.0.place = place;
        self
    }

    /// The stable code, such as `KDK-0412`.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// Whether it has this code.
    pub fn is(&self, code: Code) -> bool {
        self.0.code == code.code
    }

    /// The SQLSTATE, where SQL users expect one.
    pub fn sqlstate(&self) -> Option<&str> {
        self.0.sqlstate.as_deref()
    }

    /// A lowercase phrase without a full stop.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Lines of facts that belong under the message.
    pub fn details(&self) -> &[String] {
        &self.0.detail
    }

    /// What the user can do.
    pub fn help_text(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// Where in the text it happened.
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)?;
        self.0.detail.iter().try_for_each(|line| write!(f, "\n  {line}"))?;
        self.0.help.as_ref().map_or(Ok(()), |help| write!(f, "\nhelp: {help}"))
    }
}

impl std::error::Error for Error {}

/// The table of codes: the only place where one is made.
pub mod codes {
    use super::Code;

    macro_rules! codes {
        ($($name:ident = $code:literal $sqlstate:literal $meaning:literal;)*) => {
            $(#[doc = $meaning] pub const $name: Code = Code { code: $code, sqlstate: $sqlstate, meaning: $meaning };)*
            /// Every code, in order.
            pub const ALL: &[Code] = &[$($name),*];
        };
    }

    codes! {
        INTERNAL = "KDK-0001" "XX000" "a bug of Kodiak's";
        USAGE = "KDK-0002" "" "the command line cannot be understood";
        NO_TERMINAL = "KDK-0003" "" "a question needs a terminal to be answered";
        CANCELLED = "KDK-0010" "57014" "the statement was cancelled";
        TIMEOUT = "KDK-0011" "57014" "the statement took longer than `statement_timeout`";
        OUT_OF_MEMORY = "KDK-0012" "53200" "the statement needs more than `memory_limit`";

        SYNTAX = "KDK-0100" "42601" "the statement cannot be parsed";
        NO_TABLE = "KDK-0101" "42P01" "no such table or view";
        NO_COLUMN = "KDK-0102" "42703" "no such column";
        NO_FUNCTION = "KDK-0103" "42883" "no such function, or none for these types";
        NO_SCHEMA = "KDK-0104" "3F000" "no such schema";
        EXISTS = "KDK-0105" "42P07" "the object exists already";
        TYPE = "KDK-0106" "42804" "types do not fit";
        VALUE = "KDK-0107" "22000" "a value cannot be represented in its type";
        UNSUPPORTED = "KDK-0108" "0A000" "not supported";
        PARAMETERS = "KDK-0109" "08P01" "parameters do not fit the statement";
        PLAN = "KDK-0110" "42000" "the statement cannot be planned";
        EXECUTION = "KDK-0111" "22000" "the statement failed while running";
        DIVISION_BY_ZERO = "KDK-0112" "22012" "division by zero";
        NO_OBJECT = "KDK-0113" "42704" "no such object";
        SETTING = "KDK-0114" "22023" "no such setting, or a value that does not fit it";
        FILE_FORMAT = "KDK-0115" "22P04" "a data file cannot be read as what it should be";
        AMBIGUOUS = "KDK-0116" "42702" "a name means more than one thing";
        DEPENDENTS = "KDK-0117" "2BP01" "other objects depend on it";
        RAISED = "KDK-0118" "P0001" "the statement called `error()`";
        TOO_DEEP = "KDK-0119" "54001" "routines or triggers call each other too deep";

        IO = "KDK-0200" "58030" "a file cannot be read or written";
        CORRUPT = "KDK-0201" "XX001" "a database file is damaged";
        LOCKED = "KDK-0202" "55P03" "another process holds the database";
        FORMAT_VERSION = "KDK-0203" "" "the database was written by another version of the format";
        NO_SPACE = "KDK-0204" "53100" "no space left on the device";
        NOT_A_DATABASE = "KDK-0205" "" "the path is not a Kodiak database";
        POISONED = "KDK-0206" "58030" "an earlier write failed; the database must be opened again";
        READ_ONLY = "KDK-0207" "25006" "the database or transaction is read-only";
        NOT_RETAINED = "KDK-0208" "72000" "the version is not kept any more";
        NO_VERSION = "KDK-0209" "42704" "there is no such version yet";

        CONFLICT = "KDK-0301" "40001" "another transaction changed the same rows first";
        UNIQUE = "KDK-0302" "23505" "a key exists already";
        NOT_NULL = "KDK-0303" "23502" "a column that must not be null would be null";
        CHECK = "KDK-0304" "23514" "a check constraint does not hold";
        FOREIGN_KEY = "KDK-0305" "23503" "a foreign key does not hold";
        NO_TRANSACTION = "KDK-0310" "25P01" "there is no transaction";
        IN_TRANSACTION = "KDK-0311" "25001" "a transaction is open already";
        ABORTED = "KDK-0312" "25P02" "the transaction failed; only ROLLBACK is accepted";
        NO_SAVEPOINT = "KDK-0313" "3B001" "no such savepoint";

        BAD_MANIFEST = "KDK-0400" "" "a manifest breaks the rules";
        RESERVED_CLAIM = "KDK-0401" "" "an extension claims a statement that belongs to the host";
        NOT_A_SOURCE = "KDK-0402" "" "not something that can be installed";
        NOT_IN_INDEX = "KDK-0403" "" "no index knows the extension";
        NO_SOLUTION = "KDK-0404" "" "no set of versions satisfies every requirement";
        CYCLE = "KDK-0405" "" "extensions need each other in a circle";
        CLAIM_TAKEN = "KDK-0406" "" "two extensions claim the same name";
        BUILD_FAILED = "KDK-0407" "" "cargo could not build the extension";
        UNSIGNED = "KDK-0408" "" "the package is not signed";
        LOCK_MISMATCH = "KDK-0409" "" "reality differs from kodiak.lock";
        BAD_INDEX = "KDK-0410" "" "an index of extensions cannot be understood";
        BAD_LOCK = "KDK-0411" "" "a lock file or a set of extensions cannot be understood";
        NOT_INSTALLED = "KDK-0412" "" "the extension is not installed";
        DEPENDENCY = "KDK-0413" "" "a dependency of the extension is missing, disabled or of another version";
        DISABLED = "KDK-0414" "" "the extension is disabled";
        DORMANT = "KDK-0415" "" "the extension is enabled but its files are missing";
        MODIFIED = "KDK-0416" "" "an installed file was modified";
        UNKNOWN_COMMAND = "KDK-0417" "" "no such command";
        STILL_NEEDED = "KDK-0440" "" "other extensions or objects depend on the extension";
        NOT_A_PLUGIN = "KDK-0450" "" "the file is not a plugin for this platform";
        NO_MANIFEST = "KDK-0451" "" "the library has no manifest section";
        LOAD_FAILED = "KDK-0452" "" "the operating system could not load the plugin";
        LAYOUT = "KDK-0453" "" "the plugin's types differ from the host's";
        REGISTRATION = "KDK-0454" "" "the plugin registers something else than its manifest declares";
        ACTIVATION = "KDK-0455" "" "the plugin could not be activated";
        ABI_VERSION = "KDK-0460" "" "the plugin was built for another version of the plugin ABI";
        PANICKED = "KDK-0470" "XX000" "the extension panicked";
        QUARANTINED = "KDK-0471" "XX000" "the extension panicked earlier and is quarantined";
        BAD_DATA = "KDK-0472" "XX000" "the extension returned malformed data";
        EXTENSION_ERROR = "KDK-0480" "38000" "the extension reported an error";
        PERMISSION = "KDK-0481" "42501" "the extension has no permission for this";
        UNDECLARED = "KDK-0482" "42501" "the extension uses another one that it does not declare";
    }

    #[cfg(test)]
    mod tests {
        use super::ALL;

        #[test]
        fn codes_are_unique_and_ordered() {
            assert!(ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
        }
    }
}
