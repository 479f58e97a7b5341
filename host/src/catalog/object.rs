//! The records of the catalog and their encoding: JSON with a version in front, so that an old database can be read by
//! a new program and a new one is refused, not misread, by an old program.

use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::types::SqlType;
use crate::error::{Error, Result, codes};

/// The version of the records that this program writes.
const VERSION: u32 = 1;

/// A schema: a name for other names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Its name.
    pub name: String,
    /// The extension it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// A table or a view; they share one space of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Relation {
    /// Rows of its own.
    Table(Table),
    /// A query under a name.
    View(View),
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The number under which storage keeps its rows.
    pub id: u64,
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// In the order of `SELECT *`.
    pub columns: Vec<Column>,
    /// Primary key and unique keys.
    pub keys: Vec<Key>,
    /// Conditions that every row meets.
    pub checks: Vec<Check>,
    /// Indexes that are no keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Index>,
    /// Foreign keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// The id of the next column; ids are never used again.
    pub next_column: u32,
    /// The extension it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The attached database that it is in, under its name in the session; none is the session's own.
    #[serde(skip)]
    pub database: Option<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Stays when the column is renamed or moves.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: SqlType,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// The expression for rows that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Where its values come from when not from the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
}

impl Column {
    /// Whether users may say nothing but DEFAULT for it.
    pub fn makes_itself(&self) -> bool {
        matches!(self.generated, Some(Generated::Stored(_) | Generated::Always))
    }
}

/// How a column makes its values itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generated {
    /// By an expression over the other columns, kept with the row.
    Stored(String),
    /// By counting, whatever the user says.
    Always,
    /// By counting, unless the user says otherwise.
    Default,
}

/// A primary or unique key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The constraint's name.
    pub name: String,
    /// Ids of columns.
    pub columns: Vec<u32>,
    /// Whether it is the primary key.
    pub primary: bool,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name, unique within the schema.
    pub name: String,
    /// Ids of columns.
    pub columns: Vec<u32>,
    /// Whether it refuses equal values.
    pub unique: bool,
}

/// A foreign key: values that must be those of a key of another table, or of the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The constraint's name.
    pub name: String,
    /// Ids of columns.
    pub columns: Vec<u32>,
    /// The id of the table that is referred to.
    pub table: u64,
    /// Ids of its columns, in the same order; a key of that table has exactly these.
    pub key: Vec<u32>,
    /// What becomes of rows when the one that they refer to goes.
    pub on_delete: Action,
    /// What becomes of rows when the key that they refer to changes.
    pub on_update: Action,
    /// Whether it may be broken until the transaction commits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deferred: bool,
}

/// What a foreign key does when what it refers to goes or changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The statement is refused, unless it mends this itself.
    #[default]
    NoAction,
    /// The statement is refused.
    Restrict,
    /// Rows that refer to it go or change too.
    Cascade,
    /// They refer to nothing.
    SetNull,
    /// They refer to their defaults.
    SetDefault,
}

impl Action {
    /// As SQL has it.
    pub fn sql(self) -> &'static str {
        match self {
            Self::NoAction => "NO ACTION",
            Self::Restrict => "RESTRICT",
            Self::Cascade => "CASCADE",
            Self::SetNull => "SET NULL",
            Self::SetDefault => "SET DEFAULT",
        }
    }
}

/// A key as storage has it: a primary or unique key, an index, or what a foreign key needs to find its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredKey<'a> {
    /// The name of the constraint or index.
    pub name: &'a str,
    /// Ids of columns.
    pub columns: &'a [u32],
    /// Whether it is the primary key.
    pub primary: bool,
    /// Whether it refuses equal values.
    pub unique: bool,
}

/// A check constraint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The constraint's name.
    pub name: String,
    /// The condition as SQL.
    pub text: String,
}

/// A view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Names for the query's columns; none when the query names them.
    pub columns: Vec<String>,
    /// The query as SQL.
    pub text: String,
    /// The schema that unqualified names in the query mean.
    pub path: String,
    /// Schema and name of what it reads.
    pub reads: Vec<(String, String)>,
    /// The extension it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

impl Relation {
    /// Schema and name.
    pub fn name(&self) -> (&str, &str) {
        match self {
            Self::Table(table) => (&table.schema, &table.name),
            Self::View(view) => (&view.schema, &view.name),
        }
    }

