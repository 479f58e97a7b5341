//! A database as the keeper of its own set of extensions and of what they own.

use super::plugins::SET_KEY;
use super::services::{OBJECTS, state_key};
use super::{Connection, Database};
use crate::catalog::{Catalog, Relation, Returns, Routine, Trigger};
use crate::error::{Error, Result, codes};
use crate::extensions::manage::{Fate, Keeper};
use crate::extensions::parse_set;
use crate::extensions::{DATA_VERSIONS, KEPT};
use kodiak_registry::lock::EnabledSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often a change of the set is tried again when somebody else changed it first.
const TRIES_MAX: u32 = 20;
/// How long the longest pause between tries is: the other's change is seen when it is durable, which takes its disk some
/// milliseconds, and is in the way as soon as it is written.
const PAUSE_MAX: Duration = Duration::from_millis(100);

impl Keeper for Database {
    fn read(&self) -> Result<Option<EnabledSet>> {
        self.store().begin()?.snapshot().get(SET_KEY).map(|bytes| parse_set(&bytes)).transpose()
    }

    fn update(&self, initial: &EnabledSet, change: &mut dyn FnMut(&mut EnabledSet) -> Result<()>) -> Result<()> {
        for tried in 0..TRIES_MAX {
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
                Err(error) if error.is(codes::CONFLICT) => {
                    std::thread::sleep(PAUSE_MAX.min(Duration::from_millis(1 << tried.min(10))));
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(codes::CONFLICT, "others kept changing the set of extensions").help("try again"))
    }

    fn objects(&self, extension: &str) -> Result<Vec<(String, String)>> {
        let catalog = Catalog::new(self.store().begin()?.snapshot(), Arc::clone(&self.engine.cache));
        let all = owned(&catalog)?.into_iter().filter(|object| object.extension == extension);
        Ok(all.map(|object| (object.kind, object.name)).collect())
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

/// Something that belongs to an extension.
pub(super) struct Owned {
    pub extension: String,
    pub kind: String,
    pub name: String,
}

/// Everything that belongs to extensions: what they registered, then their tables and views.
pub(super) fn owned(catalog: &Catalog) -> Result<Vec<Owned>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut all = Vec::new();
    for (key, _) in catalog.snapshot().scan(OBJECTS) {
        let mut parts = key[OBJECTS.len()..].splitn(3, |byte| *byte == 0);
        let mut next = || text(parts.next().unwrap_or_default());
        all.push(Owned { extension: next(), kind: next(), name: next() });
    }
    for relation in catalog.all_relations()? {
        if let Some(extension) = relation.owner() {
            let (schema, name) = relation.name();
            let name = if schema == crate::catalog::MAIN { name.to_owned() } else { format!("{schema}.{name}") };
            all.push(Owned { extension: extension.to_owned(), kind: relation.noun().to_owned(), name });
        }
    }
    // A routine belongs to whoever made it, and needs whoever brings its language; so does a trigger that calls it.
    let label = |schema: &str, name: &str| match schema {
        crate::catalog::MAIN => name.to_owned(),
        _ => format!("{schema}.{name}"),
    };
    let routines = catalog.all_routines()?;
    for routine in &routines {
        if let Some(extension) = routine.extension.as_ref().or(routine.owner.as_ref()) {
            let (extension, kind) = (extension.clone(), routine.kind.noun().to_owned());
            all.push(Owned { extension, kind, name: label(&routine.schema, &routine.name) });
        }
    }
    for one in catalog.all_macros()? {
        if let Some(extension) = one.owner {
            all.push(Owned { extension, kind: "macro".to_owned(), name: label(&one.schema, &one.name) });
        }
    }
    for trigger in catalog.all_triggers()? {
        if let Some(extension) = trigger_extension(&trigger, &routines) {
            let name = format!("{} on {}", trigger.name, label(&trigger.schema, &trigger.table));
            all.push(Owned { extension: extension.to_owned(), kind: "trigger".to_owned(), name });
        }
    }
    Ok(all)
}

/// The extension without which a trigger cannot fire, or that made it.
fn trigger_extension<'a>(trigger: &'a Trigger, routines: &'a [Routine]) -> Option<&'a str> {
    let called = |routine: &&Routine| {
        routine.returns == Returns::Trigger
            && (&routine.schema, &routine.name) == (&trigger.function.0, &trigger.function.1)
    };
    let language = routines.iter().find(called).and_then(|routine| routine.extension.as_deref());
    language.or(trigger.owner.as_deref())
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
        // Kept routines and triggers stay as they are, dormant, until their language is there again.
        if fate == Fate::Dropped {
            let routines = catalog.all_routines()?;
            for trigger in catalog.all_triggers()? {
                if trigger_extension(&trigger, &routines) == Some(extension) {
                    crate::catalog::drop_trigger(transaction, &trigger)?;
                }
            }
            for routine in &routines {
                if routine.extension.as_deref().or(routine.owner.as_deref()) == Some(extension) {
                    crate::catalog::drop_routine(transaction, routine)?;
                }
            }
            for one in catalog.all_macros()?.iter().filter(|one| one.owner.as_deref() == Some(extension)) {
                crate::catalog::drop_macro(transaction, one)?;
            }
        }
        let version = state_key(DATA_VERSIONS, extension.as_bytes());
        if fate == Fate::Kept {
            // What it registered stays listed, dormant, and the mark brings its tables back to it one day.
            let Some(found) = snapshot.get(&version).filter(|found| !found.starts_with(KEPT)) else { return Ok(()) };
            return transaction.put(&version, &[KEPT, &found].concat());
        }
        let state =
            [&[OBJECTS, extension.as_bytes(), b"\0"].concat()[..], &state_key(extension, b"")].map(<[u8]>::to_vec);
        for (key, _) in state.iter().flat_map(|prefix| snapshot.scan(prefix)) {
            transaction.remove(&key)?;
        }
        transaction.remove(&version)?;
        Ok(())
    })
}

/// Gives plain tables that an extension left behind back to it.
pub(super) fn adopt(transaction: &crate::storage::Transaction, catalog: &Catalog, extension: &str) -> Result<()> {
    for relation in catalog.relations(extension)?.iter().filter(|relation| relation.owner().is_none()) {
        let mut adopted = Relation::clone(relation);
        match &mut adopted {
            Relation::Table(table) => table.owner = Some(extension.to_owned()),
            Relation::View(view) => view.owner = Some(extension.to_owned()),
        }
        crate::catalog::put_relation(transaction, &adopted)?;
    }
    match catalog.schema(extension)? {
        Some(schema) if schema.owner.is_none() => crate::catalog::put_schema(
            transaction,
            &crate::catalog::Schema { owner: Some(extension.to_owned()), ..schema },
        ),
        _ => Ok(()),
    }
}
