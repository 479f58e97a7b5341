//! Transactions: a private next state over a snapshot, and at commit the operations that lead there. Reads within one
//! see its own changes, because they read that private state. It refuses to write files: the store does.
//!
//! The isolation is snapshot isolation. The first committer wins: a transaction fails with `CONFLICT` when a row that
//! it deletes, a key that it inserts, an entry that it writes or a table that it alters was changed by another that
//! committed since it began. Two transactions that read what the other writes may both commit (write skew).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use bytes::Bytes;
use roaring::RoaringTreemap;

use super::bulk::{Spill, Target, Writers};
use super::readers::Hold;
use super::record::{Attached, Batch, Operation};
use super::refs::{Branch, Retention};
use super::request::{Own, Request, Source, references};
use super::snapshot::Snapshot;
use super::spec::{BranchInfo, PinInfo, TableId, TableSpec};
use super::state::State;
use super::store::Store;
use super::store::versions::{branches, pins};
use super::table::{Table, compact};
use super::tree::{Entry, Tree};
use super::{PROVISIONAL, ROWS_PER_GROUP};
use crate::error::{Error, Result, codes};

/// Versions of tables that only their transaction sees; no other table ever has the same.
static PRIVATE_VERSION: AtomicU64 = AtomicU64::new(PROVISIONAL);

/// A unit of change with a stable view. Dropped without `commit`, it leaves no trace.
#[derive(Debug)]
pub struct Transaction {
    store: Store,
    /// As long as it lives, the files of its base stay.
    hold: Hold,
    /// Everything as it was.
    newest: Arc<State>,
    /// The branch as it was.
    base: Arc<Branch>,
    changes: Mutex<Changes>,
    /// Files that rows are being written to. Savepoints do not know them: going back completes them as they are.
    writers: Mutex<Writers>,
    read_only: AtomicBool,
}

/// What a branch or pin is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From<'a> {
    /// Nothing: no table, no entry.
    Empty,
    /// What a branch stands on at commit; for the transaction's own branch with its changes.
    Branch(&'a str),
    /// A version that can be read.
    Version(u64),
}

/// A place within a transaction to which it can go back.
#[derive(Clone, Debug)]
pub struct Savepoint(Changes);

/// What a transaction did. Cloning is cheap: that is a savepoint.
#[derive(Clone, Debug)]
struct Changes {
    /// The base with the changes made; own rows have provisional ids.
    tree: Arc<Tree>,
    tables: Arc<BTreeMap<TableId, Touched>>,
    entries: Arc<BTreeMap<Bytes, Option<Bytes>>>,
    /// Links that must hold at commit whatever others committed meanwhile.
    links: Arc<Vec<Link>>,
    requests: Arc<Vec<Request>>,
}

/// Rows of one table that refer to rows of another by a key: the caller saw to it that what it changed is right in its
/// own snapshot, and wants it to be right beside what others change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The table that refers, and the name of its key with the columns by which it does.
    pub child: (TableId, String),
    /// The table that is referred to, and the name of its unique key with the same columns.
    pub parent: (TableId, String),
}

/// What a transaction did to a table.
#[derive(Clone, Debug, Default)]
struct Touched {
    created: bool,
    dropped: bool,
    /// For each column now the one of the base.
    altered: Option<Vec<Option<usize>>>,
    /// Rows of the base that are deleted.
    deleted: Arc<RoaringTreemap>,
}

impl Transaction {
    pub(crate) fn new(store: Store, newest: Arc<State>, base: Arc<Branch>, hold: Hold, read_only: bool) -> Self {
        let changes = Changes {
            tree: base.tree.clone(),
            tables: Arc::default(),
            entries: Arc::default(),
            links: Arc::default(),
            requests: Arc::default(),
        };
        Self {
            store,
            hold,
            newest,
            base,
            changes: Mutex::new(changes),
            writers: Mutex::default(),
            read_only: AtomicBool::new(read_only),
        }
    }

