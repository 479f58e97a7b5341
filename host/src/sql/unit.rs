//! A transaction that several parties hold: the session, results that are still being read, functions of extensions.
//! Whoever ends it takes it away from the others, who then get an error, never a half-finished commit.

use std::sync::{Arc, PoisonError, RwLock};

use crate::error::{Error, Result, codes};
use crate::storage::{Snapshot, Store, Transaction};

/// A shared transaction.
#[derive(Clone)]
pub(crate) struct Unit(Arc<RwLock<Option<Transaction>>>);

impl Unit {
    /// A transaction on a branch; no name means the one on which sessions begin.
    pub(crate) fn begin(store: &Store, branch: &str) -> Result<Self> {
        Ok(Self(Arc::new(RwLock::new(Some(store.begin_on(branch)?)))))
    }

    /// Works in the transaction.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&Transaction) -> Result<T>) -> Result<T> {
        let guard = self.0.read().unwrap_or_else(PoisonError::into_inner);
        work(guard.as_ref().ok_or_else(ended)?)
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot> {
        self.with(|transaction| Ok(transaction.snapshot()))
    }

    /// Commits; afterwards the transaction is gone, also when that fails.
    pub(crate) fn commit(&self) -> Result<u64> {
        self.take().ok_or_else(ended)?.commit()
    }

    /// Rolls back; doing it twice is no error.
    pub(crate) fn rollback(&self) {
        drop(self.take());
    }

    fn take(&self) -> Option<Transaction> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn ended() -> Error {
    Error::new(codes::NO_TRANSACTION, "the transaction has ended")
}
