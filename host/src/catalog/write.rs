//! Changes: each is one key of storage's key-value space, so that two transactions conflict only over one object. It
//! checks nothing about the rest of the catalog; that is the statement's job, which knows what the user meant.

use super::object::{Relation, Schema, encode};
use super::routine::{Macro, Routine, Trigger};
use crate::error::{Error, Result, codes};
use crate::storage::Transaction;

/// Stores a schema.
pub(crate) fn put_schema(transaction: &Transaction, schema: &Schema) -> Result<()> {
    check_name(&schema.name)?;
    transaction.put(&schema_key(&schema.name), &encode(schema)?)
}

/// Forgets a schema.
pub(crate) fn drop_schema(transaction: &Transaction, name: &str) -> Result<()> {
    transaction.remove(&schema_key(name))
}

/// Stores a table's or view's record.
pub(crate) fn put_relation(transaction: &Transaction, relation: &Relation) -> Result<()> {
    let (schema, name) = relation.name();
    check_name(name)?;
    transaction.put(&relation_key(schema, name), &encode(relation)?)
}

/// Forgets a table's or view's record; a table's rows are dropped by the caller.
pub(crate) fn drop_relation(transaction: &Transaction, schema: &str, name: &str) -> Result<()> {
    transaction.remove(&relation_key(schema, name))
}

/// Notes that a table refers to another, or does so no more: so that a change of a table to which nobody refers need not
/// look further.
pub(crate) fn put_reference(transaction: &Transaction, parent: u64, child: u64, refers: bool) -> Result<()> {
    let key = [reference_prefix(parent), format!("{child:016x}").into_bytes()].concat();
    if refers { transaction.put(&key, &[]) } else { transaction.remove(&key) }
}

/// Tables that refer to a table.
pub(super) fn reference_prefix(parent: u64) -> Vec<u8> {
    format!("catalog/referring/{parent:016x}/").into_bytes()
}

/// Stores a routine's record.
pub(crate) fn put_routine(transaction: &Transaction, routine: &Routine) -> Result<()> {
    check_name(&routine.name)?;
    transaction.put(&routine_key(routine), &encode(routine)?)
}

/// Forgets a routine.
pub(crate) fn drop_routine(transaction: &Transaction, routine: &Routine) -> Result<()> {
    transaction.remove(&routine_key(routine))
}

/// Stores a trigger's record.
pub(crate) fn put_trigger(transaction: &Transaction, trigger: &Trigger) -> Result<()> {
    check_name(&trigger.name)?;
    transaction.put(&trigger_key(trigger), &encode(trigger)?)
}

/// Forgets a trigger.
pub(crate) fn drop_trigger(transaction: &Transaction, trigger: &Trigger) -> Result<()> {
    transaction.remove(&trigger_key(trigger))
}

/// Stores a macro's record.
pub(crate) fn put_macro(transaction: &Transaction, made: &Macro) -> Result<()> {
    check_name(&made.name)?;
    transaction.put(&macro_key(&made.schema, &made.name), &encode(made)?)
}

/// Forgets a macro.
pub(crate) fn drop_macro(transaction: &Transaction, made: &Macro) -> Result<()> {
    transaction.remove(&macro_key(&made.schema, &made.name))
}

pub(super) fn macro_prefix() -> Vec<u8> {
    b"catalog/macro/".to_vec()
}

pub(super) fn macro_key(schema: &str, name: &str) -> Vec<u8> {
    [&prefix(&macro_prefix(), Some(schema), None), name.as_bytes()].concat()
}

/// All routines, those of a schema, or those of one name.
pub(super) fn routine_prefix(schema: Option<&str>, name: Option<&str>) -> Vec<u8> {
    prefix(b"catalog/routine/", schema, name)
}

fn routine_key(routine: &Routine) -> Vec<u8> {
    let prefix = routine_prefix(Some(&routine.schema), Some(&routine.name));
    [&prefix, routine.signature().as_bytes()].concat()
}

/// All triggers, those of a schema, or those of one table, by name.
pub(super) fn trigger_prefix(schema: Option<&str>, table: Option<&str>) -> Vec<u8> {
    prefix(b"catalog/trigger/", schema, table)
}

fn trigger_key(trigger: &Trigger) -> Vec<u8> {
    let prefix = trigger_prefix(Some(&trigger.schema), Some(&trigger.table));
    [&prefix, trigger.name.as_bytes()].concat()
}

fn prefix(kind: &[u8], schema: Option<&str>, name: Option<&str>) -> Vec<u8> {
    let mut key = kind.to_vec();
    for part in schema.into_iter().chain(name) {
        key.extend_from_slice(part.as_bytes());
        key.push(0);
    }
    key
}

pub(super) fn schema_prefix() -> Vec<u8> {
    b"catalog/schema/".to_vec()
}

pub(super) fn schema_key(name: &str) -> Vec<u8> {
    [&schema_prefix(), name.as_bytes()].concat()
}

/// All relations, or those of a schema: NUL, which no name holds, ends the schema's name.
pub(super) fn relation_prefix(schema: Option<&str>) -> Vec<u8> {
    let mut key = b"catalog/relation/".to_vec();
    if let Some(schema) = schema {
        key.extend_from_slice(schema.as_bytes());
        key.push(0);
    }
    key
}

/// Where a table's or view's record is kept.
pub(crate) fn relation_key(schema: &str, name: &str) -> Vec<u8> {
    [&relation_prefix(Some(schema)), name.as_bytes()].concat()
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.contains('\0') {
        return Err(Error::new(codes::SYNTAX, "a name must have characters, and none of them may be NUL"));
    }
    Ok(())
}
