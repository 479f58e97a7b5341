//! The three structs of the Arrow C data interface, as the boundary sees them: size and alignment, nothing else.
//! Their layout is the Arrow project's published standard, so both sides may use different versions of arrow.

use abi_stable::StableAbi;
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_data::ffi::FFI_ArrowArray;
use arrow_schema::ffi::FFI_ArrowSchema;

macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(StableAbi)]
        pub struct $name {
            #[sabi(unsafe_opaque_field)]
            pub inner: $inner,
        }
        impl From<$inner> for $name {
            fn from(inner: $inner) -> Self {
                Self { inner }
            }
        }
    };
}

opaque!(
    /// `struct ArrowArray`.
    AbiArray, FFI_ArrowArray);
opaque!(
    /// `struct ArrowSchema`.
    AbiSchema, FFI_ArrowSchema);
opaque!(
    /// `struct ArrowArrayStream`.
    AbiStream, FFI_ArrowArrayStream);

/// An array with its type.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiArraySchema {
    pub array: AbiArray,
    pub schema: AbiSchema,
}
