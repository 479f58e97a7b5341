//! A plugin, activated for one database, behind calls that cannot hurt the host: errors come back as errors, a panic
//! quarantines the extension for the rest of the process, data is checked, time and rows are accounted.

use super::calls::{self, Call, CallGuard};
use super::data::{CheckedStream, import_columns, import_stream, import_text};
use super::load::Loaded;
use super::scalar::{Argument, RawScalar};
use super::session::{BatchReader, Session, Terminal};
use super::{accounting, inward, services};
use crate::error::{Error, Result, codes};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use kodiak_plugin_api::Error as PluginError;
use kodiak_plugin_api::abi::{
    AbiArraySchema, AbiFilter, AbiOption, AbiPlugin, AbiResult, AbiRoutine, AbiScan, AbiStatement, AbiToken,
    PluginContext, RNone, ROption, RSlice, RSome, RStr, TableVt_Ref, kind,
};
use kodiak_plugin_api::arrow::{export_batch, export_schema};
use kodiak_registry::Manifest;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

/// An activated plugin.
pub struct Instance {
    manifest: Arc<Manifest>,
    plugin: AbiPlugin,
    scalars: BTreeMap<String, ScalarDeclaration>,
    accounts: Arc<accounting::Account>,
}

/// A scalar function as the plugin registered it.
#[derive(Clone, Debug)]
pub struct ScalarDeclaration {
    /// Argument types of each overload; empty: any.
    pub overloads: Vec<Vec<DataType>>,
    /// `immutable`, `stable` or `volatile`.
    pub volatility: String,
}

/// On whose behalf an instance is called.
#[derive(Clone)]
pub struct Caller {
    /// The session whose transaction, deadline and settings apply.
    pub session: Arc<dyn Session>,
    /// Where a command talks to the user.
    pub terminal: Option<Arc<dyn Terminal>>,
}

/// What a statement gave.
pub struct StatementOutcome {
    /// Rows, if any.
    pub rows: Option<BatchReader>,
    /// A number of things changed, if it says so.
    pub affected: Option<u64>,
}

/// What a command gave.
pub struct CommandOutcome {
    /// Exit code of the process.
    pub exit_code: u32,
    /// For standard output.
    pub text: String,
    /// For standard error.
    pub errors: String,
    /// A table for standard output.
    pub rows: Option<BatchReader>,
}

/// What is asked of a language about one of its routines.
pub struct RoutineRequest<'a> {
    /// One of the numbers in `kodiak_plugin_api::abi::routine`.
    pub operation: u32,
    /// The language.
    pub language: &'a str,
    /// The routine's schema.
    pub schema: &'a str,
    /// The routine's name.
    pub name: &'a str,
    /// Its body.
    pub body: &'a str,
    /// Its parameters.
    pub parameters: SchemaRef,
    /// The columns of its result.
    pub result: SchemaRef,
    /// A row for each call.
    pub arguments: &'a RecordBatch,
    /// The rows before, for a trigger.
    pub old: Option<&'a RecordBatch>,
    /// The rows after, for a trigger.
    pub new: Option<&'a RecordBatch>,
    /// What else is to be known; see docs/abi.md.
    pub options: Vec<(&'a str, String)>,
}

/// What a language answered.
pub struct RoutineAnswer {
    /// Rows, if any.
    pub rows: Option<BatchReader>,
    /// The body as an SQL expression, if it was compiled and is no more than that.
    pub inline: Option<String>,
}

/// A token of a claimed statement.
#[derive(Clone, Debug)]
pub struct StatementToken {
    /// One of the numbers in `kodiak_plugin_api::abi::token`.
    pub kind: u32,
    /// Its value.
    pub text: String,
    /// Byte range in the text.
    pub span: std::ops::Range<usize>,
}

/// Names and versions of extensions that panicked in this process.
/// Whether any extension is quarantined, so that calls need not look while none is.
static ANY: AtomicBool = AtomicBool::new(false);
static QUARANTINE: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);

/// Whether an extension is quarantined in this process.
pub(crate) fn is_quarantined(name: &str) -> bool {
    ANY.load(Ordering::Acquire) && QUARANTINE.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
}

