//! A transaction that several parties hold: the session, results that are still being read, functions of extensions.
//! Whoever ends it takes it away from the others, who then get an error, never a half-finished commit. It spans the
//! attached databases that it reads, each as it was when first read; it changes one database only, because there is no
//! way to make two durable at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::attach::Attached;
use super::session::lock;
use crate::error::{Error, Result, codes};
use crate::storage::{Savepoint, Snapshot, Store, Transaction};

/// A shared transaction.
#[derive(Clone)]
pub(crate) struct Unit {
    own: Arc<RwLock<Option<Transaction>>>,
    /// Those of attached databases, by their names, with what they were at the beginning.
    others: Arc<Mutex<BTreeMap<String, (Unit, Savepoint)>>>,
}

/// A place within a transaction to which it can go back.
#[derive(Clone)]
pub(crate) struct Mark {
    own: Savepoint,
    others: BTreeMap<String, Savepoint>,
}

impl Unit {
    /// A transaction on a branch; no name means the one on which sessions begin.
    pub(crate) fn begin(store: &Store, branch: &str) -> Result<Self> {
        Ok(Self { own: Arc::new(RwLock::new(Some(store.begin_on(branch)?))), others: Arc::default() })
    }

    /// The part of this transaction that is in an attached database.
    pub(crate) fn of_attached(&self, name: &str, attached: &Attached) -> Result<Self> {
        let mut others = lock(&self.others);
        if let Some((unit, _)) = others.get(name) {
            return Ok(unit.clone());
        }
        let unit = Self::begin(&attached.store, "")?;
        let (read_only, start) = (self.with(|own| Ok(own.is_read_only()))?, unit.with(|other| Ok(other.savepoint()))?);
        unit.with(|other| {
            other.set_read_only(read_only || attached.read_only);
            Ok(())
        })?;
        others.insert(name.to_owned(), (unit.clone(), start));
        Ok(unit)
    }

    /// Refuses to change a database (that of the session, or an attached one) when another was changed already.
    pub(crate) fn check_only(&self, database: Option<&str>) -> Result<()> {
        let other = self.changed()?.into_iter().find(|changed| changed.as_deref() != database);
        let Some(other) = other else { return Ok(()) };
        let name = |database: Option<&str>| database.map_or("the session's own".to_owned(), |name| format!("`{name}`"));
        let message = format!("a transaction changes one database only; this one changed {}", name(other.as_deref()));
        let error = Error::new(codes::UNSUPPORTED, message).detail(format!("and was to change {}", name(database)));
        Err(error.help("COMMIT in between"))
    }

    /// The databases that were changed; `None` is the session's own.
    fn changed(&self) -> Result<Vec<Option<String>>> {
        let mut changed = Vec::new();
        if self.with(|own| Ok(own.has_changes()))? {
            changed.push(None);
        }
        for (name, (unit, _)) in lock(&self.others).iter() {
            if unit.with(|other| Ok(other.has_changes()))? {
                changed.push(Some(name.clone()));
            }
        }
        Ok(changed)
    }

    /// Works in the transaction.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Transaction) -> Result<T>) -> Result<T> {
        let guard = self.own.read().unwrap_or_else(PoisonError::into_inner);
        work(guard.as_ref().ok_or_else(ended)?)
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        self.with(|transaction| Ok(transaction.snapshot()))
    }

    /// Marks this moment.
    pub(crate) fn mark(&self) -> Result<Mark> {
        let mut others = BTreeMap::new();
        for (name, (unit, _)) in lock(&self.others).iter() {
            others.insert(name.clone(), unit.with(|other| Ok(other.savepoint()))?);
        }
        Ok(Mark { own: self.with(|own| Ok(own.savepoint()))?, others })
    }

    /// Undoes what was done since; the mark stays valid.
    pub(crate) fn back_to(&self, mark: &Mark) -> Result<()> {
        for (name, (unit, start)) in lock(&self.others).iter() {
            unit.with(|other| other.rollback_to(mark.others.get(name).unwrap_or(start)))?;
        }
        self.with(|own| own.rollback_to(&mark.own))
    }

    /// Commits; afterwards the transaction is gone, also when that fails.
    pub(crate) fn commit(&self) -> Result<u64> {
        let changed = self.changed();
        let others = std::mem::take(&mut *lock(&self.others));
        let own = self.take().ok_or_else(ended)?;
        match changed?.as_slice() {
            [Some(name)] => {
                let other = others.get(name).and_then(|(unit, _)| unit.take());
                other.ok_or_else(ended)?.commit()
            }
            [] | [None] => own.commit(),
            _ => Err(Error::new(codes::UNSUPPORTED, "a transaction changes one database only")),
        }
    }

    /// Rolls back; doing it twice is no error.
    pub(crate) fn rollback(&self) {
        lock(&self.others).clear();
        drop(self.take());
    }

    fn take(&self) -> Option<Transaction> {
        self.own.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn ended() -> Error {
    Error::new(codes::NO_TRANSACTION, "the transaction has ended")
}
