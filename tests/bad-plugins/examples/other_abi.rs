//! Says that it was built for another major of the ABI.
use kodiak_plugin_api::prelude::*;

struct OtherAbi;

impl Plugin for OtherAbi {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("other_abi", Signature::<(Text,), Text>::immutable(), |(text,)| text.to_owned());
    }
}

export_plugin!(OtherAbi, manifest = "manifests/other_abi.toml");
