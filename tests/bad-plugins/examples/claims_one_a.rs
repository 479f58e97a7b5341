//! Claims the same statement as its twin.
use kodiak_plugin_api::prelude::*;

struct ClaimsOneA;

impl Plugin for ClaimsOneA {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.statement("GREET WORLD", |_, _, _| Ok(Outcome::affected(1)));
    }
}

export_plugin!(ClaimsOneA, manifest = "manifests/claims_one_a.toml");