impl Instance {
    /// Activates a loaded plugin and compares what it registers with what its manifest declares.
    ///
    /// # Errors
    /// QUARANTINED, ACTIVATION, PANICKED, REGISTRATION.
    pub(crate) fn activate(manifest: Arc<Manifest>, loaded: &Loaded, caller: &Caller) -> Result<Arc<Self>> {
        let guard = calls::begin(Call::new(manifest.clone(), caller.session.clone(), caller.terminal.clone()));
        let name = manifest.name().to_owned();
        refuse_quarantined(&name)?;
        let activated = (loaded.root.activate())(services::host(), guard.id);
        let plugin = outcome(&manifest, "activate", activated).map_err(|error| match error.code() {
            "KDK-0470" => error,
            _ => Error::new(codes::ACTIVATION, format!("`{name}` could not be activated: {error}")),
        })?;
        let account = accounting::account(&name);
        let mut instance = Self { manifest, plugin, scalars: BTreeMap::new(), accounts: account };
        instance.scalars = instance.registration()?;
        Ok(Arc::new(instance))
    }

    /// The manifest.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The scalar function of this name.
    pub fn scalar_declaration(&self, name: &str) -> Option<&ScalarDeclaration> {
        self.scalars.get(name)
    }

    fn registration(&self) -> Result<BTreeMap<String, ScalarDeclaration>> {
        let listed = outcome(&self.manifest, "register", (self.plugin.vt.contributions())(self.plugin.context))?;
        let declared = &self.manifest.contributes;
        let (mut statements, mut functions, mut languages) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let (mut scalars, mut command) = (BTreeMap::new(), false);
        for contribution in listed {
            let name =
                import_text(contribution.name.as_rstr()).map_err(|error| inward(&self.manifest, error))?.to_owned();
            match contribution.kind {
                kind::COMMAND => command = true,
                kind::STATEMENT => {
                    statements.insert(name);
                }
                kind::TABLE_FUNCTION => {
                    functions.insert(name);
                }
                kind::LANGUAGE => {
                    languages.insert(name);
                }
                kind::SCALAR => {
                    let types = |signature: &kodiak_plugin_api::abi::AbiSignature| {
                        let schema = import_columns(&signature.arguments).map_err(|e| inward(&self.manifest, e))?;
                        Ok(schema.fields().iter().map(|field| field.data_type().clone()).collect())
                    };
                    let overloads = contribution.signatures.iter().map(types).collect::<Result<_>>()?;
                    let volatility = contribution.options.iter().find(|option| option.key == "volatility");
                    let volatility = volatility.map_or_else(|| "volatile".to_owned(), |o| o.value.to_string());
                    scalars.insert(name.clone(), ScalarDeclaration { overloads, volatility });
                    functions.insert(name);
                }
                other => {
                    let text = format!("a contribution `{name}` of kind {other}, which this host does not know");
                    return Err(self.differs(&text));
                }
            }
        }
        if command != declared.command.is_some() {
            let text = if command { "a command that its manifest does not declare" } else { "no command" };
            return Err(self.differs(text));
        }
        let wanted: BTreeSet<String> = declared.statements.iter().cloned().collect();
        self.compare("statement", &statements, &wanted)?;
        let wanted: BTreeSet<String> = declared.functions.iter().chain(&declared.services).cloned().collect();
        self.compare("function", &functions, &wanted)?;
        let wanted: BTreeSet<String> = declared.languages.iter().cloned().collect();
        self.compare("language", &languages, &wanted)?;
        Ok(scalars)
    }

    fn compare(&self, what: &str, found: &BTreeSet<String>, wanted: &BTreeSet<String>) -> Result<()> {
        if let Some(extra) = found.difference(wanted).next() {
            return Err(self.differs(&format!("the {what} `{extra}`, which its manifest does not declare")));
        }
        match wanted.difference(found).next() {
            Some(missing) => Err(self.differs(&format!("no {what} `{missing}`, which its manifest declares"))),
            None => Ok(()),
        }
    }

    fn differs(&self, text: &str) -> Error {
        let (name, version) = (self.manifest.name(), self.manifest.version());
        Error::new(codes::REGISTRATION, format!("`{name}` {version} registers {text}"))
            .help("the library and its manifest must be built together")
    }

    fn begin(&self, caller: &Caller) -> Result<CallGuard> {
        refuse_quarantined(self.manifest.name())?;
        Ok(calls::begin(Call::new(self.manifest.clone(), caller.session.clone(), caller.terminal.clone())))
    }

    fn outcome<T>(&self, what: &str, result: AbiResult<T>) -> Result<T> {
        outcome(&self.manifest, what, result)
    }

    /// Brings the extension's data from version `from` to this one.
    ///
    /// # Errors
    /// The plugin's own.
    pub(crate) fn migrate(&self, caller: &Caller, from: Option<&str>) -> Result<()> {
        let guard = self.begin(caller)?;
        let from = RStr::from_str(from.unwrap_or_default());
        self.outcome("migrate", (self.plugin.vt.migrate())(self.plugin.context, guard.id, from))
    }

