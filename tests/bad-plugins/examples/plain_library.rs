//! A library, but no plugin: neither section nor symbol.

/// What any C library might export.
#[unsafe(no_mangle)]
pub extern "C" fn add(a: i32, b: i32) -> i32 {
    a.wrapping_add(b)
}
