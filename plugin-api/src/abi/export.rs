//! The plugin's side of the boundary: turns a [`Plugin`] into vtables. Every exported body is guarded, contexts are
//! reference-counted so that a bound function never outlives its instance.

use super::plugin::{
    AbiPlugin, AbiScalar, AbiTable, PluginContext, PluginRoot, PluginRoot_Ref, PluginVt, PluginVt_Ref, ScalarVt,
    ScalarVt_Ref, TableVt, TableVt_Ref,
};
use super::{
    AbiArray, AbiArraySchema, AbiColumn, AbiCommandOutcome, AbiContribution, AbiHost, AbiOption, AbiOutput, AbiResult,
    AbiRoutine, AbiRoutineOutcome, AbiScan, AbiSchema, AbiSignature, AbiStatement, AbiStatementOutcome, AbiStream,
    RSlice, RStr, RVec, kind, scalar_mode,
};
use crate::arrow::{
    Columns, Output, export_array, export_field, export_schema, export_stream, import_array, import_batch,
    import_schema,
};
use crate::error::Result;
use crate::function::{Body, Overload, checked};
use crate::guard::{guard, guarded};
use crate::host::Host;
use crate::language::answer;
use crate::plugin::{Plugin, Registrar, unknown};
use crate::statement::Statement;
use crate::table::{Scan, Table, TableArguments};
use abi_stable::prefix_type::{PrefixTypeTrait, WithMetadata};
use arrow_schema::{DataType, Field, Schema};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The root module of `P`.
pub fn root<P: Plugin>() -> PluginRoot_Ref {
    PluginRoot { activate: activate::<P> }.leak_into_prefix()
}

struct Instance<P> {
    plugin: P,
    host: Host,
    registrar: Registrar<P>,
}

struct BoundScalar<P> {
    instance: Arc<Instance<P>>,
    body: Body<P>,
    arguments: Vec<DataType>,
    result: DataType,
}

struct BoundTable<P> {
    instance: Arc<Instance<P>>,
    table: Table,
}

extern "C" fn activate<P: Plugin>(host: AbiHost, call: u64) -> AbiResult<AbiPlugin> {
    quiet_panics(host);
    guard(|| {
        let host = Host { raw: host };
        let _ = call;
        let instance = Instance { plugin: P::activate(&host)?, host, registrar: Registrar::collect() };
        let context = PluginContext(Arc::into_raw(Arc::new(instance)).cast());
        Ok(AbiPlugin { context, vt: PluginVt_Ref(Vt::<P>::PLUGIN.as_prefix()) })
    })
}

/// A panic is reported as an error of the call; the plugin's own copy of the standard library must not print it too.
fn quiet_panics(host: AbiHost) {
    static HOST: OnceLock<AbiHost> = OnceLock::new();
    if HOST.set(host).is_ok() {
        std::panic::set_hook(Box::new(|info| {
            if let Some(host) = HOST.get() {
                (host.vt.log())(host.context, 0, super::level::ERROR, format!("panic: {info}").as_str().into());
            }
        }));
    }
}

/// # Safety
/// `context` must be one that `activate::<P>` made and that was not released.
unsafe fn instance<'a, P>(context: PluginContext) -> &'a Instance<P> {
    // SAFETY: the caller upholds it.
    unsafe { &*context.0.cast::<Instance<P>>() }
}

/// # Safety
/// As [`instance`].
unsafe fn shared<P>(context: PluginContext) -> Arc<Instance<P>> {
    let pointer = context.0.cast::<Instance<P>>();
    // SAFETY: the pointer came from `Arc::into_raw`; the count is raised before an owner is made of it.
    unsafe {
        Arc::increment_strong_count(pointer);
        Arc::from_raw(pointer)
    }
}

struct Vt<P>(std::marker::PhantomData<P>);

impl<P: Plugin> Vt<P> {
    abi_stable::staticref! {
        const PLUGIN: WithMetadata<PluginVt> = WithMetadata::new(PluginVt {
            contributions: contributions::<P>,
            migrate: migrate::<P>,
            command: command::<P>,
            statement: statement::<P>,
            scalar: scalar::<P>,
            table: table::<P>,
            shutdown: shutdown::<P>,
            release: release::<P>,
            language: language::<P>,
        });
        const SCALAR: WithMetadata<ScalarVt> = WithMetadata::new(ScalarVt {
            eval_arrays: eval_arrays::<P>,
            eval: eval::<P>,
            eval_into: eval_into::<P>,
            release: release_scalar::<P>,
        });
        const TABLE: WithMetadata<TableVt> = WithMetadata::new(TableVt {
            scan: scan::<P>,
            release: release_table::<P>,
        });
    }
}

