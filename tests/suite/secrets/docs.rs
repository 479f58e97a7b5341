//! The examples of docs/secrets.md, run from top to bottom in one folder.

use super::Bench;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Language and text of every fenced block.
fn blocks(page: &str) -> Vec<(String, String)> {
    let (mut found, mut open): (Vec<(String, String)>, bool) = (Vec::new(), false);
    for line in page.lines() {
        match (line.strip_prefix("```"), open) {
            (Some(language), false) => {
                found.push((language.to_owned(), String::new()));
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                if let Some((_, text)) = found.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            (None, false) => {}
        }
    }
    found
}

#[test]
fn the_examples_run_from_top_to_bottom() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/secrets.md");
    let page = std::fs::read_to_string(page).unwrap();
    let bench = Bench::without_vault();
    let sandbox = &bench.sandbox;
    std::fs::create_dir(sandbox.path("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_kodiak-under-test"), sandbox.path("bin/kodiak")).unwrap();
    let path = format!("{}:{}", sandbox.path("bin").display(), std::env::var("PATH").unwrap());
    let mut ran = 0;
    for (language, text) in blocks(&page) {
        if language == "sql" {
            let run = sandbox.kodiak(["--db", "shop.kdb", "sql", "-c", &text]);
            let run = run.env("KODIAK_SECRETS_KEY_FILE", sandbox.path("shop.key")).run();
            assert_eq!(run.code, Some(0), "{text}\n{run}");
        } else if language == "sh" {
            // Installed already, from the library of this build.
            let script = text.replace("kodiak ext install secrets\n", "");
            let mut command = std::process::Command::new("sh");
            command.args(["-e", "-c", &script]).current_dir(sandbox.folder()).env_clear().env("PATH", &path);
            command.env("HOME", sandbox.folder()).env("KODIAK_HOME", sandbox.kodiak_home());
            let output = command.env("KODIAK_SECRETS_KEY_FILE", sandbox.path("shop.key")).output().unwrap();
            assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
        } else {
            continue;
        }
        ran += 1;
    }
    assert!(ran >= 6, "{ran} examples");
}
