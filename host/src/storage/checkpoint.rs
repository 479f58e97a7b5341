//! Checkpoints: logged rows become segments, small and hollow row groups are merged, a manifest takes the log's place,
//! and files that nobody needs are removed. It refuses to change what anybody sees.
//!
//! Every step is safe to die after. Row groups are written without the lock; only then is the lock taken, and one
//! record says where the rows are now. The log goes on in a new file before the manifest is written, and old files are
//! removed after `CURRENT` names it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::ROWS_PER_GROUP;
use super::bulk::{Target, rewrite};
use super::part::{Body, Part};
use super::record::{Operation, Rewrite};
use super::spec::TableId;
use super::state::State;
use super::table::Table;
use crate::error::Result;

/// A row group with fewer rows is merged with its neighbours when they are written anyway.
const SMALL_ROWS: usize = ROWS_PER_GROUP / 4;
/// So many small row groups in a row are merged for their own sake.
const SMALL_GROUPS_MAX: usize = 16;

/// Writes the row groups that a state should have, and says how they take their place. What several branches or pins
/// share is written once for all of them.
pub(crate) fn plan(target: Target<'_>, state: &State) -> Result<Vec<Operation>> {
    let mut tables: BTreeMap<(TableId, u64), Vec<&Table>> = BTreeMap::new();
    for table in state.tables() {
        tables.entry((table.id, table.spec_version)).or_default().push(table);
    }
    let mut operations = Vec::new();
    for tables in tables.into_values() {
        let mut group = Group { tables: tables.into_iter().cloned().collect(), done: HashSet::new() };
        while let Some((table, stretch)) = group.next() {
            let table = &group.tables[table];
            let ends = (stretch[0].ids().first(), stretch[stretch.len() - 1].ids().last());
            let (Some(first), Some(last)) = ends else { break };
            let groups = rewrite(target, table, &stretch)?;
            let operation = Rewrite { table: table.id, spec_version: table.spec_version, range: (first, last), groups };
            group.apply(&operation)?;
            operations.push(Operation::Rewrite(operation));
        }
    }
    Ok(operations)
}

/// The versions of a table that branches and pins hold, with what is planned already.
struct Group {
    tables: Vec<Table>,
    /// Row groups that stay as they are: they are written anew already.
    done: HashSet<*const Body>,
}

impl Group {
    /// The next parts that should be written anew, with every row that any version still has; and a table with them.
    fn next(&mut self) -> Option<(usize, Vec<Part>)> {
        let shared = Shared::of(&self.tables);
        for (index, table) in self.tables.iter().enumerate() {
            let is_free =
                |part: &Part| !self.done.contains(&Arc::as_ptr(part.body())) && is_movable(&shared.whole(part));
            let is_alike = |one: &Part, other: &Part| is_free(one) && is_free(other) && shared.is_alike(one, other);
            for stretch in table.parts.chunk_by(is_alike).filter(|stretch| stretch.iter().all(is_free)) {
                let whole: Vec<Part> = stretch.iter().map(|part| shared.whole(part)).collect();
                if whole.iter().any(must_move) || whole.len() > SMALL_GROUPS_MAX {
                    self.done.extend(stretch.iter().map(|part| Arc::as_ptr(part.body())));
                    return Some((index, whole));
                }
            }
        }
        None
    }

    fn apply(&mut self, operation: &Rewrite) -> Result<()> {
        for table in &mut self.tables {
            if operation.fits(table) {
                let parts = operation.parts(&table.spec.schema);
                table.rewrite(operation.range, &parts)?;
                self.done.extend(table.live_parts(operation.range).iter().map(|part| Arc::as_ptr(part.body())));
            }
        }
        Ok(())
    }
}

/// What of a plan still fits a newer state.
pub(crate) fn still_fitting(operations: Vec<Operation>, now: &State) -> Result<Vec<Operation>> {
    let mut next = now.clone();
    let mut fitting = Vec::with_capacity(operations.len());
    for operation in operations {
        if let Operation::Rewrite(rewrite) = &operation
            && next.can_rewrite(rewrite)
        {
            next.rewrite(rewrite)?;
            fitting.push(operation);
        }
    }
    Ok(fitting)
}

/// Which of a table's versions hold which parts.
struct Shared(HashMap<*const Body, (Vec<usize>, RoaringBitmap)>);

impl Shared {
    fn of(tables: &[Table]) -> Self {
        let mut shared: HashMap<*const Body, (Vec<usize>, RoaringBitmap)> = HashMap::new();
        for (holder, table) in tables.iter().enumerate() {
            for part in table.parts.iter() {
                let deleted = part.deleted().cloned().unwrap_or_default();
                let entry = shared.entry(Arc::as_ptr(part.body()));
                let (holders, dead) = entry.or_insert_with(|| (Vec::new(), deleted.clone()));
                holders.push(holder);
                // What any of them still has is not dead.
                *dead &= deleted;
            }
        }
        Self(shared)
    }

    /// Whether two neighbours are held by the same versions.
    fn is_alike(&self, one: &Part, other: &Part) -> bool {
        let holders = |part: &Part| self.0.get(&Arc::as_ptr(part.body())).map(|(holders, ..)| holders);
        holders(one) == holders(other)
    }

    /// A part with every row that any version still has.
    fn whole(&self, part: &Part) -> Part {
        match self.0.get(&Arc::as_ptr(part.body())) {
            Some((holders, dead)) if holders.len() > 1 => part.with_deleted(dead.clone()),
            _ => part.clone(),
        }
    }
}

/// In memory, or a row group most of which was deleted.
fn must_move(part: &Part) -> bool {
    part.is_memory() || part.deleted_count() > part.rows()
}

fn is_movable(part: &Part) -> bool {
    must_move(part) || part.rows() < SMALL_ROWS
}
