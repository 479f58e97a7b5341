//! Checkpoints: logged rows become segments, small and hollow row groups are merged, a manifest takes the log's place,
//! and files that nobody needs are removed. It refuses to change what anybody sees.
//!
//! Every step is safe to die after. Row groups are written without the lock; only then is the lock taken, and one
//! record says where the rows are now. The log goes on in a new file before the manifest is written, and old files are
//! removed after `CURRENT` names it.

use super::ROWS_PER_GROUP;
use super::bulk::{Target, rewrite};
use super::part::Part;
use super::record::Operation;
use super::state::State;
use crate::error::Result;

/// A row group with fewer rows is merged with its neighbours when they are written anyway.
const SMALL_ROWS: usize = ROWS_PER_GROUP / 4;
/// So many small row groups in a row are merged for their own sake.
const SMALL_GROUPS_MAX: usize = 16;

/// Writes the row groups that a state should have, and says how they take their place.
pub(crate) fn plan(target: Target<'_>, state: &State) -> Result<Vec<Operation>> {
    let mut operations = Vec::new();
    for table in state.tables.values() {
        for stretch in table.parts.chunk_by(|one, other| is_movable(one) && is_movable(other)) {
            let range = (
                stretch.first().and_then(|part| part.ids().first()),
                stretch.last().and_then(|part| part.ids().last()),
            );
            let (Some(first), Some(last)) = range else { continue };
            if stretch.iter().any(must_move) || (stretch.len() > SMALL_GROUPS_MAX && stretch.iter().all(is_movable)) {
                let groups = rewrite(target, table, stretch)?;
                operations.push(Operation::Rewrite { table: table.id, range: (first, last), groups });
            }
        }
    }
    Ok(operations)
}

/// What of a plan still fits a newer state.
pub(crate) fn still_fitting(operations: Vec<Operation>, planned: &State, now: &State) -> Vec<Operation> {
    let fits = |operation: &Operation| match operation {
        Operation::Rewrite { table, range, .. } => match (planned.tables.get(table), now.tables.get(table)) {
            (Some(planned), Some(now)) => planned.spec_version == now.spec_version && now.can_rewrite(*range),
            _ => false,
        },
        _ => false,
    };
    operations.into_iter().filter(fits).collect()
}

/// In memory, or a row group most of which was deleted.
fn must_move(part: &Part) -> bool {
    part.is_memory() || part.deleted_count() > part.rows()
}

fn is_movable(part: &Part) -> bool {
    must_move(part) || part.rows() < SMALL_ROWS
}
