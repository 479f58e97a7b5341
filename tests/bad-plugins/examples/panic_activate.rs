//! Panics in `activate`.
use kodiak_plugin_api::prelude::*;

struct PanicActivate;

impl Plugin for PanicActivate {
    fn activate(_: &Host) -> Result<Self> {
        panic!("no")
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("panic_activate", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_owned());
    }
}

export_plugin!(PanicActivate, manifest = "manifests/panic_activate.toml");
