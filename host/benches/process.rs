//! How long the program takes to start, do little and end, with no extension and with ten registered.
//!
//! `cargo bench -p kodiak --bench process`.

use criterion::{Criterion, criterion_group, criterion_main};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kodiak");

fn run(home: &Path, arguments: &[&str]) {
    let status = Command::new(PROGRAM)
        .args(arguments)
        .env("KODIAK_HOME", home)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("it starts");
    assert!(status.success(), "{arguments:?}");
}

/// A home in which ten copies of one library, each with a name of its own, are enabled.
fn ten(home: &Path) {
    let store = kodiak_registry::Store::open(home).expect("store");
    let mut set = kodiak_registry::EnabledSet::new();
    let library = std::env::current_exe().expect("this program");
    for number in 0..10 {
        let text = format!(
            "[extension]\nname = \"ext{number}\"\nversion = \"1.0.0\"\napi = \"1.0\"\nsummary = \"Number {number}\"\n\
             [contributes]\ncommand = \"Number {number}\"\nstatements = [\"CREATE THING{number}\"]\n\
             functions = [\"f{number}\", \"g{number}\"]\n"
        );
        let manifest = kodiak_registry::Manifest::parse(&text).expect("manifest");
        // Registered is not loaded: any file serves, as long as each has bytes of its own.
        let file = home.join(format!("file{number}"));
        let mut bytes = std::fs::read(&library).expect("bytes");
        bytes.truncate(1 << 20);
        bytes.extend(format!("{number}").bytes());
        std::fs::write(&file, bytes).expect("file");
        let origin = kodiak_registry::Origin::Library(PathBuf::from(&file));
        let installed = store.put(&file, &manifest, &origin).expect("put");
        set.add(kodiak_registry::Enabled::new(&installed));
    }
    set.write(&home.join("extensions.toml")).expect("set");
}

fn processes(c: &mut Criterion) {
    let (none, many) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    ten(many.path());
    let commands: [(&str, &[&str]); 3] =
        [("--help", &["--help"]), ("ext list", &["ext", "list"]), ("sql -c 'select 1'", &["sql", "-c", "select 1"])];
    let mut group = c.benchmark_group("process");
    group.sample_size(50);
    for (name, arguments) in commands {
        group.bench_function(format!("{name}, none registered"), |b| b.iter(|| run(none.path(), arguments)));
        group.bench_function(format!("{name}, ten registered"), |b| b.iter(|| run(many.path(), arguments)));
    }
    group.finish();
}

criterion_group!(benches, processes);
criterion_main!(benches);
