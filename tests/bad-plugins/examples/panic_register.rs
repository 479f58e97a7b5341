//! Panics in `register`.
use kodiak_plugin_api::prelude::*;

struct PanicRegister;

impl Plugin for PanicRegister {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        let _ = r;
        panic!("no")
    }
}

export_plugin!(PanicRegister, manifest = "manifests/panic_register.toml");
