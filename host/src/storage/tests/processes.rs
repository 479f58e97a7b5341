//! Several processes on one database, and processes that are killed. A child is this test binary, run again for the
//! same test with the database in an environment variable.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::error::codes;
use crate::storage::Options;

const DATABASE: &str = "KODIAK_TEST_DATABASE";
const CHILDREN: i64 = 3;
const ROUNDS: i64 = 25;

fn spawn(test: &str, database: &Path, number: i64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(DATABASE, database)
        .env("KODIAK_TEST_NUMBER", number.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn is_child() -> Option<(Store, TableId, i64)> {
    let path = std::env::var_os(DATABASE)?;
    let options = Options { wal_bytes_max: 20_000, spill_rows_max: 20, group_rows: 16, ..Options::default() };
    let store = Store::open(Path::new(&path), &options).unwrap();
    let table = store.begin().unwrap().snapshot().get(b"table").unwrap();
    let number = std::env::var("KODIAK_TEST_NUMBER").unwrap().parse().unwrap();
    Some((store, TableId(u64::from_le_bytes(table.as_ref().try_into().unwrap())), number))
}

/// A database with a counter in row 0.
fn prepare(path: &Path) -> (Store, TableId) {
    let store = Store::open(path, &Options::default()).unwrap();
    let table = table_with(&store, &[(0, "0")]);
    let transaction = store.begin().unwrap();
    transaction.put(b"table", &table.0.to_le_bytes()).unwrap();
    transaction.commit().unwrap();
    (store, table)
}

fn counter(snapshot: &Snapshot, table: TableId) -> i64 {
    let row = find(snapshot, table, 0).unwrap();
    let read = snapshot.table(table).unwrap().fetch(&[row], &[1]).unwrap();
    read.column(0).as_string_view().value(0).parse().unwrap()
}

#[test]
fn processes_lose_no_update_and_readers_see_whole_commits() {
    if let Some((store, table, number)) = is_child() {
        for round in 0..ROUNDS {
            loop {
                let transaction = store.begin().unwrap();
                let snapshot = transaction.snapshot();
                let next = counter(&snapshot, table) + 1;
                transaction.delete(table, &[find(&snapshot, table, 0).unwrap()]).unwrap();
                // Now and then so many rows that they go to a segment.
                let width = if round % 5 == 0 { 30 } else { 1 };
                let own = (number * 100 + round) * 100;
                let new: Vec<(i64, String)> = (own..own + width).map(|id| (id, "row".to_owned())).collect();
                let mut new: Vec<(i64, &str)> = new.iter().map(|(id, note)| (*id, note.as_str())).collect();
                let text = next.to_string();
                new.push((0, &text));
                transaction.append(table, batch(&new)).unwrap();
                match transaction.commit() {
                    Ok(_) => break,
                    Err(error) => assert!(error.is(codes::CONFLICT), "{error:?}"),
                }
            }
            if round % 8 == 0 {
                store.checkpoint().unwrap();
            }
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (store, table) = prepare(folder.path());
    let test = "storage::tests::processes::processes_lose_no_update_and_readers_see_whole_commits";
    let mut children: Vec<Child> = (1..=CHILDREN).map(|number| spawn(test, folder.path(), number)).collect();
    let per_child = ROUNDS / 5 * 30 + ROUNDS / 5 * 4;
    let mut last = 0;
    loop {
        let snapshot = store.begin().unwrap().snapshot();
        let now = counter(&snapshot, table);
        assert!(now >= last, "the counter went back from {last} to {now}");
        let view = snapshot.table(table).unwrap();
        let wide = |count: i64| view.rows() as i64 > count && (view.rows() as i64 - 1 - count) % 29 == 0;
        assert!(wide(now), "{} rows at {now} commits: a commit is there in part", view.rows());
        last = now;
        if children.iter_mut().all(|child| child.try_wait().unwrap().is_some()) {
            break;
        }
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let snapshot = store.begin().unwrap().snapshot();
    assert_eq!(counter(&snapshot, table), CHILDREN * ROUNDS);
    assert_eq!(snapshot.table(table).unwrap().rows() as i64, 1 + CHILDREN * per_child);
    assert_eq!(store.check().unwrap(), []);
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged_and_holds_nobody_up() {
    if let Some((store, table, number)) = is_child() {
        for id in number.. {
            let transaction = store.begin().unwrap();
            let new: Vec<(i64, &str)> = (id * 100..id * 100 + 1 + id % 4 * 8).map(|id| (id, "row")).collect();
            transaction.append(table, batch(&new)).unwrap();
            transaction.commit().unwrap();
            println!("done {id}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let (store, table) = prepare(folder.path());
    let test = "storage::tests::processes::a_killed_process_loses_nothing_that_it_acknowledged_and_holds_nobody_up";
    let mut from = 1;
    for round in 0..8 {
        let mut child = spawn(test, folder.path(), from);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(|line| line.ok());
        let mut done = lines.filter_map(|line| line.strip_prefix("done ")?.parse::<i64>().ok());
        let seen: Vec<i64> = done.by_ref().take(3 + round * 2).collect();
        child.kill().unwrap();
        let acknowledged = done.last().or(seen.last().copied()).unwrap();
        child.wait().unwrap();
        let present = |id: i64, snapshot: &Snapshot| find(snapshot, table, id * 100).is_some();
        for store in [&store, &Store::open(folder.path(), &Options::default()).unwrap()] {
            let snapshot = store.begin().unwrap().snapshot();
            assert!((1..=acknowledged).all(|id| present(id, &snapshot)), "round {round}");
            assert!(!present(acknowledged + 2, &snapshot));
            from = acknowledged + 1 + i64::from(present(acknowledged + 1, &snapshot));
            let all: i64 = (1..from).map(|id| 1 + id % 4 * 8).sum();
            assert_eq!(snapshot.table(table).unwrap().rows() as i64, 1 + all, "round {round}");
        }
    }
    assert_eq!(store.check().unwrap(), []);
}
