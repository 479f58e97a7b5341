//! Checkpoints: logged rows become segments, small and hollow row groups are merged, a manifest takes the log's place,
//! and files that nobody needs are removed. It refuses to change what anybody sees.
//!
//! Every step is safe to die after. Row groups are written without the lock; only then is the lock taken, and one
//! record says where the rows are now. The log goes on in a new file before the manifest is written, and old files are
//! removed after `CURRENT` names it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use roaring::RoaringBitmap;
use ulid::Ulid;

use super::ROWS_PER_GROUP;
use super::bulk::{Target, rewrite};
use super::part::{Body, Part};
use super::record::{Operation, Rewrite};
use super::spec::TableId;
use super::state::State;
use super::table::Table;
use crate::error::Result;

/// Header and footer of a file are shorter, unless it has very many columns.
const FRAME_BYTES: u64 = 64 << 10;
/// So many small row groups in a row are merged for their own sake.
const SMALL_GROUPS_MAX: usize = 16;

/// A run of rows is merged with those that follow if it has less than so many times their rows: each row is copied once
/// per level, and a table has few small row groups.
const LEVEL: usize = 4;
/// A thorough pass writes a row group again if one of so many of its rows was deleted.
const HOLLOW_SHARE: u64 = 16;

/// How much is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// What is in memory or mostly deleted, with small neighbours.
    Usual,
    /// Also what is a little hollow or small, in one table or in all.
    Thorough(Option<TableId>),
}

/// Writes the row groups that a state should have, and says how they take their place. What several branches or pins
/// share is written once for all of them.
pub(crate) fn plan(target: Target<'_>, state: &State, effort: Effort) -> Result<Vec<Operation>> {
    let hollow = hollow_files(state);
    let mut tables: BTreeMap<(TableId, u64), Vec<&Table>> = BTreeMap::new();
    for table in state.tables() {
        tables.entry((table.id, table.spec_version)).or_default().push(table);
    }
    let mut operations = Vec::new();
    for ((id, _), tables) in tables {
        let is_thorough = matches!(effort, Effort::Thorough(only) if only.is_none_or(|only| only == id));
        let full = if is_thorough { target.options.group_rows } else { ROWS_PER_GROUP };
        let choice = Choice { is_thorough, hollow: &hollow, small_rows: full / 4 };
        let mut group = Group { tables: tables.into_iter().cloned().collect(), done: HashSet::new(), choice };
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
struct Group<'a> {
    tables: Vec<Table>,
    /// Row groups that stay as they are: they are written anew already.
    done: HashSet<*const Body>,
    choice: Choice<'a>,
}

impl Group<'_> {
    /// The next parts that should be written anew, with every row that any version still has; and a table with them.
    fn next(&mut self) -> Option<(usize, Vec<Part>)> {
        let shared = Shared::of(&self.tables);
        for (index, table) in self.tables.iter().enumerate() {
            let is_free = |part: &Part| {
                !self.done.contains(&Arc::as_ptr(part.body())) && self.choice.may_move(&shared.whole(part))
            };
            let is_alike = |one: &Part, other: &Part| is_free(one) && is_free(other) && shared.is_alike(one, other);
            for stretch in table.parts.chunk_by(is_alike).filter(|stretch| stretch.iter().all(is_free)) {
                let whole: Vec<Part> = stretch.iter().map(|part| shared.whole(part)).collect();
                let chosen = self.choice.of(&whole);
                if !chosen.is_empty() {
                    self.done.extend(chosen.iter().map(|part| Arc::as_ptr(part.body())));
                    return Some((index, chosen.to_vec()));
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

/// What of a table is written again.
#[derive(Clone, Copy)]
struct Choice<'a> {
    is_thorough: bool,
    hollow: &'a HashSet<Ulid>,
    /// A row group with fewer rows is merged with its neighbours when they are written anyway.
    small_rows: usize,
}

impl Choice<'_> {
    /// Of neighbours that may be merged, those that are.
    fn of<'a>(&self, stretch: &'a [Part]) -> &'a [Part] {
        let smalls = if self.is_thorough { 2 } else { SMALL_GROUPS_MAX + 1 };
        if stretch.len() >= smalls {
            return stretch;
        }
        let first = stretch.iter().position(|part| self.must_move(part));
        let last = stretch.iter().rposition(|part| self.must_move(part));
        let (Some(mut first), Some(mut last)) = (first, last) else { return &[] };
        let mut rows: usize = stretch[first..=last].iter().map(Part::rows).sum();
        while first > 0 && stretch[first - 1].rows() < LEVEL * rows {
            first -= 1;
            rows += stretch[first].rows();
        }
        while last + 1 < stretch.len() && stretch[last + 1].rows() < LEVEL * rows {
            last += 1;
            rows += stretch[last].rows();
        }
        &stretch[first..=last]
    }

    /// In memory, or a row group most of which was deleted, or one in a file most of which nobody needs.
    fn must_move(&self, part: &Part) -> bool {
        let deleted = part.deleted_count() as u64;
        let is_hollow = self.is_thorough && deleted > 0 && deleted * HOLLOW_SHARE >= part.ids().count();
        let in_hollow_file = || part.stored().is_some_and(|(file, _)| self.hollow.contains(&file.id));
        part.is_memory() || deleted > part.rows() as u64 || is_hollow || in_hollow_file()
    }

    fn may_move(&self, part: &Part) -> bool {
        self.must_move(part) || part.rows() < self.small_rows
    }
}

/// The files of which row groups that a state needs are less than half.
fn hollow_files(state: &State) -> HashSet<Ulid> {
    let mut needed: HashMap<Ulid, (u64, u64)> = HashMap::new();
    let mut known = HashSet::new();
    for (file, group) in state.tables().into_iter().flat_map(|table| table.parts.iter().filter_map(Part::stored)) {
        let length = file.frame().map_or(0, |frame| frame.length);
        if known.insert((file.id, group.metadata.offset)) {
            needed.entry(file.id).or_insert((0, length)).0 += group.end() - group.metadata.offset;
        }
    }
    // What stands around row groups is not counted, so that a file with small ones is not hollow for ever.
    let hollow = needed.into_iter().filter(|(_, (used, length))| used * 2 + FRAME_BYTES < *length);
    hollow.map(|(file, _)| file).collect()
}
