//! Needs its twin, which needs it.
use kodiak_plugin_api::prelude::*;

struct CycleA;

impl Plugin for CycleA {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("cycle_a", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_owned());
    }
}

export_plugin!(CycleA, manifest = "manifests/cycle_a.toml");
