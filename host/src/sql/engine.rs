//! What the connections of one database share: its store, decoded catalog records, the memory pool, and the extensions.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};

use super::claim::{Extensions, NoExtensions};
use super::fault;
use super::identity::Blocks;
use crate::catalog::Cache;
use crate::error::Result;
use crate::storage::Store;

/// Consumers that an error about memory names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// One part in so many of the memory limit is for columns that were read from files.
const HOT_SHARE: u64 = 3;

/// One open database as the front end sees it.
pub(crate) struct Engine {
    pub(crate) store: Store,
    pub(crate) cache: Arc<Cache>,
    /// Numbers for identity columns.
    pub(crate) identities: Blocks,
    extensions: RwLock<Arc<dyn Extensions>>,
    memory: Mutex<Option<(u64, Arc<RuntimeEnv>)>>,
}

impl Engine {
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            cache: Arc::default(),
            identities: Blocks::default(),
            extensions: RwLock::new(Arc::new(NoExtensions)),
            memory: Mutex::new(None),
        }
    }

    pub(crate) fn extensions(&self) -> Arc<dyn Extensions> {
        Arc::clone(&self.extensions.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_extensions(&self, extensions: Arc<dyn Extensions>) {
        *self.extensions.write().unwrap_or_else(PoisonError::into_inner) = extensions;
    }

    /// The pool that all statements with this limit share. Another limit makes another pool; statements that run keep
    /// theirs.
    pub(crate) fn memory(&self, bytes_max: u64) -> Result<Arc<RuntimeEnv>> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((bytes, environment)) = memory.as_ref()
            && *bytes == bytes_max
        {
            return Ok(Arc::clone(environment));
        }
        // What is read from files and kept shares the limit with what statements hold.
        let hot = bytes_max / HOT_SHARE;
        self.store.keep_hot(hot);
        let bytes = usize::try_from(bytes_max - hot).unwrap_or(usize::MAX);
        let pool = TrackConsumersPool::new(FairSpillPool::new(bytes), CONSUMERS_NAMED);
        let environment = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc();
        let environment = environment.map_err(|error| fault::fold(&error))?;
        *memory = Some((bytes_max, Arc::clone(&environment)));
        Ok(environment)
    }
}
