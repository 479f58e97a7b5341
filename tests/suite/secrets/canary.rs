//! The canary: a value goes through everything that the extension does, well and badly, and then every byte that was
//! written or printed anywhere is searched for it, in every form that a tool would find.

use super::{Bench, KEY};
use std::path::{Path, PathBuf};

/// Values that stand nowhere by chance; one of them is typed without quotes, one as hex.
const CANARIES: &[&str] = &["cAnArY-7f3e9b21-dOnT", "bareCanary51d07", "hexCanary9921ab!"];

/// What a value looks like in a hex dump, in base64 at any of its three alignments, in UTF-16 and backwards.
fn forms(canary: &str) -> Vec<(String, Vec<u8>)> {
    let bytes = canary.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        ("raw".to_owned(), bytes.to_vec()),
        ("lower-case".to_owned(), canary.to_lowercase().into_bytes()),
        ("upper-case".to_owned(), canary.to_uppercase().into_bytes()),
        ("hex".to_owned(), hex.clone().into_bytes()),
        ("upper-case hex".to_owned(), hex.to_uppercase().into_bytes()),
        ("UTF-16LE".to_owned(), canary.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("UTF-16BE".to_owned(), canary.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ("backwards".to_owned(), bytes.iter().rev().copied().collect()),
        ("URL".to_owned(), bytes.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect()),
    ];
    for skip in 0..3 {
        for url_safe in [false, true] {
            forms.push((format!("base64 from byte {skip}"), base64(&bytes[skip..], url_safe)));
        }
    }
    // Half of it is too much as well.
    forms.push(("the first half".to_owned(), bytes[..bytes.len() / 2 + 1].to_vec()));
    forms.push(("the second half".to_owned(), bytes[bytes.len() / 2 - 1..].to_vec()));
    forms
}

/// Whole groups only: what stands behind them differs with what follows.
fn base64(bytes: &[u8], url_safe: bool) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let symbol = |sextet: u32| match (sextet, url_safe) {
        (62, false) => b'+',
        (63, false) => b'/',
        (62, true) => b'-',
        (63, true) => b'_',
        (sextet, _) => alphabet[sextet as usize],
    };
    let group = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        [18, 12, 6, 0].map(|shift| symbol(bits >> shift & 63))
    };
    bytes.chunks_exact(3).flat_map(group).collect()
}

