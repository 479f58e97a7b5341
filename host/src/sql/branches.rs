//! `ALTER DATABASE`: branches, pins and retention, in the transaction of whoever asks, so that an extension's rows and
//! its branches commit together. `CREATE BRANCH` and the like are left to extensions, which mean more by them.
//!
//! ```sql
//! ALTER DATABASE CREATE BRANCH dev [FROM BRANCH main | FROM VERSION 7 | FROM NOTHING];
//! ALTER DATABASE DROP BRANCH dev;
//! ALTER DATABASE MOVE BRANCH main FROM VERSION 7 TO { BRANCH dev | VERSION 5 };   -- if it still stands on 7
//! ALTER DATABASE SWITCH BRANCH dev;                                              -- sessions begin there
//! ALTER DATABASE PIN 'release' TO { BRANCH dev | VERSION 5 };
//! ALTER DATABASE UNPIN 'release';
//! ALTER DATABASE RETAIN VERSIONS 100, SECONDS 86400, BYTES 1073741824;
//! ```

use super::inspect::{TextToken, TextTokenKind, tokens};
use crate::error::{Error, Result, codes};
use crate::storage::{From, Retention, Transaction};

/// What is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AlterDatabase {
    Create { name: String, from: Option<Source> },
    Drop { name: String },
    Move { name: String, expected: u64, to: Source },
    Switch { name: String },
    Pin { name: String, to: Source },
    Unpin { name: String },
    Retain { versions: Option<u64>, seconds: Option<u64>, bytes: Option<u64> },
}

/// Where a branch or pin is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Nothing,
    Branch(String),
    Version(u64),
}

impl AlterDatabase {
    /// Reads the statement, which begins with `ALTER DATABASE`.
    pub(super) fn read(text: &str) -> Result<Self> {
        let tokens = tokens(text)?;
        let mut reader = Reader { tokens: &tokens, at: 2 };
        let statement = reader.statement()?;
        match reader.tokens.get(reader.at) {
            None => Ok(statement),
            Some(token) => Err(expected("the end of the statement", Some(token))),
        }
    }

    pub(super) fn run(&self, transaction: &Transaction) -> Result<()> {
        match self {
            Self::Create { name, from } => {
                let own = Source::Branch(transaction.branch().to_owned());
                transaction.create_branch(name, from.as_ref().unwrap_or(&own).from())
            }
            Self::Drop { name } => transaction.drop_branch(name),
            Self::Move { name, expected, to } => transaction.move_branch(name, *expected, to.from()),
            Self::Switch { name } => transaction.switch_branch(name),
            Self::Pin { name, to } => transaction.pin(name, to.from()),
            Self::Unpin { name } => transaction.unpin(name),
            Self::Retain { versions, seconds, bytes } => {
                let known = transaction.retention()?;
                let time = seconds.map(|seconds| i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX));
                transaction.retain(Retention {
                    versions: versions.unwrap_or(known.versions),
                    time: time.unwrap_or(known.time),
                    bytes: bytes.unwrap_or(known.bytes),
                })
            }
        }
    }
}

impl Source {
    fn from(&self) -> From<'_> {
        match self {
            Self::Nothing => From::Empty,
            Self::Branch(name) => From::Branch(name),
            Self::Version(version) => From::Version(*version),
        }
    }
}

struct Reader<'a> {
    tokens: &'a [TextToken],
    at: usize,
}

