//! Uses a secret as an extension may: it declares the other one and is permitted its services.
use kodiak_plugin_api::arrow_array::cast::AsArray;
use kodiak_plugin_api::arrow_array::{ArrayRef, StringViewArray};
use kodiak_plugin_api::prelude::*;
use std::sync::Arc;

struct Borrows;

fn text(value: &str) -> ArrayRef {
    Arc::new(StringViewArray::from(vec![value]))
}

impl Plugin for Borrows {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        let one = || Signature::<(Text,), Text>::volatile();
        r.scalar_with("borrows_handle", one(), |_, call, (name,)| -> Result<String> {
            let handle = call.call_function("secret_handle", &[text(name)])?;
            Ok(handle.as_string_view().value(0).to_owned())
        });
        // How long the value is, never the value.
        r.scalar_with("borrows_length", one(), |_, call, (handle,)| -> Result<String> {
            let value = call.call_function("secret_value", &[text(handle), text("VALUE")])?;
            Ok(value.as_binary_view().value(0).len().to_string())
        });
    }
}

export_plugin!(Borrows, manifest = "manifests/borrows.toml");
