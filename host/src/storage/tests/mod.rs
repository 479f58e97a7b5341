//! Tests of the whole of storage through its door. Tests of one file's insides stand in that file.
#![allow(clippy::unwrap_used)]

mod changes;
mod durability;
mod faults;
pub(crate) mod faulty;
mod hostile;
mod indexes;
mod model;
mod processes;
mod segments;
mod sharing;
mod transactions;
mod upkeep;
mod versions;

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::{Key, Snapshot, Store, TableId, TableSpec};

/// A table `(id BIGINT PRIMARY KEY, note TEXT)`.
fn notes() -> TableSpec {
    TableSpec {
        schema: Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("note", DataType::Utf8View, true),
        ])),
        keys: vec![Key { name: "notes_pkey".into(), columns: vec![0], primary: true, unique: true }],
    }
}

fn batch(rows: &[(i64, &str)]) -> RecordBatch {
    let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
    let notes = StringViewArray::from_iter_values(rows.iter().map(|row| row.1));
    RecordBatch::try_new(notes_schema(), vec![Arc::new(ids), Arc::new(notes)]).unwrap()
}

fn notes_schema() -> Arc<Schema> {
    notes().schema
}

fn table_with(store: &Store, rows: &[(i64, &str)]) -> TableId {
    let transaction = store.begin().unwrap();
    let table = transaction.create_table(notes()).unwrap();
    transaction.append(table, batch(rows)).unwrap();
    transaction.commit().unwrap();
    table
}

/// All rows in the order of their ids.
fn rows(snapshot: &Snapshot, table: TableId) -> Vec<(i64, String)> {
    let view = snapshot.table(table).unwrap();
    let mut rows = Vec::new();
    for part in view.parts() {
        let batch = part.read(&[0, 1]).unwrap();
        assert_eq!(batch.num_rows(), part.rows());
        assert_eq!(part.row_ids().unwrap().len(), part.rows());
        let (ids, notes) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string_view());
        rows.extend(ids.values().iter().zip(notes).map(|(id, note)| (*id, note.unwrap_or("NULL").to_owned())));
    }
    assert_eq!(rows.len() as u64, view.rows());
    rows
}

fn find(snapshot: &Snapshot, table: TableId, id: i64) -> Option<u64> {
    let values = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![id])) as _)]).unwrap();
    snapshot.table(table).unwrap().find(0, &values).unwrap()[0]
}
