//! Lookups: the catalog as one snapshot sees it. Nothing is read ahead, because most statements name one table; what
//! was decoded is kept by its bytes, which makes the cache right for uncommitted changes and for other processes too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::object::{Relation, Schema, decode};
use super::routine::{Macro, Routine, Trigger};
use super::write::{
    macro_key, macro_prefix, reference_prefix, relation_key, relation_prefix, routine_prefix, schema_key,
    schema_prefix, trigger_prefix,
};
use super::{INFORMATION, MAIN, SYSTEM};
use crate::error::Result;
use crate::storage::Snapshot;

/// How many records stay decoded.
const CACHED_MAX: usize = 10_000;

/// Decoded records, shared by the connections of a database.
#[derive(Debug, Default)]
pub struct Cache(Mutex<HashMap<Vec<u8>, Decoded>>);

/// A record: its bytes and what they mean.
type Decoded = (Vec<u8>, Arc<Relation>);

/// The catalog as a snapshot sees it.
#[derive(Clone)]
pub struct Catalog {
    snapshot: Snapshot,
    cache: Arc<Cache>,
}

impl Catalog {
    /// Reads from `snapshot`.
    pub fn new(snapshot: Snapshot, cache: Arc<Cache>) -> Self {
        Self { snapshot, cache }
    }

    /// What it reads from.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Whether there is such a schema.
    pub fn has_schema(&self, name: &str) -> bool {
        is_built_in(name) || self.snapshot.get(&schema_key(name)).is_some()
    }

    /// A schema that was created.
    pub fn schema(&self, name: &str) -> Result<Option<Schema>> {
        self.snapshot.get(&schema_key(name)).map(|bytes| decode(name, &bytes)).transpose()
    }

    /// Every schema, those that are always there first.
    pub fn schemas(&self) -> Result<Vec<Schema>> {
        let built_in = [MAIN, SYSTEM, INFORMATION].map(|name| Schema { name: name.to_owned(), owner: None });
        let created = self.snapshot.scan(&schema_prefix());
        let created = created.iter().map(|(key, bytes)| decode(&String::from_utf8_lossy(key), bytes));
        built_in.into_iter().map(Ok).chain(created).collect()
    }

    /// A table or view.
    pub fn relation(&self, schema: &str, name: &str) -> Result<Option<Arc<Relation>>> {
        let key = relation_key(schema, name);
        let Some(bytes) = self.snapshot.get(&key) else { return Ok(None) };
        self.decoded(&key, &bytes).map(Some)
    }

    /// Every table and view of a schema, by name.
    pub fn relations(&self, schema: &str) -> Result<Vec<Arc<Relation>>> {
        let found = self.snapshot.scan(&relation_prefix(Some(schema)));
        found.iter().map(|(key, bytes)| self.decoded(key, bytes)).collect()
    }

    /// Every table and view, by schema and name.
    pub fn all_relations(&self) -> Result<Vec<Arc<Relation>>> {
        let found = self.snapshot.scan(&relation_prefix(None));
        found.iter().map(|(key, bytes)| self.decoded(key, bytes)).collect()
    }

    /// The table with this id.
    pub fn table_by_id(&self, id: u64) -> Result<Option<Arc<Relation>>> {
        let is_it = |relation: &Arc<Relation>| matches!(relation.as_ref(), Relation::Table(table) if table.id == id);
        Ok(self.all_relations()?.into_iter().find(is_it))
    }

    /// Tables with foreign keys that refer to a table.
    pub fn referring(&self, id: u64) -> Result<Vec<Arc<Relation>>> {
        if self.snapshot.scan(&reference_prefix(id)).is_empty() {
            return Ok(Vec::new());
        }
        let refers = |relation: &Arc<Relation>| match relation.as_ref() {
            Relation::Table(table) => table.references.iter().any(|reference| reference.table == id),
            Relation::View(_) => false,
        };
        Ok(self.all_relations()?.into_iter().filter(refers).collect())
    }

    /// Every routine of this name, whatever its parameters.
    pub fn routines(&self, schema: &str, name: &str) -> Result<Vec<Routine>> {
        self.listed(&routine_prefix(Some(schema), Some(name)))
    }

    /// Every routine, by schema and name.
    pub fn all_routines(&self) -> Result<Vec<Routine>> {
        self.listed(&routine_prefix(None, None))
    }

    /// A macro.
    pub fn macro_of(&self, schema: &str, name: &str) -> Result<Option<Macro>> {
        self.snapshot.get(&macro_key(schema, name)).map(|bytes| decode(name, &bytes)).transpose()
    }

    /// Every macro, by schema and name.
    pub fn all_macros(&self) -> Result<Vec<Macro>> {
        self.listed(&macro_prefix())
    }

    /// The triggers of a table, by name, which is the order in which they fire.
    pub fn triggers(&self, schema: &str, table: &str) -> Result<Vec<Trigger>> {
        self.listed(&trigger_prefix(Some(schema), Some(table)))
    }

    /// Every trigger, by schema, table and name.
    pub fn all_triggers(&self) -> Result<Vec<Trigger>> {
        self.listed(&trigger_prefix(None, None))
    }

    fn listed<T: for<'de> serde::Deserialize<'de>>(&self, prefix: &[u8]) -> Result<Vec<T>> {
        let found = self.snapshot.scan(prefix);
        found.iter().map(|(key, bytes)| decode(&String::from_utf8_lossy(key), bytes)).collect()
    }

    fn decoded(&self, key: &[u8], bytes: &[u8]) -> Result<Arc<Relation>> {
        let mut cached = self.cache.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, relation)) = cached.get(key)
            && known == bytes
        {
            return Ok(Arc::clone(relation));
        }
        let relation: Arc<Relation> = Arc::new(decode(&String::from_utf8_lossy(key), bytes)?);
        if cached.len() >= CACHED_MAX {
            cached.clear();
        }
        cached.insert(key.to_vec(), (bytes.to_vec(), Arc::clone(&relation)));
        Ok(relation)
    }
}

fn is_built_in(schema: &str) -> bool {
    [MAIN, SYSTEM, INFORMATION].contains(&schema)
}
