//! Needs an extension that no index knows.
use kodiak_plugin_api::prelude::*;

struct NeedsMissing;

impl Plugin for NeedsMissing {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("needs_missing", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_owned());
    }
}

export_plugin!(NeedsMissing, manifest = "manifests/needs_missing.toml");
