//! The allocator of plugins: mimalloc, by its shortest way in.
#![allow(unsafe_code)]

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};
use std::alloc::{GlobalAlloc, Layout};

/// The global allocator of a plugin; `export_plugin!` sets it, unless the feature `mimalloc` is off.
#[derive(Clone, Copy, Debug)]
pub struct PluginAllocator;

/// Whether every block of this size is aligned enough: blocks are aligned to 8 bytes, and to 16 from 16 bytes on.
#[inline]
fn is_aligned_anyway(bytes: usize, align: usize) -> bool {
    align <= 8 || (align == 16 && bytes >= 16)
}

// SAFETY: mimalloc's functions do what the trait asks of them; which of them made a block does not matter to the others.
unsafe impl GlobalAlloc for PluginAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (bytes, align) = (layout.size(), layout.align());
        // SAFETY: the caller vouches for the layout.
        unsafe { if is_aligned_anyway(bytes, align) { mi_malloc(bytes) } else { mi_malloc_aligned(bytes, align) } }
            .cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (bytes, align) = (layout.size(), layout.align());
        // SAFETY: the caller vouches for the layout.
        unsafe { if is_aligned_anyway(bytes, align) { mi_zalloc(bytes) } else { mi_zalloc_aligned(bytes, align) } }
            .cast()
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, _: Layout) {
        // SAFETY: the caller vouches for the pointer.
        unsafe { mi_free(pointer.cast()) };
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let (pointer, align) = (pointer.cast(), layout.align());
        // SAFETY: the caller vouches for pointer, layout and size.
        unsafe {
            if is_aligned_anyway(bytes, align) {
                mi_realloc(pointer, bytes)
            } else {
                mi_realloc_aligned(pointer, bytes, align)
            }
        }
        .cast()
    }
}
