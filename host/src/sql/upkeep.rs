//! Statements about the database as a whole: `CHECKPOINT`, `VACUUM [t]`, `BACKUP TO 'dir'` and
//! `RESTORE FROM 'dir' [AS OF VERSION n | TIMESTAMP 't']`. They run outside transactions, and refuse to run in one.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use datafusion::sql::sqlparser::ast::ObjectName;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::outcome::{Outcome, Rows};
use super::session::Session;
use super::{fault, names, parse, split};
use crate::error::{Error, Result, codes};
use crate::storage::{At, TableId};

/// One of these statements.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Upkeep {
    Checkpoint,
    Vacuum(Option<ObjectName>),
    Backup(PathBuf),
    Restore(PathBuf, Option<At>),
}

/// Reads such a statement; `None` when it is another.
pub(super) fn statement(text: &str) -> Option<Result<Upkeep>> {
    let words = split::leading_words(text, 1);
    match words.first().map(String::as_str) {
        Some("CHECKPOINT" | "VACUUM" | "BACKUP" | "RESTORE") => Some(parse::read(text, read)),
        _ => None,
    }
}

fn read(parser: &mut Parser<'_>) -> Result<Upkeep, ParserError> {
    let word = parser.next_token().to_string().to_uppercase();
    match word.as_str() {
        "CHECKPOINT" => Ok(Upkeep::Checkpoint),
        "VACUUM" => {
            let is_whole = parser.peek_token().token == Token::EOF;
            Ok(Upkeep::Vacuum(if is_whole { None } else { Some(parser.parse_object_name(false)?) }))
        }
        "BACKUP" => {
            parser.expect_keyword(Keyword::TO)?;
            Ok(Upkeep::Backup(quoted(parser)?.into()))
        }
        _ => {
            parser.expect_keyword(Keyword::FROM)?;
            let from = quoted(parser)?.into();
            Ok(Upkeep::Restore(from, read_at(parser)?))
        }
    }
}

/// `AS OF …`, in the words that the tokens have it in by now (see `parse`).
fn read_at(parser: &mut Parser<'_>) -> Result<Option<At>, ParserError> {
    if parser.parse_keywords(&[Keyword::FOR, Keyword::SYSTEM_TIME, Keyword::AS, Keyword::OF]) {
        return parser.parse_literal_uint().map(|version| Some(At::Version(version)));
    }
    if parser.parse_keywords(&[Keyword::TIMESTAMP, Keyword::AS, Keyword::OF]) {
        let text = quoted(parser)?;
        let time = moment(&text).map_err(|error| ParserError::ParserError(error.message().to_owned()))?;
        return Ok(Some(At::Time(time)));
    }
    Ok(None)
}

fn quoted(parser: &mut Parser<'_>) -> Result<String, ParserError> {
    let next = parser.next_token();
    match next.token {
        Token::SingleQuotedString(text) => Ok(text),
        _ => parser.expected("text in single quotes", next),
    }
}

/// Microseconds since 1970 (UTC) of a time as text; without a zone it is UTC.
pub(crate) fn moment(text: &str) -> Result<i64> {
    let nanoseconds = arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(text);
    nanoseconds.map(|nanoseconds| nanoseconds.div_euclid(1000)).map_err(|error| fault::fold_arrow(&error))
}

impl Upkeep {
    fn tag(&self) -> &'static str {
        match self {
            Self::Checkpoint => "CHECKPOINT",
            Self::Vacuum(_) => "VACUUM",
            Self::Backup(_) => "BACKUP",
            Self::Restore(..) => "RESTORE",
        }
    }

    pub(super) fn run(self, session: &Arc<Session>) -> Result<Outcome> {
        let tag = self.tag();
        if session.in_transaction() || session.is_inside() {
            return Err(Error::new(codes::IN_TRANSACTION, format!("{tag} cannot run inside a transaction")));
        }
        let store = &session.engine.store;
        match self {
            Self::Checkpoint => {
                store.checkpoint()?;
                Ok(Outcome::done(tag))
            }
            Self::Vacuum(name) => {
                let table = name.map(|name| table(session, &name)).transpose()?;
                let done = store.vacuum(table)?;
                let facts = [
                    ("row_groups", done.row_groups),
                    ("rows", done.rows),
                    ("files_removed", done.files),
                    ("bytes_removed", done.bytes),
                ];
                report(tag, &facts)
            }
            Self::Backup(to) => {
                let done = store.backup(&to)?;
                let facts = [
                    ("version", done.version),
                    ("files_copied", done.files),
                    ("bytes_copied", done.bytes),
                    ("files_kept", done.kept),
                ];
                report(tag, &facts)
            }
            Self::Restore(from, at) => {
                let done = store.restore(&from, at)?;
                report(tag, &[("version", done.0), ("restored_version", done.1)])
            }
        }
    }
}

fn table(session: &Arc<Session>, name: &ObjectName) -> Result<TableId> {
    let (schema, name) = names::split_name(name)?;
    let mut found = None;
    session.within(session.owner(), |scope| {
        let table = scope.table_to_change(&scope.schema_or_default(schema), &name)?;
        found = Some(TableId(table.id));
        Ok(Outcome::done("VACUUM"))
    })?;
    found.ok_or_else(|| Error::new(codes::INTERNAL, "a table was found and lost"))
}

fn report(tag: &str, facts: &[(&str, u64)]) -> Result<Outcome> {
    let columns = facts.iter().map(|(name, value)| (*name, Arc::new(UInt64Array::from(vec![*value])) as ArrayRef));
    let batch = RecordBatch::try_from_iter(columns).map_err(|error| fault::fold_arrow(&error))?;
    Ok(Outcome::rows(tag, Rows::ready(batch.schema(), vec![batch])))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_read_as_they_are_written() {
        let read = |text: &str| statement(text).unwrap();
        assert_eq!(read("checkpoint").unwrap(), Upkeep::Checkpoint);
        assert_eq!(read("VACUUM").unwrap(), Upkeep::Vacuum(None));
        assert!(matches!(read("vacuum a.\"B c\"").unwrap(), Upkeep::Vacuum(Some(name)) if name.0.len() == 2));
        assert_eq!(read("BACKUP TO '/a b'").unwrap(), Upkeep::Backup("/a b".into()));
        assert_eq!(read("restore from 'x'").unwrap(), Upkeep::Restore("x".into(), None));
        assert_eq!(
            read("RESTORE FROM 'x' AS OF VERSION 7").unwrap(),
            Upkeep::Restore("x".into(), Some(At::Version(7)))
        );
        let time = Some(At::Time(1_767_225_600_500_000));
        for text in ["2026-01-01 00:00:00.5", "2026-01-01T01:00:00.5+01:00"] {
            assert_eq!(
                read(&format!("RESTORE FROM 'x' AS OF TIMESTAMP '{text}'")).unwrap(),
                Upkeep::Restore("x".into(), time)
            );
        }
        for text in
            ["CHECKPOINT now", "BACKUP 'x'", "BACKUP TO x", "RESTORE FROM 'x' AS OF 7", "VACUUM a b", "RESTORE TO 'x'"]
        {
            assert!(read(text).unwrap_err().is(codes::SYNTAX), "{text}");
        }
        assert!(statement("SELECT 1").is_none());
    }
}
