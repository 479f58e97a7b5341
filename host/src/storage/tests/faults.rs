//! Every call to the disk fails once, in every way, under a scripted and under random workloads; what is there after a
//! crash must be what the model allows.

use std::collections::BTreeMap;

use super::faulty::{Fault, Twin};
use super::*;
use crate::error::{Error, codes};
use crate::storage::{From, Options, Retention};

type Model = BTreeMap<i64, String>;

/// Tiny bounds: segments, checkpoints and rotations happen all the time.
fn tiny() -> Options {
    Options {
        wal_bytes_max: 3000,
        close_wal_bytes_max: 500,
        spill_rows_max: 6,
        group_rows: 4,
        retention: Retention::NONE,
        background: false,
        ..Options::default()
    }
}

fn open(twin: &Twin) -> crate::error::Result<Store> {
    Store::open_on(Arc::new(twin.clone()), Twin::root(), &tiny())
}

/// A database under test and what may be in it.
struct Trial {
    table: Option<TableId>,
    /// What was acknowledged.
    sure: Model,
    /// What a commit may have left whose outcome nobody knows.
    perhaps: Option<Model>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Sets keys from `.0` on, `.1` of them.
    Set(i64, i64),
    Delete(i64, i64),
    Checkpoint,
    Reopen,
}

impl Trial {
    fn run(&mut self, twin: &Twin, steps: &[Step]) {
        let mut store = open(twin).ok();
        for (number, step) in steps.iter().enumerate() {
            if self.perhaps.is_some() {
                // Only opening again says what happened.
                assert!(store.as_ref().is_none_or(is_unknown), "a poisoned store took a write");
                return;
            }
            let Some(open_store) = &store else {
                store = open(twin).ok();
                continue;
            };
            match step {
                Step::Checkpoint => drop(open_store.checkpoint()),
                Step::Reopen => {
                    store = None;
                    store = store.or_else(|| open(twin).ok());
                }
                step => drop(self.set(open_store, step, number)),
            }
        }
    }

    fn set(&mut self, store: &Store, step: &Step, number: usize) -> crate::error::Result<()> {
        let transaction = store.begin()?;
        let mut next = self.sure.clone();
        let table = match self.table {
            Some(table) => table,
            None => {
                let table = transaction.create_table(notes())?;
                transaction.put(b"table", &table.0.to_le_bytes())?;
                table
            }
        };
        let snapshot = transaction.snapshot();
        if self.table.is_some() {
            assert_eq!(contents(&snapshot), Ok(self.sure.clone()), "the running store shows something else");
        }
        let (from, count) = match step {
            Step::Set(from, count) | Step::Delete(from, count) => (*from, *count),
            _ => return Ok(()),
        };
        let old: Vec<u64> = (from..from + count).filter_map(|id| find(&snapshot, table, id)).collect();
        transaction.delete(table, &old)?;
        (from..from + count).for_each(|id| drop(next.remove(&id)));
        if matches!(step, Step::Set(..)) {
            let new: Vec<(i64, String)> =
                (from..from + count).map(|id| (id, format!("value {number} of {id}"))).collect();
            let rows: Vec<(i64, &str)> = new.iter().map(|(id, note)| (*id, note.as_str())).collect();
            transaction.append(table, batch(&rows))?;
            next.extend(new);
        }
        if number.is_multiple_of(3) {
            // A branch comes and goes with the rows of its commit.
            let made = branches_of(&snapshot);
            transaction.create_branch(&format!("b{made}"), From::Branch("main"))?;
            transaction.put(b"branches", &(made + 1).to_le_bytes())?;
        }
        match transaction.commit() {
            Ok(_) => {
                (self.table, self.sure) = (Some(table), next);
                Ok(())
            }
            Err(error) => {
                assert!(!error.is(codes::CONFLICT) && !error.is(codes::CORRUPT), "{error:?}");
                if is_unknown(store) {
                    self.perhaps = Some(next);
                }
                Err(error)
            }
        }
    }

