//! Routines and triggers as records: what was declared, in which language, and the body as it was written. What a body
//! means is its language's to say.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::types::SqlType;

/// A function or procedure; both share one space of names, in which types of parameters tell overloads apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routine {
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Function or procedure.
    pub kind: RoutineKind,
    /// In order.
    pub parameters: Vec<Parameter>,
    /// What it gives.
    pub returns: Returns,
    /// Such as `sql`.
    pub language: String,
    /// The extension that brings the language; none for those of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<String>,
    /// Whether equal arguments give equal results.
    pub volatility: Volatile,
    /// Whether a NULL among the arguments makes the result NULL without a call.
    #[serde(default)]
    pub strict: bool,
    /// The text between the quotes.
    pub body: String,
    /// The body as an SQL expression over the parameters, if it is no more than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
    /// The schema that unqualified names in the body mean.
    pub path: String,
    /// The extension it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// Function or procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoutineKind {
    /// Called in expressions, or as a table, or by triggers.
    Function,
    /// Called by CALL.
    Procedure,
}

impl RoutineKind {
    /// `function` or `procedure`.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Procedure => "procedure",
        }
    }
}

/// A parameter of a routine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name; `$1` and so on for one without.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: SqlType,
    /// The expression for calls that leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// What a routine gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Returns {
    /// Nothing.
    Nothing,
    /// A value.
    Value(SqlType),
    /// Rows.
    Table(Vec<(String, SqlType)>),
    /// It is for triggers.
    Trigger,
}

impl fmt::Display for Returns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("VOID"),
            Self::Value(kind) => write!(f, "{kind}"),
            Self::Trigger => f.write_str("TRIGGER"),
            Self::Table(columns) => {
                let columns: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
                write!(f, "TABLE({})", columns.join(", "))
            }
        }
    }
}

/// How far a result may be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Volatile {
    /// For ever.
    Immutable,
    /// Within a statement.
    Stable,
    /// Never.
    Volatile,
}

impl Volatile {
    /// The keyword.
    pub fn name(self) -> &'static str {
        match self {
            Self::Immutable => "IMMUTABLE",
            Self::Stable => "STABLE",
            Self::Volatile => "VOLATILE",
        }
    }
}

impl Routine {
    /// The types of its parameters, which tell it from others of its name.
    pub fn signature(&self) -> String {
        self.parameters.iter().map(|parameter| parameter.kind.to_string()).collect::<Vec<_>>().join(",")
    }

    /// The name to show: qualified unless it lies in the main schema.
    pub fn label(&self) -> String {
        if self.schema == super::MAIN { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }

    /// The name with the types of its parameters.
    pub fn full_label(&self) -> String {
        format!("{}({})", self.label(), self.signature().replace(',', ", "))
    }

    /// How many arguments a call must give at least.
    pub fn arguments_min(&self) -> usize {
        self.parameters.iter().rposition(|parameter| parameter.default.is_none()).map_or(0, |last| last + 1)
    }
}

/// An expression or a query under a name, put in the place of its calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Macro {
    /// Its schema's name.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Names, and the expressions for calls that leave them out.
    pub parameters: Vec<(String, Option<String>)>,
    /// Whether it stands for a table.
    pub is_table: bool,
    /// The expression or query as SQL.
    pub body: String,
    /// The extension it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// A routine that runs when rows of a table change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// The table's or view's schema.
    pub schema: String,
    /// The table's or view's name.
    pub table: String,
    /// Its name, which is its place in the order.
    pub name: String,
    /// Before, after or instead.
    pub timing: Timing,
    /// What it waits for.
    pub events: Vec<Event>,
    /// Once a row or once a statement.
    pub level: Level,
    /// The condition as SQL, over `old` and `new`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What the body calls the rows before; `old_rows` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_name: Option<String>,
    /// What the body calls the rows after; `new_rows` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_name: Option<String>,
    /// Schema and name of the trigger function.
    pub function: (String, String),
    /// Literal arguments for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Whether it sleeps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// The extension it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// When a trigger fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Timing {
    /// May change or refuse rows.
    Before,
    /// Sees what was done.
    After,
    /// Does what a view cannot.
    Instead,
}

impl Timing {
    /// The keywords.
    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "BEFORE",
            Self::After => "AFTER",
            Self::Instead => "INSTEAD OF",
        }
    }
}

/// How often a trigger fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For each row.
    Row,
    /// For each statement.
    Statement,
}

impl Level {
    /// The keyword.
    pub fn name(self) -> &'static str {
        match self {
            Self::Row => "ROW",
            Self::Statement => "STATEMENT",
        }
    }
}

/// A change of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Rows come.
    Insert,
    /// Rows change; with names, only when one of these columns is set.
    Update(Vec<String>),
    /// Rows go.
    Delete,
}

impl Event {
    /// The keyword.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update(_) => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    /// Whether a trigger for this event fires when `happened` does.
    pub fn covers(&self, happened: &Self) -> bool {
        match (self, happened) {
            (Self::Insert, Self::Insert) | (Self::Delete, Self::Delete) => true,
            (Self::Update(wanted), Self::Update(set)) => {
                wanted.is_empty() || wanted.iter().any(|one| set.contains(one))
            }
            _ => false,
        }
    }
}
