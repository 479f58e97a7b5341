//! May read and tries to write; uses another extension that it does not declare.
use kodiak_plugin_api::prelude::*;

struct ReadsOnly;

impl Plugin for ReadsOnly {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar_with("reads_only", Signature::<(Text,), BigInt>::volatile(), |_, call, (sql,)| -> Result<i64> {
            Ok(call.execute(sql, &[])? as i64)
        });
    }
}

export_plugin!(ReadsOnly, manifest = "manifests/reads_only.toml");
