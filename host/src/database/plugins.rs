//! Answers the front end's questions about extensions from those of the database: claims, functions, who may be
//! written to. It decides nothing itself: `extensions` does.

use super::Database;
use super::functions::{PluginScalar, PluginTable, ended};
use super::languages::PluginLanguage;
use super::listing::Listing;
use super::services::{PluginSession, from_arrow, parameters};
use crate::catalog::SYSTEM;
use crate::error::{Error, Result, codes};
use crate::extensions::session::Access;
use crate::extensions::{Argument, Caller as ExtensionCaller, Extensions, Grant, Home, Instance, StatementToken, View};
use crate::sql::claim::{self, Claimed, Language, ScalarFunction, TableFunction};
use crate::sql::{Caller, Outcome, Rows, TextToken, TextTokenKind, Value, concealed, split, tokens};
use crate::storage::Store;
use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::DataType;
use kodiak_plugin_api::abi::token;
use kodiak_registry::claims::is_host_statement;
use std::sync::Arc;

/// Where a database keeps its own set of extensions.
pub(super) const SET_KEY: &[u8] = b"extensions/set";
/// Keywords that a claim can have.
const CLAIM_WORDS_MAX: usize = 4;
/// First words that no extension can claim, so that most statements ask nobody.
const HOST_WORDS: &[&str] = &["SELECT", "WITH", "INSERT", "UPDATE", "BEGIN", "COMMIT", "ROLLBACK", "SET", "VALUES"];

/// The extensions of one database, as its front end sees them.
#[derive(Clone)]
pub(super) struct Plugins {
    store: Store,
    extensions: Result<Arc<Extensions>>,
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plugins")
    }
}

impl Plugins {
    /// Those of `store`, installed in `home`; a home that cannot be used is an error when an extension is needed.
    pub(super) fn new(store: Store, home: Result<Home>) -> Self {
        Self { store, extensions: home.map(|home| Arc::new(Extensions::new(home))) }
    }

    pub(super) fn extensions(&self) -> Result<Arc<Extensions>> {
        self.extensions.clone()
    }

    pub(super) fn view(&self) -> Result<Arc<View>> {
        let own = self.store.begin()?.snapshot().get(SET_KEY);
        self.extensions()?.view(own.as_deref())
    }

    pub(super) fn instance(&self, grant: &Grant, caller: &ExtensionCaller) -> Result<Arc<Instance>> {
        self.extensions()?.instance(grant, caller)
    }

    /// Who calls, as `extensions` wants it.
    pub(super) fn caller(&self, caller: &Caller, extension: &str) -> ExtensionCaller {
        let database = Database { engine: caller.engine(), plugins: self.clone() };
        let session = PluginSession::inside(database, caller.clone(), extension);
        ExtensionCaller { session: Arc::new(session), terminal: None }
    }

    fn function(&self, name: &str) -> Result<Option<Grant>> {
        self.extensions()?.function(&*self.view()?, name)
    }

    /// Calls a function that its extension has for others, on behalf of one of them: it must declare that extension, and
    /// be permitted the service. Who calls is the first argument, so that it can be neither forged nor left out.
    pub(super) fn call_service(
        &self,
        caller: &ExtensionCaller,
        owner: &str,
        service: &str,
        arguments: &RecordBatch,
        access: &Access,
    ) -> Result<ArrayRef> {
        if !access.extensions.iter().any(|name| name == owner) {
            return Err(undeclared(access, &format!("the service `{service}`"), owner));
        }
        if access.extension != owner && !access.services.iter().any(|name| name == service) {
            let text = format!("`{}` has no permission to call the service `{service}` of `{owner}`", access.extension);
            let help = format!("its manifest would have to ask for `services = [\"{service}\"]`");
            return Err(Error::new(codes::PERMISSION, text).help(help));
        }
        let instance = self.instance(&self.view()?.grant(owner)?, caller)?;
        let rows = arguments.num_rows();
        let caller_name: ArrayRef = Arc::new(StringViewArray::from(vec![access.extension.as_str(); rows]));
        let given: Vec<ArrayRef> = std::iter::once(caller_name).chain(arguments.columns().iter().cloned()).collect();
        let overloads = instance.scalar_declaration(service).map(|declared| declared.overloads.clone());
        let wanted = overloads.unwrap_or_default().into_iter().find(|types| types.len() == given.len());
        let wanted = wanted.ok_or_else(|| {
            Error::new(
                codes::NO_FUNCTION,
                format!("the service `{service}` does not take {} arguments", given.len() - 1),
            )
        })?;
        let cast = |(array, kind): (&ArrayRef, &DataType)| arrow::compute::cast(array, kind).map_err(from_arrow);
        let columns = given.iter().zip(&wanted).map(cast).collect::<Result<Vec<_>>>()?;
        let columns: Vec<Argument> = columns.into_iter().map(Argument::Column).collect();
        instance.scalar(caller, service, &wanted)?.invoke(&columns, rows)
    }