    /// What this transaction sees now, its own changes included.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.changes().tree.clone())
    }

    /// Whether there is anything to commit.
    pub fn has_changes(&self) -> bool {
        let changes = self.changes();
        !changes.tables.is_empty() || !changes.entries.is_empty() || !changes.requests.is_empty()
    }

    /// Whether it refuses to write.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    /// Makes it refuse to write, or allows it again; a database opened read-only stays so.
    pub fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only || self.store.is_read_only(), Ordering::Relaxed);
    }

    /// Makes a table.
    ///
    /// # Errors
    /// `TYPE` or `NO_COLUMN` for an impossible key, `READ_ONLY`.
    pub fn create_table(&self, spec: TableSpec) -> Result<TableId> {
        let mut changes = self.writable()?;
        spec.validate()?;
        let id = TableId::fresh();
        let table = Table::new(id, Arc::new(spec), private_version())?;
        Arc::make_mut(&mut changes.tree).tables.insert_mut(id, Arc::new(table));
        Arc::make_mut(&mut changes.tables).insert(id, Touched { created: true, ..Touched::default() });
        Ok(id)
    }

    /// Drops a table.
    ///
    /// # Errors
    /// `NO_TABLE`, `READ_ONLY`.
    pub fn drop_table(&self, table: TableId) -> Result<()> {
        let mut changes = self.writable()?;
        if !Arc::make_mut(&mut changes.tree).tables.remove_mut(&table) {
            return Err(no_table());
        }
        let touched = Arc::make_mut(&mut changes.tables);
        if touched.get(&table).is_some_and(|touched| touched.created) {
            touched.remove(&table);
        } else {
            touched.entry(table).or_default().dropped = true;
        }
        Ok(())
    }

    /// Gives a table another specification; `columns` has for each new column the old one, or `None` for a new column,
    /// which is null in the rows that are there.
    ///
    /// # Errors
    /// `TYPE` when a column would change its type, `NOT_NULL`, `UNIQUE` when rows break a new key, `READ_ONLY`.
    pub fn alter_table(&self, table: TableId, spec: TableSpec, columns: Vec<Option<usize>>) -> Result<()> {
        let mut changes = self.writable()?;
        spec.validate()?;
        let mut next = Table::clone(changes.tree.tables.get(&table).ok_or_else(no_table)?);
        check_columns(&next, &spec, &columns)?;
        let unique = next.spec.keys.iter().filter(|key| key.unique);
        let old_keys: Vec<_> = unique.map(|key| &key.columns).cloned().collect();
        next.alter(Arc::new(spec), &columns)?;
        let is_old = |key: &super::spec::Key| {
            let old: Option<Vec<usize>> = key.columns.iter().map(|&column| columns[column]).collect();
            old.is_some_and(|old| old_keys.contains(&old))
        };
        if !next.spec.keys.iter().filter(|key| key.unique).all(is_old) {
            next.check_all_unique()?;
        }
        let touched = Arc::make_mut(&mut changes.tables).entry(table).or_default();
        touched.altered = Some(match touched.altered.take() {
            Some(before) => columns.iter().map(|column| column.and_then(|column| before[column])).collect(),
            None => columns,
        });
        changes.replace(next);
        Ok(())
    }

    /// Adds rows, which later reads of this transaction see.
    ///
    /// # Errors
    /// `TYPE`, `NOT_NULL` and `UNIQUE` when they do not fit; nothing of `batch` is added then.
    pub fn append(&self, table: TableId, batch: RecordBatch) -> Result<()> {
        let mut changes = self.writable()?;
        let mut next = Table::clone(changes.tree.tables.get(&table).ok_or_else(no_table)?);
        let batch = compact(&next.conform(&batch)?)?;
        next.next_row = next.next_row.max(PROVISIONAL);
        for start in (0..batch.num_rows()).step_by(ROWS_PER_GROUP) {
            let slice = batch.slice(start, ROWS_PER_GROUP.min(batch.num_rows() - start));
            let indexes = next.check_unique(&slice)?;
            next.append(&slice, indexes)?;
            if let Some(target) = self.store.target() {
                self.writers().spill(target, &mut next, Spill::Full)?;
            }
        }
        if batch.num_rows() > 0 {
            changes.touch(table);
            changes.replace(next);
        }
        Ok(())
    }

    /// Deletes rows by their ids and says how many there were; those that are not there do not count.
    ///
    /// # Errors
    /// `NO_TABLE`, `READ_ONLY`.
    pub fn delete(&self, table: TableId, rows: &[u64]) -> Result<u64> {
        let mut changes = self.writable()?;
        let mut next = Table::clone(changes.tree.tables.get(&table).ok_or_else(no_table)?);
        let mut ids = rows.to_vec();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|&id| next.is_live(id));
        let deleted = next.delete(ids.iter().copied());
        if deleted > 0 {
            let of_base = Arc::make_mut(&mut changes.touch(table).deleted);
            of_base.extend(ids.into_iter().take_while(|&id| id < PROVISIONAL));
            changes.replace(next);
        }
        Ok(deleted)
    }

    /// Asks that a link be looked at when this transaction commits: rows that others deleted must not be those to which
    /// new rows refer, and rows that others added must not refer to what was deleted here.
    pub fn watch(&self, link: Link) {
        let mut changes = self.changes();
        if !changes.links.contains(&link) {
            Arc::make_mut(&mut changes.links).push(link);
        }
    }

    /// Sets a key of the key-value space.
    ///
    /// # Errors
    /// `READ_ONLY`.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut changes = self.writable()?;
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        let version = changes.tree.version;
        let entry = Entry { value: value.clone(), version };
        Arc::make_mut(&mut changes.tree).entries.insert_mut(key.clone(), entry);
        Arc::make_mut(&mut changes.entries).insert(key, Some(value));
        Ok(())
    }

    /// Removes a key of the key-value space, if it is there.
    ///
    /// # Errors
    /// `READ_ONLY`.
    pub fn remove(&self, key: &[u8]) -> Result<()> {
        let mut changes = self.writable()?;
        if Arc::make_mut(&mut changes.tree).entries.remove_mut(key) {
            Arc::make_mut(&mut changes.entries).insert(Bytes::copy_from_slice(key), None);
        }
        Ok(())
    }

    /// The branch that it changes.
    pub fn branch(&self) -> &str {
        &self.base.name
    }

    /// The branches, with what this transaction asked for.
    ///
    /// # Errors
    /// As the requests.
    pub fn branches(&self) -> Result<Vec<BranchInfo>> {
        Ok(branches(&self.changes().foreseen(&self.newest, &self.base)?))
    }

    /// The pins, with what this transaction asked for.
    ///
    /// # Errors
    /// As the requests.
    pub fn pins(&self) -> Result<Vec<PinInfo>> {
        Ok(pins(&self.changes().foreseen(&self.newest, &self.base)?))
    }

    /// Makes a branch at commit. No row is copied.
    ///
    /// # Errors
    /// `EXISTS`, `VALUE` for an impossible name, `NO_OBJECT`, `NOT_RETAINED` or `NO_VERSION` for its beginning,
    /// `READ_ONLY`.
    pub fn create_branch(&self, name: &str, from: From<'_>) -> Result<()> {
        let source = self.source(from)?;
        self.request(Request::Create { name: name.into(), source })
    }

    /// Drops a branch at commit. Its versions stay as long as the retention keeps them.
    ///
    /// # Errors
    /// `NO_OBJECT`, `UNSUPPORTED` for the main branch, `READ_ONLY`.
    pub fn drop_branch(&self, name: &str) -> Result<()> {
        self.request(Request::Drop { name: name.into() })
    }

    /// Puts a branch on another version at commit, if it then stands on the expected one. Transactions that are open
    /// on it conflict.
    ///
    /// # Errors
    /// `CONFLICT` when it stands elsewhere, now or at commit; otherwise as [`Transaction::create_branch`].
    pub fn move_branch(&self, name: &str, expected: u64, to: From<'_>) -> Result<()> {
        let source = self.source(to)?;
        self.request(Request::Move { name: name.into(), expected, source })
    }

    /// Keeps a version whatever the retention says, until it is unpinned; a pin of that name is moved.
    ///
    /// # Errors
    /// As [`Transaction::create_branch`].
    pub fn pin(&self, name: &str, version: From<'_>) -> Result<()> {
        let source = self.source(version)?;
        self.request(Request::Pin { name: name.into(), source })
    }

    /// Takes a pin away.
    ///
    /// # Errors
    /// `NO_OBJECT`, `READ_ONLY`.
    pub fn unpin(&self, name: &str) -> Result<()> {
        self.request(Request::Unpin { name: name.into() })
    }

    /// Makes sessions begin on a branch from the commit on, in every process.
    ///
    /// # Errors
    /// `NO_OBJECT`, `READ_ONLY`.
    pub fn switch_branch(&self, name: &str) -> Result<()> {
        self.request(Request::Switch { name: name.into() })
    }

    /// How long old versions are kept, as far as this transaction sees.
    ///
    /// # Errors
    /// As the requests.
    pub fn retention(&self) -> Result<Retention> {
        Ok(self.changes().foreseen(&self.newest, &self.base)?.retention)
    }

    /// Says how long old versions are kept from now on.
    ///
    /// # Errors
    /// `READ_ONLY`.
    pub fn retain(&self, retention: Retention) -> Result<()> {
        self.request(Request::Retain(retention))
    }

    fn source(&self, from: From<'_>) -> Result<Source> {
        Ok(match from {
            From::Empty => Source::Empty,
            From::Branch(name) => Source::Branch(name.into()),
            From::Version(version) => {
                let (branch, tree) = self.store.tree_of_version(version)?;
                Source::Tree(branch, tree)
            }
        })
    }

    fn request(&self, request: Request) -> Result<()> {
        let mut changes = self.writable()?;
        let mut next = changes.clone();
        Arc::make_mut(&mut next.requests).push(request);
        next.foreseen(&self.newest, &self.base)?;
        *changes = next;
        Ok(())
    }

    /// Marks this moment.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint(self.changes().clone())
    }

    /// Undoes what was done since a savepoint of this transaction; the savepoint stays valid.
    ///
    /// # Errors
    /// `IO` or `NO_SPACE` when a segment file cannot be completed.
    pub fn rollback_to(&self, savepoint: &Savepoint) -> Result<()> {
        let mut changes = self.changes();
        self.writers().finish()?;
        *changes = savepoint.0.clone();
        Ok(())
    }

    /// Makes the changes durable and visible to all, and returns the new version: the old one if nothing changed.
    ///
    /// # Errors
    /// `CONFLICT` when another transaction was first; `IO`, `NO_SPACE`, `POISONED` when the log cannot be written.
    pub fn commit(self) -> Result<u64> {
        let mut changes = self.changes().clone();
        if changes.tables.is_empty() && changes.entries.is_empty() && changes.requests.is_empty() {
            return Ok(self.base.tree.version);
        }
        if let Some(target) = self.store.target() {
            changes.complete(target, &mut self.writers())?;
        }
        let Self { store, base, hold, .. } = self;
        store.commit(&base, &Work(changes), hold)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writers(&self) -> MutexGuard<'_, Writers> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writable(&self) -> Result<MutexGuard<'_, Changes>> {
        if self.is_read_only() {
            return Err(Error::new(codes::READ_ONLY, "the transaction is read-only"));
        }
        Ok(self.changes())
    }
}

