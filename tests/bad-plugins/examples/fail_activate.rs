//! Cannot be activated and says why.
use kodiak_plugin_api::prelude::*;

struct FailActivate;

impl Plugin for FailActivate {
    fn activate(_: &Host) -> Result<Self> {
        Err(Error::message("no licence found"))
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("fail_activate", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_owned());
    }
}

export_plugin!(FailActivate, manifest = "manifests/fail_activate.toml");