    /// Checks SQL of an extension against what it may do, before it runs in a session whose names without a schema mean
    /// those of `schema`.
    pub(super) fn check_access(&self, sql: &str, schema: &str, access: &Access) -> Result<()> {
        let view = self.view()?;
        let words = split::leading_words(sql, CLAIM_WORDS_MAX);
        let may_use = |owner: &str| access.extensions.iter().any(|name| name == owner);
        if let Some((claim, owner)) = view.statement_owner(&words) {
            // What a statement of another extension does is not known here, so it counts as writing.
            return match (may_use(owner), access.write) {
                (false, _) => Err(undeclared(access, &format!("the statement `{claim}`"), owner)),
                (true, false) => Err(may_not_write(access)),
                (true, true) => Ok(()),
            };
        }
        let uses = crate::sql::uses(sql)?;
        let mut owners = uses.functions.iter().filter_map(|name| Some((name, view.function_owner(name)?)));
        if let Some((name, owner)) = owners.find(|(_, owner)| !may_use(owner)) {
            return Err(undeclared(access, &format!("the function `{name}`"), owner));
        }
        if uses.writes && !access.write {
            return Err(may_not_write(access));
        }
        let Some(allowed) = &access.schemas else { return Ok(()) };
        // Reading the host's own lists is everybody's.
        let mut named = uses.relations.iter().map(|(written, _)| written.as_deref().unwrap_or(schema));
        match named.find(|schema| !crate::catalog::is_virtual(schema) && !allowed.iter().any(|name| name == schema)) {
            Some(schema) => {
                let text = format!("`{}` has no permission to use the schema `{schema}`", access.extension);
                let help = format!("its manifest would have to name `{schema}` under `schemas`");
                Err(Error::new(codes::PERMISSION, text).help(help))
            }
            None => Ok(()),
        }
    }
}