impl Changes {
    /// The state with what was asked for of branches and pins.
    fn foreseen(&self, newest: &State, base: &Arc<Branch>) -> Result<State> {
        let mut state = newest.clone();
        let own = Branch { tree: self.tree.clone(), ..Branch::clone(base) };
        state.branches.insert_mut(own.id, Arc::new(own));
        for reference in references(&self.requests, &state, &self.own(base))? {
            state.refer(&reference, &base.tree)?;
        }
        Ok(state)
    }

    fn own(&self, branch: &Branch) -> Own {
        let is_changed = !self.tables.is_empty() || !self.entries.is_empty();
        Own { branch: branch.id, before: branch.tree.clone(), is_changed }
    }

    fn touch(&mut self, table: TableId) -> &mut Touched {
        Arc::make_mut(&mut self.tables).entry(table).or_default()
    }

    /// Puts many rows into segments, and makes these durable.
    fn complete(&mut self, target: Target<'_>, writers: &mut Writers) -> Result<()> {
        for id in self.tables.keys() {
            let Some(table) = self.tree.tables.get(id) else { continue };
            let mut next = Table::clone(table);
            writers.spill(target, &mut next, Spill::AllOfMuch)?;
            Arc::make_mut(&mut self.tree).tables.insert_mut(*id, Arc::new(next));
        }
        writers.finish()?;
        for (id, touched) in self.tables.iter() {
            if touched.altered.is_some()
                && let Some(table) = self.tree.tables.get(id)
            {
                // What cannot be written now is made when it is needed.
                let _ = super::index::complete(target, table);
            }
        }
        let has_files = self.tree.tables.values().any(|table| {
            table.parts.last().is_some_and(|part| part.ids().first() >= Some(PROVISIONAL) && !part.is_memory())
        });
        if has_files { target.segments.directory.sync_dir(super::segment::FOLDER) } else { Ok(()) }
    }

