//! What is gated, and what the user reads then: the texts of the design, from manifests alone.

use insta::assert_snapshot;

use super::{DB, Sane, Scene};

#[test]
fn a_command_of_an_extension_that_is_not_installed() {
    let scene = Scene::new(&[]);
    assert_snapshot!(scene.run(["scm"]), @r"
    exit 3
    --- stderr
    error[KDK-0412]: `kodiak scm` is provided by the extension `scm`, which is not installed
    help: kodiak ext install scm
    ");
    for command in ["blob", "secrets", "grizzly", "scheduler", "models", "scm"] {
        let words = [format!("`kodiak {command}` is provided by"), format!("help: kodiak ext install {command}")];
        for arguments in [&[command][..], &[command, "--help"], &["--db", DB, command, "list"]] {
            scene.run(arguments).refused("KDK-0412", 3, &words.each_ref().map(String::as_str));
        }
    }
    scene.survives();
}

#[test]
fn statements_and_functions_of_extensions_that_are_not_installed() {
    let scene = Scene::new(&[]);
    assert_snapshot!(scene.sql("SELECT 1;\n  CREATE BUCKET raw"), @r"
    exit 3
    --- stdout
    1
    1
    --- stderr
    error[KDK-0412]: `CREATE BUCKET` is provided by the extension `blob`, which is not installed
      --> -c:2:3
       |
     2 |   CREATE BUCKET raw
       |   ^
    help: kodiak ext install blob
    ");
    let mut talk = scene.talk();
    for (statement, provider) in [
        ("SELECT blob_get('a', 'b')", "the function `blob_get` is provided by the extension `blob`"),
        ("SELECT * FROM list_blobs('a')", "the function `list_blobs` is provided by the extension `blob`"),
        (
            "SELECT id FROM people WHERE blob_size('a', name) > 0",
            "the function `blob_size` is provided by the extension `blob`",
        ),
        (
            "INSERT INTO people SELECT 2, blob_etag('a', 'b')",
            "the function `blob_etag` is provided by the extension `blob`",
        ),
        ("/* a comment */ put blob 'k' into b value 'x'", "`PUT BLOB` is provided by the extension `blob`"),
        ("put_blob 'k'", "`PUT_BLOB` is provided by the extension `blob`"),
        ("MERGE BRANCH x", "`MERGE BRANCH` is provided by the extension `scm`"),
        ("SELECT secret('n')", "the function `secret` is provided by the extension `secrets`"),
    ] {
        let message = talk.refused(statement, "KDK-0412");
        assert_eq!(message, format!("{provider}, which is not installed"));
    }
    // What nobody provides is a plain mistake.
    talk.refused("SELECT nobody_has_this(1)", "KDK-0103");
    talk.refused("FROBNICATE THE TABLE", "KDK-0100");
    talk.finish();
    scene.survives();
}

#[test]
fn a_typo_is_answered_with_the_nearest_command() {
    let scene = Scene::new(&["good"]);
    for (typo, meant) in [("blbo", "blob"), ("scn", "scm"), ("goood", "good"), ("sqll", "sql")] {
        scene.run([typo]).refused(
            "KDK-0417",
            2,
            &[&format!("there is no command `{typo}`"), &format!("help: kodiak {meant}")],
        );
    }
    scene.run(["xyzzy-plugh"]).refused("KDK-0417", 2, &["kodiak ext search xyzzy-plugh"]);
    scene.survives();
}

#[test]
fn a_disabled_extension_is_not_used_and_comes_back() {
    let scene = Scene::new(&["good"]);
    assert_eq!(scene.run(["ext", "disable", "good"]).code, Some(0));
    assert_snapshot!(scene.run(["--db", DB, "good", "World"]), @r"
    exit 3
    --- stderr
    error[KDK-0414]: the extension `good` is disabled
    help: kodiak ext enable good
    ");
    let mut talk = scene.talk();
    for statement in ["SELECT good_add(1, 2)", "SELECT * FROM good_numbers(1)", "GOOD RANGE 2"] {
        talk.refused(statement, "KDK-0414");
    }
    // A process that runs already sees that it is enabled again.
    assert_eq!(scene.run(["ext", "enable", "good"]).code, Some(0));
    assert_eq!(talk.rows("SELECT good_add(1, 2)")[0][0], 3);
    assert_eq!(scene.run(["ext", "disable", "good"]).code, Some(0));
    talk.refused("SELECT good_add(1, 2)", "KDK-0414");
    talk.finish();
    assert_eq!(scene.state("good").as_deref(), Some("disabled"));
    scene.survives();
}

#[test]
fn an_extension_whose_dependency_is_disabled() {
    let scene = Scene::new(&["good", "leans"]);
    assert_eq!(scene.rows("SELECT leans_sql(1, 2) + leans_call(3, 4) AS x"), "x\n10\n");
    assert_eq!(scene.run(["ext", "disable", "good"]).code, Some(0));
    assert_snapshot!(scene.sql("SELECT leans_sql(1, 2)"), @r"
    exit 3
    --- stderr
    error[KDK-0413]: `leans` 0.1.0 needs `good` ^0.1, but `good` is disabled
      --> -c:1:1
       |
     1 | SELECT leans_sql(1, 2)
       | ^
    help: kodiak ext enable good
    ");
    scene.survives();
}

/// A set that was edited, or merged by hand, must not be believed.
fn edit_set(scene: &Scene, edit: impl Fn(&str) -> String) {
    let file = scene.sandbox.kodiak_home().join("extensions.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let edited = edit(&text);
    assert_ne!(text, edited, "nothing was edited");
    std::fs::write(file, edited).unwrap();
}

#[test]
fn an_extension_whose_dependency_is_missing_or_damaged() {
    let scene = Scene::new(&["good", "leans"]);
    let good = scene.list().iter().find(|one| one["name"] == "good").unwrap()["sha256"].as_str().unwrap().to_owned();
    std::fs::remove_dir_all(scene.sandbox.kodiak_home().join("store").join(good)).unwrap();
    let words = ["`leans` 0.1.0 needs `good` ^0.1, but", "help: kodiak ext install good"];
    scene.sql("SELECT leans_sql(1, 2)").refused("KDK-0413", 3, &words);
    scene.survives();
    edit_set(&scene, |text| {
        let (start, end) = (
            text.find("[[extension]]\nname = \"good\"").unwrap(),
            text.find("[[extension]]\nname = \"leans\"").unwrap(),
        );
        format!("{}{}", &text[..start], &text[end..])
    });
    let words = ["`leans` 0.1.0 needs `good` ^0.1, but `good` is not installed", "help: kodiak ext install good"];
    scene.sql("SELECT leans_sql(1, 2)").refused("KDK-0413", 3, &words);
    scene.survives();
}

#[test]
fn an_extension_whose_dependency_is_out_of_range() {
    let scene = Scene::new(&[]);
    // The two are never installed together; a set that says so all the same is what a bad merge of locks leaves.
    scene.install(&[], &["good_next"]);
    let file = scene.sandbox.kodiak_home().join("extensions.toml");
    let next = std::fs::read_to_string(&file).unwrap();
    scene.run(["ext", "uninstall", "good"]);
    scene.install(&[], &["good", "leans"]);
    edit_set(&scene, |text| {
        let leans = text.find("[[extension]]\nname = \"leans\"").unwrap();
        format!("{next}\n{}", &text[leans..])
    });
    scene.sql("SELECT leans_sql(1, 2)").refused("KDK-0413", 3, &["`leans` 0.1.0 needs `good` ^0.1, but", "9.0.0"]);
    assert_eq!(scene.rows("SELECT good_add(1, 2) AS x"), "x\n3\n");
    scene.survives();
}

#[test]
fn a_set_that_cannot_be_read_does_not_keep_the_database_from_opening() {
    let scene = Scene::new(&["good"]);
    std::fs::write(scene.sandbox.kodiak_home().join("extensions.toml"), "version = 1\n[[extension]\n").unwrap();
    let mut talk = scene.talk();
    assert_eq!(talk.rows("SELECT name FROM people")[0][0], "Ada");
    talk.refused("SELECT good_add(1, 2)", "KDK-0411");
    talk.finish();
    scene.run(["ext", "list"]).refused("KDK-0411", 1, &["extensions.toml"]);
    scene.survives();
}

#[test]
fn an_extension_without_a_command_says_so() {
    let scene = Scene::new(&["leans", "good"]);
    scene.run(["leans"]).refused("KDK-0417", 2, &["the extension `leans` has no command", "kodiak ext info leans"]);
}

#[test]
fn a_command_prints_fails_and_helps_as_any_other() {
    let scene = Scene::new(&["good"]);
    let run = scene.run(["--db", DB, "good", "World"]);
    assert_eq!((run.code, run.stdout().as_str(), run.stderr.as_str()), (Some(0), "hello World\n", ""));
    let help = scene.run(["good", "--help"]);
    assert!(help.code == Some(0) && help.stdout().contains("Usage: kodiak good <NAME>"), "{help}");
    scene.run(["good"]).refused("KDK-0002", 2, &["<NAME>", "help: kodiak good --help"]);
    scene.run(["good", "a", "b"]).refused("KDK-0002", 2, &["`b`"]);
    let overview = scene.run(["--help"]);
    assert!(overview.stdout().contains("good       Greets") || overview.stdout().contains("Greets"), "{overview}");
    assert!(overview.stdout().contains("(not installed)"), "{overview}");
}
