//! Commands, options, help and the complaints about them.

use insta::assert_snapshot;

use crate::sandbox;

#[test]
fn help_names_commands_options_and_examples() {
    assert_snapshot!(sandbox().run(["--help"]), @"");
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
    assert_snapshot!(sandbox.run(["sql", "--bogus"]), @"");
    assert_snapshot!(sandbox.run(["sql", "--comand", "SELECT 1"]), @"");
    assert_snapshot!(sandbox.run(["--format", "xml", "sql"]), @"");
    assert_snapshot!(sandbox.run(["db"]), @"");
    assert_snapshot!(sandbox.run(["quickstart", "--scale-factor", "0"]), @"");
    assert_snapshot!(sandbox.run(["sql", "--protocol", "jsonl", "-c", "SELECT 1"]), @"");
}

#[test]
fn a_mistyped_command_suggests_the_nearest() {
    let sandbox = sandbox();
    assert_snapshot!(sandbox.run(["sqll"]), @"");
    assert_snapshot!(sandbox.run(["xyzzy", "--format", "csv"]), @"");
    assert_snapshot!(sandbox.run(["xyzzy", "--format"]), @"");
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
