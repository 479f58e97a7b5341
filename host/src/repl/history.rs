//! What was typed before, kept in the user's data folder. What may hold a secret is never kept, not even in memory.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use crate::extensions::Home;

const FILE: &str = "history";
/// Entries that are kept; when there are twice as many, the older half is dropped.
const ENTRIES_MAX: usize = 2000;
/// Words of statements that may bring a secret, as a part of any other word too.
const SECRET_WORDS: &[&str] = &[
    "secret",
    "passphrase",
    "password",
    "passwd",
    "credential",
    "token",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
    "unlock",
    "identified by",
];

/// What was typed, the oldest first.
pub(super) struct History {
    entries: Vec<String>,
    file: Option<PathBuf>,
}

impl History {
    /// What is in the user's file; a history that cannot be read begins anew.
    pub(super) fn open() -> Self {
        Home::find().map_or_else(|_| Self { entries: Vec::new(), file: None }, |home| Self::at(home.path().join(FILE)))
    }

    fn at(file: PathBuf) -> Self {
        let lines =
            File::open(&file).map(|file| BufReader::new(file).lines().map_while(Result::ok).collect::<Vec<_>>());
        let mut entries: Vec<String> = lines.unwrap_or_default().iter().map(|line| unescaped(line)).collect();
        if entries.len() > 2 * ENTRIES_MAX {
            entries.drain(..entries.len() - ENTRIES_MAX);
            let text: String = entries.iter().map(|entry| escaped(entry) + "\n").collect();
            // A file that cannot be shortened stays long.
            let _ = create(&file).and_then(|mut file| {
                file.set_len(0)?;
                file.write_all(text.as_bytes())
            });
        }
        Self { entries, file: Some(file) }
    }

    pub(super) fn entries(&self) -> &[String] {
        &self.entries
    }

    /// Keeps an entry, unless it may hold a secret or repeats the last one.
    pub(super) fn keep(&mut self, text: &str) {
        let text = text.trim();
        if text.is_empty() || may_hold_secret(text) || self.entries.last().is_some_and(|last| last == text) {
            return;
        }
        self.entries.push(text.to_owned());
        if let Some(path) = &self.file {
            let written = create(path).and_then(|mut file| file.write_all((escaped(text) + "\n").as_bytes()));
            if written.is_err() {
                // A folder that cannot be written to is no reason to complain after every line.
                self.file = None;
            }
        }
    }
}

/// Whether a statement may bring a secret.
pub(super) fn may_hold_secret(text: &str) -> bool {
    let lower = text.to_lowercase();
    SECRET_WORDS.iter().any(|word| lower.contains(word))
}

/// Nobody but its owner reads it.
fn create(path: &PathBuf) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// An entry as one line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescaped(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match (c, if c == '\\' { characters.next() } else { None }) {
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some('r')) => text.push('\r'),
            ('\\', Some(other)) => text.push(other),
            (c, _) => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_whole_and_only_their_owner_reads_them() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("deep/history");
        let mut history = History::at(path.clone());
        history.keep("select 'a\\n',\n  2;");
        history.keep("select 3;");
        history.keep("select 3;");
        assert_eq!(History::at(path.clone()).entries(), ["select 'a\\n',\n  2;", "select 3;"]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path).expect("file").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn what_may_hold_a_secret_is_kept_nowhere() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("history");
        let mut history = History::at(path.clone());
        for text in [
            "CREATE SECRET s (TYPE generic, VALUE 'hunter2');",
            "unlock secrets using passphrase 'hunter2';",
            "select my_Password('hunter2');",
            "ALTER USER x IDENTIFIED BY 'hunter2'",
            "-- nothing\ncreate or replace secret\n 'x' (value 'hunter2')",
        ] {
            history.keep(text);
        }
        history.keep("select 1;");
        assert_eq!(history.entries(), ["select 1;"]);
        assert!(!std::fs::read_to_string(path).expect("file").contains("hunter2"));
    }
}
