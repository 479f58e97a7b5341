//! What an extension may claim: which leading keywords, names and commands belong to the host and are never given away.
//! It refuses to know who claims what; that is in the manifests.

use std::fmt;

/// The kinds of names that only one enabled extension can own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimKind {
    /// `kodiak NAME`, and the SQL schema of that name.
    Command,
    /// Leading keywords of a statement.
    Statement,
    /// A scalar, aggregate or table function.
    Function,
    /// A function for other extensions only.
    Service,
    /// A language of routines.
    Language,
    /// A file format.
    Format,
}

impl fmt::Display for ClaimKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "command",
            Self::Statement => "statement",
            Self::Function => "function",
            Self::Service => "service",
            Self::Language => "language",
            Self::Format => "format",
        })
    }
}

/// Keywords that a claim may have at most.
pub const STATEMENT_WORDS_MAX: usize = 4;
const WORD_BYTES_MAX: usize = 32;

/// First words that are the host's whatever follows, because any word may follow them in a statement of the host's.
#[rustfmt::skip]
const HOST_WORDS: &[&str] = &[
    "ABORT", "ANALYZE", "ANALYSE", "ATTACH", "BACKUP", "BEGIN", "CALL", "CHECKPOINT", "COMMENT", "COMMIT",
    "DEALLOCATE", "DESC", "DESCRIBE", "DETACH", "DO", "END", "EXECUTE", "FROM", "GRANT", "INSERT", "INSTALL", "PIVOT",
    "PREPARE", "RELEASE", "REPLACE", "RESET", "RESTORE", "REVOKE", "ROLLBACK", "SAVEPOINT", "SELECT", "SET", "START",
    "SUMMARIZE", "TABLE", "TRUNCATE", "UNINSTALL", "UNPIVOT", "UPDATE", "USE", "VACUUM", "VALUES", "WITH",
];

/// First words that the host shares: with these second words they are the host's, alone too.
#[rustfmt::skip]
const SHARED_WORDS: &[(&str, &[&str])] = &[
    ("ALTER", HOST_OBJECTS),
    ("COPY", &["FROM", "TO"]),
    ("CREATE", HOST_OBJECTS),
    ("DELETE", &["FROM"]),
    ("DROP", HOST_OBJECTS),
    // What EXPLAIN explains begins with a word of the host's; those are refused below.
    ("EXPLAIN", &["ANALYZE", "FORMAT", "LOGICAL", "PHYSICAL", "TREE", "VERBOSE"]),
    ("EXPORT", &["DATABASE"]),
    ("IMPORT", &["DATABASE"]),
    ("LOAD", &[]),
    ("LOCK", &["TABLE", "TABLES"]),
    ("MERGE", &["INTO"]),
    ("SHOW", &[
        "ALL", "CACHE_SIZE", "COLUMNS", "CREATE", "DATABASES", "EXTENSIONS", "FUNCTIONS", "INDEXES", "MEMORY_LIMIT",
        "SCHEMAS", "SEARCH_PATH", "SETTINGS", "STATEMENT_TIMEOUT", "TABLES", "THREADS", "TIME", "TIMEZONE",
        "TRANSACTION", "TRIGGERS", "VARIABLES", "VIEWS",
    ]),
];

/// What CREATE, ALTER and DROP do for the host.
#[rustfmt::skip]
const HOST_OBJECTS: &[&str] = &[
    "AGGREGATE", "CATALOG", "CONSTRAINT", "DATABASE", "DOMAIN", "EXTENSION", "FUNCTION", "INDEX", "LANGUAGE", "MACRO",
    "MATERIALIZED", "OPERATOR", "PROCEDURE", "ROLE", "ROUTINE", "SCHEMA", "SEQUENCE", "SYSTEM", "TABLE", "TRIGGER",
    "TYPE", "USER", "VIEW",
];

/// Words that may stand between CREATE and the kind of object. `UNIQUE` only goes with `INDEX`, but a claim that ends
/// with it would take `CREATE UNIQUE INDEX` all the same.
#[rustfmt::skip]
const CREATE_MODIFIERS: &[&str] = &[
    "EXTERNAL", "GLOBAL", "LOCAL", "OR", "PERSISTENT", "RECURSIVE", "REPLACE", "TEMP", "TEMPORARY", "UNBOUNDED",
    "UNIQUE", "UNLOGGED",
];

/// Commands, schemas and file names that are taken, so that no extension can have them for a name.
#[rustfmt::skip]
const RESERVED_NAMES: &[&str] = &[
    // commands of the host, and those it is likely to get
    "bench", "completions", "config", "db", "doctor", "ext", "extension", "extensions", "help", "init", "man",
    "quickstart", "repl", "self", "serve", "sql", "version",
    // schemas
    "datafusion", "default", "information_schema", "kodiak", "main", "memory", "pg_catalog", "pg_temp", "public",
    "system", "temp",
    // devices, on a file system that has them
    "aux", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "con", "lpt1", "lpt2", "lpt3",
    "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9", "nul", "prn",
];

/// A statement claim in its normal form: upper case, single spaces.
///
/// # Errors
/// A phrase that says what is wrong with it.
pub fn normalise_statement(claim: &str) -> Result<String, String> {
    let words: Vec<&str> = claim.split_ascii_whitespace().collect();
    if words.is_empty() || words.len() > STATEMENT_WORDS_MAX {
        return Err(format!("a statement claim is one to {STATEMENT_WORDS_MAX} keywords"));
    }
    if let Some(word) = words.iter().find(|word| !is_keyword(word)) {
        let word = crate::text::phrase(word);
        return Err(format!("`{word}` is not a keyword: letters, digits and `_`, beginning with a letter"));
    }
    Ok(words.join(" ").to_ascii_uppercase())
}

