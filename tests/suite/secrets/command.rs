//! `kodiak secrets`: names, flags, columns and exit codes as the interface says.

use super::{Bench, KEY};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn the_key_file_is_the_owners_alone_and_the_vault_is_in_the_database() {
    let bench = Bench::new();
    assert_eq!(fs::metadata(bench.sandbox.path(KEY)).unwrap().mode() & 0o7777, 0o600);
    bench.done(&["set", "n"], b"hush");
    // Copied elsewhere it opens with the key file, and without it does not.
    fs::create_dir(bench.sandbox.path("elsewhere")).unwrap();
    fs::rename(bench.sandbox.path("db.kdb"), bench.sandbox.path("elsewhere/other.kdb")).unwrap();
    let get = ["--db", "elsewhere/other.kdb", "secrets", "get", "n", "--reveal"];
    let with = bench.sandbox.kodiak(get).env("KODIAK_SECRETS_KEY_FILE", bench.sandbox.path(KEY)).run();
    assert_eq!((with.code, with.stdout.as_slice()), (Some(0), &b"hush\n"[..]), "{with}");
    let without = bench.sandbox.kodiak(get).run();
    assert_eq!((without.code, without.stdout.as_slice()), (Some(1), &b""[..]), "{without}");
    fs::set_permissions(bench.sandbox.path(KEY), Permissions::from_mode(0o640)).unwrap();
    let loose = bench.sandbox.kodiak(get).env("KODIAK_SECRETS_KEY_FILE", bench.sandbox.path(KEY)).run();
    assert!(
        loose.code == Some(1) && loose.stderr.contains("KDK-0611") && loose.stderr.contains("chmod 600"),
        "{loose}"
    );
}

#[test]
fn set_reads_what_is_piped_verbatim_and_takes_no_value_as_an_argument() {
    let bench = Bench::new();
    let value = b"line one\nline two\r\n\x00\xff end ";
    bench.done(&["set", "n", "--type", "s3", "--scope", "s3://b/"], value);
    assert_eq!(bench.done(&["get", "n", "--reveal"], b""), [&value[..], b"\n"].concat());
    bench.sandbox.write("file", b"from a file");
    bench.done(&["set", "n", "--file", "file"], b"");
    assert_eq!(bench.value("n"), "from a file\n");
    for arguments in [
        &["set", "n", "hunter2"][..],
        &["set", "n", "--value", "hunter2"],
        &["set", "n", "--value=hunter2"],
        &["set", "n", "x", "-hunter2"],
        &["set", "n", "--", "hunter2"],
    ] {
        let run = bench.secrets(arguments, b"");
        assert!(run.code == Some(2) && !run.stderr.contains("hunter2"), "{arguments:?} {run}");
    }
    assert_eq!(bench.value("n"), "from a file\n");
}

#[test]
fn nothing_but_reveal_shows_a_value() {
    let bench = Bench::new();
    bench.done(&["set", "n"], b"hush-hush");
    for format in ["table", "json", "csv"] {
        for arguments in [&["get", "n"][..], &["list"], &["status"], &["slots", "list"], &["rm", "n", "--dry-run"]] {
            let arguments: Vec<&str> = arguments.iter().copied().chain(["--format", format]).collect();
            let run = bench.secrets(&arguments, b"");
            assert_eq!(run.code, Some(0), "{run}");
            assert!(!format!("{}{}", run.stdout(), run.stderr).contains("hush"), "{run}");
        }
    }
    let listed = &bench.json(&["list"])[0];
    let columns: Vec<&str> = listed.as_object().unwrap().keys().map(String::as_str).collect();
    let mut sorted = ["name", "type", "scope", "version", "created_at", "rotated_at"];
    sorted.sort_unstable();
    let mut found = columns.clone();
    found.sort_unstable();
    assert_eq!(found, sorted);
    assert_eq!((listed["name"].as_str(), listed["version"].as_i64()), (Some("n"), Some(1)));
    assert!(listed["rotated_at"].is_null() && listed["scope"].is_null() && listed["type"] == "generic");
}

#[test]
fn a_database_without_a_vault_says_so() {
    let bench = Bench::without_vault();
    assert_eq!((bench.json(&["list"]).len(), bench.json(&["slots", "list"]).len()), (0, 0));
    assert_eq!(bench.json(&["status"])[0]["state"], "none");
    let run = bench.secrets(&["set", "n"], b"v");
    assert!(run.code == Some(1) && run.stderr.contains("KDK-0600") && run.stderr.contains("secrets init"), "{run}");
    // Nobody to ask: no prompt, but an error.
    let run = bench.secrets(&["init"], b"");
    assert!(run.code == Some(2) && run.stderr.contains("--passphrase-fd"), "{run}");
    bench.done(&["init", "--key-file", KEY], b"");
    let again = bench.secrets(&["init", "--key-file", "other"], b"");
    assert!(again.code == Some(1) && again.stderr.contains("KDK-0601") && !bench.sandbox.path("other").exists());
}

