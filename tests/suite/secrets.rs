//! The extension `secrets` in the real host: installed from its library, used by SQL and by its command, killed, and
//! searched for what must not be found.

mod canary;
mod command;
mod docs;
mod handles;
mod keyring;
mod processes;
mod statements;

use kodiak_tests::{Invocation, Run, Sandbox, target};
use serde_json::Value;

/// The key file of [`Bench::new`], in the working folder.
const KEY: &str = "vault.key";

/// A sandbox in which the extension is installed for every database, and `db.kdb` has a vault with a key file.
struct Bench {
    sandbox: Sandbox,
}

impl Bench {
    /// With a vault.
    fn new() -> Self {
        let bench = Self::without_vault();
        bench.done(&["init", "--key-file", KEY], b"");
        bench
    }

    fn without_vault() -> Self {
        let sandbox = super::sandbox();
        let library = target::profile_directory().join("deps").join("libkodiak_secrets.so");
        let library = library.to_str().expect("the target directory's path is text").to_owned();
        let installed = sandbox.run(["ext", "install", &library, "--yes", "--allow-unsigned"]);
        assert_eq!(installed.code, Some(0), "{installed}");
        Self { sandbox }
    }

    fn kodiak<'a>(&'a self, arguments: &[&str]) -> Invocation<'a> {
        let arguments = ["--db", "db.kdb"].iter().chain(arguments);
        self.sandbox.kodiak(arguments).env("KODIAK_SECRETS_KEY_FILE", self.sandbox.path(KEY))
    }

    /// Statements that must succeed; gives CSV.
    fn sql(&self, statements: &str) -> String {
        let run = self.kodiak(&["--format", "csv", "sql", "-c", statements]).run();
        assert_eq!(run.code, Some(0), "{statements}\n{run}");
        run.stdout()
    }

    /// Statements that must fail; gives stderr.
    fn refused(&self, statements: &str) -> String {
        let run = self.kodiak(&["sql", "-c", statements]).run();
        assert_eq!(run.code, Some(1), "{statements}\n{run}");
        run.stderr
    }

    /// `kodiak secrets` with these arguments and the key file.
    fn secrets(&self, arguments: &[&str], stdin: &[u8]) -> Run {
        let arguments: Vec<&str> = ["secrets"].iter().chain(arguments).copied().collect();
        self.kodiak(&arguments).stdin(stdin).run()
    }

    /// `kodiak secrets` without the key file.
    fn locked(&self, arguments: &[&str], stdin: &[u8]) -> Run {
        let arguments = ["--db", "db.kdb", "secrets"].iter().chain(arguments);
        self.sandbox.kodiak(arguments).stdin(stdin).run()
    }

    /// `kodiak secrets`, which must succeed; gives stdout.
    fn done(&self, arguments: &[&str], stdin: &[u8]) -> Vec<u8> {
        let run = self.secrets(arguments, stdin);
        assert_eq!(run.code, Some(0), "{arguments:?}\n{run}");
        run.stdout
    }

    /// `kodiak secrets`, which must succeed, as JSON.
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
        serde_json::from_slice(&self.done(&arguments, b"")).expect("the output is JSON")
    }

    /// The value of a secret, as the command prints it.
    fn value(&self, name: &str) -> String {
        String::from_utf8(self.done(&["get", name, "--reveal"], b"")).expect("these values are text")
    }
}
