//! The calls that are under way into plugins, by number. A number is all that a plugin holds: one that is kept too
//! long, or made up, finds nothing and gets an error.

use super::session::{Access, Session, Terminal};
use kodiak_plugin_api::Error as PluginError;
use kodiak_registry::Manifest;
use kodiak_registry::manifest::{Permissions, SqlAccess};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};

/// On whose behalf a plugin works.
pub(crate) struct Call {
    pub manifest: Arc<Manifest>,
    pub session: Arc<dyn Session>,
    pub terminal: Option<Arc<dyn Terminal>>,
    /// Numbers of the sessions that the plugin opened within this call: they end with it.
    children: Mutex<Vec<u64>>,
}

impl Call {
    pub(crate) fn new(
        manifest: Arc<Manifest>,
        session: Arc<dyn Session>,
        terminal: Option<Arc<dyn Terminal>>,
    ) -> Arc<Self> {
        Arc::new(Self { manifest, session, terminal, children: Mutex::default() })
    }

    pub(crate) fn extension(&self) -> &str {
        self.manifest.name()
    }

    /// What the manifest lets SQL of this extension do.
    pub(crate) fn access(&self) -> Result<Access, PluginError> {
        let permissions = &self.manifest.permissions;
        if permissions.sql == SqlAccess::None {
            return Err(denied(&self.manifest, "run SQL", "sql = \"read\" or \"write\""));
        }
        Ok(self.access_of(permissions))
    }

    /// What the manifest lets calls of functions do: services of other extensions need no permission for SQL.
    pub(crate) fn access_to_functions(&self) -> Result<Access, PluginError> {
        match self.manifest.permissions.services.is_empty() {
            true => self.access(),
            false => Ok(self.access_of(&self.manifest.permissions)),
        }
    }

    fn access_of(&self, permissions: &Permissions) -> Access {
        let declared = self.manifest.dependencies.keys().chain(self.manifest.optional_dependencies.keys());
        Access {
            extension: self.extension().to_owned(),
            extensions: declared.cloned().chain([self.extension().to_owned()]).collect(),
            sql: permissions.sql != SqlAccess::None,
            write: permissions.sql == SqlAccess::Write,
            schemas: (!permissions.schemas.is_empty()).then(|| permissions.schemas.clone()),
            services: permissions.services.clone(),
        }
    }
}

/// A refusal by permission, in words.
pub(crate) fn denied(manifest: &Manifest, what: &str, permission: &str) -> PluginError {
    PluginError::new("KDK-0481", format!("`{}` has no permission to {what}", manifest.name()))
        .sqlstate("42501")
        .help(format!("its manifest would have to ask for `{permission}`"))
}

static CALLS: LazyLock<RwLock<HashMap<u64, Arc<Call>>>> = LazyLock::new(RwLock::default);
/// 0 names no call: a plugin that logs outside one uses it.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A call under way; it ends when this is dropped.
pub(crate) struct CallGuard {
    pub id: u64,
}

/// Begins a call.
pub(crate) fn begin(call: Arc<Call>) -> CallGuard {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    CALLS.write().unwrap_or_else(PoisonError::into_inner).insert(id, call);
    CallGuard { id }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        end(self.id);
    }
}

fn end(id: u64) {
    let call = CALLS.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    if let Some(call) = call {
        let children = std::mem::take(&mut *call.children.lock().unwrap_or_else(PoisonError::into_inner));
        children.into_iter().for_each(end);
    }
}

/// The call of this number.
pub(crate) fn find(id: u64) -> Result<Arc<Call>, PluginError> {
    let found = CALLS.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
    found.ok_or_else(|| PluginError::new("KDK-0480", format!("call {id} is not under way")))
}

/// Opens a session of the plugin's own within a call.
pub(crate) fn open_session(id: u64) -> Result<u64, PluginError> {
    let parent = find(id)?;
    let session = parent.session.fork().map_err(super::outward)?;
    let child = Call::new(parent.manifest.clone(), session, parent.terminal.clone());
    let guard = begin(child);
    let number = guard.id;
    std::mem::forget(guard);
    parent.children.lock().unwrap_or_else(PoisonError::into_inner).push(number);
    Ok(number)
}

/// Closes a session that [`open_session`] opened.
pub(crate) fn close_session(id: u64) {
    end(id);
}
