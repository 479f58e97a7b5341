//! What an extension asks to be allowed, and what of it is new. It refuses to enforce: the host's services do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Fault, Key, LIST_MAX, check_list, is_default};
use crate::claims;

/// The table `[permissions]`: consent and audit for code that runs in the host's process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// What its SQL may do.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sql: SqlAccess,
    /// The schemas that its SQL may touch; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemas: Vec<String>,
    /// Which files it may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filesystem: Vec<FilesystemAccess>,
    /// Services of other extensions that it may call; the extensions are dependencies as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// Whether it may use the network.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: bool,
    /// Whether it may own threads after a call returns.
    #[serde(default, skip_serializing_if = "is_default")]
    pub background: bool,
}

/// What an extension's SQL may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SqlAccess {
    /// No SQL at all.
    #[default]
    None,
    /// Only statements that change nothing.
    Read,
    /// Any statement.
    Write,
}

/// Which files an extension may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FilesystemAccess {
    /// The folder of the project.
    Project,
    /// The extension's own folder of data.
    Data,
    /// Everything that the user may use.
    Any,
}

impl Permissions {
    /// Whether nothing is asked for.
    pub fn is_none(&self) -> bool {
        self == &Self::default()
    }

    /// Each permission in words, for consent.
    pub fn describe(&self) -> Vec<String> {
        self.beyond(&Self::default())
    }

    /// What this asks for that `earlier` did not, in words; empty when nothing is new.
    pub fn beyond(&self, earlier: &Self) -> Vec<String> {
        let mut asked = Vec::new();
        if self.sql != SqlAccess::None {
            let verb = if self.sql == SqlAccess::Write { "read and change" } else { "read" };
            let wider = self.sql > earlier.sql;
            if self.schemas.is_empty() && (wider || !earlier.schemas.is_empty()) {
                asked.push(format!("{verb} every table"));
            }
            let is_new = |schema: &&String| wider || !(earlier.schemas.is_empty() || earlier.schemas.contains(schema));
            asked.extend(
                self.schemas.iter().filter(is_new).map(|schema| format!("{verb} tables in the schema `{schema}`")),
            );
        }
        let any_file = earlier.filesystem.contains(&FilesystemAccess::Any);
        for access in self.filesystem.iter().filter(|access| !any_file && !earlier.filesystem.contains(access)) {
            asked.push(match access {
                FilesystemAccess::Project => "use files in the project's folder".to_owned(),
                FilesystemAccess::Data => "keep files in its own folder".to_owned(),
                FilesystemAccess::Any => "use every file that you can use".to_owned(),
            });
        }
        for service in self.services.iter().filter(|service| !earlier.services.contains(service)) {
            asked.push(format!("call the service `{service}`"));
        }
        if self.network && !earlier.network {
            asked.push("use the network".to_owned());
        }
        if self.background && !earlier.background {
            asked.push("work in the background".to_owned());
        }
        asked
    }

    pub(super) fn check(&self) -> Result<(), Fault> {
        let at = |key: &'static str| [Key::Name("permissions".into()), Key::Name(key.into())];
        if self.schemas.len() > LIST_MAX {
            return Err(Fault::new(at("schemas"), format!("at most {LIST_MAX} are allowed")));
        }
        if !self.schemas.is_empty() && self.sql == SqlAccess::None {
            return Err(Fault::new(at("schemas"), "schemas narrow `sql`, which is not asked for"));
        }
        check_list(&self.schemas, at("schemas"), |schema| {
            let fits = claims::is_identifier(schema) || claims::is_extension_name(schema);
            fits.then_some(()).ok_or_else(|| "this is not the name of a schema".to_owned())
        })?;
        check_list(&self.services, at("services"), |service| {
            claims::is_identifier(service).then_some(()).ok_or_else(|| "this is not the name of a service".to_owned())
        })?;
        let mut seen = BTreeSet::new();
        match self.filesystem.iter().position(|access| !seen.insert(*access)) {
            Some(index) => Err(Fault::new(at("filesystem").into_iter().chain([Key::Index(index)]), "it is here twice")),
            None => Ok(()),
        }
    }
}