impl claim::Extensions for Plugins {
    fn claim(&self, statement: &str) -> Result<Option<Box<dyn Claimed>>> {
        let words = split::leading_words(statement, CLAIM_WORDS_MAX);
        if words.first().is_none_or(|first| HOST_WORDS.contains(&first.as_str())) {
            return Ok(None);
        }
        // What the host understands nobody can claim, so it works whatever state the extensions are in.
        if is_host_statement(&words.join(" ")) {
            return Ok(None);
        }
        let view = self.view()?;
        if let Some((grant, claim)) = self.extensions()?.statement(&view, &words)? {
            let (plugins, text) = (self.clone(), statement.to_owned());
            return Ok(Some(Box::new(ClaimedStatement { plugins, grant, claim, text })));
        }
        match self.extensions()?.missing_statement(&view, &words) {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    fn is_sensitive(&self, text: &str) -> bool {
        split::holds_secret(text)
            || self.view().is_ok_and(|view| split::mentions(text, view.sensitive()))
            || self.extensions.as_ref().is_ok_and(|all| split::mentions(text, all.known_sensitive()))
    }

    fn scalar(&self, name: &str) -> Result<Option<Arc<dyn ScalarFunction>>> {
        let found = self.function(name)?;
        Ok(found.map(|grant| Arc::new(PluginScalar::new(self.clone(), grant, name)) as Arc<dyn ScalarFunction>))
    }

    fn table(&self, name: &str) -> Result<Option<Arc<dyn TableFunction>>> {
        let found = self.function(name)?;
        Ok(found.map(|grant| Arc::new(PluginTable::new(self.clone(), grant, name)) as Arc<dyn TableFunction>))
    }

    fn language(&self, name: &str) -> Result<Option<Arc<dyn Language>>> {
        let found = self.extensions()?.language(&*self.view()?, name)?;
        Ok(found.map(|grant| Arc::new(PluginLanguage::new(self.clone(), grant)) as Arc<dyn Language>))
    }

    fn relation(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableFunction>>> {
        let listing = (schema == SYSTEM).then(|| Listing::of(self, name)).flatten();
        Ok(listing.map(|listing| Arc::new(listing) as Arc<dyn TableFunction>))
    }

    fn functions(&self) -> Vec<(String, &'static str, String)> {
        let Ok(view) = self.view() else { return Vec::new() };
        view.functions().map(|(name, owner)| (owner.to_owned(), "function", name.to_owned())).collect()
    }

    fn check_write(&self, owner: &str, schema: &str, name: &str) -> Result<()> {
        let view = self.view()?;
        if !view.contains(owner) {
            let text = format!("`{schema}.{name}` belongs to the extension `{owner}`, which is not installed");
            return Err(Error::new(codes::DORMANT, text)
                .detail("it is dormant: it can be read, exported and dropped")
                .help(format!("kodiak ext install {owner}")));
        }
        view.grant(owner).map(drop).map_err(|error| {
            error.detail(format!(
                "`{schema}.{name}` belongs to `{owner}` and is dormant: it can be read, exported and dropped"
            ))
        })
    }
}

fn undeclared(access: &Access, what: &str, owner: &str) -> Error {
    let text = format!("`{}` uses {what} of `{owner}`, which its manifest does not declare", access.extension);
    Error::new(codes::UNDECLARED, text)
        .help(format!("add `{owner}` to [dependencies] or [optional-dependencies] of its manifest"))
}

fn may_not_write(access: &Access) -> Error {
    let text = format!("`{}` has no permission to change anything by SQL", access.extension);
    Error::new(codes::PERMISSION, text).help("its manifest would have to ask for `sql = \"write\"`")
}

struct ClaimedStatement {
    plugins: Plugins,
    grant: Grant,
    claim: String,
    text: String,
}

impl Claimed for ClaimedStatement {
    fn extension(&self) -> &str {
        self.grant.name()
    }

    fn run(self: Box<Self>, caller: &Caller, params: &[Value]) -> Result<Outcome> {
        let statement = caller;
        let caller = self.plugins.caller(caller, self.grant.name());
        let instance = self.plugins.instance(&self.grant, &caller)?;
        let start = split::skip_blank(&self.text);
        let text = self.text[start..].trim_end();
        let is_sensitive = self.grant.manifest.contributes.sensitive.contains(&self.claim);
        let tokens = tokens(text).map_err(|error| if is_sensitive { concealed(&error) } else { error })?;
        let tokens = tokens.into_iter().map(token_of).collect();
        let parameters = parameters(params)?;
        let outcome = instance.statement(&caller, &self.claim, text, tokens, &parameters);
        let outcome = outcome.map_err(|error| ended(statement, error))?;
        let tag = self.claim.clone();
        Ok(match outcome.rows {
            Some(reader) => {
                let schema = reader.schema();
                let batches = reader.map(|batch| batch.map_err(from_arrow));
                Outcome::rows(tag, Rows::made(schema, Box::new(batches)))
            }
            None => match outcome.affected {
                Some(count) => Outcome::changed(tag, count),
                None => Outcome::done(tag),
            },
        })
    }
}

fn token_of(found: TextToken) -> StatementToken {
    use TextTokenKind as Kind;
    let kind = match found.kind {
        Kind::Word => token::WORD,
        Kind::Quoted => token::QUOTED,
        Kind::Text => token::STRING,
        Kind::Number => token::NUMBER,
        Kind::Symbol => token::SYMBOL,
        Kind::Parameter => token::PARAMETER,
        Kind::Binary => token::BINARY,
    };
    StatementToken { kind, text: found.text, span: found.span }
}
