//! What may come next at the cursor: `.commands`, keywords, tables, columns, functions, statements of extensions. Names
//! are asked for when Tab is pressed, from a session of its own, so that a failed transaction does not stop it.

use kodiak_registry::ClaimKind;

use super::command;
use crate::database::{Connection, Database};
use crate::error::Result;

/// Words of the statements that there are.
const KEYWORDS: &[&str] = &[
    "ADD",
    "AFTER",
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "AS",
    "ASC",
    "ATTACH",
    "BEFORE",
    "BEGIN",
    "BETWEEN",
    "BIGINT",
    "BINARY",
    "BOOLEAN",
    "BY",
    "CALL",
    "CASCADE",
    "CASE",
    "CAST",
    "CHECK",
    "CHECKPOINT",
    "COLUMN",
    "COMMIT",
    "CONFLICT",
    "CONSTRAINT",
    "COPY",
    "CREATE",
    "CROSS",
    "DATE",
    "DECIMAL",
    "DEFAULT",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DO",
    "DOUBLE",
    "DROP",
    "EACH",
    "ELSE",
    "END",
    "EXCEPT",
    "EXECUTE",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FILTER",
    "FOR",
    "FOREIGN",
    "FROM",
    "FULL",
    "FUNCTION",
    "GROUP",
    "HAVING",
    "IN",
    "INDEX",
    "INNER",
    "INSERT",
    "INSTALL",
    "INTEGER",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "KEY",
    "LANGUAGE",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LOAD",
    "MACRO",
    "MERGE",
    "NOT",
    "NOTHING",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PREPARE",
    "PRIMARY",
    "PROCEDURE",
    "RECURSIVE",
    "REFERENCES",
    "RELEASE",
    "RENAME",
    "REPLACE",
    "RESET",
    "RETURNING",
    "RETURNS",
    "RIGHT",
    "ROLLBACK",
    "ROW",
    "SAVEPOINT",
    "SCHEMA",
    "SELECT",
    "SET",
    "SHOW",
    "SMALLINT",
    "STATEMENT",
    "TABLE",
    "TEXT",
    "THEN",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "TO",
    "TRANSACTION",
    "TRIGGER",
    "TRUE",
    "TRUNCATE",
    "UNINSTALL",
    "UNION",
    "UNIQUE",
    "UPDATE",
    "USING",
    "VALUES",
    "VIEW",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];

/// Names that a session knows, in the order in which they are offered.
const NAMES: &[&str] = &[
    "SELECT name FROM kodiak.tables UNION SELECT name FROM kodiak.views",
    "SELECT DISTINCT name FROM kodiak.columns WHERE schema NOT IN ('kodiak', 'information_schema')",
    "SELECT DISTINCT name FROM kodiak.functions",
    "SELECT name FROM kodiak.schemas",
    "SELECT 'kodiak.' || name FROM (SELECT DISTINCT \"table\" AS name FROM kodiak.columns WHERE schema = 'kodiak')",
    "SELECT name FROM kodiak.settings",
];

/// Offers what may come next.
pub(super) struct Completer<'a> {
    database: &'a Database,
    connection: Option<Connection>,
}

impl<'a> Completer<'a> {
    pub(super) fn new(database: &'a Database) -> Self {
        Self { database, connection: database.connect().ok() }
    }

    /// Where the word at the cursor begins, and what it may become. `at` is a byte in `text`.
    pub(super) fn complete(&self, text: &str, at: usize) -> (usize, Vec<String>) {
        let start = word_start(text, at);
        let word = &text[start..at];
        if text.trim_start().starts_with('.') && text[..start].trim().is_empty() {
            return (start, fitting(word, command::names().map(str::to_owned)));
        }
        if word.is_empty() {
            return (start, Vec::new());
        }
        let lower = word.chars().any(char::is_lowercase);
        let keyword = |keyword: &&str| if lower { keyword.to_lowercase() } else { (*keyword).to_owned() };
        let mut all = fitting(word, self.names().unwrap_or_default());
        let claims: Vec<String> = self.claims();
        all.extend(fitting(word, claims.iter().map(|claim| keyword(&claim.as_str()))));
        all.extend(fitting(word, KEYWORDS.iter().map(keyword)));
        let mut seen = std::collections::HashSet::new();
        all.retain(|one| seen.insert(one.to_lowercase()));
        (start, all)
    }

    fn names(&self) -> Result<Vec<String>> {
        let Some(connection) = &self.connection else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for query in NAMES {
            let rows = connection.query(query, &[])?.collect_batches()?;
            all.extend(command::texts(rows, 1)?.into_iter().flatten());
        }
        Ok(all)
    }

    /// Statements that extensions bring. Without a usable home there are none.
    fn claims(&self) -> Vec<String> {
        let Ok(view) = self.database.extension_view() else { return Vec::new() };
        let claims = view.set().iter().flat_map(|one| one.claims().collect::<Vec<_>>());
        claims.filter(|(kind, _)| *kind == ClaimKind::Statement).map(|(_, claim)| claim.to_owned()).collect()
    }
}

fn word_start(text: &str, at: usize) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
    text[..at].char_indices().rev().take_while(|(_, c)| is_part(*c)).last().map_or(at, |(start, _)| start)
}

/// Those that begin with the word, in any case; behind a dot, those whose last part does.
fn fitting(word: &str, names: impl IntoIterator<Item = String>) -> Vec<String> {
    let wanted = word.to_lowercase();
    let (prefix, last) = wanted.rsplit_once('.').map_or(("", wanted.as_str()), |(prefix, last)| (prefix, last));
    let mut found: Vec<String> = names
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            if lower.starts_with(&wanted) {
                return Some(name);
            }
            // A column behind its table's name.
            let behind = !prefix.is_empty() && !last.is_empty() && lower.starts_with(last) && !lower.contains('.');
            behind.then(|| format!("{}.{name}", &word[..prefix.len()]))
        })
        .collect();
    found.sort_by_key(|name| name.to_lowercase());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_a_session_knows_is_offered() {
        let database = Database::memory().expect("database");
        let connection = database.connect().expect("connection");
        connection.execute("CREATE TABLE customer (customer_id BIGINT, balance BIGINT)", &[]).expect("table");
        let completer = Completer::new(&database);
        let offered = |text: &str| completer.complete(text, text.len());
        assert_eq!(offered("select * from custo"), (14, vec!["customer".to_owned(), "customer_id".to_owned()]));
        assert_eq!(offered("select bal"), (7, vec!["balance".to_owned()]));
        assert_eq!(offered("select generate_ul"), (7, vec!["generate_ulid".to_owned()]));
        assert_eq!(offered("SELEC").1, ["SELECT"]);
        assert_eq!(offered("selec").1, ["select"]);
        assert_eq!(offered(".ta").1, [".tables"]);
        assert_eq!(offered("select * from kodiak.sett").1, ["kodiak.settings"]);
        assert!(offered("select customer.bal").1.contains(&"customer.balance".to_owned()));
        assert_eq!(offered("select xyzzy").1, Vec::<String>::new());
        assert_eq!(offered("select ").1, Vec::<String>::new());
    }
}
