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
    for ((id, spec_version), tables) in tables {
        let shared = Shared::of(&tables);
        let mut done: HashSet<*const Body> = HashSet::new();
        for table in &tables {
            for stretch in table.parts.chunk_by(|one, other| shared.is_alike(one, other)) {
                if stretch.iter().any(|part| !done.insert(Arc::as_ptr(part.body()))) {
                    continue;
                }
                let stretch: Vec<Part> = stretch.iter().map(|part| shared.whole(part)).collect();
                let range = (
                    stretch.first().and_then(|part| part.ids().first()),
                    stretch.last().and_then(|part| part.ids().last()),
                );
                let (Some(first), Some(last)) = range else { continue };
                let is_worthwhile = stretch.len() > SMALL_GROUPS_MAX && stretch.iter().all(is_movable);
                if stretch.iter().any(must_move) || is_worthwhile {
                    let groups = rewrite(target, table, &stretch)?;
                    operations.push(Operation::Rewrite(Rewrite {
                        table: id,
                        spec_version,
                        range: (first, last),
                        groups,
                    }));
                }
            }
        }
    }
    Ok(operations)
}

/// What of a plan still fits a newer state.
pub(crate) fn still_fitting(operations: Vec<Operation>, now: &State) -> Vec<Operation> {
    let fits = |operation: &Operation| match operation {
        Operation::Rewrite(rewrite) => now.can_rewrite(rewrite),
        _ => false,
    };
    operations.into_iter().filter(fits).collect()
}

/// Which of a table's versions hold which parts.
struct Shared(HashMap<*const Body, (Vec<usize>, RoaringBitmap)>);

impl Shared {
    fn of(tables: &[&Table]) -> Self {
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

    /// Whether two neighbours are held by the same versions and can be merged.
    fn is_alike(&self, one: &Part, other: &Part) -> bool {
        let holders = |part: &Part| self.0.get(&Arc::as_ptr(part.body())).map(|(holders, ..)| holders);
        is_movable(&self.whole(one)) && is_movable(&self.whole(other)) && holders(one) == holders(other)
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
