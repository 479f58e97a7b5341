//! Reading a table of ours: the bridge between storage's parts and the engine. The provider answers the planner; the
//! source is the operator; the stream does the work; zones tell which parts need no work.

mod lookup;
mod provider;
mod source;
mod stream;
mod zones;

pub(crate) use provider::{ROW_ID, TableScan};
