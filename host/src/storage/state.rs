//! The state of a database as an immutable value: its branches and pins, each with its tree; and `apply`, the one
//! function that makes the next state. It refuses to judge, as trees do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::part::Part;
use super::record::{Kind, Operation, Record, Rewrite};
use super::refs::{Branch, BranchId, MAIN, Pin, Retention};
use super::rows::RowNumbers;
use super::spec::TableId;
use super::table::Table;
use super::tree::{Tree, misfit};
use crate::error::Result;

/// The whole database. Cloning shares everything.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Counts records.
    pub(crate) lsn: u64,
    /// Counts commits, of all branches.
    pub(crate) version: u64,
    /// When the newest record was written, in microseconds since 1970 (UTC). It never goes back, whatever the clock does.
    pub(crate) time: i64,
    pub(crate) branches: RedBlackTreeMapSync<BranchId, Arc<Branch>>,
    /// The branch on which sessions begin.
    pub(crate) current: BranchId,
    /// The number of the next branch.
    pub(crate) next_branch: u32,
    /// Versions that are kept whatever the retention says.
    pub(crate) pins: RedBlackTreeMapSync<Arc<str>, Pin>,
    pub(crate) retention: Retention,
    /// Row ids, which all branches share, so that one id never means two rows.
    pub(crate) numbers: RowNumbers,
}

