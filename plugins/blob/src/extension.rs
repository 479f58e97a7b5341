//! The plugin: what every call has at hand. It refuses to read what users write: that is the job of its neighbours.

use crate::files::LocalDisk;
use crate::index::{KeyRange, Versions, Which};
use crate::listing::Grouper;
use crate::objects::Objects;
use crate::payload::Payloads;
use crate::shown::{self, Columns};
use crate::sql::{self, SqlIndex};
use crate::syntax::List;
use crate::writers::Writers;
use crate::{command, functions, statements};
use kodiak_plugin_api::arrow::BatchReader;
use kodiak_plugin_api::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// Buckets and objects of one database.
#[derive(Default)]
pub struct Blob {
    /// Who needs which payload.
    pub writers: Writers,
}

impl Plugin for Blob {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self::default())
    }

    fn register(registrar: &mut Registrar<Self>) {
        command::register(registrar);
        statements::register(registrar);
        functions::register(registrar);
    }

    fn migrate(&self, call: &Call, from: Option<&str>) -> Result<()> {
        sql::migrate(call, from)
    }

    fn shutdown(&self, _: Duration) -> Result<()> {
        self.writers.close();
        Ok(())
    }
}

impl Blob {
    /// Runs `f` on the objects that the call's transaction sees.
    pub fn with<T>(&self, call: &Call, f: impl FnOnce(&Objects<'_>) -> Result<T>) -> Result<T> {
        let (index, payloads) = (SqlIndex::new(call), || payloads(call));
        f(&Objects { index: &index, payloads: &payloads, writers: &self.writers, now: call.now() })
    }

    /// What a listing shows.
    ///
    /// # Errors
    /// `NO_BUCKET`, or of the index.
    pub fn list(&self, call: &Call, list: &List, columns: Columns) -> Result<BatchReader> {
        let versions = self.with(call, |objects| versions(objects, list))?;
        let grouper = Grouper::new(&list.prefix, &list.delimiter, list.after.as_deref());
        Ok(shown::rows(versions, grouper, list.limit, columns))
    }
}

/// Payload files of the call's database.
///
/// # Errors
/// For a database in memory.
pub fn payloads(call: &Call) -> Result<Payloads> {
    Ok(Payloads::new(call.data_dir()?, Arc::new(LocalDisk)))
}

fn versions(objects: &Objects<'_>, list: &List) -> Result<Versions> {
    let bucket = objects.bucket(&list.bucket)?;
    let range = KeyRange::of_prefix(&list.prefix, list.after.as_deref());
    let which = if list.versions { Which::All } else { Which::Latest };
    // With a delimiter a line stands for any number of keys.
    let limit = list.limit.filter(|_| list.delimiter.is_empty());
    objects.index.list(bucket.id, &range, which, limit)
}