    /// Runs the command; `arguments` do not include the program's name.
    ///
    /// # Errors
    /// The plugin's own.
    pub fn command(self: &Arc<Self>, caller: &Caller, arguments: &[String]) -> Result<CommandOutcome> {
        let (guard, _timer) = (self.begin(caller)?, self.accounts.timer());
        let program = format!("kodiak {}", self.manifest.name());
        let arguments: Vec<RStr<'_>> =
            std::iter::once(program.as_str()).chain(arguments.iter().map(String::as_str)).map(RStr::from_str).collect();
        let raw = (self.plugin.vt.command())(self.plugin.context, guard.id, RSlice::from_slice(&arguments));
        let raw = self.outcome(&program, raw)?;
        let text = |text: &kodiak_plugin_api::abi::RString| {
            import_text(text.as_rstr()).map(str::to_owned).map_err(|error| inward(&self.manifest, error))
        };
        let (out, errors) = (text(&raw.text)?, text(&raw.errors)?);
        let rows = raw.rows.into_option().map(|stream| self.reader(stream, guard, &program)).transpose()?;
        Ok(CommandOutcome { exit_code: raw.exit_code, text: out, errors, rows })
    }

    /// Runs a claimed statement; `parameters` has one row.
    ///
    /// # Errors
    /// The plugin's own.
    pub fn statement(
        self: &Arc<Self>,
        caller: &Caller,
        claim: &str,
        text: &str,
        tokens: Vec<StatementToken>,
        parameters: &RecordBatch,
    ) -> Result<StatementOutcome> {
        let (guard, _timer) = (self.begin(caller)?, self.accounts.timer());
        let token = |token: StatementToken| AbiToken {
            kind: token.kind,
            text: token.text.into(),
            start: token.span.start,
            end: token.span.end,
        };
        let statement = AbiStatement {
            claim: claim.into(),
            text: text.into(),
            tokens: tokens.into_iter().map(token).collect(),
            parameters: export_batch(parameters).map_err(|error| inward(&self.manifest, error))?,
            options: Default::default(),
        };
        let raw = (self.plugin.vt.statement())(self.plugin.context, guard.id, statement);
        let raw = self.outcome(claim, raw)?;
        let rows = raw.rows.into_option().map(|stream| self.reader(stream, guard, claim)).transpose()?;
        Ok(StatementOutcome { rows, affected: raw.affected.into_option() })
    }

    /// Binds a scalar function to argument types, for one statement of `caller`'s.
    ///
    /// # Errors
    /// The plugin's own.
    pub fn scalar(self: &Arc<Self>, caller: &Caller, name: &str, arguments: &[DataType]) -> Result<Scalar> {
        let guard = self.begin(caller)?;
        let fields = arguments.iter().enumerate();
        let fields = fields.map(|(i, t)| arrow::datatypes::Field::new(format!("a{i}"), t.clone(), true));
        let schema = export_schema(&Schema::new(fields.collect::<Vec<_>>()));
        let schema = schema.map_err(|error| inward(&self.manifest, error))?;
        let raw = (self.plugin.vt.scalar())(self.plugin.context, RStr::from_str(name), schema);
        let raw = self.outcome(name, raw)?;
        let function = RawScalar::new(raw).map_err(|error| inward(&self.manifest, error))?;
        Ok(Scalar { function, guard, name: name.to_owned(), panicked: OnceLock::new(), instance: self.clone() })
    }

    /// Binds a table function to argument values, one row, for one statement of `caller`'s.
    ///
    /// # Errors
    /// The plugin's own.
    pub fn table(self: &Arc<Self>, caller: &Caller, name: &str, arguments: &RecordBatch) -> Result<Table> {
        let (guard, _timer) = (self.begin(caller)?, self.accounts.timer());
        let arguments = export_batch(arguments).map_err(|error| inward(&self.manifest, error))?;
        let raw = (self.plugin.vt.table())(self.plugin.context, guard.id, RStr::from_str(name), arguments);
        let raw = self.outcome(name, raw)?;
        let table = RawTable { context: raw.context, vt: raw.vt };
        let schema = import_columns(&raw.schema).map_err(|error| inward(&self.manifest, error))?;
        Ok(Table { table, guard, schema: Arc::new(schema), name: name.to_owned(), instance: self.clone() })
    }