    fn replace(&mut self, mut table: Table) {
        table.version = private_version();
        Arc::make_mut(&mut self.tree).tables.insert_mut(table.id, Arc::new(table));
    }
}

/// What a transaction wants to commit.
pub(crate) struct Work(Changes);

impl Work {
    /// Refuses what does not fit what others committed since `base`.
    pub(crate) fn validate(&self, base: &Branch, head: &Branch) -> Result<()> {
        if base.moved != head.moved {
            return Err(conflict("moved the branch that this one changes"));
        }
        let (base, head) = (&base.tree, &head.tree);
        for (id, touched) in self.0.tables.iter() {
            if touched.created {
                continue;
            }
            let (Some(base), Some(head)) = (base.tables.get(id), head.tables.get(id)) else {
                return Err(conflict("dropped a table that this one changes"));
            };
            if base.spec_version != head.spec_version {
                return Err(conflict("altered a table that this one changes"));
            }
            if touched.dropped || base.version == head.version {
                continue;
            }
            let own = self.0.tree.tables.get(id);
            if touched.altered.is_some() && own.is_some_and(|own| own.spec.keys != base.spec.keys) {
                return Err(conflict("changed a table to which this one adds a key"));
            }
            if head.first_dead(&touched.deleted).is_some() {
                return Err(conflict("changed a row that this one changes"));
            }
            if let Some(own) = own {
                check_new_keys(own, base, head)?;
            }
        }
        for link in self.0.links.iter() {
            self.check_link(link, base, head)?;
        }
        for key in self.0.entries.keys() {
            let stamp = |tree: &Tree| tree.entries.get(key).map(|entry| entry.version);
            if stamp(base) != stamp(head) {
                return Err(conflict("changed an entry that this one changes"));
            }
        }
        Ok(())
    }

