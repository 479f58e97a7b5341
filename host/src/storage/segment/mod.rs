//! Segment files: Feather v2 (the Arrow IPC file format), each column in the smallest type that holds it and compressed
//! with Zstandard. A column of a row group is checked against the checksum that the state carries, decoded and validated
//! when it is touched. It refuses to change a file: a segment is written once.

mod group;
mod write;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::convert::try_schema_from_flatbuffer_bytes;
use crc32c::{crc32c, crc32c_append};
use ulid::Ulid;

pub(crate) use group::Group;
pub(crate) use write::{SegmentWriter, facts, shapes};

use super::codec::{Decoder, Flaw, guarded};
use super::encoding;
use super::hot::Hot;
use super::io::{Directory, File, corrupt};
use crate::error::Result;

/// Every buffer begins at a multiple of this, and so does the first message.
const ALIGNMENT: usize = 64;

/// The folder of segments.
pub(crate) const FOLDER: &str = "segments";

/// The name of a segment within the database.
pub(crate) fn file_name(id: Ulid) -> String {
    format!("{FOLDER}/{id}.arrow")
}

/// One segment file. While it is unpublished it is locked, and dropping it removes it: nothing refers to it but the
/// transaction that writes it.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) id: Ulid,
    directory: Directory,
    mapped: RwLock<Option<Mapped>>,
    frame: OnceLock<Frame>,
    unpublished: Mutex<Option<File>>,
    is_published: AtomicBool,
    hot: Arc<Hot>,
}

#[derive(Clone, Debug)]
struct Mapped {
    buffer: Buffer,
    /// As the values are stored.
    schema: SchemaRef,
    /// As they are exposed.
    exposed: Arc<[DataType]>,
}

/// What is known of a finished file as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Bytes.
    pub(crate) length: u64,
    /// CRC32C of what stands before and after the row groups.
    pub(crate) checksum: u32,
    /// Where the row groups begin and end.
    pub(crate) groups: (u64, u64),
}

impl SegmentFile {
    pub(crate) fn name(&self) -> String {
        file_name(self.id)
    }

    /// The database that it is in.
    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Length and checksum; `None` while it is being written.
    pub(crate) fn frame(&self) -> Option<Frame> {
        self.frame.get().copied()
    }

    /// From now on the state refers to it.
    pub(crate) fn publish(&self) {
        self.is_published.store(true, Ordering::Release);
        let file = self.unpublished.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Closing the file releases its lock. From here on another process may replace and remove it.
        drop(file);
        if let Some(frame) = self.frame() {
            // Whoever reads it is told if it cannot be mapped.
            let _ = self.map(frame.length);
        }
    }

    pub(crate) fn is_mapped(&self) -> bool {
        let length = self.frame().map_or(u64::MAX, |frame| frame.length);
        let mapped = self.mapped.read().unwrap_or_else(PoisonError::into_inner);
        mapped.as_ref().is_some_and(|mapped| mapped.buffer.len() as u64 >= length)
    }

    pub(crate) fn is_there(&self) -> bool {
        matches!(self.directory.open_if_there(&self.name()), Ok(Some(_)))
    }

    /// Maps the file, so that it can be read even when another process removes it.
    pub(crate) fn map(&self, end: u64) -> Result<()> {
        self.mapped(end).map(drop)
    }

    fn mapped(&self, end: u64) -> Result<Mapped> {
        let current = self.mapped.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(mapped) = current.filter(|mapped| mapped.buffer.len() as u64 >= end) {
            return Ok(mapped);
        }
        let name = self.name();
        let file = self.directory.open_if_there(&name)?.ok_or_else(|| corrupt(&name, "it is missing"))?;
        let bytes = file.map()?;
        if let Some(frame) = self.frame()
            && frame.length != bytes.len() as u64
        {
            return Err(corrupt(&name, &format!("it has {} bytes, not {}", bytes.len(), frame.length)));
        }
        if (bytes.len() as u64) < end {
            return Err(corrupt(&name, "it ends in a row group"));
        }
        let schema = read_schema(&bytes).map_err(|flaw| corrupt(&name, &flaw))?;
        let exposed = schema.fields().iter().map(|field| encoding::exposed_type(field)).collect::<Result<_, Flaw>>();
        let exposed = exposed.map_err(|flaw| corrupt(&name, &flaw))?;
        let mapped = Mapped { buffer: Buffer::from(bytes), schema: Arc::new(schema), exposed };
        *self.mapped.write().unwrap_or_else(PoisonError::into_inner) = Some(mapped.clone());
        Ok(mapped)
    }