    /// Asks a language of the plugin's about one of its routines.
    ///
    /// # Errors
    /// The plugin's own; REGISTRATION when it was built for an ABI without languages.
    pub fn routine(self: &Arc<Self>, caller: &Caller, request: RoutineRequest<'_>) -> Result<RoutineAnswer> {
        let (guard, _timer) = (self.begin(caller)?, self.accounts.timer());
        let language = self.plugin.vt.language().ok_or_else(|| self.differs("no languages that can be called"))?;
        let inward = |error| inward(&self.manifest, error);
        let batch = |rows: Option<&RecordBatch>| -> Result<ROption<AbiArraySchema>> {
            Ok(rows.map(export_batch).transpose().map_err(inward)?.map_or(RNone, RSome))
        };
        let option = |(key, value): (&str, String)| AbiOption { key: key.into(), value: value.into() };
        let raw = AbiRoutine {
            operation: request.operation,
            language: request.language.into(),
            schema: request.schema.into(),
            name: request.name.into(),
            body: request.body.into(),
            parameters: export_schema(&request.parameters).map_err(inward)?,
            result: export_schema(&request.result).map_err(inward)?,
            arguments: export_batch(request.arguments).map_err(inward)?,
            old: batch(request.old)?,
            new: batch(request.new)?,
            options: request.options.into_iter().map(option).collect(),
        };
        let raw = self.outcome(request.name, language(self.plugin.context, guard.id, raw))?;
        let text = |option: &AbiOption| {
            let found = import_text(option.value.as_rstr()).map(str::to_owned);
            found.map_err(inward)
        };
        let inline = raw.options.iter().find(|option| option.key == "inline").map(text).transpose()?;
        let rows = raw.rows.into_option().map(|stream| self.reader(stream, guard, request.name)).transpose()?;
        Ok(RoutineAnswer { rows, inline })
    }

    fn reader(
        self: &Arc<Self>,
        stream: kodiak_plugin_api::abi::AbiStream,
        guard: CallGuard,
        what: &str,
    ) -> Result<BatchReader> {
        let stream = import_stream(stream).map_err(|error| failed(&self.manifest, what, error))?;
        Ok(self.clone().accounted(stream, Some(guard), what))
    }

    /// The stream holds the call and the instance for as long as it is read.
    fn accounted(self: Arc<Self>, stream: CheckedStream, guard: Option<CallGuard>, what: &str) -> BatchReader {
        let (schema, what) = (stream.schema(), what.to_owned());
        let mut stream = stream;
        let batches = std::iter::from_fn(move || {
            let _held = &guard;
            let _timer = self.accounts.timer();
            let batch = stream.next()?;
            self.accounts.rows(batch.as_ref().map_or(0, RecordBatch::num_rows));
            let error = |error| arrow::error::ArrowError::ExternalError(Box::new(failed(&self.manifest, &what, error)));
            Some(batch.map_err(error))
        });
        Box::new(arrow::array::RecordBatchIterator::new(batches, schema))
    }

    /// Tells the plugin to join its threads.
    ///
    /// # Errors
    /// What did not end in time.
    pub fn shutdown(&self, deadline: std::time::Duration) -> Result<()> {
        let milliseconds = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.outcome("shutdown", (self.plugin.vt.shutdown())(self.plugin.context, milliseconds))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // A panic here is contained by the plugin's guard and remembered by `outcome`; there is no statement to fail.
        let _ = outcome(&self.manifest, "drop", (self.plugin.vt.release())(self.plugin.context));
    }
}

fn refuse_quarantined(name: &str) -> Result<()> {
    if !is_quarantined(name) {
        return Ok(());
    }
    Err(quarantined(name))
}

/// That an extension is quarantined.
pub(crate) fn quarantined(name: &str) -> Error {
    Error::new(codes::QUARANTINED, format!("`{name}` panicked earlier and is quarantined in this process"))
        .help("start Kodiak again to use it, and report the panic to its author")
}

fn outcome<T>(manifest: &Manifest, what: &str, result: AbiResult<T>) -> Result<T> {
    result.into_result().map_err(|error| failed(manifest, what, error.into()))
}

/// A plugin's error as ours; a panic puts the extension into quarantine.
fn failed(manifest: &Manifest, what: &str, error: PluginError) -> Error {
    if !error.panicked() {
        return inward(manifest, error);
    }
    let (name, version) = (manifest.name(), manifest.version());
    QUARANTINE.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    ANY.store(true, Ordering::Release);
    accounting::account(name).panic();
    tracing::error!(target: "kodiak::extension", extension = name, "panic in {what}: {}", error.text());
    Error::new(
        codes::PANICKED,
        format!("`{name}` {version} panicked in `{what}`; this statement failed, the database is unaffected"),
    )
    .detail(format!("it said: {}", error.text().lines().next().unwrap_or_default()))
}

