//! `kodiak blob` as scripts use it.

use super::{Bench, large};

#[test]
fn streams_go_in_and_come_out_as_they_were() {
    let bench = Bench::new();
    for (key, content) in
        [("empty", Vec::new()), ("small", b"x\n".to_vec()), ("edge", vec![7; 16 << 10]), ("large", large(3))]
    {
        let address = format!("blob://b/{key}");
        bench.done(&["put", "-", &address], &content);
        assert_eq!(bench.done(&["get", &address, "-"], b""), content);
        bench.done(&["get", &address, "out"], b"");
        assert_eq!(std::fs::read(bench.sandbox.path("out")).expect("the file is there"), content);
    }
    // Small ones stay with their rows.
    assert_eq!(bench.files("data").len(), 1);
    assert!(bench.files("tmp").is_empty());
    let range = bench.done(&["cat", "blob://b/large", "--offset", "1048570", "--length", "20"], b"");
    assert_eq!(range, large(3)[1_048_570..1_048_590]);
    let listed = bench.json(&["ls", "blob://b/large"]);
    let fields: Vec<&str> = listed[0].as_object().expect("a line is an object").keys().map(String::as_str).collect();
    assert_eq!(fields, ["etag", "key", "last_modified", "size", "version"]);
    assert_eq!(listed[0]["size"], 2_500_000);
}

#[test]
fn keys_are_text_and_never_paths() {
    let bench = Bench::new();
    let long = "k".repeat(1024);
    let keys = ["../../../escape", "/", "//a", "A", "a", "a b%20?#", "\u{fc}\u{1f43b}", ".", long.as_str()];
    for key in keys {
        bench.done(&["put", "-", &format!("blob://b/{key}")], &[large(9), key.as_bytes().to_vec()].concat());
    }
    let mut sorted = keys.map(str::to_owned);
    sorted.sort();
    assert_eq!(bench.keys(), sorted);
    for key in keys {
        let content = bench.done(&["cat", &format!("blob://b/{key}")], b"");
        assert_eq!(content[2_500_000..], *key.as_bytes());
    }
    assert_eq!(bench.files("data").len(), keys.len());
    let too_long = bench.blob(&["put", "-", &format!("blob://b/{long}x")], b"");
    assert!(too_long.code == Some(1) && too_long.stderr.contains("KDK-0506"), "{too_long}");
    // What would leave the folder is not written.
    let escape = bench.blob(&["get", "--recursive", "blob://b/", "out"], b"");
    assert!(escape.code == Some(1) && escape.stderr.contains("KDK-0506"), "{escape}");
}

#[test]
fn folders_go_there_and_back_and_stay_alike() {
    let bench = Bench::new();
    let (big, small) = (large(5), b"small".to_vec());
    bench.sandbox.write("src/big", &big);
    bench.sandbox.write("src/sub/small", &small);
    bench.done(&["put", "--recursive", "src", "blob://b/p"], b"");
    assert_eq!(bench.keys(), ["p/big", "p/sub/small"]);
    let lines = bench.json(&["ls", "blob://b/p/"]);
    assert_eq!(lines.iter().map(|line| line["key"].clone()).collect::<Vec<_>>(), ["p/big", "p/sub/"]);
    bench.done(&["sync", "src", "blob://b/s"], b"");
    assert!(bench.json(&["sync", "src", "blob://b/s", "--dry-run"]).is_empty());
    bench.sandbox.write("src/sub/small", "SMALL");
    bench.done(&["rm", "blob://b/s/big"], b"");
    bench.done(&["cp", "blob://b/p/big", "blob://b/s/extra"], b"");
    let steps = bench.json(&["sync", "src", "blob://b/s", "--delete", "--dry-run"]);
    let steps: Vec<_> = steps.iter().map(|step| (step["action"].clone(), step["place"].clone())).collect();
    let wanted = [("put", "blob://b/s/big"), ("put", "blob://b/s/sub/small"), ("delete", "blob://b/s/extra")];
    assert_eq!(steps, wanted.map(|(action, place)| (action.into(), place.into())));
    bench.done(&["sync", "src", "blob://b/s", "--delete"], b"");
    bench.done(&["sync", "blob://b/s", "back"], b"");
    assert_eq!(std::fs::read(bench.sandbox.path("back/big")).expect("the file is there"), big);
    assert_eq!(std::fs::read(bench.sandbox.path("back/sub/small")).expect("the file is there"), b"SMALL");
    bench.done(&["mv", "--recursive", "blob://b/s", "blob://b/m"], b"");
    assert_eq!(bench.keys(), ["m/big", "m/sub/small", "p/big", "p/sub/small"]);
    bench.done(&["rm", "--recursive", "blob://b/p/"], b"");
    assert_eq!(bench.keys(), ["m/big", "m/sub/small"]);
}

#[test]
fn a_copy_takes_no_room_and_gc_takes_what_nobody_needs() {
    let bench = Bench::new();
    bench.done(&["put", "-", "blob://b/k"], &large(1));
    bench.done(&["cp", "blob://b/k", "blob://b/copy"], b"");
    assert_eq!(bench.files("data").len(), 1);
    bench.done(&["rm", "blob://b/k"], b"");
    assert!(bench.json(&["gc"]).is_empty());
    assert_eq!(bench.done(&["cat", "blob://b/copy"], b""), large(1));
    bench.done(&["rm", "blob://b/copy"], b"");
    assert_eq!(bench.json(&["gc", "--dry-run"]).len(), 1);
    assert_eq!(bench.json(&["gc"]).len(), 1);
    assert!(bench.files("data").is_empty());
}

#[test]
fn exit_codes_and_preconditions() {
    let bench = Bench::new();
    bench.done(&["put", "-", "blob://b/k", "--if-not-exists", "--tag", "a=1", "--metadata", "m=2"], b"x");
    let stat = bench.json(&["stat", "blob://b/k"]);
    assert_eq!(
        (stat[0]["tags"].as_str(), stat[0]["metadata"].as_str()),
        (Some("{\"a\":\"1\"}"), Some("{\"m\":\"2\"}"))
    );
    for (arguments, code, word) in [
        (vec!["put", "-", "blob://b/k", "--if-not-exists"], 1, "KDK-0507"),
        (vec!["put", "-", "blob://no/k"], 1, "KDK-0500"),
        (vec!["cat", "blob://b/no"], 1, "KDK-0504"),
        (vec!["rb", "b"], 1, "KDK-0502"),
        (vec!["cat", "s3://b/k"], 2, "blob://bucket/key"),
        (vec!["frobnicate"], 2, "frobnicate"),
    ] {
        let run = bench.blob(&arguments, b"y");
        assert!(run.code == Some(code) && run.stderr.contains(word), "{arguments:?}\n{run}");
    }
    bench.done(&["rb", "b", "--force"], b"");
    assert!(bench.json(&["ls"]).is_empty());
}
