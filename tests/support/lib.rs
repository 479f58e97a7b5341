//! What the tests of the whole program share: a sandbox to run it in. It refuses to touch the user's home or network.

pub mod plugins;
pub mod target;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// How long a program may think before a test gives it up: far beyond any honest answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lines that are read before a test asks for them.
const LINES_AHEAD: usize = 16;

/// A home, a `KODIAK_HOME` and a working folder of its own for one test; gone when it is dropped.
pub struct Sandbox {
    program: PathBuf,
    root: TempDir,
}

/// A run of the program that is being prepared.
pub struct Invocation<'a> {
    sandbox: &'a Sandbox,
    command: Command,
    stdin: Vec<u8>,
}

/// What a run left. Its `Display` is made for snapshots: the sandbox's path reads `[SANDBOX]`.
pub struct Run {
    /// Everything on stdout.
    pub stdout: Vec<u8>,
    /// Everything on stderr.
    pub stderr: String,
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    shown_stdout: String,
    shown_stderr: String,
}

/// A run that is talked to while it lasts.
pub struct Session {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    stderr: Option<ChildStderr>,
}

impl Sandbox {
    /// A fresh sandbox for `program`.
    ///
    /// # Panics
    /// If there is no room for temporary folders.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        for folder in ["home", "kodiak-home", "work"] {
            std::fs::create_dir(root.path().join(folder)).expect("a folder can be made in a fresh one");
        }
        Self { program: program.into(), root }
    }

    /// The working folder of runs.
    pub fn folder(&self) -> PathBuf {
        self.root.path().join("work")
    }

    /// The folder that `KODIAK_HOME` names.
    pub fn kodiak_home(&self) -> PathBuf {
        self.root.path().join("kodiak-home")
    }

    /// A path in the working folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a file into the working folder, with the folders above it.
    ///
    /// # Panics
    /// If that fails.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        let folder = path.parent().expect("a file lies in a folder");
        std::fs::create_dir_all(folder).expect("folders can be made in the sandbox");
        std::fs::write(&path, content).expect("a file can be written in the sandbox");
    }

    /// Prepares a run with these arguments.
    pub fn kodiak<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Invocation<'_> {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.folder()).stdout(Stdio::piped()).env_clear();
        // Programs need to find each other and their libraries; everything else would make runs differ.
        for name in ["PATH", "LD_LIBRARY_PATH", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", self.root.path().join("home")).env("KODIAK_HOME", self.kodiak_home());
        Invocation { sandbox: self, command, stdin: Vec::new() }
    }

    /// Runs with these arguments and an empty standard input.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        self.kodiak(args).run()
    }

    /// Runs statements with `sql -c` on the database `db` of the working folder, as CSV; asserts that they succeed.
    ///
    /// # Panics
    /// If they fail.
    pub fn sql(&self, db: &str, statements: &str) -> String {
        let run = self.run(["--db", db, "--format", "csv", "sql", "-c", statements]);
        assert_eq!(run.code, Some(0), "{statements}\n{run}");
        run.stdout()
    }

    fn shown(&self, bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).replace(&*self.root.path().to_string_lossy(), "[SANDBOX]")
    }
}

impl Invocation<'_> {
    /// Gives it something to read.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Runs it in a folder below the working folder.
    #[must_use]
    pub fn within(mut self, folder: &str) -> Self {
        self.command.current_dir(self.sandbox.path(folder));
        self
    }

    /// Sends its stdout somewhere else.
    #[must_use]
    pub fn stdout(mut self, target: impl Into<Stdio>) -> Self {
        self.command.stdout(target);
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn run(mut self) -> Run {
        let input = std::mem::take(&mut self.stdin);
        let captured = self.command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = captured.spawn().expect("the program can be started");
        let mut stdin = child.stdin.take().expect("stdin is piped");
        // On a thread of its own, because the program may write before it has read everything; one that does not read
        // to the end is free to do so.
        let feeder = thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("the program can be waited for");
        feeder.join().expect("writing to a pipe does not panic");
        let (shown_stdout, shown_stderr) = (self.sandbox.shown(&output.stdout), self.sandbox.shown(&output.stderr));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Run { stdout: output.stdout, stderr, code: output.status.code(), shown_stdout, shown_stderr }
    }

    /// Runs it with stdout captured.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(mut self) -> Session {
        let piped = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the program can be started");
        let lines = lines_of(child.stdout.take().expect("stdout is piped"));
        Session { stdin: child.stdin.take(), stderr: child.stderr.take(), lines, child }
    }
}

impl Run {
    /// Stdout as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    pub fn stdout(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("stdout is text")
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => writeln!(f, "exit {code}")?,
            None => writeln!(f, "ended by a signal")?,
        }
        for (name, text) in [("stdout", &self.shown_stdout), ("stderr", &self.shown_stderr)] {
            if !text.is_empty() {
                write!(f, "--- {name}\n{text}")?;
            }
        }
        Ok(())
    }
}

impl Session {
    /// Writes text to its stdin.
    ///
    /// # Panics
    /// If it does not read any more.
    pub fn send(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("the program reads");
    }

    /// The next line of its stdout.
    ///
    /// # Panics
    /// If none comes.
    pub fn line(&self) -> String {
        self.next_line().expect("the program answers")
    }

    /// The next line of its stdout; none at the end of it.
    ///
    /// # Panics
    /// If the program neither answers nor ends.
    pub fn next_line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("the program neither answers nor ends"),
        }
    }

    /// The next line of its stdout, if one comes within this time.
    pub fn try_line(&self, patience: Duration) -> Option<String> {
        self.lines.recv_timeout(patience).ok()
    }

    /// The number of its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it the signal that Ctrl-C sends.
    ///
    /// # Panics
    /// If there is no `kill`.
    pub fn interrupt(&self) {
        let status = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(status.expect("there is a kill command").success());
    }

    /// Ends it at once, as a power cut would for all that it knows.
    ///
    /// # Panics
    /// If it cannot be ended.
    pub fn kill(mut self) {
        self.child.kill().expect("the program can be killed");
        self.child.wait().expect("the program can be waited for");
    }

    /// Closes its stdin and stdout, and waits for its end; returns exit code and stderr.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn finish(self) -> (Option<i32>, String) {
        let Self { mut child, stdin, lines, stderr } = self;
        drop((stdin, lines));
        let mut text = String::new();
        stderr.expect("stderr is piped").read_to_string(&mut text).expect("stderr is text");
        (child.wait().expect("the program can be waited for").code(), text)
    }
}

/// Reads on a thread, so that a test can give up waiting.
fn lines_of(stdout: ChildStdout) -> mpsc::Receiver<String> {
    // Bounded, so that a program that writes without end is held back as by any reader.
    let (sender, receiver) = mpsc::sync_channel(LINES_AHEAD);
    thread::spawn(move || {
        // Ends, and thereby closes the pipe, when nobody wants more lines.
        BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}