    /// After a crash: one of the allowed states, sound, and writable.
    fn verify(&self, twin: &Twin, story: &str) {
        let store = open(twin).unwrap_or_else(|error| panic!("{story}: cannot open: {error:?}"));
        let findings = store.check().unwrap();
        assert_eq!(findings, [], "{story}");
        let found = contents(&store.begin().unwrap().snapshot()).unwrap_or_else(|error| panic!("{story}: {error}"));
        assert!(
            found == self.sure || Some(&found) == self.perhaps.as_ref(),
            "{story}: found {found:?}\nacknowledged {:?}\nperhaps {:?}",
            self.sure,
            self.perhaps
        );
        let made = branches_of(&store.snapshot().unwrap());
        assert_eq!(store.branches().unwrap().len() as u64, 1 + made, "{story}: branches");
        for branch in 0..made {
            let snapshot = store.snapshot_of(&format!("b{branch}")).unwrap();
            assert!(contents(&snapshot).is_ok() && branches_of(&snapshot) == branch + 1, "{story}: branch {branch}");
        }
        let mut after = Trial { table: table_of(&store), sure: found, perhaps: None };
        after.set(&store, &Step::Set(100, 3), 999).unwrap_or_else(|error| panic!("{story}: {error:?}"));
        store.checkpoint().unwrap();
        let segments = twin.list_files("segments").len() as u64;
        assert_eq!(segments, store.info().unwrap().segments, "{story}: files are left over");
        drop(store);
        assert_eq!(contents(&open(twin).unwrap().begin().unwrap().snapshot()), Ok(after.sure), "{story}");
    }
}

/// How many branches were made, as the rows' own commit says.
fn branches_of(snapshot: &Snapshot) -> u64 {
    snapshot.get(b"branches").map_or(0, |bytes| u64::from_le_bytes(bytes.as_ref().try_into().unwrap()))
}

fn is_unknown(store: &Store) -> bool {
    let probe = || -> crate::error::Result<u64> {
        let transaction = store.begin()?;
        transaction.remove(b"nothing")?;
        transaction.put(b"probe", b"")?;
        transaction.commit()
    };
    // Whether it is poisoned or the process is dead, nothing more is promised.
    probe().is_err_and(|error: Error| {
        error.is(codes::POISONED) || error.message().contains("dead") || error.message().contains("died")
    })
}

fn table_of(store: &Store) -> Option<TableId> {
    let bytes = store.begin().unwrap().snapshot().get(b"table")?;
    Some(TableId(u64::from_le_bytes(bytes.as_ref().try_into().unwrap())))
}

fn contents(snapshot: &Snapshot) -> Result<Model, String> {
    let Some(bytes) = snapshot.get(b"table") else { return Ok(Model::new()) };
    let table = TableId(u64::from_le_bytes(bytes.as_ref().try_into().unwrap()));
    let all = rows(snapshot, table);
    let model: Model = all.iter().cloned().collect();
    if model.len() != all.len() {
        return Err(format!("a key is there twice: {all:?}"));
    }
    Ok(model)
}

fn script() -> Vec<Step> {
    vec![
        Step::Set(1, 2),
        Step::Set(3, 1),
        Step::Checkpoint,
        Step::Set(2, 3),
        Step::Delete(1, 1),
        Step::Set(10, 12),
        Step::Reopen,
        Step::Set(4, 2),
        Step::Delete(10, 9),
        Step::Checkpoint,
        Step::Set(6, 1),
        Step::Reopen,
        Step::Set(7, 1),
    ]
}