#[test]
fn a_passphrase_and_a_recovery_code_open_the_vault() {
    let bench = Bench::without_vault();
    let made = bench.locked(&["init", "--passphrase-fd", "0", "--memory-mib", "19"], b"correct horse\n");
    assert_eq!(made.code, Some(0), "{made}");
    let sandbox = &bench.sandbox;
    sandbox.write("value", "hush");
    let with = |passphrase: &str, arguments: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--passphrase-fd", "0"]).collect();
        bench.locked(&arguments, format!("{passphrase}\n").as_bytes())
    };
    assert_eq!(with("correct horse", &["set", "n", "--file", "value"]).code, Some(0));
    assert_eq!(with("correct horse", &["get", "n", "--reveal"]).stdout, b"hush\n");
    for wrong in ["correct hors", "correct horse ", "Correct horse"] {
        let run = with(wrong, &["get", "n", "--reveal"]);
        assert!(run.code == Some(1) && run.stderr.contains("KDK-0603") && run.stdout.is_empty(), "{run}");
    }
    let code = String::from_utf8(with("correct horse", &["recovery"]).stdout).unwrap();
    assert_eq!(with(code.trim(), &["get", "n", "--reveal"]).stdout, b"hush\n");
    assert_eq!(with(&code.trim().to_lowercase().replace('-', " "), &["get", "n", "--reveal"]).stdout, b"hush\n");
    // A new root key needs neither of them, and both go on.
    assert_eq!(with("correct horse", &["rotate", "--master"]).code, Some(0));
    assert_eq!(with(code.trim(), &["get", "n", "--reveal"]).stdout, b"hush\n");
    let mut talk = sandbox.kodiak(["--db", "db.kdb", "sql", "--protocol", "jsonl"]).start();
    let ok = |sql: &str| format!("{}\n", serde_json::json!({ "sql": sql }));
    talk.send(&ok("UNLOCK SECRETS USING PASSPHRASE 'correct horse'"));
    assert!(talk.line().contains("\"ok\":true"));
    talk.send(&ok("ALTER SECRET n SET (VALUE 'changed')"));
    assert!(talk.line().contains("\"ok\":true"));
    assert_eq!(talk.finish().0, Some(0));
    assert_eq!(with("correct horse", &["get", "n", "--reveal"]).stdout, b"changed\n");
    let variable = bench.sandbox.kodiak(["--db", "db.kdb", "secrets", "get", "n", "--reveal"]);
    let variable = variable.env("KODIAK_SECRETS_PASSPHRASE", "correct horse").run();
    assert!(variable.stdout == b"changed\n" && variable.stderr.contains("warning: "), "{variable}");
}

#[test]
fn weak_passphrases_and_parameters_are_refused() {
    let bench = Bench::without_vault();
    for (arguments, passphrase) in [
        (&["--memory-mib", "18"][..], "correct horse"),
        (&["--memory-mib", "1025"], "correct horse"),
        (&["--iterations", "1"], "correct horse"),
        (&["--lanes", "0"], "correct horse"),
        (&[], "short"),
    ] {
        let arguments: Vec<&str> = ["init", "--passphrase-fd", "0"].iter().chain(arguments).copied().collect();
        let run = bench.locked(&arguments, passphrase.as_bytes());
        assert!(run.code == Some(1) && run.stderr.contains("KDK-0610"), "{arguments:?} {run}");
    }
    assert_eq!(bench.json(&["status"])[0]["state"], "none");
}

