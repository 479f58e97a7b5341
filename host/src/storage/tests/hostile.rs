//! Bytes that mean harm: flipped, cut and extended payloads go past the checksums straight into the decoders, which
//! must refuse or accept, but never panic, and never ask for more memory than there are bytes.

use proptest::prelude::*;
use roaring::{RoaringBitmap, RoaringTreemap};
use ulid::Ulid;

use super::faulty::Twin;
use super::*;
use crate::storage::bulk::{Target, rewrite};
use crate::storage::history::{History, Past};
use crate::storage::lock::WriterLock;
use crate::storage::manifest::Manifest;
use crate::storage::record::{Batch, Kind, Operation, Record, Rewrite, decode, encode};
use crate::storage::refs::{Origin, Reference};
use crate::storage::segment::Segments;
use crate::storage::sketch::Sketch;
use crate::storage::state::State;
use crate::storage::{BranchId, Bytes, MAIN, Options, Retention};

/// One operation of every kind, and the state in which they can be applied.
fn every_operation(segments: &Segments) -> (State, Vec<Operation>) {
    segments.directory.create_dir("segments").unwrap();
    let (table, other) = (TableId(7), TableId(8));
    let mut operations = vec![
        Operation::CreateTable { table, spec: Arc::new(notes()) },
        Operation::Append {
            table,
            batch: Batch::Rows(batch(&[(1, "a"), (2, "some longer text than that"), (3, "c")])),
        },
        Operation::Delete { table, rows: Arc::new(RoaringTreemap::from_iter([1])) },
        Operation::Put { key: Bytes::from_static(b"key"), value: Bytes::from_static(b"value") },
        Operation::Remove { key: Bytes::from_static(b"key") },
        Operation::CreateTable { table: other, spec: Arc::new(notes()) },
        Operation::AlterTable { table: other, spec: Arc::new(notes()), columns: vec![Some(0), None] },
    ];
    let record = Record { lsn: 1, branch: MAIN, kind: Kind::Commit, time: 1, operations: operations.clone() };
    let state = State::empty().apply(&record).unwrap();
    let (lock, options) = (WriterLock::new(None), Options::default());
    let target = Target { segments, lock: &lock, options: &options };
    let groups =
        rewrite(target, &state.main().unwrap().tables[&table], &state.main().unwrap().tables[&table].parts).unwrap();
    let mut attached = groups[0].0.clone();
    attached.file.publish();
    operations.push(Operation::Rewrite(Rewrite { table, spec_version: 1, range: (0, 2), groups }));
    attached.deleted = RoaringBitmap::from_iter([1]);
    attached.columns = Some(vec![Some(0), Some(1)]);
    operations.push(Operation::Attach { table: other, attached });
    operations.push(Operation::DropTable { table: other });
    let sketch = Arc::new(Sketch::of(state.main().unwrap(), None).unwrap());
    let origins = [Origin::Empty, Origin::Head(MAIN), Origin::Pin("v1".into()), Origin::Sketch(sketch)];
    let refer = |change| Operation::Refer(change);
    operations.push(refer(Reference::Pin { name: "v1".into(), branch: MAIN, origin: Origin::Head(MAIN) }));
    for (number, origin) in (1..).zip(origins) {
        let name = format!("branch {number}").as_str().into();
        operations.push(refer(Reference::CreateBranch { name, origin: origin.clone() }));
        operations.push(refer(Reference::MoveBranch { branch: BranchId(number), origin }));
    }
    operations.push(refer(Reference::DropBranch { branch: BranchId(1) }));
    operations.push(refer(Reference::Pin {
        name: "v2".into(),
        branch: BranchId(4),
        origin: Origin::Head(BranchId(4)),
    }));
    operations.push(refer(Reference::Unpin { name: "v1".into() }));
    operations.push(refer(Reference::Retain(Retention::default())));
    (state, operations)
}

/// What may have been done to bytes.
fn harm() -> impl Strategy<Value = (Vec<(usize, u8)>, Option<usize>, Vec<u8>)> {
    let flips = proptest::collection::vec((any::<usize>(), 1u8..), 0..4);
    (flips, proptest::option::of(any::<usize>()), proptest::collection::vec(any::<u8>(), 0..9))
}

fn apply_harm(bytes: &mut Vec<u8>, (flips, cut, more): &(Vec<(usize, u8)>, Option<usize>, Vec<u8>)) {
    for (at, flip) in flips {
        let length = bytes.len();
        bytes[at % length] ^= flip;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut % (bytes.len() + 1));
    }
    bytes.extend_from_slice(more);
}

#[test]
fn operations_are_what_they_were_after_encoding_and_decoding() {
    let segments = Segments::new(Twin::new(1).directory(), 0);
    let (_, operations) = every_operation(&segments);
    let payload = encode(&operations).unwrap();
    let decoded = decode(&payload, &segments).unwrap();
    assert_eq!(encode(&decoded).unwrap(), payload);
    let apply = |operations| {
        State::empty().apply(&Record { lsn: 1, branch: MAIN, kind: Kind::Commit, time: 1, operations }).unwrap()
    };
    let contents = |state: State| rows(&Snapshot::new(state.main().unwrap().clone()), TableId(7));
    assert_eq!(contents(apply(decoded)), contents(apply(operations)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..Default::default() })]

    #[test]
    fn a_harmed_record_is_refused_or_applied_but_never_a_panic(harm in harm()) {
        let segments = Segments::new(Twin::new(1).directory(), 0);
        let (_, operations) = every_operation(&segments);
        let mut payload = encode(&operations).unwrap();
        apply_harm(&mut payload, &harm);
        if let Ok(operations) = decode(&payload, &segments) {
            let _ = State::empty().apply(&Record { lsn: 1, branch: MAIN, kind: Kind::Commit, time: 1, operations });
        }
    }

    #[test]
    fn a_harmed_manifest_is_refused_or_read_but_never_a_panic(harm in harm()) {
        let segments = Segments::new(Twin::new(1).directory(), 0);
        let (_, operations) = every_operation(&segments);
        let state = State::empty().apply(&Record { lsn: 1, branch: MAIN, kind: Kind::Commit, time: 1, operations }).unwrap();
        let database = Ulid::from_bytes([3; 16]);
        let past = Past { manifest: 1, wal: 1, version: 0, time: 0, bytes: 9 };
        let history = History { past: vec![past], dead: [(Ulid::from_bytes([4; 16]), 1)].into() };
        let whole = Manifest { number: 1, wal: 1, state, history }.encode(database).unwrap();
        prop_assert!(Manifest::decode(&whole, database, &segments).is_ok());
        let mut payload = whole[24..].to_vec();
        apply_harm(&mut payload, &harm);
        if let Ok(manifest) = Manifest::decode_payload(&payload, database, &segments) {
            for part in manifest.state.tables().iter().flat_map(|table| table.parts.iter()) {
                let _ = (part.read(&[0, 1]), part.row_ids(), part.statistics(0).is_some());
            }
        }
    }
}