    fn check_link(&self, link: &Link, base: &Tree, head: &Tree) -> Result<()> {
        let (child, parent) = (&link.child, &link.parent);
        let key = |table: &Table, name: &str| table.spec.keys.iter().position(|key| key.name == name);
        let of = |tree: &Tree, (table, name): &(TableId, String)| -> Option<(Arc<Table>, usize)> {
            let table = tree.tables.get(table)?.clone();
            let key = key(&table, name)?;
            Some((table, key))
        };
        // A link whose table or key went with this very transaction binds nobody.
        let (Some(own_child), Some(own_parent)) = (of(&self.0.tree, child), of(&self.0.tree, parent)) else {
            return Ok(());
        };
        let changed = |table: &TableId| {
            let version = |tree: &Tree| tree.tables.get(table).map(|table| table.version);
            version(base).is_some() && version(base) != version(head)
        };
        let same_shape = |table: &TableId| {
            let version = |tree: &Tree| tree.tables.get(table).map(|table| table.spec_version);
            version(base) == version(head)
        };
        let lost = |(table, key): &(Arc<Table>, usize), values: &RecordBatch, from: u64| -> Result<RecordBatch> {
            let keys = table.keys[*key].encode_as(values.columns())?;
            let found = table.find(*key, &keys, from)?;
            let lost = (0..keys.len()).map(|row| keys.is_valid(row) && found[row].is_none()).collect::<Vec<_>>();
            filter_record_batch(values, &lost.into()).map_err(super::part::from_arrow)
        };
        if changed(&parent.0) {
            let Some(head_parent) = of(head, parent).filter(|_| same_shape(&parent.0)) else {
                return Err(conflict("altered a table to which this one refers"));
            };
            let (own, key) = &own_child;
            let deleted = self.0.tables.get(&parent.0).map(|touched| touched.deleted.clone()).unwrap_or_default();
            for part in own.parts.iter().filter(|part| part.ids().first() >= Some(PROVISIONAL)) {
                let values = part.read(&own.spec.keys[*key].columns)?;
                let keys = head_parent.0.keys[head_parent.1].encode_as(values.columns())?;
                let found = head_parent.0.find(head_parent.1, &keys, 0)?;
                let gone = |row: usize| keys.is_valid(row) && found[row].is_none_or(|id| deleted.contains(id));
                let gone = (0..keys.len()).map(gone).collect::<Vec<_>>();
                let gone = filter_record_batch(&values, &gone.into()).map_err(super::part::from_arrow)?;
                // What this transaction added itself is not in the head yet.
                if lost(&own_parent, &gone, PROVISIONAL)?.num_rows() > 0 {
                    return Err(conflict("deleted a row to which this one refers"));
                }
            }
        }
        if changed(&child.0)
            && let Some(touched) = self.0.tables.get(&parent.0).filter(|touched| !touched.deleted.is_empty())
            && let (Some(base_parent), Some(base_child)) = (of(base, parent), base.tables.get(&child.0))
        {
            let Some((head_child, key)) = of(head, child).filter(|_| same_shape(&child.0)) else {
                return Err(conflict("altered a table that refers to rows of this one"));
            };
            let ids: Vec<u64> = touched.deleted.iter().collect();
            let columns = &base_parent.0.spec.keys[base_parent.1].columns;
            let gone = lost(&own_parent, &base_parent.0.fetch(&ids, columns)?, 0)?;
            let keys = head_child.keys[key].encode_as(gone.columns())?;
            if head_child.find(key, &keys, base_child.next_row)?.iter().any(Option::is_some) {
                return Err(conflict("added a row that refers to one that this one deletes"));
            }
        }
        Ok(())
    }

