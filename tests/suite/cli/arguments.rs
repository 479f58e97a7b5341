//! Commands, options, help and the complaints about them.

use insta::assert_snapshot;

use crate::sandbox;

#[test]
fn help_names_commands_options_and_examples() {
    assert_snapshot!(sandbox().run(["--help"]), @"
    exit 0
    --- stdout
    An embedded analytical database with extensions

    Usage: kodiak [OPTIONS] [COMMAND]

    Commands:
      sql          Run SQL statements
      db           Look after a database
      ext          Install and look after extensions
      init         Make a project: a folder with `kodiak.toml` and a database
      quickstart   Walk through Kodiak on generated data
      completions  Print a completion script for a shell
      version      Print the version

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Global options:
          --db <PATH>        The database, a folder `*.kdb`; created if it is missing
          --format <FORMAT>  How results look: table, csv, tsv, json, jsonl, markdown or arrow
      -q, --quiet            Say nothing but results, warnings and errors

    Examples:
      kodiak quickstart                          a tour on generated data
      kodiak sql -c 'SELECT 40 + 2 AS answer'    one statement, in memory
      kodiak --db sales.kdb sql -f load.sql      a script, in a database
      kodiak --format csv < report.sql           statements from stdin
      kodiak init shop                           a project: below its folder, its database is meant

    The database is the one of --db, else of the variable KODIAK_DB, else of the `kodiak.toml` in this
    folder or above, else it is in memory.
    Exit codes: 0 done, 1 failed, 2 usage, 3 a needed extension is missing or not usable.

    Commands of extensions:
      blob       Buckets and objects: put, get, list, copy, verify (not installed)
      grizzly    Run, check and profile scripted routines (not installed)
      models     Build, test and document SQL transformations (not installed)
      scheduler  Run and inspect schedules (not installed)
      scm        Versions of schema, code and data (not installed)
      secrets    Keep, use and rotate secrets (not installed)
    ");
}

#[test]
fn every_command_has_help_of_its_own() {
    let sandbox = sandbox();
    for command in ["sql", "db", "init", "quickstart", "completions", "version"] {
        let run = sandbox.run([command, "--help"]);
        assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run}");
        assert!(run.stdout().contains(&format!("Usage: kodiak {command}")), "{run}");
        let longest = run.stdout().lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{run}");
    }
}

#[test]
fn the_version_is_data() {
    let sandbox = sandbox();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(sandbox.run(["version"]).stdout(), format!("kodiak {version}\n"));
    assert_eq!(sandbox.run(["--version"]).stdout(), format!("kodiak {version}\n"));
    assert_eq!(sandbox.run(["version", "--format", "json"]).stdout(), format!("{{\"version\":\"{version}\"}}\n"));
    let verbose = sandbox.run(["version", "--verbose", "--format", "json"]).stdout();
    let facts: serde_json::Value = serde_json::from_str(&verbose).unwrap();
    assert_eq!(facts["version"], version);
    assert!(facts["program"].as_str().unwrap().ends_with("kodiak-under-test"), "{verbose}");
}

#[test]
fn usage_errors_exit_2_and_leave_stdout_alone() {
    let sandbox = sandbox();
    assert_snapshot!(sandbox.run(["sql", "--bogus"]), @"
    exit 2
    --- stderr
    error[KDK-0002]: unexpected argument `--bogus` found
      usage: kodiak sql [OPTIONS]
    help: kodiak sql --help
    ");
    assert_snapshot!(sandbox.run(["sql", "--comand", "SELECT 1"]), @"
    exit 2
    --- stderr
    error[KDK-0002]: unexpected argument `--comand` found
      usage: kodiak sql --command <SQL>
    help: a similar argument exists: `--command`
    ");
    assert_snapshot!(sandbox.run(["--format", "xml", "sql"]), @"
    exit 2
    --- stderr
    error[KDK-0002]: invalid value `xml` for `--format <FORMAT>`
      [possible values: table, csv, tsv, json, jsonl, markdown, arrow]
    help: kodiak --help
    ");
    assert_snapshot!(sandbox.run(["db"]), @"
    exit 2
    --- stderr
    error[KDK-0002]: `kodiak db` needs a command
      info        Print what it is made of
      check       Verify every file of it; findings exit 1
      checkpoint  Write the log's changes into segments and shorten the log
      compact     Write hollow and small row groups again, and give space back
      backup      Copy it into a directory; a later backup there copies only what is new
      restore     Give it the contents of a backup, or make another database of one
      branches    List the branches, make, drop or switch to one
    help: kodiak db --help
    ");
    assert_snapshot!(sandbox.run(["quickstart", "--scale-factor", "0"]), @"
    exit 2
    --- stderr
    error[KDK-0002]: invalid value `0` for `--scale-factor <N>`: not between 0.01 and 1000
    help: kodiak --help
    ");
    assert_snapshot!(sandbox.run(["sql", "--protocol", "jsonl", "-c", "SELECT 1"]), @"
    exit 2
    --- stderr
    error[KDK-0002]: the argument `--protocol <PROTOCOL>` cannot be used with `--command <SQL>`
      usage: kodiak sql --protocol <PROTOCOL>
    help: kodiak sql --help
    ");
}

#[test]
fn a_mistyped_command_suggests_the_nearest() {
    let sandbox = sandbox();
    assert_snapshot!(sandbox.run(["sqll"]), @"
    exit 2
    --- stderr
    error[KDK-0417]: there is no command `sqll`
    help: kodiak sql
    ");
    assert_snapshot!(sandbox.run(["xyzzy", "--format", "csv"]), @"
    exit 2
    --- stderr
    error[KDK-0417]: there is no command `xyzzy`
    help: kodiak --help, or look for an extension: kodiak ext search xyzzy
    ");
    assert_snapshot!(sandbox.run(["xyzzy", "--format"]), @"
    exit 2
    --- stderr
    error[KDK-0002]: a value is required for `--format`
    help: kodiak --help
    ");
}

#[test]
fn completions_know_the_commands() {
    let sandbox = sandbox();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = sandbox.run(["completions", shell]);
        assert_eq!(run.code, Some(0), "{run}");
        assert!(["quickstart", "checkpoint", "scale-factor"].iter().all(|word| run.stdout().contains(word)), "{run}");
    }
}
