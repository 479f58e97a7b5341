//! What we add to the engine's optimizer: an order of joins by how many rows they make, as far as that is known.

mod estimate;
mod join_order;

use std::sync::Arc;

use datafusion::optimizer::{Optimizer, OptimizerRule};

/// The engine's rules, with ours where they belong.
pub(crate) fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    // Conditions are at their tables by then, and columns that are not needed are still to be removed.
    let place = rules.iter().rposition(|rule| rule.name() == "optimize_projections").unwrap_or(rules.len());
    rules.insert(place, Arc::new(join_order::JoinOrder));
    rules
}
