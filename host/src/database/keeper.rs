//! A database as the keeper of its own set of extensions and of what they own.

use super::plugins::SET_KEY;
use super::services::{object_key, state_key};
use super::{Connection, Database};
use crate::catalog::{Catalog, Relation};
use crate::error::{Error, Result, codes};
use crate::extensions::manage::{Fate, Keeper};
use crate::extensions::parse_set;
use crate::storage::Transaction;
use kodiak_registry::lock::EnabledSet;
use std::path::PathBuf;
use std::sync::Arc;

/// How often a change of the set is tried again when somebody else changed it first.
const TRIES_MAX: usize = 20;

impl Keeper for Database {
    fn read(&self) -> Result<Option<EnabledSet>> {
        self.store().begin()?.snapshot().get(SET_KEY).map(|bytes| parse_set(&bytes)).transpose()
    }

    fn update(&self, initial: &EnabledSet, change: &mut dyn FnMut(&mut EnabledSet) -> Result<()>) -> Result<()> {
        for _ in 0..TRIES_MAX {
            let transaction = self.store().begin()?;
            let stored = transaction.snapshot().get(SET_KEY);
            let before = stored.map(|bytes| parse_set(&bytes)).transpose()?;
            let mut set = before.clone().unwrap_or_else(|| initial.clone());
            change(&mut set)?;
            if before.as_ref() == Some(&set) {
                return Ok(());
            }
            transaction.put(SET_KEY, set.to_toml().as_bytes())?;
            match transaction.commit() {
                Ok(_) => return Ok(()),
                Err(error) if error.is(codes::CONFLICT) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(codes::CONFLICT, "others kept changing the set of extensions").help("try again"))
    }

    fn objects(&self, extension: &str) -> Result<Vec<(String, String)>> {
        let transaction = self.store().begin()?;
        self.owned(&transaction, extension)
    }

    fn release(&self, extension: &str, fate: Fate) -> Result<()> {
        let connection = self.connect()?;
        connection.begin()?;
        match release(self, &connection, extension, fate) {
            Ok(()) => connection.commit(),
            Err(error) => {
                connection.rollback()?;
                Err(error)
            }
        }
    }

    fn directory(&self) -> Option<PathBuf> {
        self.store().path().map(std::path::Path::to_path_buf)
    }
}

impl Database {
    /// Objects of an extension, as `(kind, name)`: what it registered, then its relations.
    fn owned(&self, transaction: &Transaction, extension: &str) -> Result<Vec<(String, String)>> {
        let snapshot = transaction.snapshot();
        let prefix = object_key(extension, "", "");
        let prefix = &prefix[..prefix.len() - 1];
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut all: Vec<(String, String)> = Vec::new();
        for (key, _) in snapshot.scan(prefix) {
            let mut parts = key[prefix.len()..].splitn(2, |byte| *byte == 0);
            all.push((text(parts.next().unwrap_or_default()), text(parts.next().unwrap_or_default())));
        }
        let catalog = Catalog::new(snapshot, Arc::clone(&self.engine.cache));
        for relation in catalog.all_relations()? {
            if relation.owner() == Some(extension) {
                let (schema, name) = relation.name();
                all.push((relation.noun().to_owned(), format!("{schema}.{name}")));
            }
        }
        Ok(all)
    }
}

fn release(database: &Database, connection: &Connection, extension: &str, fate: Fate) -> Result<()> {
    connection.0.with_transaction(|transaction| {
        let snapshot = transaction.snapshot();
        let catalog = Catalog::new(snapshot.clone(), Arc::clone(&database.engine.cache));
        for relation in catalog.all_relations()?.iter().filter(|relation| relation.owner() == Some(extension)) {
            match (fate, relation.as_ref()) {
                (Fate::Kept, relation) => {
                    let mut kept = relation.clone();
                    match &mut kept {
                        Relation::Table(table) => table.owner = None,
                        Relation::View(view) => view.owner = None,
                    }
                    crate::catalog::put_relation(transaction, &kept)?;
                }
                (Fate::Dropped, Relation::Table(table)) => {
                    transaction.drop_table(crate::storage::TableId(table.id))?;
                    crate::catalog::drop_relation(transaction, &table.schema, &table.name)?;
                }
                (Fate::Dropped, Relation::View(view)) => {
                    crate::catalog::drop_relation(transaction, &view.schema, &view.name)?;
                }
            }
        }
        for schema in catalog.schemas()?.into_iter().filter(|schema| schema.owner.as_deref() == Some(extension)) {
            match fate {
                Fate::Dropped => crate::catalog::drop_schema(transaction, &schema.name)?,
                Fate::Kept => {
                    let kept = crate::catalog::Schema { owner: None, ..schema };
                    crate::catalog::put_schema(transaction, &kept)?;
                }
            }
        }
        let objects = object_key(extension, "", "");
        for (key, _) in snapshot.scan(&objects[..objects.len() - 1]) {
            transaction.remove(&key)?;
        }
        if fate == Fate::Dropped {
            for (key, _) in snapshot.scan(&state_key(extension, b"")) {
                transaction.remove(&key)?;
            }
            transaction.remove(&state_key(crate::extensions::DATA_VERSIONS, extension.as_bytes()))?;
        }
        Ok(())
    })
}
