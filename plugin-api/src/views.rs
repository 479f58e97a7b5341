//! The results of functions that return text or bytes, one row after another, as an array of views. It refuses to look
//! for equal values: arrow's own builder does more, and takes longer for each row.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use arrow_array::builder::make_view;
use arrow_array::{ArrayRef, BinaryViewArray, StringViewArray};
use arrow_buffer::{Buffer, NullBufferBuilder, ScalarBuffer};
use std::sync::Arc;

/// Values up to this length lie in their view.
const INLINE_BYTES: usize = 12;
/// A data buffer is closed before it is longer: offsets in views have 31 bits.
const BLOCK_BYTES_MAX: usize = 1 << 30;
/// The first guess of what a value needs that does not lie in its view.
const VALUE_BYTES: usize = 24;

/// Values so far. Text and bytes are not mixed: who makes one pushes one kind and finishes as that kind.
pub(crate) struct Views<T: ?Sized> {
    views: Vec<u128>,
    blocks: Vec<Buffer>,
    block: Vec<u8>,
    nulls: NullBufferBuilder,
    kind: std::marker::PhantomData<fn(&T)>,
}

impl<T: AsRef<[u8]> + ?Sized> Views<T> {
    /// For so many rows.
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self {
            views: Vec::with_capacity(rows),
            blocks: Vec::new(),
            block: Vec::new(),
            nulls: NullBufferBuilder::new(rows),
            kind: std::marker::PhantomData,
        }
    }

    /// A value.
    ///
    /// # Errors
    /// When it is longer than a value can be, 2 GiB.
    #[inline(always)]
    pub(crate) fn push(&mut self, value: &T) -> Result<()> {
        let value = value.as_ref();
        let view = if value.len() <= INLINE_BYTES { make_view(value, 0, 0) } else { self.store(value)? };
        self.views.push(view);
        self.nulls.append_non_null();
        Ok(())
    }

    /// A null.
    pub(crate) fn push_null(&mut self) {
        self.views.push(0);
        self.nulls.append_null();
    }

    #[inline(always)]
    fn store(&mut self, value: &[u8]) -> Result<u128> {
        if self.block.capacity() - self.block.len() < value.len() {
            self.grow(value.len())?;
        }
        // Length, first four bytes, block and offset, 32 bits each; the last two are below BLOCK_BYTES_MAX, or `grow`
        // has made this value the first of its block.
        let (length, prefix) = (value.len() as u128, u32::from_le_bytes([value[0], value[1], value[2], value[3]]));
        let place = (self.blocks.len() as u128) << 64 | (self.block.len() as u128) << 96;
        self.block.extend_from_slice(value);
        Ok(length | u128::from(prefix) << 32 | place)
    }

    #[cold]
    fn grow(&mut self, bytes: usize) -> Result<()> {
        if i32::try_from(bytes).is_err() {
            return Err(Error::message(format!("a value of {bytes} bytes is longer than 2 GiB")));
        }
        if self.block.is_empty() {
            self.block.reserve((self.views.capacity() * VALUE_BYTES).min(BLOCK_BYTES_MAX).max(bytes));
        } else if self.block.len() + bytes > BLOCK_BYTES_MAX {
            self.blocks.push(Buffer::from_vec(std::mem::take(&mut self.block)));
            self.block.reserve(bytes);
        } else {
            self.block.reserve(bytes.max(self.block.len()));
        }
        Ok(())
    }

    fn finish(mut self) -> (ScalarBuffer<u128>, Vec<Buffer>, Option<arrow_buffer::NullBuffer>) {
        if !self.block.is_empty() {
            self.blocks.push(Buffer::from_vec(self.block));
        }
        (self.views.into(), self.blocks, self.nulls.finish())
    }
}

impl Views<str> {
    /// As text.
    pub(crate) fn into_text(self) -> ArrayRef {
        let (views, blocks, nulls) = self.finish();
        // SAFETY: `push` made every view of a `str` that stands where the view says.
        Arc::new(unsafe { StringViewArray::new_unchecked(views, blocks, nulls) })
    }
}

impl Views<[u8]> {
    /// As bytes.
    pub(crate) fn into_binary(self) -> ArrayRef {
        let (views, blocks, nulls) = self.finish();
        // SAFETY: `push` made every view of bytes that stand where the view says.
        Arc::new(unsafe { BinaryViewArray::new_unchecked(views, blocks, nulls) })
    }
}

#[cfg(test)]
mod tests {
    use super::Views;
    use arrow_array::cast::AsArray;
    use arrow_array::{Array, BinaryViewArray, StringViewArray};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_is_what_was_pushed(values in proptest::collection::vec(proptest::option::of(".{0,40}"), 0..200)) {
            let mut views = Views::<str>::with_capacity(values.len() / 2);
            for value in &values {
                match value {
                    Some(value) => views.push(value).expect("short"),
                    None => views.push_null(),
                }
            }
            let array = views.into_text();
            array.to_data().validate_full().expect("sound");
            prop_assert_eq!(array.as_string_view(), &StringViewArray::from_iter(values));
        }

        #[test]
        fn bytes_are_what_was_pushed(values in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)), 0..200)) {
            let mut views = Views::<[u8]>::with_capacity(0);
            for value in &values {
                match value {
                    Some(value) => views.push(value.as_slice()).expect("short"),
                    None => views.push_null(),
                }
            }
            let array = views.into_binary();
            array.to_data().validate_full().expect("sound");
            prop_assert_eq!(array.as_binary_view(), &BinaryViewArray::from_iter(values));
        }
    }
}
