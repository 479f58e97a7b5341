//! Extensions from the outside: the real program with real plugins, most of which misbehave. Every test asks the same two
//! questions at its end: does this process go on, and does the next one find the database as it was?

mod claims;
mod data;
mod dormant;
mod files;
mod gates;
mod languages;
mod lazy;
mod migrate;
mod panics;
mod permissions;
mod services;
mod sets;
mod store;
mod uninstall;

use std::ffi::OsStr;
use std::path::PathBuf;

use kodiak_tests::plugins::library;
use kodiak_tests::{Run, Sandbox, Session};
use serde_json::{Value, json};

/// The database of a scene.
const DB: &str = "d.kdb";

/// A home with plugins installed, and a database with one table that must survive whatever they do.
struct Scene {
    sandbox: Sandbox,
}

impl Scene {
    /// Installs `plugins` into the user's default set.
    fn new(plugins: &[&str]) -> Self {
        let scene = Self { sandbox: crate::sandbox() };
        scene
            .sandbox
            .sql(DB, "CREATE TABLE people (id BIGINT PRIMARY KEY, name TEXT); INSERT INTO people VALUES (1, 'Ada')");
        if !plugins.is_empty() {
            scene.install(&[], plugins);
        }
        scene
    }

    /// Runs the program; nothing that it says may look like Rust panicking.
    fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        self.sandbox.run(args).sane()
    }

    /// Installs plugins by the paths of their libraries, `options` first.
    fn install(&self, options: &[&str], plugins: &[&str]) {
        let run = self.try_install(options, plugins);
        assert_eq!(run.code, Some(0), "{run}");
    }

    fn try_install(&self, options: &[&str], plugins: &[&str]) -> Run {
        let libraries: Vec<PathBuf> = plugins.iter().map(|name| library(name)).collect();
        let options = options.iter().map(AsRef::<OsStr>::as_ref);
        let fixed = ["ext", "install", "--yes"].iter().map(AsRef::<OsStr>::as_ref);
        self.run(options.chain(fixed).chain(libraries.iter().map(AsRef::<OsStr>::as_ref)))
    }

    /// Runs statements on the database, as CSV.
    fn sql(&self, statements: &str) -> Run {
        self.run(["--db", DB, "--format", "csv", "sql", "-c", statements])
    }

    /// Their output; they must succeed.
    fn rows(&self, statements: &str) -> String {
        let run = self.sql(statements);
        assert_eq!(run.code, Some(0), "{statements}\n{run}");
        run.stdout()
    }

    /// `kodiak ext list --format json` without a database.
    fn list(&self) -> Vec<Value> {
        self.listed(&[])
    }

    fn listed(&self, options: &[&str]) -> Vec<Value> {
        let run = self.run(options.iter().copied().chain(["ext", "list", "--format", "json"]));
        assert_eq!(run.code, Some(0), "{run}");
        serde_json::from_slice(&run.stdout).unwrap()
    }

    /// The state of an extension in the user's default set; none when it is not in it.
    fn state(&self, name: &str) -> Option<String> {
        let listed = self.list();
        let found = listed.iter().find(|extension| extension["name"] == name)?;
        Some(found["state"].as_str().unwrap().to_owned())
    }

    /// A session on the database.
    fn talk(&self) -> Talk {
        let invocation = self.sandbox.kodiak(["--db", DB, "sql", "--protocol", "jsonl"]);
        Talk { session: invocation.start(), statements: 0 }
    }

    /// The next process finds what was there and can write.
    fn survives(&self) {
        assert_eq!(self.rows("SELECT name FROM people WHERE id = 1"), "name\nAda\n");
        self.rows("CREATE TABLE survived (a BIGINT); INSERT INTO survived VALUES (1); DROP TABLE survived");
        let check = self.run(["--db", DB, "db", "check"]);
        assert_eq!(check.code, Some(0), "{check}");
    }

    /// Folders of installed packages.
    fn packages(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.sandbox.kodiak_home().join("store")) else { return Vec::new() };
        let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        all.retain(|path| path.file_name().unwrap().len() == 64);
        all
    }
}

/// A conversation with one process.
struct Talk {
    session: Session,
    statements: usize,
}

impl Talk {
    fn ask(&mut self, sql: &str) -> Value {
        self.session.send(&format!("{}\n", json!({ "sql": sql })));
        self.statements += 1;
        serde_json::from_str(&self.session.line()).unwrap()
    }

    /// The rows of a statement that succeeds.
    fn rows(&mut self, sql: &str) -> Value {
        let answer = self.ask(sql);
        assert_eq!(answer["ok"], true, "{sql}: {answer}");
        answer["rows"].clone()
    }

    /// A statement that must fail with this code; gives its message. The session answers the next statement all the same.
    fn refused(&mut self, sql: &str, code: &str) -> String {
        let answer = self.ask(sql);
        assert_eq!(answer["ok"], false, "{sql}: {answer}");
        assert_eq!(answer["error"]["code"], code, "{sql}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap().to_owned();
        assert_calm(&answer.to_string());
        message
    }

    /// The host goes on: it answers about its table, and ends well when it is left.
    fn finish(mut self) {
        assert_eq!(self.rows("SELECT name FROM people WHERE id = 1"), json!([["Ada"]]));
        let (code, stderr) = self.session.finish();
        assert_eq!(code, Some(0), "after {} statements: {stderr}", self.statements);
        assert_eq!(stderr, "");
    }
}

/// What the tests ask of every run.
trait Sane {
    fn sane(self) -> Self;
    /// Asserts code, exit code and words on stderr.
    fn refused(&self, code: &str, exit: i32, words: &[&str]);
}

impl Sane for Run {
    fn sane(self) -> Self {
        assert_calm(&self.stderr);
        assert_calm(&String::from_utf8_lossy(&self.stdout));
        assert!(self.code.is_some_and(|code| (0..=3).contains(&code)), "{self}");
        self
    }

    fn refused(&self, code: &str, exit: i32, words: &[&str]) {
        assert_eq!(self.code, Some(exit), "{self}");
        assert!(self.stderr.contains(&format!("error[{code}]")), "no {code}: {self}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?}: {self}");
        }
    }
}

fn assert_calm(text: &str) {
    for word in ["panicked at", "RUST_BACKTRACE", "thread '", "stack backtrace", "unwrap()"] {
        assert!(!text.contains(word), "Rust panics: {text}");
    }
}