fn search(place: &str, bytes: &[u8]) {
    for canary in CANARIES {
        for (form, needle) in forms(canary) {
            let found = bytes.windows(needle.len()).position(|window| window == needle);
            assert_eq!(found, None, "{place} holds a secret: {form} of `{canary}`");
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

/// Statements that bring the canaries, and whether they end well.
fn statements() -> Vec<(String, bool)> {
    let [canary, bare, hex] = [CANARIES[0], CANARIES[1], CANARIES[2]];
    let digits: String = hex.bytes().map(|byte| format!("{byte:02x}")).collect();
    let well = [
        format!("CREATE SECRET a (TYPE s3, SCOPE 's3://b', VALUE '{canary}', KEY X'{digits}')"),
        format!("CREATE OR REPLACE SECRET b (VALUE '{canary}')"),
        format!("ALTER SECRET a SET (VALUE '{canary}', EXTRA '{canary}')"),
        format!("ROTATE SECRET a SET (VALUE '{canary}')"),
        format!("BEGIN; CREATE SECRET undone (VALUE '{canary}'); ROLLBACK"),
        "ROTATE SECRET a; ROTATE KEY; ROTATE MASTER".to_owned(),
        "SELECT * FROM secrets.secrets; SELECT * FROM secrets.audit; SELECT * FROM kodiak.extension_objects".to_owned(),
        "SELECT * FROM kodiak.settings; SELECT * FROM kodiak.functions; SHOW TABLES".to_owned(),
        "CHECKPOINT".to_owned(),
    ];
    let badly = [
        format!("CREATE SECRET a (VALUE '{canary}')"),
        format!("CREATE SECRET c (VALUE '{canary}"),
        format!("CREATE SECRET c (VALUE \"{canary}"),
        format!("CREATE SECRET c (VALUE $${canary}"),
        format!("CREATE SECRET c (VALUE /* {canary}"),
        format!("CREATE SECRET c (VALUE '{canary}' '{canary}')"),
        format!("CREATE SECRET c (VALUE {bare})"),
        format!("CREATE SECRET c VALUE '{canary}'"),
        format!("CREATE SECRET c (VALUE '{canary}', VALUE '{canary}')"),
        format!("CREATE SECRET c (VALUE E'{canary}\\"),
        format!("CREATE SECRET (VALUE '{canary}')"),
        format!("CREATE\n-- a comment\nSECRET c\n(VALUE\n'{canary}'"),
        format!("CREATE TEMPORARY SECRET c (VALUE '{canary}')"),
        format!("CREATE PERSISTENT SECRET c IN storage (VALUE '{canary}')"),
        format!("ALTER SECRET nobody SET (VALUE '{canary}')"),
        format!("ALTER SECRET a SET VALUE = '{canary}'"),
        format!("ALTER SECRET a ({bare} '{canary}"),
        format!("ROTATE SECRET a SET (VALUE '{canary}' oops)"),
        format!("UNLOCK SECRETS USING PASSPHRASE '{canary}'"),
        format!("UNLOCK SECRETS USING PASSPHRASE '{canary}"),
        format!("UNLOCK SECRETS USING {bare}"),
        format!("PREPARE p AS CREATE SECRET c (VALUE '{canary}')"),
        format!("EXPLAIN CREATE SECRET c (VALUE '{canary}')"),
        format!("EXPLAIN ANALYZE CREATE SECRET c (VALUE '{canary}')"),
        format!("CREATE VIEW v AS CREATE SECRET c (VALUE '{canary}')"),
        format!("SELECT 'open; CREATE SECRET c (VALUE '{canary}')"),
        format!("SELECT nope; CREATE SECRET c (VALUE '{canary}')"),
        format!("CREATE SECRET d (VALUE '{canary}'); SELECT nope"),
        format!("SET x = (CREATE SECRET c (VALUE '{canary}'))"),
        format!("CREATE SECRET c (VALUE ?, OTHER '{canary}')"),
        "SELECT secret('a')".to_owned(),
        "SELECT * FROM secrets.head".to_owned(),
    ];
    well.into_iter().map(|text| (text, true)).chain(badly.into_iter().map(|text| (text, false))).collect()
}

#[test]
fn no_byte_of_a_secret_is_anywhere() {
    let bench = Bench::new();
    let log = |arguments: &[&str]| bench.kodiak(arguments);
    let mut searched = 0;
    for (statement, well) in statements() {
        let runs = [
            log(&["sql", "-c", &statement]).env("KODIAK_LOG", "trace").run(),
            log(&["--format", "json", "sql", "--timing"]).env("KODIAK_LOG", "trace").stdin(statement.as_str()).run(),
            log(&["sql", "--protocol", "jsonl"])
                .env("KODIAK_LOG", "trace")
                .stdin(format!("{}\n", serde_json::json!({ "sql": statement })))
                .run(),
        ];
        for run in &runs {
            search(&format!("stdout of {statement}"), &run.stdout);
            search(&format!("stderr of {statement}"), run.stderr.as_bytes());
            searched += 1;
        }
        assert_eq!(runs[0].code == Some(0), well, "{statement}\n{}", runs[0]);
    }
    let broken = format!("{{\"CREATE SECRET c (VALUE '{}')\": 1}}\n", CANARIES[0]);
    let run = log(&["sql", "--protocol", "jsonl"]).stdin(broken).run();
    search("the answer to a broken request", &run.stdout);
    for (arguments, stdin) in [
        (&["set", "a"][..], CANARIES[0]),
        (&["set", "new", "--type", "s3"], CANARIES[0]),
        (&["set", "a", CANARIES[0]], ""),
        (&["get", "a"], ""),
        (&["get", "a", "--reveal", "--field", CANARIES[1]], ""),
        (&["list", "--format", "json"], ""),
        (&["rotate", "a"], ""),
        (&["rotate", "--key"], ""),
        (&["export", "bundle", "--bundle-key-file", "bundle.key"], ""),
        (&["slots", "add", "--new-passphrase-fd", "0", "--memory-mib", "19"], CANARIES[0]),
        (&["get", "a", "--reveal", "--passphrase-fd", "0"], "not the one"),
        (&["unlock"], ""),
        (&["status"], ""),
        (&["import", "bundle", "--bundle-key-file", "bundle.key", "--replace"], ""),
        (&["exec", "--", "true"], ""),
    ] {
        let arguments: Vec<&str> = ["secrets"].iter().chain(arguments).copied().collect();
        let run = log(&arguments).env("KODIAK_LOG", "trace").stdin(stdin).run();
        search(&format!("stdout of {arguments:?}"), &run.stdout);
        search(&format!("stderr of {arguments:?}"), run.stderr.as_bytes());
    }
    // It is there, for who has the key.
    assert_eq!(bench.value("a"), format!("{}\n", CANARIES[0]));
    let folder = bench.sandbox.folder();
    let all: Vec<PathBuf> = [folder.as_path(), &bench.sandbox.kodiak_home(), &folder.parent().unwrap().join("home")]
        .into_iter()
        .flat_map(files)
        .collect();
    assert!(all.iter().any(|path| path.ends_with("bundle")) && all.len() > 5 && searched > 90, "{}", all.len());
    for path in all {
        search(&path.display().to_string(), &std::fs::read(&path).unwrap());
        search("a file's name", path.to_string_lossy().as_bytes());
    }
}

/// Whoever cannot use the extension must not see what it would hide: it is disabled, its files are gone, it was never
/// installed, or no index knows it.
#[test]
fn nothing_is_repeated_where_the_extension_cannot_be_used() {
    let bench = Bench::new();
    bench.sql("CREATE SECRET a (VALUE 'x')");
    let check = || {
        for (statement, _) in statements() {
            for run in
                [bench.kodiak(&["sql", "-c", &statement]).run(), bench.kodiak(&["sql"]).stdin(statement.as_str()).run()]
            {
                search(&format!("stdout of {statement}"), &run.stdout);
                search(&format!("stderr of {statement}"), run.stderr.as_bytes());
            }
        }
    };
    assert_eq!(bench.kodiak(&["ext", "disable", "secrets"]).run().code, Some(0));
    check();
    std::fs::remove_dir_all(bench.sandbox.kodiak_home().join("store")).unwrap();
    check();
    std::fs::remove_dir_all(bench.sandbox.kodiak_home()).unwrap();
    std::fs::create_dir(bench.sandbox.kodiak_home()).unwrap();
    std::fs::remove_dir_all(bench.sandbox.path("db.kdb")).unwrap();
    check();
    assert!(bench.sandbox.path(KEY).exists());
}
