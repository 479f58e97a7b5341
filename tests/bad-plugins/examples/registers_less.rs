//! Declares a function that it does not register.
use kodiak_plugin_api::prelude::*;

struct RegistersLess;

impl Plugin for RegistersLess {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        let _ = r;
    }
}

export_plugin!(RegistersLess, manifest = "manifests/registers_less.toml");
