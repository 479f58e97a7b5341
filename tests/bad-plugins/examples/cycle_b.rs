//! Needs its twin, which needs it.
use kodiak_plugin_api::prelude::*;

struct CycleB;

impl Plugin for CycleB {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("cycle_b", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_owned());
    }
}

export_plugin!(CycleB, manifest = "manifests/cycle_b.toml");