    /// The extension it belongs to.
    pub fn owner(&self) -> Option<&str> {
        match self {
            Self::Table(table) => table.owner.as_deref(),
            Self::View(view) => view.owner.as_deref(),
        }
    }

    /// `table` or `view`.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Table(_) => "table",
            Self::View(_) => "view",
        }
    }
}

impl Table {
    /// The Arrow schema of its rows.
    pub fn arrow_schema(&self) -> SchemaRef {
        let fields = self.columns.iter().map(|column| Field::new(&column.name, column.kind.arrow(), !column.not_null));
        ArrowSchema::new(fields.collect::<Vec<_>>()).into()
    }

    /// The position of a column by name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The positions of a key's columns.
    pub fn positions(&self, key: &Key) -> Vec<usize> {
        self.positions_of(&key.columns)
    }

    /// The positions of columns by their ids.
    pub fn positions_of(&self, ids: &[u32]) -> Vec<usize> {
        ids.iter().filter_map(|id| self.columns.iter().position(|column| column.id == *id)).collect()
    }

    /// Every key that storage keeps, in its order there.
    pub fn stored_keys(&self) -> Vec<StoredKey<'_>> {
        let keys = self.keys.iter().map(|key| StoredKey {
            name: &key.name,
            columns: &key.columns,
            primary: key.primary,
            unique: true,
        });
        let indexes = self.indexes.iter().map(|index| StoredKey {
            name: &index.name,
            columns: &index.columns,
            primary: false,
            unique: index.unique,
        });
        let mut stored: Vec<StoredKey<'_>> = keys.chain(indexes).collect();
        for reference in &self.references {
            if !stored.iter().any(|known| known.columns == reference.columns) {
                let (name, columns) = (reference.name.as_str(), reference.columns.as_slice());
                stored.push(StoredKey { name, columns, primary: false, unique: false });
            }
        }
        stored
    }

    /// Which of the stored keys has exactly these columns, in this order.
    pub fn stored_key(&self, columns: &[u32]) -> Option<usize> {
        self.stored_keys().iter().position(|known| known.columns == columns)
    }

    /// Names of columns by their ids, for messages.
    pub fn names_of(&self, ids: &[u32]) -> String {
        let names = self.positions_of(ids).into_iter().map(|at| self.columns[at].name.as_str());
        names.collect::<Vec<_>>().join(", ")
    }

    /// The name to show: qualified unless it lies in the main schema.
    pub fn label(&self) -> String {
        let label =
            if self.schema == super::MAIN { self.name.clone() } else { format!("{}.{}", self.schema, self.name) };
        self.database.as_ref().map_or(label.clone(), |database| format!("{database}.{label}"))
    }
}

#[derive(Serialize)]
struct Written<'a, T> {
    v: u32,
    #[serde(flatten)]
    record: &'a T,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

/// A record's bytes.
pub(crate) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(&Written { v: VERSION, record })
        .map_err(|error| Error::new(codes::INTERNAL, format!("a catalog record cannot be written: {error}")))
}

/// The record in `bytes`; `key` names it in errors.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(key: &str, bytes: &[u8]) -> Result<T> {
    let corrupt = |error| Error::new(codes::CORRUPT, format!("the catalog record `{key}` cannot be read: {error}"));
    let VersionOnly { v } = serde_json::from_slice(bytes).map_err(corrupt)?;
    if v != VERSION {
        let message = format!("the catalog record `{key}` has version {v}; this program knows version {VERSION}");
        return Err(Error::new(codes::FORMAT_VERSION, message).help("open the database with a newer Kodiak"));
    }
    serde_json::from_slice(bytes).map_err(corrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_and_other_versions_are_refused() {
        let relation = Relation::View(View {
            schema: "main".into(),
            name: "v \"x\"".into(),
            columns: vec!["a".into()],
            text: "SELECT 1".into(),
            path: "main".into(),
            reads: vec![("main".into(), "t".into())],
            owner: Some("blob".into()),
        });
        let bytes = encode(&relation).expect("encodes");
        assert_eq!(decode::<Relation>("k", &bytes).expect("decodes"), relation);
        let newer = String::from_utf8(bytes).expect("json").replace("\"v\":1", "\"v\":2");
        assert!(decode::<Relation>("k", newer.as_bytes()).expect_err("newer").is(codes::FORMAT_VERSION));
        assert!(decode::<Relation>("k", b"{\"v\":1}").expect_err("torn").is(codes::CORRUPT));
    }
}