extern "C" fn contributions<P: Plugin>(context: PluginContext) -> AbiResult<RVec<AbiContribution>> {
    guard(|| {
        // SAFETY: the host passes the context that it got, for as long as it has not released it (so below, too).
        let registrar = unsafe { &instance::<P>(context).registrar };
        let mut all = RVec::new();
        let plain = |kind, name: &str| AbiContribution {
            kind,
            name: name.into(),
            summary: Default::default(),
            signatures: RVec::new(),
            options: RVec::new(),
        };
        if registrar.command.is_some() {
            all.push(plain(kind::COMMAND, ""));
        }
        all.extend(registrar.statements.keys().map(|claim| plain(kind::STATEMENT, claim)));
        all.extend(registrar.languages.keys().map(|name| plain(kind::LANGUAGE, name)));
        all.extend(registrar.tables.keys().map(|name| plain(kind::TABLE_FUNCTION, name)));
        for (name, overloads) in &registrar.scalars {
            let mut contribution = plain(kind::SCALAR, name);
            contribution.signatures = signatures(overloads)?;
            let volatility = overloads.iter().map(|overload| overload.volatility).max_by_key(|v| *v as u8);
            let volatility = volatility.map_or("volatile", |volatility| volatility.name());
            contribution.options.push(AbiOption { key: "volatility".into(), value: volatility.into() });
            all.push(contribution);
        }
        Ok(all)
    })
}

/// One overload of any types makes the whole function one of any types.
fn signatures<P>(overloads: &[Overload<P>]) -> Result<RVec<AbiSignature>> {
    let mut all = RVec::new();
    for overload in overloads {
        let Some(types) = &overload.arguments else { return Ok(RVec::new()) };
        let result = match &overload.body {
            Body::Typed { result, .. } => result.clone(),
            Body::Arrays { result, .. } => result(types)?,
        };
        let arguments = export_schema(&arguments_schema(types))?;
        all.push(AbiSignature { arguments, result: export_field(&Field::new("result", result, true))? });
    }
    Ok(all)
}

fn arguments_schema(types: &[DataType]) -> Schema {
    Schema::new(types.iter().enumerate().map(|(i, t)| Field::new(format!("a{i}"), t.clone(), true)).collect::<Vec<_>>())
}

extern "C" fn migrate<P: Plugin>(context: PluginContext, call: u64, from: RStr<'_>) -> AbiResult<()> {
    guard(|| {
        // SAFETY: see `contributions`.
        let instance = unsafe { instance::<P>(context) };
        let from = Some(from.as_str()).filter(|from| !from.is_empty());
        instance.plugin.migrate(&instance.host.call(call), from)
    })
}

extern "C" fn command<P: Plugin>(
    context: PluginContext,
    call: u64,
    arguments: RSlice<'_, RStr<'_>>,
) -> AbiResult<AbiCommandOutcome> {
    guard(|| {
        // SAFETY: see `contributions`.
        let instance = unsafe { instance::<P>(context) };
        let run = instance.registrar.command.as_ref().ok_or_else(|| unknown("command"))?;
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        Ok(run(&instance.plugin, &instance.host.call(call), &arguments)?.into_abi())
    })
}

extern "C" fn statement<P: Plugin>(
    context: PluginContext,
    call: u64,
    raw: AbiStatement,
) -> AbiResult<AbiStatementOutcome> {
    guard(|| {
        // SAFETY: see `contributions`.
        let instance = unsafe { instance::<P>(context) };
        let statement = Statement::from_abi(raw)?;
        let run = instance.registrar.statements.get(statement.claim()).ok_or_else(|| unknown(statement.claim()))?;
        Ok(run(&instance.plugin, &instance.host.call(call), &statement)?.into_abi())
    })
}