#[test]
fn slots_are_added_listed_and_removed() {
    let bench = Bench::new();
    bench.done(&["set", "n"], b"hush");
    bench.done(&["slots", "add", "--key-file", "second.key"], b"");
    bench.done(&["slots", "add", "--new-passphrase-fd", "0", "--memory-mib", "19"], b"correct horse");
    let kinds: Vec<String> =
        bench.json(&["slots", "list"]).iter().map(|slot| slot["kind"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["key file", "key file", "passphrase"]);
    let get = ["get", "n", "--reveal", "--key-file", "second.key"];
    assert_eq!(bench.locked(&get, b"").stdout, b"hush\n");
    bench.done(&["rotate", "--master"], b"");
    assert_eq!(bench.locked(&get, b"").stdout, b"hush\n");
    bench.done(&["slots", "remove", "2"], b"");
    assert!(bench.locked(&get, b"").stderr.contains("KDK-0603"));
    bench.done(&["slots", "remove", "3"], b"");
    assert!(bench.secrets(&["slots", "remove", "1"], b"").stderr.contains("KDK-0613"));
    assert_eq!(bench.value("n"), "hush\n");
}

#[test]
fn lock_keeps_the_key_file_from_opening_the_vault_until_unlock() {
    let bench = Bench::new();
    bench.done(&["set", "n"], b"hush");
    bench.done(&["lock"], b"");
    let run = bench.secrets(&["get", "n", "--reveal"], b"");
    assert!(run.code == Some(1) && run.stderr.contains("KDK-0602") && run.stderr.contains("secrets unlock"), "{run}");
    assert_eq!(bench.json(&["status"])[0]["state"], "locked");
    bench.done(&["unlock"], b"");
    assert_eq!(bench.value("n"), "hush\n");
}

#[test]
fn secrets_go_to_another_vault_by_a_sealed_file() {
    let bench = Bench::new();
    bench.sql("CREATE SECRET a (TYPE s3, SCOPE 's3://b/', VALUE 'one', REGION 'eu'); CREATE SECRET b (VALUE 'two')");
    bench.done(&["export", "out.bundle", "--bundle-passphrase-fd", "0"], b"correct horse");
    let file = fs::read(bench.sandbox.path("out.bundle")).unwrap();
    assert!(!file.windows(3).any(|window| window == b"one" || window == b"two"));
    assert_eq!(fs::metadata(bench.sandbox.path("out.bundle")).unwrap().mode() & 0o777, 0o600);
    let other = |arguments: &[&str], stdin: &[u8]| {
        let arguments = ["--db", "other.kdb", "secrets"].iter().chain(arguments);
        let run = bench.sandbox.kodiak(arguments).stdin(stdin);
        run.env("KODIAK_SECRETS_KEY_FILE", bench.sandbox.path("other.key")).run()
    };
    assert_eq!(other(&["init", "--key-file", "other.key"], b"").code, Some(0));
    let import = ["import", "out.bundle", "--bundle-passphrase-fd", "0"];
    assert!(other(&import, b"correct hose").stderr.contains("KDK-0603"));
    let run = other(&import, b"correct horse");
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(other(&["get", "a", "--reveal"], b"").stdout, b"one\n");
    assert_eq!(other(&["get", "a", "--reveal", "--field", "REGION"], b"").stdout, b"eu\n");
    // A second time they are there already: all or none.
    assert!(other(&import, b"correct horse").stderr.contains("KDK-0605"));
    let keep: Vec<&str> = import.iter().copied().chain(["--keep"]).collect();
    assert_eq!(other(&keep, b"correct horse").code, Some(0));
    bench.done(&["export", "one.bundle", "--only", "b", "--bundle-key-file", "bundle.key"], b"");
    let run = other(&["import", "one.bundle", "--bundle-key-file", "bundle.key", "--replace"], b"");
    assert_eq!(run.code, Some(0), "{run}");
    let listed = String::from_utf8(other(&["list", "--format", "csv"], b"").stdout).unwrap();
    assert!(listed.contains("a,s3,s3://b/,1,") && listed.contains("b,generic,,2,"), "{listed}");
}

#[test]
fn a_program_gets_secrets_as_variables_and_nothing_that_opens_the_vault() {
    let bench = Bench::new();
    bench.sql("CREATE SECRET db_password (VALUE 'one'); CREATE SECRET api (KEY 'two', ID 'three')");
    let script = "echo \"$DB_PASSWORD $API_KEY $API_ID ${KODIAK_SECRETS_KEY_FILE-none}\"; ulimit -c; exit 7";
    let run = bench.secrets(&["exec", "--", "sh", "-c", script], b"");
    assert_eq!(run.code, Some(7), "{run}");
    let lines = run.stdout();
    assert_eq!(lines.lines().next(), Some("one two three none"));
    let own = std::process::Command::new("sh").args(["-c", "ulimit -c"]).output().unwrap().stdout;
    assert_eq!(lines.lines().nth(1).unwrap().as_bytes(), own.trim_ascii());
    let only = ["exec", "--env", "PASS=db_password", "--", "sh", "-c", "echo \"$PASS ${API_KEY-none}\""];
    assert_eq!(bench.done(&only, b""), b"one none\n");
    assert_eq!(bench.done(&["exec", "--only", "api", "--", "sh", "-c", "echo ${DB_PASSWORD-none}"], b""), b"none\n");
    let missing = bench.secrets(&["exec", "--", "./is-not-there"], b"");
    assert!(missing.code == Some(1) && missing.stderr.contains("KDK-0617"), "{missing}");
    let audit = bench.sql("SELECT count(*) AS n FROM secrets.audit WHERE action = 'exec' AND outcome = 'ok'");
    assert_eq!(audit, "n\n6\n");
}

#[test]
fn a_core_dump_is_switched_off_while_keys_are_there() {
    let bench = Bench::new();
    let mut talk = bench.kodiak(&["sql", "--protocol", "jsonl"]).start();
    talk.send("{\"sql\": \"CREATE SECRET n (VALUE 'hush')\"}\n");
    assert!(talk.line().contains("\"ok\":true"));
    let limits = fs::read_to_string(format!("/proc/{}/limits", talk.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(line.split_whitespace().nth(4), Some("0"), "{line}");
    let filter = fs::read_to_string(format!("/proc/{}/coredump_filter", talk.id())).unwrap();
    assert_eq!(u32::from_str_radix(filter.trim(), 16), Ok(0));
    assert_eq!(talk.finish().0, Some(0));
}
