//! Commits no sin: keeps a table of its own, objects, and a table that its statement makes elsewhere.
use kodiak_plugin_api::clap;
use kodiak_plugin_api::prelude::*;

struct Keeper;

impl Plugin for Keeper {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.command(|_, call, _: Arguments| {
            let rows = call.query("SELECT id, text FROM keeper.notes ORDER BY id", &[])?;
            let schema = rows.schema();
            Ok(Output::rows(batches(schema, rows.collect()?)))
        });
        r.statement("KEEP NOTE", |_, call, statement| {
            let mut cursor = statement.cursor();
            let (id, text) = (cursor.unsigned()?, cursor.string()?);
            cursor.end()?;
            let id = i64::try_from(id).map_err(|error| Error::message(error.to_string()))?;
            let kept = call.execute("INSERT INTO keeper.notes VALUES (?, ?)", &[id.into(), (&text).into()])?;
            call.own_object("note", &text)?;
            Ok(Outcome::affected(kept))
        });
        r.statement("FORGET NOTE", |_, call, statement| {
            let text = statement.cursor().string()?;
            call.disown_object("note", &text)?;
            Ok(Outcome::affected(call.execute("DELETE FROM keeper.notes WHERE text = ?", &[text.into()])?))
        });
        r.statement("KEEP TABLE", |_, call, statement| {
            let name = statement.cursor().name()?;
            call.execute(&format!("CREATE TABLE \"{name}\" (n BIGINT)"), &[])?;
            Ok(Outcome::affected(call.execute(&format!("INSERT INTO \"{name}\" VALUES (1), (2)"), &[])?))
        });
        r.scalar_with("keeper_count", Signature::<(), BigInt>::stable(), |_, call, ()| -> Result<Option<i64>> {
            let row = call.query_row("SELECT count(*) FROM keeper.notes", &[])?;
            row.as_ref().and_then(|row| rows(row).next()).map_or(Ok(None), |row| row.integer(0))
        });
    }

    fn migrate(&self, call: &Call, from: Option<&str>) -> Result<()> {
        if from.is_none() {
            call.execute("CREATE SCHEMA keeper", &[])?;
            call.execute("CREATE TABLE keeper.notes (id BIGINT PRIMARY KEY, text TEXT)", &[])?;
        }
        Ok(())
    }
}

#[derive(clap::Parser)]
struct Arguments {}

export_plugin!(Keeper, manifest = "manifests/keeper.toml");