    /// The changes of branches and pins that were asked for, as they are to be made to a state.
    pub(crate) fn references(&self, head: &State, branch: &Branch) -> Result<Vec<Operation>> {
        let own = self.0.own(branch);
        if own.is_changed && self.0.requests.iter().any(|request| request.replaces(branch)) {
            let message = format!("a transaction that changes the branch `{}` cannot move or drop it", branch.name);
            return Err(Error::new(codes::UNSUPPORTED, message));
        }
        let references = references(&self.0.requests, head, &own).map_err(|error| match error.is(codes::CONFLICT) {
            true => error,
            false => conflict(&format!("made this impossible: {}", error.message())),
        });
        Ok(references?.into_iter().map(Operation::Refer).collect())
    }

    /// How many rows of others it deletes.
    pub(crate) fn deleted_rows(&self) -> u64 {
        self.0.tables.values().map(|touched| touched.deleted.len()).sum()
    }

    /// Whether files may not be needed any more.
    pub(crate) fn drops_tables(&self) -> bool {
        self.0.tables.values().any(|touched| touched.dropped)
    }

    /// The operations that lead from the base, or from a later state for which `validate` holds, to what was wanted.
    pub(crate) fn operations(&self) -> Result<Vec<Operation>> {
        let mut operations = Vec::new();
        for (&table, touched) in self.0.tables.iter() {
            if touched.dropped {
                operations.push(Operation::DropTable { table });
                continue;
            }
            let own = self.0.tree.tables.get(&table).ok_or_else(no_table)?;
            if touched.created {
                operations.push(Operation::CreateTable { table, spec: own.spec.clone() });
            } else if let Some(columns) = &touched.altered {
                operations.push(Operation::AlterTable { table, spec: own.spec.clone(), columns: columns.clone() });
            }
            if !touched.deleted.is_empty() {
                operations.push(Operation::Delete { table, rows: touched.deleted.clone() });
            }
            let all: Vec<usize> = (0..own.spec.schema.fields().len()).collect();
            for part in own.parts.iter().filter(|part| part.ids().first() >= Some(PROVISIONAL)) {
                operations.push(match Attached::of(part) {
                    Some(attached) => Operation::Attach { table, attached },
                    None => Operation::Append { table, batch: Batch::Rows(part.read(&all)?) },
                });
            }
        }
        for (key, value) in self.0.entries.iter() {
            operations.push(match value {
                Some(value) => Operation::Put { key: key.clone(), value: value.clone() },
                None => Operation::Remove { key: key.clone() },
            });
        }
        Ok(operations)
    }
}

