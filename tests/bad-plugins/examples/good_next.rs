//! A later `good` that whoever needs the first one cannot use.
use kodiak_plugin_api::prelude::*;

struct GoodNext;

impl Plugin for GoodNext {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        r.scalar("good_add", Signature::<(BigInt, BigInt), BigInt>::immutable(), |(a, b)| a.wrapping_add(b));
    }
}

export_plugin!(GoodNext, manifest = "manifests/good_next.toml");
