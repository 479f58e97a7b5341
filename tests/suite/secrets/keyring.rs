//! The system's keyring: not there, silent, locked. A socket plays the bus, and as much of a keyring as is needed.

use super::Bench;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// `init --keyring` on this bus: how it ends, and how long it takes.
fn init(bench: &Bench, address: &str) -> (kodiak_tests::Run, Duration) {
    let started = Instant::now();
    let arguments = ["--db", "db.kdb", "secrets", "init", "--keyring"];
    let run = bench.sandbox.kodiak(arguments).env("DBUS_SESSION_BUS_ADDRESS", address).run();
    (run, started.elapsed())
}

fn refused_in_time(bench: &Bench, address: &str, why: &str) {
    let (run, took) = init(bench, address);
    assert!(run.code == Some(1) && run.stderr.contains("KDK-0612") && run.stderr.contains(why), "{run}");
    assert!(run.stderr.contains("--key-file"), "it names another way: {run}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    // Nothing else was taken in its place.
    assert_eq!(bench.json(&["status"])[0]["state"], "none");
}

#[test]
fn a_keyring_that_is_not_there_is_said_at_once() {
    let bench = Bench::without_vault();
    let nowhere = format!("unix:path={}", bench.sandbox.path("no-bus").display());
    refused_in_time(&bench, &nowhere, "it is not there");
}

#[test]
fn a_keyring_that_hangs_is_given_up_within_three_seconds() {
    let bench = Bench::without_vault();
    let path = bench.sandbox.path("bus");
    // Accepts, and never says a word.
    let silent = UnixListener::bind(&path).unwrap();
    refused_in_time(&bench, &format!("unix:path={}", path.display()), "did not answer within 2.5 seconds");
    drop(silent);
}

#[test]
fn a_keyring_that_is_locked_says_so() {
    let bench = Bench::without_vault();
    let path = bench.sandbox.path("bus");
    serve(&path, "org.freedesktop.Secret.Error.IsLocked", "the login keyring is locked");
    refused_in_time(&bench, &format!("unix:path={}", path.display()), "locked");
}

/// A vault whose keyring is gone names the others ways in, and takes none of them by itself.
#[test]
fn another_way_is_only_taken_when_the_user_says_so() {
    let bench = Bench::new();
    bench.done(&["set", "n"], b"hush");
    let nowhere = format!("unix:path={}", bench.sandbox.path("no-bus").display());
    let run = bench.kodiak(&["secrets", "slots", "add", "--keyring"]).env("DBUS_SESSION_BUS_ADDRESS", &nowhere).run();
    assert!(run.code == Some(1) && run.stderr.contains("KDK-0612"), "{run}");
    assert_eq!(bench.json(&["slots", "list"]).len(), 1);
    assert_eq!(bench.value("n"), "hush\n");
}

/// A bus that lets a client in and answers everything that is asked of others with this error.
fn serve(path: &Path, error: &'static str, text: &'static str) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            thread::spawn(move || converse(stream, error, text));
        }
    });
}

/// The D-Bus specification, "Authentication Protocol" and "Message Format".
fn converse(stream: UnixStream, error: &str, text: &str) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut input = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        input.read_until(b'\n', &mut line).ok()?;
        let line = String::from_utf8_lossy(&line).trim_matches(['\0', '\r', '\n']).to_owned();
        match line.split(' ').next()? {
            "AUTH" if line == "AUTH" => out.write_all(b"REJECTED EXTERNAL\r\n").ok()?,
            "AUTH" => out.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n").ok()?,
            "NEGOTIATE_UNIX_FD" => out.write_all(b"ERROR\r\n").ok()?,
            "BEGIN" => break,
            _ => out.write_all(b"ERROR\r\n").ok()?,
        }
    }
    let mut serial = 0;
    loop {
        let mut fixed = [0; 16];
        input.read_exact(&mut fixed).ok()?;
        let number = |at: usize| u32::from_le_bytes(fixed[at..at + 4].try_into().unwrap_or_default());
        let (body, asked, fields) = (number(4) as usize, number(8), number(12) as usize);
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        input.read_exact(&mut rest).ok()?;
        serial += 1;
        let hello = rest.windows(5).any(|window| window == b"Hello");
        out.write_all(&answer(serial, asked, hello, error, text)).ok()?;
    }
}

fn answer(serial: u32, asked: u32, hello: bool, error: &str, text: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    let field = |fields: &mut Vec<u8>, code: u8, signature: u8| {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([code, 1, signature, 0]);
    };
    let string = |bytes: &mut Vec<u8>, text: &str| {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(u32::try_from(text.len()).unwrap_or_default().to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.push(0);
    };
    field(&mut fields, 5, b'u');
    fields.extend(asked.to_le_bytes());
    if !hello {
        field(&mut fields, 4, b's');
        string(&mut fields, error);
    }
    field(&mut fields, 7, b's');
    string(&mut fields, "org.freedesktop.DBus");
    field(&mut fields, 8, b'g');
    fields.extend([1, b's', 0]);
    let mut body = Vec::new();
    string(&mut body, if hello { ":1.1" } else { text });
    let kind = if hello { 2 } else { 3 };
    let mut message = vec![b'l', kind, 1, 1];
    message.extend(u32::try_from(body.len()).unwrap_or_default().to_le_bytes());
    message.extend(serial.to_le_bytes());
    message.extend(u32::try_from(fields.len()).unwrap_or_default().to_le_bytes());
    message.extend(&fields);
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body);
    message
}
