//! Panics in `migrate`, after it wrote something.
use kodiak_plugin_api::prelude::*;

struct PanicMigrate;

impl Plugin for PanicMigrate {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("panic_migrate", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_owned());
    }

    fn migrate(&self, call: &Call, _: Option<&str>) -> Result<()> {
        call.execute("CREATE TABLE half_done (a BIGINT)", &[])?;
        panic!("in the migration")
    }
}

export_plugin!(PanicMigrate, manifest = "manifests/panic_migrate.toml");
