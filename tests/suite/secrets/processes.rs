//! Processes that die in the middle of a rotation, and several of them at once.

use super::{Bench, KEY};
use std::time::Duration;

fn request(sql: &str) -> String {
    format!("{}\n", serde_json::json!({ "sql": sql }))
}

#[test]
fn a_killed_rotation_leaves_the_vault_as_it_was_and_can_be_made_again() {
    let bench = Bench::new();
    bench.sql("CREATE SECRET a (VALUE 'one'); CREATE SECRET b (VALUE 'two')");
    for statement in ["ROTATE MASTER", "ROTATE KEY", "ROTATE SECRET a"] {
        let mut session = bench.kodiak(&["sql", "--protocol", "jsonl"]).start();
        for sql in ["BEGIN", statement] {
            session.send(&request(sql));
            assert!(session.line().contains("\"ok\":true"), "{statement}");
        }
        session.kill();
        assert_eq!((bench.value("a"), bench.value("b")), ("one\n".into(), "two\n".into()), "{statement}");
        bench.sql(statement);
        assert_eq!((bench.value("a"), bench.value("b")), ("one\n".into(), "two\n".into()), "{statement}, again");
    }
}

/// Killed as soon as the log has grown by anything, time after time: wherever it was, nothing is lost, and in the end the
/// rotation is done.
#[test]
fn a_rotation_of_the_epoch_that_is_killed_again_and_again_goes_on() {
    let bench = Bench::new();
    let create = (0..600).map(|n| format!("CREATE SECRET s{n} (VALUE 'value {n}');")).collect::<String>();
    bench.sql(&format!("BEGIN; {create} COMMIT"));
    let log_bytes = || -> u64 {
        let files = std::fs::read_dir(bench.sandbox.path("db.kdb/wal")).unwrap();
        files.map(|file| file.unwrap().metadata().map_or(0, |metadata| metadata.len())).sum()
    };
    for _ in 0..4 {
        let before = log_bytes();
        let session = bench.kodiak(&["secrets", "rotate", "--key"]).start();
        // Until it wrote something, or had nothing left to do.
        while log_bytes() == before && session.try_line(Duration::from_millis(1)).is_none() {
            if !std::path::Path::new(&format!("/proc/{}/exe", session.id())).exists() {
                break;
            }
        }
        session.kill();
        for name in ["s0", "s299", "s599"] {
            assert_eq!(bench.value(name), format!("value {}\n", &name[1..]));
        }
    }
    bench.done(&["rotate", "--key"], b"");
    let status = &bench.json(&["status"])[0];
    assert!(status["pending"] == 0 && status["epoch"].as_i64() >= Some(2), "{status}");
    bench.done(&["unlock"], b"");
}

#[test]
fn processes_that_change_the_vault_at_once_lose_nothing() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for number in 0..6 {
            let bench = &bench;
            scope.spawn(move || {
                bench.done(&["set", &format!("s{number}")], format!("value {number}").as_bytes());
                if number == 3 {
                    bench.done(&["rotate", "--master"], b"");
                }
            });
        }
    });
    for number in 0..6 {
        assert_eq!(bench.value(&format!("s{number}")), format!("value {number}\n"));
    }
    assert!(bench.sandbox.path(KEY).exists());
}

/// One process has the vault open while another one takes a new root key, drops and changes secrets.
#[test]
fn an_open_vault_follows_what_other_processes_do() {
    let bench = Bench::new();
    bench.sql("CREATE SECRET a (VALUE 'one'); CREATE SECRET b (VALUE 'two')");
    let mut session = bench.kodiak(&["sql", "--protocol", "jsonl"]).start();
    session.send(&request("ALTER SECRET a SET (VALUE 'three')"));
    assert!(session.line().contains("\"ok\":true"));
    bench.done(&["rotate", "--master"], b"");
    bench.done(&["rotate", "--key"], b"");
    bench.done(&["rm", "b"], b"");
    session.send(&request("ALTER SECRET a SET (MORE 'four')"));
    assert!(session.line().contains("\"ok\":true"));
    session.send(&request("ALTER SECRET b SET (MORE 'four')"));
    assert!(session.line().contains("KDK-0604"));
    assert_eq!(session.finish().0, Some(0));
    assert_eq!(bench.value("a"), "three\n");
}
