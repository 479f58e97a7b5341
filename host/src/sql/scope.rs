//! One statement's surroundings: the snapshot it sees, the settings it runs under, the functions of extensions it uses.
//! Made when the statement begins and shared with whatever works for it; it runs nothing by itself.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionConfig;

use super::attach::WITHIN;
use super::claim::{self, Extensions};
use super::fault::fold;
use super::functions::{CheckedArithmetic, built_in};
use super::session::{Caller, Session, lock};
use super::settings::Settings;
use super::token::Token;
use super::unit::Unit;
use crate::catalog::{Catalog, MAIN, Relation, Table, ZONE};
use crate::error::{Error, Result, codes};
use crate::storage::Snapshot;

/// What a statement works with.
pub(crate) struct Scope {
    pub(crate) session: Arc<Session>,
    pub(crate) unit: Unit,
    pub(crate) catalog: Catalog,
    pub(crate) settings: Arc<Settings>,
    pub(crate) token: Token,
    /// The extension that what is created here belongs to.
    pub(crate) owner: Option<String>,
    pub(crate) extensions: Arc<dyn Extensions>,
    pub(crate) found: Mutex<Found>,
    /// The schema that a name without one means.
    pub(crate) path: String,
    /// Values of the routine's parameters, if the statement stands in a routine.
    pub(crate) values: Arc<[ScalarValue]>,
    /// Functions whose bodies are being read, so that one that calls itself is not read for ever.
    pub(crate) reading: Mutex<Vec<String>>,
    /// Whether it is over an old version.
    is_past: bool,
    state: OnceLock<SessionState>,
}

/// What names turned out to mean beyond the catalog.
#[derive(Clone, Default)]
pub(crate) struct Found {
    pub(crate) scalars: HashMap<String, Arc<ScalarUDF>>,
    pub(crate) tables: HashMap<String, Arc<dyn claim::TableFunction>>,
    /// Tables that exist for this statement only.
    pub(crate) given: HashMap<String, Arc<dyn TableProvider>>,
    /// Those of them that the statement itself may name.
    pub(crate) named: HashMap<String, Arc<dyn TableProvider>>,
    /// Why a function refused its arguments: the engine keeps no more of it than that none fits.
    pub(crate) refused: Refused,
}

/// The last refusal, shared with the functions of the statement.
pub(crate) type Refused = Arc<Mutex<Option<Error>>>;

