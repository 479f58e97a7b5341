//! The next version of `keeper`: its notes have stars.
use kodiak_plugin_api::prelude::*;

struct KeeperNext;

impl Plugin for KeeperNext {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar_with("keeper_stars", Signature::<(), BigInt>::stable(), |_, call, ()| -> Result<Option<i64>> {
            let row = call.query_row("SELECT CAST(sum(stars) AS BIGINT) FROM keeper.stars", &[])?;
            row.as_ref().and_then(|row| rows(row).next()).map_or(Ok(None), |row| row.integer(0))
        });
    }

    fn migrate(&self, call: &Call, from: Option<&str>) -> Result<()> {
        if from != Some("0.1.0") {
            return Err(Error::message(format!("cannot migrate from {from:?}")));
        }
        call.execute("CREATE TABLE keeper.stars (id BIGINT PRIMARY KEY, stars BIGINT)", &[])?;
        call.execute("INSERT INTO keeper.stars SELECT id, 5 FROM keeper.notes", &[])?;
        Ok(())
    }
}

export_plugin!(KeeperNext, manifest = "manifests/keeper_next.toml");
