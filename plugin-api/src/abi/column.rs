//! Borrowed columns: what a scalar function reads without a copy, and where it writes when the result is fixed width.
//! The pointers belong to the host and are valid for one call.

use abi_stable::StableAbi;
use abi_stable::std_types::RSlice;

/// A piece of memory of the host's.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct AbiBuffer {
    pub data: *const u8,
    pub bytes: usize,
}

/// One argument of a scalar function.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct AbiColumn<'a> {
    /// One of [`super::physical`].
    pub physical: u32,
    /// Bytes a value, for [`super::physical::FIXED`].
    pub width: u32,
    /// Number of values: that of the batch, or 1 for a constant.
    pub rows: usize,
    /// Whether the one value stands for every row.
    pub constant: bool,
    /// Bit offset of `values` for booleans.
    pub offset: usize,
    /// Validity bitmap, null when no value is null.
    pub validity: *const u8,
    /// Bit offset of `validity`.
    pub validity_offset: usize,
    pub values: AbiBuffer,
    /// Data buffers that views point into.
    pub data: RSlice<'a, AbiBuffer>,
}

/// Where a fixed-width or boolean result goes. `values` is not initialised: the callee writes every row, nulls too.
#[repr(C)]
#[derive(StableAbi)]
pub struct AbiOutput {
    pub physical: u32,
    pub width: u32,
    pub rows: usize,
    pub values: *mut u8,
    pub bytes: usize,
    /// Bitmap of `rows` bits, all set by the host; the callee clears the bits of nulls.
    pub validity: *mut u8,
    /// Number of bits that the callee cleared.
    pub nulls: usize,
}
