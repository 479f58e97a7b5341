//! Needs a newer version than there is.
use kodiak_plugin_api::prelude::*;

struct NeedsNewer;

impl Plugin for NeedsNewer {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("needs_newer", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_owned());
    }
}

export_plugin!(NeedsNewer, manifest = "manifests/needs_newer.toml");
