//! Every call to the disk fails in turn, once or from then on: what was acknowledged stays readable, what was not is
//! not seen, and a sweep removes what it left.

use super::tests::{Bench, large};
use super::*;
use crate::faulty::{Fault, FaultyDisk};
use crate::files::{Disk, LocalDisk};
use crate::sweep::Remove;
use std::sync::Arc;

/// Runs `operation` with every call failing in turn; `check` sees its outcome on a sound disk.
fn with_every_fault<T>(
    prepare: impl Fn(&Bench),
    operation: impl Fn(&Bench) -> Result<T>,
    check: impl Fn(&Bench, Result<T>),
) {
    for fault in [Fault::Once, Fault::From] {
        let mut failures = 0;
        for call in 0.. {
            let mut bench = Bench::new(Versioning::Off);
            prepare(&bench);
            let disk = FaultyDisk::new(fault(call));
            bench.disk = Arc::new(disk.clone());
            let outcome = operation(&bench);
            bench.disk = Arc::new(LocalDisk);
            check(&bench, outcome);
            if !disk.has_failed() {
                break;
            }
            failures += 1;
        }
        assert!(failures > 0, "the operation never touches the disk");
    }
}

/// Every payload that is left after a sweep belongs to one of these keys, which are whole.
fn only(bench: &Bench, keys: &[&str]) {
    bench.writers.close();
    bench.sweep(Remove::Yes).unwrap();
    assert_eq!(bench.payload_count(), keys.len());
    assert!(LocalDisk.list(&bench.payloads().temporary_folder()).unwrap().is_empty());
    keys.iter().for_each(|key| assert_eq!(bench.get(key, None).unwrap(), large()));
}

#[test]
fn a_put_is_whole_or_not_there() {
    let prepare = |bench: &Bench| drop(bench.put("before", &large()));
    let operation = |bench: &Bench| bench.put_if("k", &large(), &Precondition::None);
    with_every_fault(prepare, operation, |bench, outcome| match outcome {
        Ok(_) => only(bench, &["before", "k"]),
        Err(error) => {
            assert!(code::FILE.is(&error) && error.text().contains("call"), "{error}");
            assert!(code::NO_KEY.is(&bench.get("k", None).unwrap_err()));
            only(bench, &["before"]);
            bench.put("k", &large());
            only(bench, &["before", "k"]);
        }
    });
}

#[test]
fn an_overwrite_that_fails_leaves_the_old_content() {
    let prepare = |bench: &Bench| drop(bench.put("k", &large()));
    let operation = |bench: &Bench| bench.put_if("k", &[large(), vec![1]].concat(), &Precondition::None);
    with_every_fault(prepare, operation, |bench, outcome| match outcome {
        Ok(_) => assert_eq!(bench.get("k", None).unwrap().len(), large().len() + 1),
        Err(_) => only(bench, &["k"]),
    });
}

#[test]
fn a_read_fails_or_gives_every_byte() {
    let prepare = |bench: &Bench| drop(bench.put("k", &large()));
    with_every_fault(
        prepare,
        |bench| bench.get("k", None),
        |bench, outcome| {
            match outcome {
                Ok(bytes) => assert_eq!(bytes, large()),
                Err(error) => assert!(error.text().contains("`k`") && error.text().contains("`b`"), "{error}"),
            }
            only(bench, &["k"]);
        },
    );
}

#[test]
fn a_copy_fails_or_is_there() {
    let prepare = |bench: &Bench| drop(bench.put("k", &large()));
    let copy = |bench: &Bench| bench.with(|o| o.copy(("b", "k", None), ("b", "copy"), &Precondition::None));
    with_every_fault(prepare, copy, |bench, outcome| {
        assert_eq!(bench.get("copy", None).is_ok(), outcome.is_ok());
        only(bench, &["k"]);
    });
}

#[test]
fn a_sweep_that_fails_takes_nothing_that_is_needed_and_can_be_run_again() {
    let prepare = |bench: &Bench| {
        bench.put("kept", &large());
        for key in ["x", "y", "z"] {
            bench.put(key, &large());
            bench.delete(key, None);
        }
        bench.writers.close();
    };
    with_every_fault(prepare, |bench| bench.sweep(Remove::Yes), |bench, _| only(bench, &["kept"]));
}