extern "C" fn scalar<P: Plugin>(context: PluginContext, name: RStr<'_>, arguments: AbiSchema) -> AbiResult<AbiScalar> {
    guard(|| {
        // SAFETY: see `contributions`.
        let instance = unsafe { shared::<P>(context) };
        let schema = import_schema(&arguments)?;
        let arguments: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let (overload, result) = instance.registrar.bind(name.as_str(), &arguments)?;
        let mode = match &overload.body {
            Body::Arrays { .. } => scalar_mode::ARRAYS,
            Body::Typed { into: true, .. } => scalar_mode::INTO,
            Body::Typed { .. } => scalar_mode::VIEWS,
        };
        let field = export_field(&Field::new(name.as_str(), result.clone(), true))?;
        let bound = BoundScalar { body: overload.body.clone(), instance: instance.clone(), arguments, result };
        let context = PluginContext(Box::into_raw(Box::new(bound)).cast_const().cast());
        Ok(AbiScalar { context, vt: ScalarVt_Ref(Vt::<P>::SCALAR.as_prefix()), result: field, mode })
    })
}

extern "C" fn language<P: Plugin>(context: PluginContext, call: u64, raw: AbiRoutine) -> AbiResult<AbiRoutineOutcome> {
    guard(|| {
        // SAFETY: see `contributions`.
        let instance = unsafe { instance::<P>(context) };
        let name = raw.language.to_string();
        let language = instance.registrar.languages.get(&name).ok_or_else(|| unknown(&name))?;
        answer(language.as_ref(), &instance.plugin, &instance.host.call(call), raw)
    })
}

/// # Safety
/// `context` must be one that `scalar::<P>` made and that was not released.
unsafe fn bound_scalar<'a, P>(context: PluginContext) -> &'a BoundScalar<P> {
    // SAFETY: the caller upholds it.
    unsafe { &*context.0.cast::<BoundScalar<P>>() }
}

extern "C" fn eval_arrays<P: Plugin>(
    context: PluginContext,
    call: u64,
    arguments: RVec<AbiArray>,
    rows: usize,
) -> AbiResult<AbiArray> {
    guard(|| {
        // SAFETY: see `contributions`.
        let bound = unsafe { bound_scalar::<P>(context) };
        let Body::Arrays { body, .. } = &bound.body else { return Err(unknown("function over arrays")) };
        let import = |(array, data_type)| {
            // SAFETY: the host passes valid arrays of the types that it bound; plugins trust their host.
            unsafe { import_array(array, data_type) }
        };
        let arrays = arguments.into_iter().zip(&bound.arguments).map(import).collect::<Result<Vec<_>>>()?;
        let result = body(&bound.instance.plugin, &bound.instance.host.call(call), &arrays, rows)?;
        Ok(export_array(&checked(result, &bound.result, rows)?))
    })
}

extern "C" fn eval<P: Plugin>(
    context: PluginContext,
    call: u64,
    columns: RSlice<'_, AbiColumn<'_>>,
    rows: usize,
) -> AbiResult<AbiArray> {
    guard(|| {
        // SAFETY: see `contributions`.
        let bound = unsafe { bound_scalar::<P>(context) };
        let Body::Typed { body, .. } = &bound.body else { return Err(unknown("typed function")) };
        // SAFETY: the host states what it passes; plugins trust their host.
        let columns = unsafe { Columns::new(columns.as_slice()) };
        let array = body.build(&bound.instance.plugin, &bound.instance.host.call(call), columns, rows)?;
        Ok(export_array(&array))
    })
}

extern "C" fn eval_into<P: Plugin>(
    context: PluginContext,
    call: u64,
    columns: RSlice<'_, AbiColumn<'_>>,
    output: &mut AbiOutput,
) -> AbiResult<()> {
    guard(|| {
        // SAFETY: see `contributions`.
        let bound = unsafe { bound_scalar::<P>(context) };
        let Body::Typed { body, .. } = &bound.body else { return Err(unknown("typed function")) };
        let rows = output.rows;
        // SAFETY: the host states what it passes; plugins trust their host.
        let (columns, mut output) = unsafe { (Columns::new(columns.as_slice()), Output::new(output)) };
        body.fill(&bound.instance.plugin, &bound.instance.host.call(call), columns, rows, &mut output)
    })
}

extern "C" fn release_scalar<P: Plugin>(context: PluginContext) -> AbiResult<()> {
    guard(|| {
        // SAFETY: the host releases a context once; it came from `Box::into_raw` in `scalar`.
        drop(unsafe { Box::from_raw(context.0.cast_mut().cast::<BoundScalar<P>>()) });
        Ok(())
    })
}

