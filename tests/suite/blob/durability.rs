//! Processes that die, and files that are damaged.

use super::{Bench, large};

#[test]
fn a_put_that_was_answered_survives_and_one_that_was_not_leaves_nothing() {
    let bench = Bench::new();
    bench.sandbox.write("large", large(2));
    let mut session = bench.sandbox.kodiak(["--db", "db.kdb", "sql", "--protocol", "jsonl"]).start();
    for sql in ["PUT BLOB 'b' 'answered' FROM FILE 'large'", "BEGIN", "PUT BLOB 'b' 'open' FROM FILE 'large'"] {
        session.send(&format!("{}\n", serde_json::json!({ "sql": sql })));
        assert!(session.line().contains("\"ok\":true"));
    }
    // While the process lives, nobody sweeps what its transaction may still commit.
    assert!(bench.json(&["gc"]).is_empty());
    assert_eq!(bench.files("data").len(), 2);
    session.kill();
    assert_eq!(bench.keys(), ["answered"]);
    assert_eq!(bench.json(&["gc"]).len(), 1);
    assert_eq!(bench.files("data").len(), 1);
    assert_eq!(bench.done(&["cat", "blob://b/answered"], b""), large(2));
}

#[test]
fn a_put_that_is_killed_halfway_is_swept() {
    let bench = Bench::new();
    let mut putting = bench.sandbox.kodiak(["--db", "db.kdb", "blob", "put", "-", "blob://b/k"]).start();
    let text = "x".repeat(1 << 20);
    for _ in 0..4 {
        putting.send(&text);
    }
    // The file is there as soon as a first chunk was read, and stays as long as standard input is open.
    while bench.files("tmp").is_empty() {
        std::thread::yield_now();
    }
    assert!(bench.json(&["gc"]).is_empty());
    putting.kill();
    assert!(bench.keys().is_empty());
    assert_eq!(bench.json(&["gc"]).len(), 1);
    assert!(bench.files("tmp").is_empty() && bench.files("data").is_empty());
}

#[test]
fn damage_is_named_and_stays_where_it_is() {
    let bench = Bench::new();
    bench.done(&["put", "-", "blob://b/good"], &large(1));
    bench.done(&["put", "-", "blob://b/bad/key"], &large(2));
    let payload = bench.json(&["stat", "blob://b/bad/key"])[0]["payload"].as_str().expect("it has a file").to_owned();
    let path = bench.files("data").into_iter().find(|path| path.ends_with(&payload)).expect("the file is there");
    let mut bytes = std::fs::read(&path).expect("the file can be read");
    bytes[2_000_000] ^= 1;
    std::fs::write(&path, &bytes).expect("the file can be written");
    let named = |run: &kodiak_tests::Run, code: &str| {
        assert_eq!(run.code, Some(1), "{run}");
        for part in [code, "`b`", "`bad/key`", payload.as_str()] {
            assert!(run.stderr.contains(part), "{run}");
        }
    };
    named(&bench.blob(&["get", "blob://b/bad/key", "out"], b""), "KDK-0510");
    assert!(!bench.sandbox.path("out").exists());
    let range = |offset: &str| bench.blob(&["cat", "blob://b/bad/key", "--offset", offset, "--length", "1"], b"");
    named(&range("1999999"), "KDK-0510");
    assert_eq!(range("5").code, Some(0));
    assert!(bench.refused("SELECT blob_get('b', 'bad/key', NULL, 2000000, 1)").contains("KDK-0510"));
    let verified = bench.blob(&["verify", "--format", "json"], b"");
    let found: Vec<serde_json::Value> = serde_json::from_slice(&verified.stdout).expect("the output is JSON");
    assert_eq!((verified.code, found.len(), found[0]["key"].as_str()), (Some(1), 1, Some("bad/key")));
    std::fs::remove_file(&path).expect("the file can be removed");
    named(&bench.blob(&["cat", "blob://b/bad/key"], b""), "KDK-0511");
    assert_eq!(bench.done(&["cat", "blob://b/good"], b""), large(1));
    assert_eq!(bench.sql("SELECT count(*) AS n FROM list_blobs('b')"), "n\n2\n");
}
