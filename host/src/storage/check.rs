//! `check`: reads every byte that the newest version needs, from the files and not from what this process remembers,
//! and lists what is wrong. It refuses to repair.

use std::sync::Arc;

use arrow::array::ArrayRef;

use super::io::Directory;
use super::lock::WriterLock;
use super::part::Part;
use super::record::Attached;
use super::recover::{Files, Writers, catch_up, files_of, is_followed, load};
use super::segment::Segments;
use super::spec::Finding;
use super::state::State;
use super::statistics::ColumnStatistics;
use super::table::Table;
use crate::error::{Error, Result, codes};

/// What is wrong, in no promised order; nothing if all is well.
pub(crate) fn check(files: &Files, lock: &WriterLock) -> Result<Vec<Finding>> {
    // Other segments than this process has open, so that nothing counts as checked before.
    let fresh = Files {
        directory: files.directory.clone(),
        segments: Arc::new(Segments::new(files.directory.clone(), 0)),
        database: files.database,
        is_read_only: true,
    };
    let state = {
        let _held = lock.hold()?;
        match super::manifest::read_format(&fresh.directory).and_then(|_| read_state(&fresh)) {
            Ok(state) => state,
            Err(error) => return Ok(vec![finding(&fresh.directory, error)?]),
        }
    };
    let mut findings = Vec::new();
    let mut note = |result: Result<()>| match result {
        Ok(()) => Ok(()),
        Err(error) => finding(&fresh.directory, error).map(|finding| findings.push(finding)),
    };
    for file in files_of(&state) {
        note(file.check_frame())?;
    }
    for table in state.tables() {
        let mut is_sound = true;
        for part in table.parts.iter() {
            let result = check_part(table, part);
            is_sound &= result.is_ok();
            note(result)?;
        }
        for key in table.keys.iter().filter(|_| is_sound) {
            for (file, parts) in super::index::files(&table.parts, key) {
                note(super::index::check(&fresh.directory, file, &parts, key))?;
            }
        }
        if is_sound {
            note(table.check_all_unique().map_err(|error| match error.is(codes::UNIQUE) {
                true => super::io::corrupt("segments", &format!("table {}: {}", table.id.0, error.message())),
                false => error,
            }))?;
        }
    }
    findings.dedup();
    Ok(findings)
}

fn read_state(files: &Files) -> Result<Arc<State>> {
    let mut head = load(files)?;
    catch_up(files, &mut head, Writers::Excluded)?;
    match &head.log {
        Some(position) if is_followed(files, position)? => {
            Err(super::io::corrupt(&position.wal.file.name, "its end is missing"))
        }
        _ => Ok(head.state),
    }
}

fn check_part(table: &Table, part: &Part) -> Result<()> {
    let Some(Attached { file, group, .. }) = Attached::of(part) else { return Ok(()) };
    let wrong = |problem: String| super::io::corrupt(&file.name(), &problem);
    for column in 0..group.columns.len() {
        let values: ArrayRef = file.column(&group, column)?;
        let (found, stored) = (ColumnStatistics::of(&values), group.statistics(column));
        let same = stored.is_some_and(|stored| stored.is_same(&found));
        if !same {
            return Err(wrong(format!("the statistics of column {column} are not those of its values")));
        }
    }
    for key in table.keys.iter() {
        let columns: Option<Box<[usize]>> = key.key.columns.iter().map(|&column| part.body_column(column)).collect();
        let Some((_, stored)) = columns.and_then(|columns| group.ranges.iter().find(|(of, _)| *of == columns)) else {
            continue;
        };
        if key.encode_part(part)?.is_some_and(|keys| keys.range() != *stored) {
            return Err(wrong(format!("the bounds of key `{}` are not those of its values", key.key.name)));
        }
    }
    Ok(())
}

/// Damage is a finding; anything else keeps us from looking.
fn finding(directory: &Directory, error: Error) -> Result<Finding> {
    if !error.is(codes::CORRUPT) {
        return Err(error);
    }
    let mut pieces = error.message().splitn(3, '`');
    match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(""), Some(file), Some(rest)) => {
            let problem = rest.trim_start_matches(" is damaged: ").to_owned();
            Ok(Finding { file: file.to_owned(), problem })
        }
        _ => Ok(Finding { file: directory.root.display().to_string(), problem: error.message().to_owned() }),
    }
}
