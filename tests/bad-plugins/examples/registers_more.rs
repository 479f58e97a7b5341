//! Registers a function that its manifest does not declare.
use kodiak_plugin_api::prelude::*;

struct RegistersMore;

impl Plugin for RegistersMore {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("registers_more", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_owned());
        r.scalar("smuggled", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_owned());
    }
}

export_plugin!(RegistersMore, manifest = "manifests/registers_more.toml");
