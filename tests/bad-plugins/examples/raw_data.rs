//! Writes the structs that cross the boundary by hand, and wrong: what no author who uses the API could return.
use kodiak_plugin_api::abi::{
    self, AbiArray, AbiArraySchema, AbiHost, AbiPlugin, AbiResult, AbiScalar, AbiScan, AbiSchema, AbiStream, AbiTable,
    PluginContext, PluginRoot, PluginRoot_Ref, PluginVt, PrefixTypeTrait, RErr, ROk, RSlice, RStr, RVec, ScalarVt,
    TableVt, scalar_mode,
};
use kodiak_plugin_api::arrow::{export_field, export_schema};
use kodiak_plugin_api::arrow_schema::{DataType, Field, Schema};
use kodiak_plugin_api::prelude::*;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::{null, null_mut};

/// `struct ArrowArray` of the C data interface.
#[repr(C)]
struct RawArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const u8,
    children: *mut *mut RawArray,
    dictionary: *mut RawArray,
    release: Option<unsafe extern "C" fn(*mut RawArray)>,
    private_data: *mut c_void,
}

/// `struct ArrowArrayStream` of the C data interface.
#[repr(C)]
struct RawStream {
    get_schema: Option<unsafe extern "C" fn(*mut RawStream, *mut AbiSchema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut RawStream, *mut RawArray) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut RawStream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut RawStream)>,
    private_data: *mut c_void,
}

const SCALARS: &[&str] = &[
    "raw_released",
    "raw_no_buffers",
    "raw_null_data",
    "raw_too_long",
    "raw_negative",
    "raw_counts",
    "raw_children",
    "raw_views",
    "raw_view_lengths",
    "raw_offsets",
    "raw_offset_order",
    "raw_mode",
    "raw_result",
    "raw_into",
];
const TABLES: &[&str] = &[
    "raw_table_schema",
    "raw_table_released",
    "raw_table_fails",
    "raw_table_silent",
    "raw_table_no_next",
    "raw_table_huge",
    "raw_table_nulls",
    "raw_table_empty",
];

/// Registers the names as an honest plugin would.
struct Declared;

impl Plugin for Declared {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        for name in SCALARS {
            let result = |_: &[DataType]| Ok(DataType::Int64);
            r.scalar_arrays(name, Volatility::Volatile, None, result, |_, _, arrays, _| Ok(arrays[0].clone()));
        }
        for name in TABLES {
            r.table(name, |_, _, _| Err(Error::message("never called")));
        }
    }
}

/// The honest plugin's vtable with two entries exchanged.
extern "C" fn activate(host: AbiHost, call: u64) -> AbiResult<AbiPlugin> {
    let honest = match (abi::root::<Declared>().activate())(host, call) {
        ROk(plugin) => plugin,
        RErr(error) => return RErr(error),
    };
    let vt = PluginVt {
        contributions: honest.vt.contributions(),
        migrate: honest.vt.migrate(),
        command: honest.vt.command(),
        statement: honest.vt.statement(),
        scalar,
        table,
        shutdown: honest.vt.shutdown(),
        release: honest.vt.release(),
        language: honest.vt.language().expect("it is built with this API"),
    };
    ROk(AbiPlugin { context: honest.context, vt: vt.leak_into_prefix() })
}

extern "C" fn scalar(_: PluginContext, name: RStr<'_>, _: AbiSchema) -> AbiResult<AbiScalar> {
    let sin = SCALARS.iter().position(|known| *known == name.as_str()).expect("a declared name");
    let data_type = match SCALARS[sin] {
        "raw_views" | "raw_view_lengths" | "raw_into" => DataType::Utf8View,
        "raw_offsets" | "raw_offset_order" => DataType::Utf8,
        _ => DataType::Int64,
    };
    let result = match SCALARS[sin] {
        // SAFETY: all zero is what the interface calls released; the host must notice.
        "raw_result" => unsafe { std::mem::zeroed() },
        _ => export_field(&Field::new("result", data_type, true)).expect("a plain type"),
    };
    let mode = match SCALARS[sin] {
        "raw_mode" => 99,
        "raw_into" => scalar_mode::INTO,
        _ => scalar_mode::ARRAYS,
    };
    let vt = ScalarVt { eval_arrays, eval, eval_into, release: release_nothing };
    ROk(AbiScalar { context: PluginContext(sin as *const ()), vt: vt.leak_into_prefix(), result, mode })
}

