//! The step about extensions: what one adds is refused without it, it is built and installed, and then it works, inside
//! the same transactions as the rows.

use std::fs;

use super::super::exit;
use super::super::ext::Notes;
use super::{Tour, unexpected};
use crate::database::Database;
use crate::error::{Error, Result, codes};
use crate::extensions::Home;
use crate::extensions::manage::{DefaultKeeper, Keeper, Manager};

/// Shows a gate, installs what there is, and uses it.
pub(super) fn run(tour: &mut Tour<'_>) -> Result<()> {
    let home = Home::find()?;
    let default = DefaultKeeper::new(&home);
    // A database with a set of its own keeps it; otherwise the user's default set serves every database.
    let keeper: &dyn Keeper = if tour.database.read()?.is_some() { &tour.database } else { &default };
    let manager = Manager::new(&home, keeper);
    let available = manager.available()?;
    if available.is_empty() {
        tour.say("  no index of extensions was found: run this inside a checkout, or set KODIAK_REGISTRY\n");
        return Ok(());
    }
    let (ready, later): (Vec<_>, Vec<_>) = available.into_iter().partition(|one| one.state == "available");
    gate(tour, &manager)?;
    let names: Vec<String> = ready.iter().map(|one| one.name.clone()).collect();
    install(tour, &manager, &names)?;
    if !later.is_empty() {
        let later: Vec<&str> = later.iter().map(|one| one.name.as_str()).collect();
        tour.say(&format!("  known, and not released yet: {}\n", later.join(", ")));
    }
    if names.iter().any(|name| name == "blob") {
        blob(tour)?;
    }
    if names.iter().any(|name| name == "secrets") {
        super::secrets::run(tour)?;
    }
    Ok(())
}

/// Runs what `blob` adds in a database where it cannot be used, and shows the refusal.
fn gate(tour: &Tour<'_>, manager: &Manager<'_>) -> Result<()> {
    const STATEMENT: &str = "CREATE BUCKET IF NOT EXISTS raw";
    let set = manager.set()?;
    // A database in memory with a set of its own, so that nobody else notices.
    let other = Database::memory()?;
    let refused = if set.get("blob").is_some() {
        tour.say("  `blob` is installed from an earlier walk; where it is switched off, what it adds is refused:");
        Manager::new(&Home::find()?, &other).disable("blob")?;
        other.connect()?.execute(STATEMENT, &[])
    } else {
        tour.say("  without the extension `blob`, what it adds is refused:");
        tour.connection.execute(STATEMENT, &[])
    };
    tour.say(&format!("    {STATEMENT}"));
    match refused {
        Err(error) if exit::of(&error) == exit::Exit::Gated => {
            tour.say(&format!("    error[{}]: {error}", error.code()));
            if let Some(help) = error.help_text() {
                tour.say(&format!("    help: {help}"));
            }
            tour.say("");
            Ok(())
        }
        Err(error) => Err(error),
        Ok(_) => Err(unexpected("a statement of `blob` ran without it".to_owned())),
    }
}

fn install(tour: &Tour<'_>, manager: &Manager<'_>, names: &[String]) -> Result<()> {
    let plan = manager.plan_install(names)?;
    for step in &plan.steps {
        tour.say(&format!(
            "  kodiak ext install {}        builds it from source, the first time takes a while",
            step.name
        ));
        tour.say(&format!("    {}", step.summary));
        tour.say(&format!("    brings {} commands, statements and functions", step.claims.len()));
        tour.say(&format!("    is allowed to {}", step.permissions.join("; ")));
    }
    manager.install(&plan, &Notes(tour.context))?;
    manager.write_lock(&tour.project.folder.join("kodiak.lock"))?;
    for listed in manager.list()? {
        let version = listed.version.as_ref().map(ToString::to_string).unwrap_or_default();
        tour.say(&format!("  {} {version} is {}", listed.name, listed.state));
        if listed.state != "installed" {
            return Err(unexpected(format!("`{}` was installed and is {}", listed.name, listed.state)));
        }
    }
    tour.say("");
    Ok(())
}

/// Stores the result of a query as an object, rolls another one back, and reads the first as what it was.
fn blob(tour: &mut Tour<'_>) -> Result<()> {
    let file = tour.project.folder.join("nation.csv");
    let sql = |path: &std::path::Path| path.display().to_string().replace('\'', "''");
    tour.say("  the extension blob: objects in the same transactions as rows");
    tour.run("CREATE BUCKET IF NOT EXISTS raw")?;
    tour.run(&format!("COPY (SELECT * FROM nation ORDER BY n_nationkey) TO '{}' (HEADER true)", sql(&file)))?;
    tour.run(&format!("PUT BLOB 'raw' 'tpch/nation.csv' FROM FILE '{}' CONTENT_TYPE 'text/csv'", sql(&file)))?;
    tour.run("BEGIN")?;
    tour.run("PUT BLOB 'raw' 'tpch/mistake' VALUE 'gone with its transaction'")?;
    tour.run("ROLLBACK")?;
    tour.show("LIST BLOBS 'raw' PREFIX 'tpch/'")?;
    tour.show("SELECT blob_size('raw', 'tpch/nation.csv') AS bytes, blob_etag('raw', 'tpch/nation.csv') AS etag")?;
    verify(tour, &file)?;
    fs::remove_file(&file).map_err(|error| Error::io("remove", &file, &error))?;
    tour.next.push("kodiak blob ls blob://raw/ --recursive".to_owned());
    tour.next.push("kodiak blob get blob://raw/tpch/nation.csv -".to_owned());
    tour.next.push("kodiak ext list".to_owned());
    tour.next.push("kodiak ext info blob".to_owned());
    Ok(())
}

/// What comes back is what went in, and what was rolled back is not there.
fn verify(tour: &Tour<'_>, file: &std::path::Path) -> Result<()> {
    use arrow::array::AsArray;
    let wanted = fs::read(file).map_err(|error| Error::io("read", file, &error))?;
    let found = tour.connection.query("SELECT blob_get('raw', 'tpch/nation.csv')", &[])?.collect_batches()?;
    let same = found.iter().any(|batch| {
        batch.column(0).as_binary_view_opt().is_some_and(|bytes| bytes.iter().flatten().any(|bytes| bytes == wanted))
    });
    if !same {
        return Err(unexpected("the object that was stored is not the file that went in".to_owned()));
    }
    let mistake = tour.connection.query("SELECT key FROM list_blobs('raw', 'tpch/mistake')", &[])?.collect_batches()?;
    match mistake.iter().map(|batch| batch.num_rows()).sum::<usize>() {
        0 => Ok(()),
        _ => Err(Error::new(codes::INTERNAL, "an object that was rolled back is there")),
    }
}