impl State {
    /// A database in which nothing was done yet.
    pub(crate) fn new(retention: Retention, time: i64) -> Self {
        let tree = Arc::new(Tree { time, ..Tree::empty() });
        let main = Branch { id: MAIN, name: "main".into(), parent: None, created: time, moved: 0, from: 0, tree };
        Self {
            lsn: 0,
            version: 0,
            time,
            branches: RedBlackTreeMapSync::new_sync().insert(MAIN, Arc::new(main)),
            current: MAIN,
            next_branch: MAIN.0 + 1,
            pins: RedBlackTreeMapSync::new_sync(),
            retention,
            numbers: RowNumbers::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        Self::new(Retention::default(), 0)
    }

    /// The tree of a branch, if there is such a branch.
    pub(crate) fn tree(&self, branch: BranchId) -> Option<&Arc<Tree>> {
        self.branches.get(&branch).map(|branch| &branch.tree)
    }

    /// The branch on which sessions begin.
    pub(crate) fn current(&self) -> Result<&Arc<Branch>> {
        self.branches.get(&self.current).ok_or_else(|| misfit("the branch on which sessions begin is not there"))
    }

    /// The tree of that branch.
    pub(crate) fn main(&self) -> Result<&Arc<Tree>> {
        self.current().map(|branch| &branch.tree)
    }

    /// The trees that branches and pins hold, each once.
    pub(crate) fn trees(&self) -> Vec<&Arc<Tree>> {
        let mut known = HashSet::new();
        let held = self.branches.values().map(|branch| &branch.tree).chain(self.pins.values().map(|pin| &pin.tree));
        held.filter(|tree| known.insert(Arc::as_ptr(tree))).collect()
    }

    /// The tables of all trees, each once.
    pub(crate) fn tables(&self) -> Vec<&Arc<Table>> {
        let mut known = HashSet::new();
        let tables = self.trees().into_iter().flat_map(|tree| tree.tables.values());
        tables.filter(|table| known.insert(Arc::as_ptr(table))).collect()
    }

    /// The state after a record.
    ///
    /// # Errors
    /// `CORRUPT` when the record does not follow this state or names what is not there.
    pub(crate) fn apply(&self, record: &Record) -> Result<Self> {
        if record.lsn != self.lsn + 1 {
            return Err(misfit(&format!("record {} follows record {}", record.lsn, self.lsn)));
        }
        let mut next = self.clone();
        next.lsn = record.lsn;
        next.time = next.time.max(record.time);
        if record.kind == Kind::Commit {
            next.version += 1;
        }
        let Some(branch) = next.branches.get(&record.branch).cloned() else {
            return Err(misfit(&format!("record {} is of branch {}, which is not there", record.lsn, record.branch.0)));
        };
        let mut tree = Tree::clone(&branch.tree);
        (tree.version, tree.time) = (next.version, next.time);
        let (mut changes, mut others) = (record.operations.iter().peekable(), Vec::new());
        let is_changed = changes.peek().is_some_and(|first| !first.is_apart());
        for operation in changes {
            match operation {
                apart if apart.is_apart() => others.push(apart),
                change if record.kind == Kind::Commit => tree.change(change, &mut next.numbers)?,
                _ => return Err(misfit("a record that is no commit changes a branch")),
            }
        }
        if is_changed {
            next.branches.insert_mut(branch.id, Arc::new(Branch { tree: Arc::new(tree), ..Branch::clone(&branch) }));
        }
        for operation in others {
            match operation {
                Operation::Rewrite(rewrite) => next.rewrite(rewrite)?,
                Operation::Refer(change) => next.refer(change, &branch.tree)?,
                _ => {}
            }
        }
        if record.kind == Kind::Rotate {
            next.forget_numbers();
        }
        Ok(next)
    }

    /// Whether rows of any tree are where this says that they were.
    pub(crate) fn can_rewrite(&self, rewrite: &Rewrite) -> bool {
        self.tables().into_iter().any(|table| rewrite.fits(table))
    }

    /// Puts row groups in the place of parts, in every tree that has those rows.
    pub(crate) fn rewrite(&mut self, rewrite: &Rewrite) -> Result<()> {
        let mut new: HashMap<*const Table, Arc<Table>> = HashMap::new();
        let mut parts: Option<Vec<Part>> = None;
        for table in self.tables() {
            if rewrite.fits(table) {
                let parts = parts.get_or_insert_with(|| rewrite.parts(&table.spec.schema));
                let mut next = Table::clone(table);
                next.rewrite(rewrite.range, parts)?;
                new.insert(Arc::as_ptr(table), Arc::new(next));
            }
        }
        if new.is_empty() {
            return Err(misfit("rows are moved that are not there"));
        }
        self.replace_tables(rewrite.table, &new);
        Ok(())
    }

    /// Puts other tables in the place of those at these addresses.
    fn replace_tables(&mut self, id: TableId, new: &HashMap<*const Table, Arc<Table>>) {
        let mut trees: HashMap<*const Tree, Arc<Tree>> = HashMap::new();
        for tree in self.trees() {
            let of_tree = tree.tables.get(&id).and_then(|table| new.get(&Arc::as_ptr(table)));
            if let Some(table) = of_tree {
                let tables = tree.tables.insert(id, table.clone());
                trees.insert(Arc::as_ptr(tree), Arc::new(Tree { tables, ..Tree::clone(tree) }));
            }
        }
        let branches: Vec<_> = self.branches.values().cloned().collect();
        for branch in branches {
            if let Some(tree) = trees.get(&Arc::as_ptr(&branch.tree)) {
                let next = Branch { tree: tree.clone(), ..Branch::clone(&branch) };
                self.branches.insert_mut(branch.id, Arc::new(next));
            }
        }
        let pins: Vec<_> = self.pins.iter().map(|(name, pin)| (name.clone(), pin.clone())).collect();
        for (name, pin) in pins {
            if let Some(tree) = trees.get(&Arc::as_ptr(&pin.tree)) {
                self.pins.insert_mut(name, Pin { tree: tree.clone(), ..pin });
            }
        }
    }

    /// Row ids of tables that no tree has any more need not be counted one by one.
    fn forget_numbers(&mut self) {
        let live: HashSet<TableId> = self.trees().iter().flat_map(|tree| tree.tables.keys()).copied().collect();
        self.numbers.retain(|table| live.contains(&table));
    }
}