/// Refuses own rows whose keys others inserted since the base. Rows that others inserted have ids from the base's next
/// one on, so that only those are looked at.
fn check_new_keys(own: &Table, base: &Table, head: &Table) -> Result<()> {
    for (at, key) in head.keys.iter().enumerate().filter(|(_, key)| key.key.unique) {
        for part in own.parts.iter().filter(|part| part.ids().first() >= Some(PROVISIONAL)) {
            let batch = part.read(&key.key.columns)?;
            let keys = key.encode(batch.columns().to_vec())?;
            if head.find(at, &keys, base.next_row)?.iter().any(Option::is_some) {
                return Err(conflict(&format!("inserted a row with the same key `{}`", key.key.name)));
            }
        }
    }
    Ok(())
}

fn check_columns(old: &Table, spec: &TableSpec, columns: &[Option<usize>]) -> Result<()> {
    let fields = spec.schema.fields();
    if columns.len() != fields.len() {
        return Err(Error::new(codes::TYPE, format!("{} columns for {} fields", columns.len(), fields.len())));
    }
    for (field, &column) in fields.iter().zip(columns) {
        let misfit = |code, what: &str| Error::new(code, format!("column `{}` {what}", field.name()));
        match column {
            Some(column) => {
                let before = old.spec.schema.fields().get(column);
                let before = before.ok_or_else(|| misfit(codes::NO_COLUMN, "comes from one that is not there"))?;
                if before.data_type() != field.data_type() {
                    return Err(misfit(codes::TYPE, &format!("would change from {}", before.data_type())));
                }
                if before.is_nullable() && !field.is_nullable() && old.has_null(column)? {
                    return Err(misfit(codes::NOT_NULL, "has nulls"));
                }
            }
            None if !field.is_nullable() && old.rows > 0 => return Err(misfit(codes::NOT_NULL, "would be null")),
            None => {}
        }
    }
    Ok(())
}

fn private_version() -> u64 {
    PRIVATE_VERSION.fetch_add(1, Ordering::Relaxed)
}

fn no_table() -> Error {
    Error::new(codes::NO_TABLE, "the table is not there any more")
}

pub(crate) fn conflict(what: &str) -> Error {
    Error::new(codes::CONFLICT, format!("another transaction {what}")).help("run the transaction again")
}
