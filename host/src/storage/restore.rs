//! Restoring into a database that is open: its main branch gets the contents of another database's version, by one
//! commit. It refuses to forget what was there: that stays an old version like any other.

use super::backup::{copy_fixed, copy_others};
use super::commit::Shared;
use super::record::{Attached, Batch, Kind, Operation, decode, encode};
use super::recover::Files;
use super::refs::MAIN;
use super::segment;
use super::spec::Copied;
use super::table::Table;
use super::tree::Tree;
use crate::error::{Error, Result, codes};

impl Shared {
    /// Makes the main branch what a tree of another database is. Returns the new version.
    pub(crate) fn adopt(&self, from: &Self, tree: &Tree) -> Result<u64> {
        self.may_write()?;
        let (Some(files), Some(source)) = (&self.files, &from.files) else {
            return Err(Error::new(codes::UNSUPPORTED, "a database in memory cannot be restored"));
        };
        // Nobody removes files meanwhile: those that are copied now belong to no version yet.
        let _folding = self.folding.hold()?;
        copy_segments(files, source, tree)?;
        copy_others(&source.directory, &files.directory, "", &mut Copied::default())?;
        let contents = contents(tree)?;
        // Read again as what this database's files are.
        let contents = encode(&contents).and_then(|bytes| {
            decode(&bytes, &files.segments)
                .map_err(|flaw| Error::new(codes::INTERNAL, format!("a tree is odd: {flaw}")))
        })?;
        let state = {
            let held = self.lock.hold()?;
            let mut head = self.head();
            self.catch_up(&mut head, &held)?;
            let old = head.state.main()?.clone();
            let mut operations: Vec<Operation> =
                old.tables.keys().map(|&table| Operation::DropTable { table }).collect();
            operations.extend(old.entries.keys().map(|key| Operation::Remove { key: key.clone() }));
            operations.extend(contents);
            let payload = encode(&operations)?;
            self.append(&mut head, &held, MAIN, Kind::Commit, operations, &payload)?
        };
        self.make_durable(state.lsn)?;
        Ok(state.version)
    }
}

fn copy_segments(files: &Files, source: &Files, tree: &Tree) -> Result<()> {
    let attached = tree.tables.values().flat_map(|table| table.parts.iter().filter_map(Attached::of));
    for attached in attached {
        let length = attached.file.frame().map_or(0, |frame| frame.length);
        let mut copied = Copied::default();
        copy_fixed(&source.directory, &files.directory, &attached.file.name(), length, &mut copied)?;
    }
    files.directory.sync_dir(segment::FOLDER)
}

/// What makes an empty tree this one.
fn contents(tree: &Tree) -> Result<Vec<Operation>> {
    let mut operations = Vec::new();
    for table in tree.tables.values() {
        operations.push(Operation::CreateTable { table: table.id, spec: table.spec.clone() });
        rows(table, &mut operations)?;
    }
    operations.extend(
        tree.entries.iter().map(|(key, entry)| Operation::Put { key: key.clone(), value: entry.value.clone() }),
    );
    Ok(operations)
}

fn rows(table: &Table, operations: &mut Vec<Operation>) -> Result<()> {
    let all: Vec<usize> = (0..table.spec.schema.fields().len()).collect();
    for part in table.parts.iter() {
        operations.push(match Attached::of(part) {
            Some(attached) => Operation::Attach { table: table.id, attached },
            None => Operation::Append { table: table.id, batch: Batch::Rows(part.read(&all)?) },
        });
    }
    Ok(())
}