/// Runs `steps` once for every call that they make, failing that call.
fn fail_everywhere(steps: &[Step], seed: u64, faults: &[Fault], stride: u64) {
    let new = || Trial { table: None, sure: Model::new(), perhaps: None };
    let calls = {
        let twin = Twin::new(seed);
        let mut trial = new();
        trial.run(&twin, steps);
        trial.verify(&twin, "without a fault");
        twin.calls()
    };
    for &fault in faults {
        for call in (0..calls).step_by(stride as usize) {
            let story = format!("seed {seed}, {fault:?} at call {call}");
            let twin = Twin::new(seed ^ call << 8);
            twin.fail_at(call, fault);
            let mut trial = new();
            trial.run(&twin, steps);
            trial.verify(&twin.crash(), &story);
            // The same, but another process opened the database and committed before the power went.
            twin.restart();
            let story = format!("{story}, restarted");
            let store = open(&twin).unwrap_or_else(|error| panic!("{story}: {error:?}"));
            let sure = contents(&store.begin().unwrap().snapshot()).unwrap();
            assert!(sure == trial.sure || Some(&sure) == trial.perhaps.as_ref(), "{story}: {sure:?}");
            let mut trial = Trial { table: table_of(&store), sure, perhaps: None };
            trial.set(&store, &Step::Set(50, 1), 998).unwrap();
            trial.verify(&twin.crash(), &story);
            drop(store);
            trial.verify(&twin.crash(), &format!("{story} and closed"));
        }
    }
}

#[test]
fn a_scripted_workload_survives_a_fault_at_every_call() {
    fail_everywhere(&script(), 1, &[Fault::Error, Fault::Crash], 1);
    fail_everywhere(&script(), 2, &[Fault::NoSpace], 2);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 5, ..Default::default() })]

    #[test]
    fn random_workloads_survive_faults(steps in proptest::collection::vec(step(), 1..12), seed in 1u64..1_000_000) {
        fail_everywhere(&steps, seed, &[Fault::Error, Fault::Crash], 7);
    }
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    use proptest::prelude::*;
    prop_oneof![
        5 => (0i64..20, 1i64..14).prop_map(|(from, count)| Step::Set(from, count)),
        2 => (0i64..20, 1i64..14).prop_map(|(from, count)| Step::Delete(from, count)),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
    ]
}

#[test]
fn no_space_loses_nothing_and_goes_on_when_there_is_space_again() {
    let twin = Twin::new(3);
    let store = open(&twin).unwrap();
    let mut trial = Trial { table: None, sure: Model::new(), perhaps: None };
    trial.set(&store, &Step::Set(1, 1), 0).unwrap();
    // The write of the record is the only call of a small commit but the sync.
    let error = (0..9)
        .find_map(|call| {
            twin.fail_at(call, Fault::NoSpace);
            trial.set(&store, &Step::Set(2, 1), 1).err().filter(|error| error.message().contains("write"))
        })
        .unwrap();
    assert!(error.is(codes::NO_SPACE) && error.message().contains("wal/"), "{error:?}");
    assert!(trial.perhaps.is_none());
    trial.set(&store, &Step::Set(3, 1), 2).unwrap();
    trial.verify(&twin.crash(), "after no space");
}

#[test]
fn a_failed_sync_poisons_the_store_until_it_is_opened_again() {
    let twin = Twin::new(4);
    let store = open(&twin).unwrap();
    let mut trial = Trial { table: None, sure: Model::new(), perhaps: None };
    trial.set(&store, &Step::Set(1, 1), 0).unwrap();
    let error = (0..9)
        .find_map(|call| {
            twin.fail_at(call, Fault::Error);
            trial.set(&store, &Step::Set(2, 1), 1).err().filter(|error| error.message().contains("sync"))
        })
        .unwrap();
    assert!(error.is(codes::IO), "{error:?}");
    let transaction = store.begin().unwrap();
    transaction.put(b"k", b"v").unwrap();
    assert!(transaction.commit().unwrap_err().is(codes::POISONED));
    assert!(store.checkpoint().unwrap_err().is(codes::POISONED));
    drop(store);
    trial.verify(&twin.crash(), "after a failed sync");
}
