//! What the plugin boundary costs: loading, one call a batch, arithmetic and strings against the same work built in.
//!
//! `cargo bench -p kodiak --bench plugin`. Compare within one run: `builtin/*` against `plugin/*`.

use arrow::array::{Array, AsArray};
use arrow::array::{ArrayRef, Int64Array, StringViewArray};
use arrow::compute::kernels::numeric::add_wrapping;
use arrow::datatypes::{DataType, Int64Type};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use kodiak::Database;
use kodiak::extensions::session::Terminal;
use kodiak::extensions::{Argument, Caller, Extensions, Home, Instance, Scalar};
use std::hint::black_box;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// As the program has it: what is measured allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 8192;

struct Silent;

impl Terminal for Silent {
    fn read_input(&self, _: usize) -> kodiak::Result<Vec<u8>> {
        Ok(Vec::new())
    }
    fn write_output(&self, _: &[u8]) -> kodiak::Result<()> {
        Ok(())
    }
    fn write_note(&self, _: &[u8]) -> kodiak::Result<()> {
        Ok(())
    }
    fn progress(&self, _: u64, _: u64, _: &str) {}
}

/// Builds the plugin that commits no sin, in release, and says where it is.
fn plugin() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/bad-plugins/Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--release", "--example", "good", "--message-format", "json", "--manifest-path"])
        .arg(&manifest)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let message = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find(|message| message["target"]["name"] == "good" && message["reason"] == "compiler-artifact")
        .expect("cargo names the library");
    PathBuf::from(message["filenames"][0].as_str().expect("a path"))
}

fn numbers() -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(0..ROWS as i64))
}

fn names() -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values((0..ROWS).map(|row| format!("customer-name-{row}"))))
}

/// A caller without a statement, and nothing enabled.
fn surroundings() -> (Extensions, Caller) {
    let home = tempfile::tempdir().expect("folder");
    let database = Database::memory().expect("database");
    let caller = database.command_caller("good", Arc::new(Silent));
    (Extensions::new(Home::at(home.path()).expect("home")), caller)
}

fn open(path: &std::path::Path) -> (Arc<Instance>, Caller) {
    let (extensions, caller) = surroundings();
    (extensions.open_file(path, &caller).expect("it loads"), caller)
}

fn bind(instance: &Arc<Instance>, caller: &Caller, name: &str, types: &[DataType]) -> Scalar {
    instance.scalar(caller, name, types).expect("it binds")
}

fn load(c: &mut Criterion) {
    let built = plugin();
    // A library is mapped once a path and process: every load gets a copy of its own.
    let folder = tempfile::tempdir().expect("folder");
    let mut copies = 0;
    let (extensions, caller) = surroundings();
    c.benchmark_group("load").sample_size(20).bench_function("verify, load, check, activate, register", |b| {
        b.iter_batched(
            || {
                copies += 1;
                let copy = folder.path().join(format!("good-{copies}.so"));
                std::fs::copy(&built, &copy).expect("copy");
                copy
            },
            |copy| extensions.open_file(&copy, &caller).expect("it loads"),
            BatchSize::PerIteration,
        );
    });
    c.bench_function("load/read the manifest", |b| {
        b.iter(|| kodiak_registry::verify::inspect(&built).expect("a plugin"));
    });
}

fn calls(c: &mut Criterion) {
    let (instance, caller) = open(&plugin());
    let mut group = c.benchmark_group("call");
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let add = bind(&instance, &caller, "good_add", &[DataType::Int64, DataType::Int64]);
    let pair = [Argument::Column(one.clone()), Argument::Column(one)];
    group.bench_function("one row, two columns", |b| b.iter(|| add.invoke(black_box(&pair), 1).expect("sum")));

    group.throughput(Throughput::Elements(ROWS as u64));
    let (a, b_) = (numbers(), numbers());
    group.bench_function("builtin/add", |bench| bench.iter(|| add_in_place(black_box(&a), black_box(&b_))));
    // What the host runs for `a + b`.
    group.bench_function("builtin/add by arrow's kernel", |bench| {
        bench.iter(|| add_wrapping(black_box(&a), black_box(&b_)).expect("sum"));
    });
    let columns = [Argument::Column(a.clone()), Argument::Column(b_.clone())];
    group.bench_function("plugin/add", |bench| bench.iter(|| add.invoke(black_box(&columns), ROWS).expect("sum")));
    let constant = [Argument::Column(a), Argument::Constant(Arc::new(Int64Array::from(vec![7])))];
    group.bench_function("plugin/add a constant", |bench| {
        bench.iter(|| add.invoke(black_box(&constant), ROWS).expect("sum"));
    });

    let text = names();
    let upper = bind(&instance, &caller, "good_upper", &[DataType::Utf8View]);
    group.bench_function("builtin/upper", |bench| bench.iter(|| upper_in_place(black_box(&text))));
    let columns = [Argument::Column(text)];
    group.bench_function("plugin/upper", |bench| bench.iter(|| upper.invoke(black_box(&columns), ROWS).expect("text")));
    group.finish();
}

/// The same loop that the plugin runs, in this program.
fn add_in_place(a: &ArrayRef, b: &ArrayRef) -> ArrayRef {
    let (a, b) = (a.as_primitive::<Int64Type>().values(), b.as_primitive::<Int64Type>().values());
    let sums: Vec<i64> = a.iter().zip(b.iter()).map(|(a, b)| a.wrapping_add(*b)).collect();
    Arc::new(Int64Array::new(sums.into(), None))
}

fn upper_in_place(text: &ArrayRef) -> ArrayRef {
    let text = text.as_string_view();
    let mut builder = arrow::array::StringViewBuilder::with_capacity(text.len());
    text.iter().for_each(|value| builder.append_option(value.map(str::to_uppercase)));
    Arc::new(builder.finish())
}

criterion_group!(benches, load, calls);
criterion_main!(benches);