/// Whether a claim in normal form would take a statement away from the host.
pub fn is_host_statement(claim: &str) -> bool {
    let words: Vec<&str> = claim.split(' ').collect();
    let Some((&first, mut rest)) = words.split_first() else {
        return true;
    };
    if HOST_WORDS.contains(&first) {
        return true;
    }
    let Some((_, seconds)) = SHARED_WORDS.iter().find(|(word, _)| *word == first) else {
        return false;
    };
    if first == "CREATE" {
        while let Some((word, tail)) = rest.split_first()
            && CREATE_MODIFIERS.contains(word)
        {
            rest = tail;
        }
    }
    let Some(second) = rest.first() else {
        return true;
    };
    let explained =
        first == "EXPLAIN" && (HOST_WORDS.contains(second) || SHARED_WORDS.iter().any(|(word, _)| word == second));
    explained || seconds.contains(second)
}

/// Whether no extension may have this name.
pub fn is_reserved_name(name: &str) -> bool {
    RESERVED_NAMES.contains(&name)
}

/// Whether this can be the name of an extension: `[a-z][a-z0-9_-]{0,31}`.
pub fn is_extension_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 32
        && bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-')
}

/// Whether this can be the name of a function, table, language or format as an unquoted SQL identifier finds it.
pub fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 63
        && bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_keyword(word: &str) -> bool {
    word.len() <= WORD_BYTES_MAX
        && word.starts_with(|first: char| first.is_ascii_alphabetic())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_of_the_design_can_be_claimed() {
        #[rustfmt::skip]
        let claims = [
            "CREATE BUCKET", "ALTER BUCKET", "DROP BUCKET", "PUT BLOB", "GET BLOB", "DELETE BLOB", "LIST BLOBS",
            "COPY BLOB", "TAG BLOB", "DELETE_BLOB", "CREATE SECRET", "CREATE OR REPLACE SECRET", "ROTATE SECRET",
            "UNLOCK SECRETS", "LOCK SECRETS", "CREATE CRON JOB", "ALTER CRON JOB", "DROP CRON JOB", "CREATE SCHEDULE",
            "ORCHESTRATE", "RUN SCHEDULER", "CREATE MODEL", "CREATE OR REPLACE MODEL", "RUN MODEL", "SHOW MODELS",
            "EXPLAIN MODEL", "PLAN", "APPLY PLAN", "BACKFILL MODEL", "CREATE UNIT TEST", "LOAD SEED", "GENERATE DOCS",
            "CREATE BRANCH", "MERGE BRANCH",
        ];
        for claim in claims {
            assert!(!is_host_statement(claim), "{claim}");
        }
    }

    #[test]
    fn what_would_take_a_statement_from_the_host_is_seen() {
        #[rustfmt::skip]
        let claims = [
            "SELECT", "SELECT FOO", "WITH", "INSERT", "INSERT INTO", "UPDATE", "UPDATE T", "DELETE", "DELETE FROM",
            "BEGIN", "COMMIT", "ROLLBACK", "ROLLBACK TO", "SET", "SET X", "EXPLAIN", "EXPLAIN ANALYZE",
            "EXPLAIN SELECT", "EXPLAIN CREATE", "CREATE", "CREATE TABLE", "CREATE TABLE X", "CREATE OR",
            "CREATE OR REPLACE", "CREATE OR REPLACE VIEW", "CREATE TEMP TABLE", "CREATE UNIQUE INDEX",
            "CREATE TEMPORARY", "DROP", "DROP TABLE", "ALTER", "ALTER TABLE", "COPY", "VALUES", "MERGE", "MERGE INTO",
            "SHOW", "SHOW TABLES", "LOAD", "INSTALL", "INSTALL FOO", "CALL", "CALL X", "DO", "PREPARE", "EXECUTE",
            "TRUNCATE", "VACUUM", "CHECKPOINT", "FROM",
        ];
        for claim in claims {
            assert!(is_host_statement(claim), "{claim}");
        }
    }

    #[test]
    fn claims_are_normalised_or_refused_in_words() {
        assert_eq!(normalise_statement("  create\tbucket "), Ok("CREATE BUCKET".into()));
        assert!(normalise_statement("").unwrap_err().contains("one to 4 keywords"));
        assert!(normalise_statement("a b c d e").unwrap_err().contains("one to 4 keywords"));
        // A word may hold what would move a terminal's cursor: found by the property over changed manifests.
        assert!(!normalise_statement("CREATE \u{8}ranch").unwrap_err().contains('\u{8}'));
        assert!(normalise_statement("PUT 'x'").unwrap_err().contains("`'x'` is not a keyword"));
        assert!(normalise_statement("SEL/**/ECT").is_err());
    }

    #[test]
    fn names_are_checked() {
        assert!(is_extension_name("a") && is_extension_name("pl-grizzly_2"));
        for bad in ["", "1a", "-a", "A", "a.b", "a/b", "ä", &"a".repeat(33)] {
            assert!(!is_extension_name(bad), "{bad}");
        }
        assert!(is_identifier("_x1") && !is_identifier("x-y") && !is_identifier("X") && !is_identifier(""));
        assert!(is_reserved_name("sql") && !is_reserved_name("scm"));
    }
}