impl Reader<'_> {
    fn statement(&mut self) -> Result<AlterDatabase> {
        Ok(match self.word(&["CREATE", "DROP", "MOVE", "SWITCH", "PIN", "UNPIN", "RETAIN"])? {
            "CREATE" => {
                let name = self.branch()?;
                let from = self.is("FROM").then(|| self.source(true)).transpose()?;
                AlterDatabase::Create { name, from }
            }
            "DROP" => AlterDatabase::Drop { name: self.branch()? },
            "MOVE" => {
                let name = self.branch()?;
                self.word(&["FROM"])?;
                self.word(&["VERSION"])?;
                let expected = self.number()?;
                self.word(&["TO"])?;
                AlterDatabase::Move { name, expected, to: self.source(true)? }
            }
            "SWITCH" => AlterDatabase::Switch { name: self.branch()? },
            "PIN" => {
                let name = self.name()?;
                self.word(&["TO"])?;
                AlterDatabase::Pin { name, to: self.source(false)? }
            }
            "UNPIN" => AlterDatabase::Unpin { name: self.name()? },
            _ => {
                let (mut versions, mut seconds, mut bytes) = (None, None, None);
                loop {
                    let place = match self.word(&["VERSIONS", "SECONDS", "BYTES"])? {
                        "VERSIONS" => &mut versions,
                        "SECONDS" => &mut seconds,
                        _ => &mut bytes,
                    };
                    *place = Some(self.number()?);
                    if self.tokens.get(self.at).is_none_or(|token| token.text != ",") {
                        break AlterDatabase::Retain { versions, seconds, bytes };
                    }
                    self.at += 1;
                }
            }
        })
    }

    fn branch(&mut self) -> Result<String> {
        self.word(&["BRANCH"])?;
        self.name()
    }

    fn source(&mut self, may_be_empty: bool) -> Result<Source> {
        let words: &[&'static str] =
            if may_be_empty { &["BRANCH", "VERSION", "NOTHING"] } else { &["BRANCH", "VERSION"] };
        Ok(match self.word(words)? {
            "BRANCH" => Source::Branch(self.name()?),
            "VERSION" => Source::Version(self.number()?),
            _ => Source::Nothing,
        })
    }

    /// Whether this word comes next; then it is passed.
    fn is(&mut self, word: &str) -> bool {
        let token = self.tokens.get(self.at).filter(|token| token.kind == TextTokenKind::Word);
        let is_it = token.is_some_and(|token| token.text.eq_ignore_ascii_case(word));
        self.at += usize::from(is_it);
        is_it
    }

    fn word(&mut self, words: &[&'static str]) -> Result<&'static str> {
        let found = words.iter().copied().find(|word| self.is(word));
        found.ok_or_else(|| expected(&words.join(" or "), self.tokens.get(self.at)))
    }

    fn name(&mut self) -> Result<String> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        match token {
            Some(token) if token.kind == TextTokenKind::Word => Ok(token.text.to_lowercase()),
            Some(token) if matches!(token.kind, TextTokenKind::Quoted | TextTokenKind::Text) => Ok(token.text.clone()),
            other => Err(expected("a name", other)),
        }
    }

    fn number(&mut self) -> Result<u64> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        let number =
            token.filter(|token| token.kind == TextTokenKind::Number).and_then(|token| token.text.parse().ok());
        number.ok_or_else(|| expected("a number", token))
    }
}

fn expected(what: &str, found: Option<&TextToken>) -> Error {
    let found = found.map_or_else(|| "the end of the statement".to_owned(), |token| format!("`{}`", token.text));
    Error::new(codes::SYNTAX, format!("expected {what}, found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_whole() {
        let read = |text: &str| AlterDatabase::read(text);
        let dev = || "dev".to_owned();
        assert_eq!(
            read("alter database create branch Dev").ok(),
            Some(AlterDatabase::Create { name: dev(), from: None })
        );
        let moved = AlterDatabase::Move { name: dev(), expected: 7, to: Source::Branch("A b".to_owned()) };
        assert_eq!(read("ALTER DATABASE MOVE BRANCH dev FROM VERSION 7 TO BRANCH \"A b\"").ok(), Some(moved));
        let kept = AlterDatabase::Retain { versions: None, seconds: Some(60), bytes: Some(9) };
        assert_eq!(read("ALTER DATABASE RETAIN SECONDS 60, BYTES 9").ok(), Some(kept));
        for wrong in
            ["CREATE BRANCH", "DROP BRANCH a b", "PIN 'x' TO NOTHING", "MOVE BRANCH a TO VERSION 1", "RETAIN", ""]
        {
            assert!(read(&format!("ALTER DATABASE {wrong}")).is_err_and(|error| error.is(codes::SYNTAX)), "{wrong}");
        }
    }
}