extern "C" fn eval_arrays(context: PluginContext, _: u64, _: RVec<AbiArray>, rows: usize) -> AbiResult<AbiArray> {
    let rows = rows as i64;
    let good = || leaked(&vec![7i64; rows as usize]);
    let raw = match SCALARS[context.0 as usize] {
        "raw_released" => RawArray { release: None, ..array(rows, vec![null(), good()]) },
        "raw_no_buffers" => RawArray { buffers: null_mut(), ..array(rows, vec![null(), good()]) },
        "raw_null_data" => array(rows, vec![null(), null()]),
        "raw_too_long" => array(rows + 1_000_000_000, vec![null(), good()]),
        "raw_negative" => array(-1, vec![null(), good()]),
        "raw_counts" => array(rows, vec![null(), good(), good()]),
        "raw_children" => RawArray { n_children: 1, ..array(rows, vec![null(), good()]) },
        // Two data buffers, and nobody says how long they are.
        "raw_views" => array(rows, vec![null(), leaked(&vec![0u128; rows as usize]), good(), good(), null()]),
        "raw_view_lengths" => array(rows, vec![null(), leaked(&vec![0u128; rows as usize]), good(), leaked(&[-1i64])]),
        // One byte behind where a 32-bit number may lie.
        "raw_offsets" => array(rows, vec![null(), leaked(&vec![0u64; rows as usize + 1]).wrapping_add(1), good()]),
        _ => array(rows, vec![null(), leaked(&vec![-5i32; rows as usize + 1]), good()]),
    };
    // SAFETY: both are the interface's `struct ArrowArray`.
    ROk(unsafe { std::mem::transmute::<RawArray, AbiArray>(raw) })
}

extern "C" fn eval(_: PluginContext, _: u64, _: RSlice<'_, abi::AbiColumn<'_>>, _: usize) -> AbiResult<AbiArray> {
    RErr(Error::message("never called").into())
}

extern "C" fn eval_into(
    _: PluginContext,
    _: u64,
    _: RSlice<'_, abi::AbiColumn<'_>>,
    _: &mut abi::AbiOutput,
) -> AbiResult<()> {
    RErr(Error::message("never called").into())
}

extern "C" fn table(_: PluginContext, _: u64, name: RStr<'_>, _: AbiArraySchema) -> AbiResult<AbiTable> {
    let sin = TABLES.iter().position(|known| *known == name.as_str()).expect("a declared name");
    let schema = match TABLES[sin] {
        // SAFETY: all zero is what the interface calls released; the host must notice.
        "raw_table_schema" => unsafe { std::mem::zeroed() },
        _ => columns(),
    };
    let vt = TableVt { scan, release: release_nothing };
    ROk(AbiTable { context: PluginContext(sin as *const ()), vt: vt.leak_into_prefix(), schema })
}

extern "C" fn scan(context: PluginContext, _: u64, _: AbiScan) -> AbiResult<AbiStream> {
    let sin = TABLES[context.0 as usize];
    let stream = RawStream {
        get_schema: Some(get_schema),
        get_next: (sin != "raw_table_no_next").then_some(get_next),
        get_last_error: Some(get_last_error),
        release: (sin != "raw_table_released").then_some(release_stream),
        private_data: context.0.cast_mut().cast(),
    };
    // SAFETY: both are the interface's `struct ArrowArrayStream`.
    ROk(unsafe { std::mem::transmute::<RawStream, AbiStream>(stream) })
}

