//! Every statement of SQL that this extension runs: the table behind the audit, and the views. It refuses to let a
//! secret near a statement: only names, types and scopes are ever in one.

use kodiak_plugin_api::prelude::*;

const DEFINITIONS: &[&str] = &[
    "CREATE SCHEMA IF NOT EXISTS secrets",
    "CREATE TABLE secrets.audit_rows (
        at TIMESTAMPTZ NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        secret TEXT,
        version BIGINT,
        source TEXT NOT NULL,
        outcome TEXT NOT NULL
    )",
    "CREATE VIEW secrets.audit AS SELECT at, actor, action, secret, version, source, outcome FROM secrets.audit_rows",
    "CREATE VIEW secrets.secrets AS
        SELECT name, type, scope, version, created_at, rotated_at, value FROM list_secrets()",
];

/// Creates or updates the tables.
///
/// # Errors
/// Of the statements.
pub fn migrate(call: &Call, from: Option<&str>) -> Result<()> {
    if from.is_none() {
        for definition in DEFINITIONS {
            call.execute(definition, &[])?;
        }
    }
    Ok(())
}

/// Adds a line to the audit.
///
/// # Errors
/// Of the statement.
pub fn insert_audit(call: &Call, values: &[Value]) -> Result<()> {
    const STATEMENT: &str = "INSERT INTO secrets.audit_rows (at, actor, action, secret, version, source, outcome) \
                             VALUES ($1, $2, $3, $4, $5, $6, $7)";
    call.execute(STATEMENT, values).map(drop)
}
