//! Declares the extension whose secret it wants, and does not ask for the permission.
use kodiak_plugin_api::arrow_array::cast::AsArray;
use kodiak_plugin_api::arrow_array::{ArrayRef, StringViewArray};
use kodiak_plugin_api::prelude::*;
use std::sync::Arc;

struct BorrowsDenied;

fn text(value: &str) -> ArrayRef {
    Arc::new(StringViewArray::from(vec![value]))
}

impl Plugin for BorrowsDenied {
    fn activate(_: &Host) -> Result<Self> {
        Ok(Self)
    }

    fn register(r: &mut Registrar<Self>) {
        let one = || Signature::<(Text,), Text>::volatile();
        r.scalar_with("borrows_denied_handle", one(), |_, call, (name,)| -> Result<String> {
            let handle = call.call_function("secret_handle", &[text(name)])?;
            Ok(handle.as_string_view().value(0).to_owned())
        });
        // How long the value is, never the value.
        r.scalar_with("borrows_denied_length", one(), |_, call, (handle,)| -> Result<String> {
            let value = call.call_function("secret_value", &[text(handle), text("VALUE")])?;
            Ok(value.as_binary_view().value(0).len().to_string())
        });
    }
}

export_plugin!(BorrowsDenied, manifest = "manifests/borrows_denied.toml");
