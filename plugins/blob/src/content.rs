//! Moves content between objects and the world outside: files, values, a command's input and output, in pieces, never
//! a whole object in memory unless it is to be a value.

use crate::code::{self, io_error};
use crate::index::{Object, Version};
use crate::objects::{About, Objects, Precondition};
use crate::payload::{Stretch, new_id};
use kodiak_plugin_api::arrow_array::Array;
use kodiak_plugin_api::prelude::*;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// Bytes that an object may have to become a value.
pub const VALUE_BYTES_MAX: u64 = 1 << 30;

/// Bytes asked of standard input at once.
const INPUT_BYTES: usize = 1 << 20;

/// Standard input of a command.
pub struct Input<'a> {
    call: &'a Call,
    piece: Vec<u8>,
    read: usize,
}

impl<'a> Input<'a> {
    /// Of this call.
    pub fn new(call: &'a Call) -> Self {
        Self { call, piece: Vec::new(), read: 0 }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() {
            self.piece = self.call.read_input(INPUT_BYTES).map_err(io::Error::other)?;
            self.read = 0;
        }
        let count = buffer.len().min(self.piece.len() - self.read);
        buffer[..count].copy_from_slice(&self.piece[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}

/// Puts a file.
///
/// # Errors
/// `FILE`, or as [`Objects::put`].
pub fn put_file(
    call: &Call,
    objects: &Objects<'_>,
    (bucket, key): (&str, &str),
    path: &Path,
    about: About,
    precondition: &Precondition,
) -> Result<Version> {
    let mut file = File::open(path).map_err(|error| io_error("open", path, &error))?;
    let metadata = file.metadata().map_err(|error| io_error("read", path, &error))?;
    if metadata.is_dir() {
        let error = code::FILE.error(format!("`{}` is a folder", path.display()));
        return Err(error.help(format!("kodiak blob put --recursive {} blob://{bucket}/", path.display())));
    }
    let mut seen = progress(call, metadata.len(), key);
    let put = objects.put(bucket, key, &mut file, about, precondition, &mut seen);
    put.map_err(|error| if code::FILE.is(&error) { error.detail(format!("from `{}`", path.display())) } else { error })
}

/// Saves a stretch of an object in a file, which is complete or not there.
///
/// # Errors
/// `FILE`, `NO_SPACE`, or as [`Objects::read`].
pub fn save(
    call: &Call,
    objects: &Objects<'_>,
    bucket: &str,
    object: &Object,
    stretch: Stretch,
    path: &Path,
) -> Result<()> {
    let name = path.file_name().ok_or_else(|| code::FILE.error(format!("`{}` is not a file", path.display())))?;
    let mut part = std::ffi::OsString::from(".");
    part.push(name);
    part.push(format!(".{}.part", new_id()));
    let part = path.with_file_name(part);
    let mut file = File::create_new(&part).map_err(|error| io_error("create", path, &error))?;
    let (mut seen, mut written) = (progress(call, stretch.length, &object.version.key), 0);
    let read = objects.read(bucket, object, stretch, &mut |piece| {
        file.write_all(piece).map_err(|error| io_error("write", path, &error))?;
        written += piece.len() as u64;
        seen(written)
    });
    let done = read.and_then(|()| fs::rename(&part, path).map_err(|error| io_error("create", path, &error)));
    if done.is_err() {
        // The first failure is what matters.
        let _ = fs::remove_file(&part);
    }
    done
}

/// A stretch of an object as a value.
///
/// # Errors
/// `TOO_LARGE`, or as [`Objects::read`].
pub fn value(objects: &Objects<'_>, bucket: &str, object: &Object, stretch: Stretch) -> Result<Vec<u8>> {
    if stretch.length > VALUE_BYTES_MAX {
        let key = &object.version.key;
        let text = format!("{} bytes of object `{key}` in bucket `{bucket}` are too many for a value", stretch.length);
        return Err(code::TOO_LARGE.error(text).help(format!("GET BLOB '{bucket}' '{key}' TO FILE 'path', or RANGE")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(stretch.length).unwrap_or_default());
    objects.read(bucket, object, stretch, &mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(bytes)
}

/// Text as UTF-8, or binary.
///
/// # Errors
/// `VALUE` for NULL and other types.
pub fn bytes_of(row: Row<'_>, column: &dyn Array) -> Result<Vec<u8>> {
    use kodiak_plugin_api::arrow_schema::DataType;
    let found = match column.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => row.text(0)?.map(|text| text.as_bytes().to_vec()),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => row.binary(0)?.map(<[u8]>::to_vec),
        DataType::Null => None,
        other => {
            let error = code::VALUE.error(format!("an object's value is text or binary, not {other}"));
            return Err(error.help("CAST the value to TEXT"));
        }
    };
    found.ok_or_else(|| code::VALUE.error("an object's value is NULL"))
}

/// Tells the host how far a transfer is, and ends it when the user wants that.
pub fn progress<'a>(call: &'a Call, total: u64, key: &'a str) -> impl FnMut(u64) -> Result<()> + 'a {
    move |done| {
        call.check_cancelled()?;
        call.progress(done, total, key);
        Ok(())
    }
}
