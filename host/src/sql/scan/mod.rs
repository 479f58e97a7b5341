//! Reading a table of ours: the bridge between storage's parts and the engine. The provider answers the planner; the
//! source is the operator; the stream does the work, a conjunct is one of its conditions and lean says it over smaller
//! types; zones tell which parts need no work, and a sample how many rows will pass.

mod conjunct;
mod lean;
mod lookup;
mod provider;
mod sample;
mod source;
mod stream;
mod zones;

pub(crate) use provider::{ROW_ID, TableScan};
pub(crate) use source::left_distinct;