impl Scope {
    pub(crate) fn new(session: &Arc<Session>, unit: Unit, owner: Option<String>) -> Result<Self> {
        let catalog = Catalog::new(unit.snapshot()?, Arc::clone(&session.engine.cache));
        let (settings, frame) = (session.settings(), session.frame());
        let mut found = Found::default();
        for (name, batch) in frame.iter().flat_map(|frame| &frame.tables) {
            let table = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]);
            found.named.insert(name.clone(), Arc::new(table.map_err(|error| fold(&error))?));
        }
        Ok(Self {
            session: Arc::clone(session),
            catalog,
            token: session.token(),
            owner,
            extensions: session.engine.extensions(),
            found: Mutex::new(found),
            path: frame.and_then(|frame| frame.path.clone()).unwrap_or_else(|| settings.schema.clone()),
            values: frame.map(|frame| Arc::clone(&frame.values)).unwrap_or_default(),
            reading: Mutex::default(),
            settings,
            is_past: false,
            state: OnceLock::new(),
            unit,
        })
    }

    /// The same surroundings with what the statement changed so far.
    pub(crate) fn again(&self) -> Result<Arc<Self>> {
        Self::new(&self.session, self.unit.clone(), self.owner.clone()).map(Arc::new)
    }

    /// The same surroundings over another version of the database.
    pub(crate) fn over(&self, snapshot: Snapshot) -> Self {
        let found = lock(&self.found).clone();
        Self {
            session: Arc::clone(&self.session),
            unit: self.unit.clone(),
            catalog: Catalog::new(snapshot, Arc::clone(&self.session.engine.cache)),
            settings: Arc::clone(&self.settings),
            token: self.token.clone(),
            owner: self.owner.clone(),
            extensions: Arc::clone(&self.extensions),
            found: Mutex::new(found),
            path: self.path.clone(),
            values: Arc::clone(&self.values),
            reading: Mutex::new(lock(&self.reading).clone()),
            is_past: true,
            state: self.state.clone(),
        }
    }

    /// What an extension gets to run SQL of its own here.
    pub(crate) fn caller(&self) -> Caller {
        Caller::new(&self.session, self.unit.clone())
    }

    /// The planner's state, with one time for the whole statement.
    pub(crate) fn state(&self) -> Result<&SessionState> {
        if let Some(state) = self.state.get() {
            return Ok(state);
        }
        let mut state = self.session_state()?;
        state.mark_start_execution();
        Ok(self.state.get_or_init(|| state))
    }

    fn session_state(&self) -> Result<SessionState> {
        let mut planner = lock(&self.session.shared.planner);
        if let Some((settings, state)) = planner.as_ref()
            && Arc::ptr_eq(settings, &self.settings)
        {
            return Ok(state.clone());
        }
        let memory = self.session.engine.memory(self.settings.memory_bytes_max)?;
        let state = SessionStateBuilder::new_from_existing(BASE.clone())
            .with_config(config(&self.settings))
            .with_runtime_env(memory)
            .build();
        *planner = Some((Arc::clone(&self.settings), state.clone()));
        Ok(state)
    }

    /// The schema that a name without one means.
    pub(crate) fn schema_or_default(&self, schema: Option<String>) -> String {
        schema.unwrap_or_else(|| self.path.clone())
    }

    /// The attached database and the schema there that a schema's name means, if it means one.
    pub(crate) fn attached(&self, schema: &str) -> Option<(String, String)> {
        let known = |name: &str| lock(&self.session.shared.attached).contains_key(name);
        match schema.split_once(WITHIN) {
            Some((database, schema)) if known(database) => Some((database.to_owned(), schema.to_owned())),
            None if known(schema) && !self.catalog.has_schema(schema) => Some((schema.to_owned(), MAIN.to_owned())),
            _ => None,
        }
    }

    /// The transaction in the database that a table is in.
    pub(crate) fn unit_of(&self, table: &Table) -> Result<Unit> {
        self.unit_in(table.database.as_deref())
    }

    fn unit_in(&self, database: Option<&str>) -> Result<Unit> {
        let Some(name) = database else { return Ok(self.unit.clone()) };
        let attached = lock(&self.session.shared.attached).get(name).cloned();
        let missing = || Error::new(codes::NO_OBJECT, format!("no attached database `{name}`"));
        self.unit.of_attached(name, &attached.ok_or_else(missing)?)
    }

    /// The catalog of the database that a table is in.
    pub(crate) fn catalog_of(&self, table: &Table) -> Result<Catalog> {
        self.catalog_in(table.database.as_deref())
    }

    fn catalog_in(&self, database: Option<&str>) -> Result<Catalog> {
        let Some(name) = database else { return Ok(self.catalog.clone()) };
        let cache = lock(&self.session.shared.attached).get(name).map(|attached| Arc::clone(&attached.cache));
        Ok(Catalog::new(self.unit_in(database)?.snapshot()?, cache.unwrap_or_default()))
    }

    /// A table of an attached database.
    pub(crate) fn attached_table(&self, database: &str, schema: &str, name: &str) -> Result<Table> {
        if self.is_past {
            return Err(super::unsupported("old versions of an attached database"));
        }
        match self.catalog_in(Some(database))?.relation(schema, name)?.as_deref() {
            Some(Relation::Table(table)) => Ok(Table { database: Some(database.to_owned()), ..table.clone() }),
            Some(Relation::View(_)) => Err(super::unsupported("views of an attached database")),
            None => {
                let message = format!("no table `{name}` in schema `{schema}` of the database `{database}`");
                Err(Error::new(codes::NO_TABLE, message))
            }
        }
    }

    /// The table of this name, to be changed.
    pub(crate) fn table_to_change(&self, schema: &str, name: &str) -> Result<Table> {
        if let Some((database, schema)) = self.attached(schema) {
            self.unit.check_only(Some(&database))?;
            let table = self.attached_table(&database, &schema, name)?;
            return match &table.owner {
                Some(owner) => {
                    Err(super::unsupported(&format!("changing a table of the extension `{owner}` elsewhere")))
                }
                None => Ok(table),
            };
        }
        let relation = self.relation(schema, name)?;
        if let Some(owner) = relation.owner()
            && self.owner.as_deref() != Some(owner)
        {
            self.extensions.check_write(owner, schema, name)?;
        }
        match relation.as_ref() {
            Relation::Table(table) => {
                self.unit.check_only(None)?;
                Ok(table.clone())
            }
            Relation::View(_) => {
                Err(Error::new(codes::UNSUPPORTED, format!("`{name}` is a view and cannot be changed")))
            }
        }
    }

    /// As [`Scope::table_to_change`], or a view whose triggers do what is asked of it.
    pub(crate) fn target(self: &Arc<Self>, schema: &str, name: &str) -> Result<(Table, bool)> {
        match self.table_to_change(schema, name) {
            Ok(table) => Ok((table, false)),
            Err(error) if error.is(codes::UNSUPPORTED) && self.is_view(schema, name)? => {
                let view = super::routine::view_as_table(self, schema, name)?;
                view.map(|view| (view, true)).ok_or_else(|| {
                    error.help(format!("CREATE TRIGGER ... INSTEAD OF INSERT ON {name} ..., or change its tables"))
                })
            }
            Err(error) => Err(error),
        }
    }

    fn is_view(&self, schema: &str, name: &str) -> Result<bool> {
        Ok(matches!(self.catalog.relation(schema, name)?.as_deref(), Some(Relation::View(_))))
    }

    /// The table or view of this name.
    pub(crate) fn relation(&self, schema: &str, name: &str) -> Result<Arc<Relation>> {
        match self.catalog.relation(schema, name)? {
            Some(relation) => Ok(relation),
            None => Err(super::bind::no_table(self, schema, name)),
        }
    }
}

/// The state that all sessions of the process start from: rules and planners, no functions, which are looked up in
/// [`super::functions`].
static BASE: LazyLock<SessionState> = LazyLock::new(|| {
    SessionStateBuilder::new()
        .with_config(config(&Settings::default()))
        .with_optimizer_rules(super::optimize::rules())
        .with_analyzer_rule(Arc::new(CheckedArithmetic))
        // DISTINCT ON is rewritten to it by name.
        .with_aggregate_functions(built_in().aggregate.get("first_value").cloned().into_iter().collect())
        .build()
});

fn config(settings: &Settings) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false)
        .with_target_partitions(settings.threads)
        .with_batch_size(settings.batch_rows);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    options.sql_parser.parse_float_as_decimal = true;
    options.execution.time_zone = Some(ZONE.to_owned());
    // Our scans know their row counts, so that the side to build is chosen by size, not by these bounds.
    options.optimizer.hash_join_single_partition_threshold = 100_000_000;
    options.optimizer.hash_join_single_partition_threshold_rows = 1_000_000;
    options.execution.perfect_hash_join_small_build_threshold = 16_777_216;
    config
}
