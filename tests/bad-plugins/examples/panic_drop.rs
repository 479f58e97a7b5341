//! Panics when it is dropped.
use kodiak_plugin_api::prelude::*;

struct PanicDrop;

impl Plugin for PanicDrop {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("panic_drop", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_owned());
    }
}

impl Drop for PanicDrop {
    fn drop(&mut self) {
        panic!("while dropped");
    }
}

export_plugin!(PanicDrop, manifest = "manifests/panic_drop.toml");
