//! Has no permission for SQL and runs it all the same.
use kodiak_plugin_api::prelude::*;

struct Oversteps;

impl Plugin for Oversteps {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar_with("oversteps", Signature::<(Text,), BigInt>::volatile(), |_, call, (sql,)| -> Result<i64> {
            Ok(call.execute(sql, &[])? as i64)
        });
    }
}

export_plugin!(Oversteps, manifest = "manifests/oversteps.toml");
