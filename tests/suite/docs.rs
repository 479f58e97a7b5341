//! The pages that users rely on say what the sources say.

use std::collections::BTreeMap;
use std::path::Path;

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
}

/// Rows of a Markdown table that begin with a code.
fn rows(text: &str) -> BTreeMap<String, (String, String)> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("| KDK-")).map(cells);
    rows.map(|row| (row[0].clone(), (row[1].clone(), row[2].clone()))).collect()
}

/// The table of codes of an extension, from its source: two plugins cannot be linked into one program.
fn codes_in(plugin: &str) -> BTreeMap<String, (String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(plugin).join("src/code.rs");
    let source = std::fs::read_to_string(path).unwrap();
    let strings = |line: &str| line.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = source.lines().filter(|line| line.contains(" = \"KDK-")).map(strings);
    rows.map(|row| (row[0].clone(), (row[1].clone(), row[2].clone()))).collect()
}

#[test]
fn every_error_code_is_listed_with_its_meaning_and_no_other() {
    let host = kodiak::error::codes::ALL.iter().map(|code| (code.code, code.sqlstate, code.meaning));
    let blob = kodiak_blob::CODES.iter().map(|code| (code.code, code.sqlstate, code.meaning));
    let mut sources: BTreeMap<String, (String, String)> =
        host.chain(blob).map(|(code, state, meaning)| (code.into(), (state.into(), meaning.into()))).collect();
    let secrets = codes_in("secrets");
    assert!(secrets.len() > 10, "the table of `secrets` was not found");
    sources.extend(secrets);
    assert_eq!(rows(&page("errors.md")), sources);
}

#[test]
fn the_architecture_stays_short_and_names_tests_that_exist() {
    let text = page("architecture.md");
    assert!(text.lines().count() < 500);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // The page leaves out the folders that its introduction names.
    let find =
        |file: &str| ["", "host/src", "tests"].iter().map(|folder| root.join(folder).join(file)).find(|p| p.is_file());
    let mut named = 0;
    for cell in text.lines().filter_map(|line| line.strip_prefix('|')?.split('|').nth(1)) {
        for claim in cell.split(';') {
            let words: Vec<&str> = claim.split('`').skip(1).step_by(2).collect();
            let Some((file, tests)) = words.split_first().filter(|(file, _)| file.ends_with(".rs")) else { continue };
            let path = find(file).unwrap_or_else(|| panic!("docs/architecture.md names `{file}`, which is not there"));
            let source = std::fs::read_to_string(path).unwrap();
            for test in tests {
                assert!(source.contains(&format!("fn {test}(")), "`{file}` has no test `{test}`");
                named += 1;
            }
        }
    }
    assert!(named > 50, "invariants name the tests that hold them, found {named}");
}