    /// A column of a row group, checked and validated, as a scan works on it.
    pub(crate) fn lean(&self, group: &Group, column: usize) -> Result<ArrayRef> {
        let mapped = self.mapped(group.end())?;
        group.decode(&mapped, column).map_err(|flaw| corrupt(&self.name(), &flaw))
    }

    /// The same as the table has it.
    pub(crate) fn column(&self, group: &Group, column: usize) -> Result<ArrayRef> {
        let lean = self.lean(group, column)?;
        let mapped = self.mapped(group.end())?;
        let kind = mapped.exposed.get(column).ok_or_else(|| corrupt(&self.name(), "a column is missing"))?;
        encoding::expose(&lean, kind)
    }

    /// Where columns that were read are kept.
    pub(crate) fn hot(&self) -> &Hot {
        &self.hot
    }

    /// Verifies what stands before and after the row groups.
    pub(crate) fn check_frame(&self) -> Result<()> {
        let Some(frame) = self.frame() else { return Ok(()) };
        let mapped = self.mapped(frame.length)?;
        let bytes = mapped.buffer.as_slice();
        let (start, end) = frame.groups;
        let (Some(head), Some(tail)) =
            (stretch(bytes, 0, start), stretch(bytes, end, frame.length.saturating_sub(end)))
        else {
            return Err(corrupt(&self.name(), "its row groups lie outside"));
        };
        if crc32c_append(crc32c(head), tail) != frame.checksum {
            return Err(corrupt(&self.name(), "the checksum of its header and footer does not match"));
        }
        Ok(())
    }
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        if !self.is_published.load(Ordering::Acquire) {
            // What cannot be removed now is swept when the database is opened.
            let _ = self.directory.remove(&self.name());
        }
    }
}

fn stretch(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let (start, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
    bytes.get(start..start.checked_add(length)?)
}

fn read_schema(bytes: &[u8]) -> Result<Schema, Flaw> {
    let mut from = Decoder::new(bytes);
    if !from.raw(ALIGNMENT)?.starts_with(b"ARROW1\0\0") || from.u32()? != u32::MAX {
        return Err("it is not an Arrow file".to_owned());
    }
    let length = from.u32()? as usize;
    let message = from.raw(length)?;
    guarded(|| try_schema_from_flatbuffer_bytes(message))
}

/// The segment files of a database that this process knows, each once.
#[derive(Debug)]
pub(crate) struct Segments {
    pub(crate) directory: Directory,
    pub(crate) hot: Arc<Hot>,
    known: Mutex<HashMap<Ulid, Weak<SegmentFile>>>,
}

impl Segments {
    pub(crate) fn new(directory: Directory, hot_bytes_max: u64) -> Self {
        Self { directory, hot: Arc::new(Hot::new(hot_bytes_max)), known: Mutex::default() }
    }

    /// The published file with this id.
    pub(crate) fn get(&self, id: Ulid, frame: Frame) -> Arc<SegmentFile> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = known.get(&id).and_then(Weak::upgrade) {
            return file;
        }
        let file = Arc::new(SegmentFile {
            id,
            directory: self.directory.clone(),
            mapped: RwLock::default(),
            frame: OnceLock::from(frame),
            unpublished: Mutex::default(),
            is_published: AtomicBool::new(true),
            hot: self.hot.clone(),
        });
        known.retain(|_, file| file.strong_count() > 0);
        known.insert(id, Arc::downgrade(&file));
        file
    }

    fn remember(&self, file: &Arc<SegmentFile>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(file.id, Arc::downgrade(file));
    }
}
