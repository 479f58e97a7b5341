//! A version of `keeper` whose migration destroys everything and then fails.
use kodiak_plugin_api::prelude::*;

struct KeeperBroken;

impl Plugin for KeeperBroken {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("keeper_broken", Signature::<(), BigInt>::stable(), |()| 1);
    }

    fn migrate(&self, call: &Call, _: Option<&str>) -> Result<()> {
        call.execute("DELETE FROM keeper.notes", &[])?;
        call.execute("CREATE TABLE keeper.half (a BIGINT)", &[])?;
        call.kv_put(b"half", b"done")?;
        Err(Error::new("KEEP-1", "the second half does not work"))
    }
}

export_plugin!(KeeperBroken, manifest = "manifests/keeper_broken.toml");
