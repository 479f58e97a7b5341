//! The extension `blob` in the real host: installed from its library, used by SQL and by its command, killed, damaged.

mod command;
mod durability;
mod statements;

use kodiak_tests::{Run, Sandbox, target};
use serde_json::Value;

/// A sandbox in which blob is installed for every database, and the bucket `b` is in `db.kdb`.
struct Bench {
    sandbox: Sandbox,
}

impl Bench {
    fn new() -> Self {
        let sandbox = super::sandbox();
        let library = target::profile_directory().join("deps").join("libkodiak_blob.so");
        let library = library.to_str().expect("the target directory's path is text").to_owned();
        let installed = sandbox.run(["ext", "install", &library, "--yes", "--allow-unsigned"]);
        assert_eq!(installed.code, Some(0), "{installed}");
        let bench = Self { sandbox };
        bench.sql("CREATE BUCKET b");
        bench
    }

    fn sql(&self, statements: &str) -> String {
        self.sandbox.sql("db.kdb", statements)
    }

    /// Statements that must fail; gives stderr.
    fn refused(&self, statements: &str) -> String {
        let run = self.sandbox.run(["--db", "db.kdb", "sql", "-c", statements]);
        assert_eq!(run.code, Some(1), "{statements}\n{run}");
        run.stderr
    }

    /// `kodiak blob` with these arguments.
    fn blob(&self, arguments: &[&str], stdin: &[u8]) -> Run {
        let arguments = ["--db", "db.kdb", "blob"].iter().chain(arguments);
        self.sandbox.kodiak(arguments).stdin(stdin).run()
    }

    /// `kodiak blob`, which must succeed; gives stdout.
    fn done(&self, arguments: &[&str], stdin: &[u8]) -> Vec<u8> {
        let run = self.blob(arguments, stdin);
        assert_eq!(run.code, Some(0), "{arguments:?}\n{run}");
        run.stdout
    }

    /// `kodiak blob`, which must succeed, as JSON.
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
        serde_json::from_slice(&self.done(&arguments, b"")).expect("the output is JSON")
    }

    fn keys(&self) -> Vec<String> {
        let listed = self.json(&["ls", "blob://b/", "--recursive"]);
        listed.iter().map(|line| line["key"].as_str().expect("a key is text").to_owned()).collect()
    }

    /// Paths of files below a folder of the extension's.
    fn files(&self, folder: &str) -> Vec<std::path::PathBuf> {
        let (mut found, mut folders) = (Vec::new(), vec![self.sandbox.path("db.kdb/blobs").join(folder)]);
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).into_iter().flatten() {
                let path = entry.expect("a folder can be read").path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found
    }
}

/// Enough bytes for a payload file of several chunks, different for each seed.
fn large(seed: u8) -> Vec<u8> {
    (0..2_500_000_u32).map(|i| (i.wrapping_mul(31) >> 3) as u8 ^ seed).collect()
}