extern "C" fn table<P: Plugin>(
    context: PluginContext,
    call: u64,
    name: RStr<'_>,
    arguments: AbiArraySchema,
) -> AbiResult<AbiTable> {
    guard(|| {
        // SAFETY: see `contributions`.
        let instance = unsafe { shared::<P>(context) };
        // SAFETY: the host hands over a valid struct array for its schema; plugins trust their host.
        let arguments = TableArguments::new(unsafe { import_batch(arguments) }?);
        let bind = instance.registrar.tables.get(name.as_str()).ok_or_else(|| unknown(name.as_str()))?;
        let table = bind(&instance.plugin, &instance.host.call(call), &arguments)?;
        let schema = export_schema(table.schema())?;
        let bound = BoundTable { instance: instance.clone(), table };
        let context = PluginContext(Box::into_raw(Box::new(bound)).cast_const().cast());
        Ok(AbiTable { context, vt: TableVt_Ref(Vt::<P>::TABLE.as_prefix()), schema })
    })
}

extern "C" fn scan<P: Plugin>(context: PluginContext, call: u64, scan: AbiScan) -> AbiResult<AbiStream> {
    guard(|| {
        // SAFETY: the host passes the context that `table` made, for as long as it has not released it.
        let bound = unsafe { &*context.0.cast::<BoundTable<P>>() };
        let reader = bound.table.read(&bound.instance.host.call(call), &Scan::from_abi(scan)?)?;
        Ok(export_stream(reader))
    })
}

extern "C" fn release_table<P: Plugin>(context: PluginContext) -> AbiResult<()> {
    guard(|| {
        // SAFETY: the host releases a context once; it came from `Box::into_raw` in `table`.
        drop(unsafe { Box::from_raw(context.0.cast_mut().cast::<BoundTable<P>>()) });
        Ok(())
    })
}

extern "C" fn shutdown<P: Plugin>(context: PluginContext, deadline_ms: u64) -> AbiResult<()> {
    guard(|| {
        // SAFETY: see `contributions`.
        unsafe { instance::<P>(context) }.plugin.shutdown(Duration::from_millis(deadline_ms))
    })
}

extern "C" fn release<P: Plugin>(context: PluginContext) -> AbiResult<()> {
    let released = guarded(|| {
        // SAFETY: the host releases a context once; it came from `Arc::into_raw` in `activate`.
        drop(unsafe { Arc::from_raw(context.0.cast::<Instance<P>>()) });
        Ok(())
    });
    guard(|| released)
}

/// Exports a [`Plugin`]: the header under its symbol, and the manifest in its section.
///
/// The manifest is `kodiak-plugin.toml` in the crate's folder, or the file named by `manifest = "…"`, relative to it.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => {
        $crate::export_plugin!($plugin, manifest = "kodiak-plugin.toml");
    };
    ($plugin:ty, manifest = $path:literal) => {
        $crate::plugin_allocator!();
        const _: () = {
            const TEXT: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path));
            const MAGIC: &[u8] = $crate::abi::MANIFEST_MAGIC.as_bytes();
            const SECTION: [u8; MAGIC.len() + TEXT.len()] = {
                let mut section = [0u8; MAGIC.len() + TEXT.len()];
                let mut i = 0;
                while i < section.len() {
                    section[i] = if i < MAGIC.len() { MAGIC[i] } else { TEXT[i - MAGIC.len()] };
                    i += 1;
                }
                section
            };
            #[used]
            #[unsafe(link_section = ".kodiak.manifest")]
            static MANIFEST: [u8; SECTION.len()] = SECTION;

            extern "C" fn constructor() -> $crate::abi::RootModuleResult {
                $crate::abi::root_module_result($crate::abi::root::<$plugin>)
            }

            #[unsafe(no_mangle)]
            pub static KODIAK_PLUGIN_V1: $crate::abi::LibHeader =
                // SAFETY: the constructor returns what `root_module_result` made of a `PluginRoot_Ref`.
                unsafe { $crate::abi::header(constructor) };
        };
    };
}

/// The allocator of a plugin: what a function returns for each row should cost what it costs in the host.
#[doc(hidden)]
#[cfg(feature = "mimalloc")]
#[macro_export]
macro_rules! plugin_allocator {
    () => {
        #[global_allocator]
        static ALLOCATOR: $crate::allocator::PluginAllocator = $crate::allocator::PluginAllocator;
    };
}

/// The allocator is the author's to choose, or the system's.
#[doc(hidden)]
#[cfg(not(feature = "mimalloc"))]
#[macro_export]
macro_rules! plugin_allocator {
    () => {};
}
