//! Statements that change rows. Each is a query that finds or makes rows, and a writer that checks and stores them.

mod conflict;
mod delete;
mod foreign;
mod insert;
mod merge;
mod returning;
mod target;
mod update;
mod write;

pub(super) use delete::{delete, truncate};
pub(super) use foreign::{Deferred, check_all, check_deferred};
pub(super) use insert::{insert, insert_plan, no_column};
pub(super) use merge::merge;
pub(super) use update::update;
pub(super) use write::assign;