extern "C" fn get_schema(_: *mut RawStream, out: *mut AbiSchema) -> c_int {
    // SAFETY: the interface gives a place to write to.
    unsafe { out.write(columns()) };
    0
}

extern "C" fn get_next(stream: *mut RawStream, out: *mut RawArray) -> c_int {
    // SAFETY: the interface passes the stream that `scan` made.
    let sin = TABLES[unsafe { (*stream).private_data } as usize];
    let column = Box::into_raw(Box::new(array(1, vec![null(), leaked(&[7i64])])));
    let children = Box::leak(vec![column].into_boxed_slice()).as_mut_ptr();
    let row = RawArray { n_children: 1, children, ..array(1, vec![null()]) };
    let raw = match sin {
        "raw_table_fails" | "raw_table_silent" => return 5,
        "raw_table_huge" => RawArray { length: i64::MAX, offset: i64::MAX, ..row },
        "raw_table_nulls" => RawArray { null_count: 1, buffers: pointers(vec![leaked(&[0u8; 8])]), ..row },
        // The end of the stream, without a single row.
        _ => RawArray { release: None, ..row },
    };
    // SAFETY: the interface gives a place to write to.
    unsafe { out.write(raw) };
    0
}

extern "C" fn get_last_error(stream: *mut RawStream) -> *const c_char {
    // SAFETY: the interface passes the stream that `scan` made.
    match TABLES[unsafe { (*stream).private_data } as usize] {
        "raw_table_fails" => c"the disk is on fire".as_ptr(),
        _ => null(),
    }
}

fn columns() -> AbiSchema {
    export_schema(&Schema::new(vec![Field::new("n", DataType::Int64, true)])).expect("a plain schema")
}

/// An array of a type without children, wrong only in what its maker changes.
fn array(length: i64, buffers: Vec<*const u8>) -> RawArray {
    RawArray {
        length,
        null_count: 0,
        offset: 0,
        n_buffers: buffers.len() as i64,
        n_children: 0,
        buffers: pointers(buffers),
        children: null_mut(),
        dictionary: null_mut(),
        release: Some(release_array),
        private_data: null_mut(),
    }
}

/// Nothing here is ever given back: the process of a test is short.
fn leaked<T: Copy>(values: &[T]) -> *const u8 {
    Box::leak(values.to_vec().into_boxed_slice()).as_ptr().cast()
}

fn pointers(buffers: Vec<*const u8>) -> *mut *const u8 {
    Box::leak(buffers.into_boxed_slice()).as_mut_ptr()
}

extern "C" fn release_array(array: *mut RawArray) {
    // SAFETY: the interface passes the array that is released.
    unsafe { (*array).release = None };
}

extern "C" fn release_stream(stream: *mut RawStream) {
    // SAFETY: the interface passes the stream that is released.
    unsafe { (*stream).release = None };
}

extern "C" fn release_nothing(_: PluginContext) -> AbiResult<()> {
    ROk(())
}

fn root() -> PluginRoot_Ref {
    PluginRoot { activate }.leak_into_prefix()
}

extern "C" fn constructor() -> abi::RootModuleResult {
    abi::root_module_result(root)
}

#[unsafe(no_mangle)]
static KODIAK_PLUGIN_V1: abi::LibHeader =
    // SAFETY: the constructor returns what `root_module_result` made of a `PluginRoot_Ref`.
    unsafe { abi::header(constructor) };

const TEXT: &[u8] = include_bytes!("../manifests/raw_data.toml");
const MAGIC: &[u8] = abi::MANIFEST_MAGIC.as_bytes();

#[used]
#[unsafe(link_section = ".kodiak.manifest")]
static MANIFEST: [u8; MAGIC.len() + TEXT.len()] = {
    let mut section = [0; MAGIC.len() + TEXT.len()];
    let (magic, text) = section.split_at_mut(MAGIC.len());
    magic.copy_from_slice(MAGIC);
    text.copy_from_slice(TEXT);
    section
};
