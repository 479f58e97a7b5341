//! Claims `SELECT`.
use kodiak_plugin_api::prelude::*;

struct ClaimsSelect;

impl Plugin for ClaimsSelect {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.statement("SELECT", |_, _, _| Ok(Outcome::done()));
    }
}

export_plugin!(ClaimsSelect, manifest = "manifests/claims_select.toml");
