//! The part of the walk about secrets: a vault with a key file, a secret that is found by its scope, a rotation, and the
//! refusal to show a value.

use std::sync::Arc;

use super::super::terminal::CommandTerminal;
use super::{Tour, unexpected};
use crate::error::{Error, Result};

/// Makes a vault on the first walk, opens it on later ones, and uses it.
pub(super) fn run(tour: &mut Tour<'_>) -> Result<()> {
    let key = tour.project.folder.join("vault.key");
    tour.say("  the extension secrets: a vault that the database's files alone do not open");
    let shown = tour.dir.join("vault.key");
    if !key.exists() {
        tour.say(&format!("    kodiak secrets init --key-file {}", shown.display()));
        command(tour, &["init", "--key-file", &key.display().to_string()])?;
    }
    let path = key.display().to_string().replace('\'', "''");
    tour.say(&format!("    UNLOCK SECRETS USING KEY FILE '{}'", shown.display()));
    tour.connection.execute(&format!("UNLOCK SECRETS USING KEY FILE '{path}'"), &[])?;
    // The value is a parameter, as it should be wherever a program has one.
    let create = "CREATE OR REPLACE SECRET lake (TYPE s3, SCOPE 's3://lake', VALUE ?)";
    tour.say(&format!("    {create}"));
    tour.connection.execute(create, &["not a real one".into()])?;
    tour.run("ROTATE KEY")?;
    tour.show("SELECT which_secret('s3://lake/tpch/nation.parquet', 's3') AS secret")?;
    tour.show("SELECT name, type, scope, version, value FROM secrets.secrets")?;
    refused(tour)?;
    tour.next.push("KODIAK_SECRETS_KEY_FILE=vault.key kodiak secrets get lake --reveal".to_owned());
    tour.next.push("kodiak sql -c 'SELECT * FROM secrets.audit'".to_owned());
    Ok(())
}

fn refused(tour: &Tour<'_>) -> Result<()> {
    const STATEMENT: &str = "SELECT secret('lake')";
    tour.say(&format!("    {STATEMENT}"));
    match tour.connection.query(STATEMENT, &[]).and_then(|rows| rows.collect_batches()) {
        Err(error) if error.code() == "KDK-0615" => {
            tour.say(&format!("    error[{}]: {error}\n", error.code()));
            Ok(())
        }
        Err(error) => Err(error),
        Ok(_) => Err(unexpected("a statement gave the value of a secret".to_owned())),
    }
}

/// Runs `kodiak secrets` in this process.
fn command(tour: &Tour<'_>, arguments: &[&str]) -> Result<()> {
    let (extensions, view) = (tour.database.extensions()?, tour.database.extension_view()?);
    let grant = extensions.command(&view, "secrets")?;
    let terminal = Arc::new(CommandTerminal::new(true));
    let caller = tour.database.command_caller(grant.name(), terminal);
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    match extensions.instance(&grant, &caller)?.command(&caller, &arguments)?.exit_code {
        0 => Ok(()),
        code => Err(Error::new(crate::error::codes::EXECUTION, format!("`kodiak secrets` ended with {code}"))),
    }
}