/// A scalar function bound for one statement.
pub struct Scalar {
    // Declared first: released before the instance that made it.
    function: RawScalar,
    guard: CallGuard,
    name: String,
    /// The planner tries constant calls and drops their errors: the statement is told of the panic when it runs.
    panicked: OnceLock<Error>,
    instance: Arc<Instance>,
}

impl Scalar {
    /// Its result type.
    pub fn result(&self) -> &DataType {
        &self.function.result
    }

    /// The extension behind it.
    pub fn extension(&self) -> &str {
        self.instance.manifest.name()
    }

    /// Calls it over `rows` rows.
    ///
    /// # Errors
    /// The function's own; PANICKED, QUARANTINED, BAD_DATA.
    pub fn invoke(&self, arguments: &[Argument], rows: usize) -> Result<ArrayRef> {
        if let Some(error) = self.panicked.get() {
            return Err(error.clone());
        }
        refuse_quarantined(self.instance.manifest.name())?;
        let _timer = self.instance.accounts.timer();
        let result = self.function.invoke(self.guard.id, arguments, rows);
        self.instance.accounts.rows(rows);
        result.map_err(|error| {
            let panicked = error.panicked();
            let error = failed(&self.instance.manifest, &self.name, error);
            if panicked { self.panicked.get_or_init(|| error).clone() } else { error }
        })
    }
}

struct RawTable {
    context: PluginContext,
    vt: TableVt_Ref,
}

impl Drop for RawTable {
    fn drop(&mut self) {
        // Contained by the plugin's guard; there is no statement to fail.
        let _ = (self.vt.release())(self.context);
    }
}

/// A table function bound for one statement.
pub struct Table {
    // Declared first: released before the instance that made it.
    table: RawTable,
    guard: CallGuard,
    schema: SchemaRef,
    name: String,
    instance: Arc<Instance>,
}

/// `column operator value` that every row of interest meets.
#[derive(Clone, Debug)]
pub struct TableFilter {
    /// The column's name.
    pub column: String,
    /// `=`, `<>`, `<`, `<=`, `>` or `>=`.
    pub operator: String,
    /// An array of one value.
    pub value: ArrayRef,
}

impl Table {
    /// All columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The extension behind it.
    pub fn extension(&self) -> &str {
        self.instance.manifest.name()
    }

    /// Reads the columns and rows that are wanted.
    ///
    /// # Errors
    /// The function's own; PANICKED, QUARANTINED, BAD_DATA.
    pub fn scan(
        &self,
        projection: Option<&[usize]>,
        filters: &[TableFilter],
        limit: Option<usize>,
    ) -> Result<BatchReader> {
        let manifest = &self.instance.manifest;
        refuse_quarantined(manifest.name())?;
        let columns = projection.map(|all| all.iter().map(|c| u32::try_from(*c).unwrap_or(u32::MAX)).collect());
        let filter = |filter: &TableFilter| -> Result<AbiFilter, PluginError> {
            let field = arrow::datatypes::Field::new("value", filter.value.data_type().clone(), true);
            let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![filter.value.clone()])?;
            let (column, operator) = (filter.column.as_str().into(), filter.operator.as_str().into());
            Ok(AbiFilter { column, operator, value: export_batch(&batch)? })
        };
        let filters = filters.iter().map(filter).collect::<Result<_, _>>().map_err(|e| inward(manifest, e))?;
        let scan = AbiScan {
            projection: columns.map_or(RNone, RSome),
            limit: limit.map(|limit| limit as u64).into(),
            filters,
            options: Default::default(),
        };
        let raw = self.table.vt.scan()(self.table.context, self.guard.id, scan);
        let stream = import_stream(outcome(manifest, &self.name, raw)?);
        let stream = stream.map_err(|error| failed(manifest, &self.name, error))?;
        let wanted = match projection {
            Some(columns) => Arc::new(self.schema.project(columns).map_err(|e| inward(manifest, e.into()))?),
            None => self.schema.clone(),
        };
        if !same_types(&stream.schema(), &wanted) {
            let error =
                PluginError::new("KDK-0472", format!("`{}` returned other columns than it declared", self.name));
            return Err(inward(manifest, error));
        }
        Ok(self.instance.clone().accounted(stream, None, &self.name))
    }
}

fn same_types(found: &Schema, wanted: &Schema) -> bool {
    let (found, wanted) = (found.fields(), wanted.fields());
    found.len() == wanted.len()
        && found.iter().zip(wanted.iter()).all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type())
}
