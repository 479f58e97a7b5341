//! Segment files: Feather v2 (the Arrow IPC file format), uncompressed and aligned to 64 bytes, so that a mapped file
//! is record batches already. A column of a row group is checked and validated when it is first touched, against the
//! checksum that the state carries, and believed from then on. It refuses to change a file: a segment is written once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::convert::try_schema_from_flatbuffer_bytes;
use arrow::ipc::reader::FileDecoder;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow::ipc::{Block, MessageHeader, MetadataVersion, root_as_message};
use bytes::Bytes;
use crc32c::{crc32c, crc32c_append};
use ulid::Ulid;

use super::codec::{Decoder, Encoder, Flaw, check_bounds, guarded, has_dictionary, read_stream};
use super::io::{Directory, File, Mode, corrupt};
use super::keys::{KeyEncoder, KeyRange};
use super::part::from_arrow;
use super::statistics::ColumnStatistics;
use crate::error::Result;

/// Row groups in a file.
const GROUPS_MAX: usize = 8;

/// Every buffer begins at a multiple of this, and so does the first message.
const ALIGNMENT: usize = 64;

/// Bounds of keys longer than this are not kept.
const KEY_BYTES_MAX: usize = 256;

/// The folder of segments.
pub(crate) const FOLDER: &str = "segments";

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
}

#[derive(Clone, Debug)]
struct Mapped {
    buffer: Buffer,
    schema: SchemaRef,
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

/// A stretch of a file and its CRC32C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) checksum: u32,
}

/// One row group: where it is and what is known of it.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) rows: u32,
    /// Whole dictionary messages, and the length of the metadata of each.
    pub(crate) dictionaries: Vec<(Extent, u32)>,
    /// The record batch message up to its body.
    pub(crate) metadata: Extent,
    /// For each column its part of the body; together they are the body.
    pub(crate) columns: Vec<Extent>,
    /// For each known key, by columns of the file.
    pub(crate) ranges: Vec<(Box<[usize]>, KeyRange)>,
    statistics: Statistics,
}

/// Statistics as they are stored, and decoded when first asked for: opening a database must not take time for them.
#[derive(Debug)]
struct Statistics {
    stored: Bytes,
    decoded: OnceLock<Vec<ColumnStatistics>>,
}

impl SegmentFile {
    pub(crate) fn name(&self) -> String {
        format!("{FOLDER}/{}.arrow", self.id)
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
        let schema = Arc::new(read_schema(&bytes).map_err(|flaw| corrupt(&name, &flaw))?);
        let mapped = Mapped { buffer: Buffer::from(bytes), schema };
        *self.mapped.write().unwrap_or_else(PoisonError::into_inner) = Some(mapped.clone());
        Ok(mapped)
    }

    /// A column of a row group, checked and validated, without copying.
    pub(crate) fn column(&self, group: &Group, column: usize) -> Result<ArrayRef> {
        let mapped = self.mapped(group.end())?;
        group.decode(&mapped, column).map_err(|flaw| corrupt(&self.name(), &flaw))
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

impl Group {
    pub(crate) fn end(&self) -> u64 {
        self.metadata.offset + self.metadata.length + self.body_length()
    }

    fn body_length(&self) -> u64 {
        self.columns.iter().map(|column| column.length).sum()
    }

    pub(crate) fn statistics(&self, column: usize) -> Option<&ColumnStatistics> {
        let decoded =
            self.statistics.decoded.get_or_init(|| decode_statistics(&self.statistics.stored).unwrap_or_default());
        decoded.get(column)
    }

    fn decode(&self, mapped: &Mapped, column: usize) -> Result<ArrayRef, Flaw> {
        let bytes = mapped.buffer.as_slice();
        let extent = self.columns.get(column).ok_or("a row group has fewer columns than its table")?;
        verify(bytes, extent, "a column")?;
        verify(bytes, &self.metadata, "the header of a row group")?;
        let message = message(bytes, &self.metadata)?;
        let batch = message.header_as_record_batch().ok_or("a row group is something else")?;
        check_bounds(&batch, usize::try_from(self.body_length()).unwrap_or(0))?;
        if batch.length() != i64::from(self.rows) {
            return Err("a row group has another number of rows".to_owned());
        }
        let mut decoder = FileDecoder::new(mapped.schema.clone(), MetadataVersion::V5).with_projection(vec![column]);
        for (dictionary, metadata) in &self.dictionaries {
            verify(bytes, dictionary, "a dictionary")?;
            let body = dictionary.length.saturating_sub(u64::from(*metadata));
            let (block, buffer) = block(mapped, dictionary.offset, *metadata, body)?;
            guarded(|| decoder.read_dictionary(&block, &buffer))?;
        }
        let metadata = u32::try_from(self.metadata.length).map_err(|_| "a header is too long")?;
        let (block, buffer) = block(mapped, self.metadata.offset, metadata, self.body_length())?;
        let batch = guarded(|| decoder.read_record_batch(&block, &buffer))?;
        batch.map(|batch| batch.column(0).clone()).ok_or_else(|| "a row group is empty".to_owned())
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        let extent = |out: &mut Encoder, extent: &Extent| {
            out.u64(extent.offset);
            out.u64(extent.length);
            out.u32(extent.checksum);
        };
        out.u32(self.rows);
        out.count(self.dictionaries.len());
        for (dictionary, metadata) in &self.dictionaries {
            extent(out, dictionary);
            out.u32(*metadata);
        }
        extent(out, &self.metadata);
        out.count(self.columns.len());
        self.columns.iter().for_each(|column| extent(out, column));
        out.count(self.ranges.len());
        for (columns, range) in &self.ranges {
            out.columns(columns);
            out.u8(u8::from(range.sorted) | u8::from(range.bounds.is_some()) << 1);
            if let Some((min, max)) = &range.bounds {
                out.bytes(min);
                out.bytes(max);
            }
        }
        out.bytes(&self.statistics.stored);
    }

    pub(crate) fn decode_from(from: &mut Decoder<'_>) -> Result<Self, Flaw> {
        let extent = |from: &mut Decoder<'_>| {
            let extent = Extent { offset: from.u64()?, length: from.u64()?, checksum: from.u32()? };
            let end = extent.offset.checked_add(extent.length);
            end.filter(|&end| end <= i64::MAX as u64)
                .map(|_| extent)
                .ok_or_else(|| "a stretch is out of bounds".to_owned())
        };
        let rows = from.u32()?;
        let dictionaries =
            (0..from.count(24)?).map(|_| Ok((extent(from)?, from.u32()?))).collect::<Result<_, Flaw>>()?;
        let metadata = extent(from)?;
        let columns: Vec<Extent> = (0..from.count(20)?).map(|_| extent(from)).collect::<Result<_, Flaw>>()?;
        let mut position = metadata.offset + metadata.length;
        for column in &columns {
            if column.offset != position {
                return Err("the columns of a row group do not follow each other".to_owned());
            }
            position += column.length;
        }
        let ranges = (0..from.count(9)?)
            .map(|_| {
                let columns = from.columns()?.into();
                let flags = from.u8()?;
                let bounds = (flags & 2 != 0).then(|| Ok::<_, Flaw>((from.bytes()?.into(), from.bytes()?.into())));
                Ok((columns, KeyRange { bounds: bounds.transpose()?, sorted: flags & 1 != 0 }))
            })
            .collect::<Result<_, Flaw>>()?;
        let statistics = Statistics { stored: Bytes::copy_from_slice(from.bytes()?), decoded: OnceLock::new() };
        Ok(Self { rows, dictionaries, metadata, columns, ranges, statistics })
    }
}

fn stretch(bytes: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let (start, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
    bytes.get(start..start.checked_add(length)?)
}

fn verify(bytes: &[u8], extent: &Extent, what: &str) -> Result<(), Flaw> {
    let found = stretch(bytes, extent.offset, extent.length).ok_or_else(|| format!("{what} lies outside the file"))?;
    if crc32c(found) == extent.checksum { Ok(()) } else { Err(format!("the checksum of {what} does not match")) }
}

fn message<'a>(bytes: &'a [u8], metadata: &Extent) -> Result<arrow::ipc::Message<'a>, Flaw> {
    let framed = stretch(bytes, metadata.offset, metadata.length).and_then(|bytes| bytes.get(8..));
    root_as_message(framed.ok_or("a header is too short")?).map_err(|flaw| format!("a header is damaged: {flaw}"))
}

fn block(mapped: &Mapped, offset: u64, metadata: u32, body: u64) -> Result<(Block, Buffer), Flaw> {
    let bounds = || "a row group lies outside the file".to_owned();
    let length = u64::from(metadata).checked_add(body).ok_or_else(bounds)?;
    stretch(mapped.buffer.as_slice(), offset, length).ok_or_else(bounds)?;
    let (start, size) = (usize::try_from(offset), usize::try_from(length));
    let (Ok(start), Ok(size)) = (start, size) else { return Err(bounds()) };
    let buffer = mapped.buffer.slice_with_length(start, size);
    let metadata = i32::try_from(metadata).map_err(|_| bounds())?;
    Ok((Block::new(0, metadata, i64::try_from(body).map_err(|_| bounds())?), buffer))
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

/// Writes a segment, row group by row group.
pub(crate) struct SegmentWriter {
    file: Arc<SegmentFile>,
    handle: File,
    writer: FileWriter<Vec<u8>>,
    header: u64,
    offset: u64,
    checksum: u32,
    groups_left: usize,
}

impl SegmentWriter {
    /// Starts a file, locked so that nobody takes it for a leftover. The caller holds the writer lock.
    pub(crate) fn create(segments: &Segments, schema: &Schema) -> Result<Self> {
        let file = Arc::new(SegmentFile {
            id: Ulid::generate(),
            directory: segments.directory.clone(),
            mapped: RwLock::default(),
            frame: OnceLock::new(),
            unpublished: Mutex::default(),
            is_published: AtomicBool::new(false),
        });
        let handle = segments.directory.open(&file.name(), Mode::Truncate)?;
        handle.try_lock()?;
        *file.unpublished.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle.clone());
        segments.remember(&file);
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5).map_err(from_arrow)?;
        let mut writer = FileWriter::try_new_with_options(Vec::new(), schema, options).map_err(from_arrow)?;
        let header = std::mem::take(writer.get_mut());
        handle.write_at(&header, 0)?;
        let length = header.len() as u64;
        // A dictionary cannot be replaced within a file, so that each row group with dictionaries gets its own.
        let groups_left = if has_dictionary(schema) { 1 } else { GROUPS_MAX };
        Ok(Self { file, handle, writer, header: length, offset: length, checksum: crc32c(&header), groups_left })
    }

    /// Whether the next row group belongs in another file.
    pub(crate) fn is_full(&self) -> bool {
        self.groups_left == 0
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.writer.schema()
    }

    /// Adds a row group, and says what must be known of it to read it.
    pub(crate) fn write(&mut self, batch: &RecordBatch, keys: &[KeyEncoder]) -> Result<(Arc<SegmentFile>, Arc<Group>)> {
        let mut ranges = Vec::with_capacity(keys.len());
        for key in keys {
            let values = key.key.columns.iter().map(|&column| batch.column(column).clone()).collect();
            let range = key.encode(values)?.range();
            if range.bounds.as_ref().is_none_or(|(min, max)| min.len().max(max.len()) <= KEY_BYTES_MAX) {
                ranges.push((key.key.columns.as_slice().into(), range));
            }
        }
        let statistics: Vec<_> = batch.columns().iter().map(ColumnStatistics::of).collect();
        self.writer.write(batch).map_err(from_arrow)?;
        let bytes = std::mem::take(self.writer.get_mut());
        self.handle.write_at(&bytes, self.offset)?;
        let group = describe(&bytes, self.offset, batch, ranges, statistics)?;
        self.offset += bytes.len() as u64;
        self.groups_left -= 1;
        Ok((self.file.clone(), Arc::new(group)))
    }

    /// Completes the file and makes it durable.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.writer.finish().map_err(from_arrow)?;
        let footer = std::mem::take(self.writer.get_mut());
        self.handle.write_at(&footer, self.offset)?;
        self.handle.sync()?;
        let frame = Frame {
            length: self.offset + footer.len() as u64,
            checksum: crc32c_append(self.checksum, &footer),
            groups: (self.header, self.offset),
        };
        self.file.frame.get_or_init(|| frame);
        Ok(())
    }
}

impl std::fmt::Debug for SegmentWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentWriter").field("file", &self.file.id).field("offset", &self.offset).finish()
    }
}

/// Takes the messages of a row group apart that were just made.
fn describe(
    bytes: &[u8],
    offset: u64,
    batch: &RecordBatch,
    ranges: Vec<(Box<[usize]>, KeyRange)>,
    statistics: Vec<ColumnStatistics>,
) -> Result<Group> {
    let odd =
        |flaw: Flaw| crate::error::Error::new(crate::error::codes::INTERNAL, format!("a row group is odd: {flaw}"));
    let mut dictionaries = Vec::new();
    let mut from = Decoder::new(bytes);
    loop {
        let start = bytes.len() - from.left();
        from.u32().map_err(odd)?;
        let length = from.u32().map_err(odd)?;
        let header = from.raw(length as usize).map_err(odd)?;
        let message = root_as_message(header).map_err(|flaw| odd(flaw.to_string()))?;
        let body_length = usize::try_from(message.bodyLength()).map_err(|_| odd("a body is too long".into()))?;
        let body = from.raw(body_length).map_err(odd)?;
        let stretch = |start: usize, bytes: &[u8]| Extent {
            offset: offset + start as u64,
            length: bytes.len() as u64,
            checksum: crc32c(bytes),
        };
        let (metadata, body_start) = (8 + length as usize, start + 8 + length as usize);
        if message.header_type() == MessageHeader::DictionaryBatch {
            dictionaries.push((stretch(start, &bytes[start..body_start + body_length]), metadata as u32));
            continue;
        }
        let header = message.header_as_record_batch().ok_or_else(|| odd("it is no record batch".into()))?;
        let mut buffers = header.buffers().into_iter().flatten().map(|buffer| buffer.offset() as usize);
        let mut variadic = header.variadicBufferCounts().into_iter().flatten();
        let mut starts = Vec::with_capacity(batch.num_columns());
        for field in batch.schema().fields() {
            let count = buffer_count(field, &mut variadic);
            let first = (count > 0).then(|| buffers.next()).flatten();
            buffers.by_ref().take(count.saturating_sub(1)).for_each(|_| ());
            starts.push(first);
        }
        let mut columns = vec![Extent { offset: 0, length: 0, checksum: 0 }; starts.len()];
        let mut end = body.len();
        for (column, start) in starts.iter().enumerate().rev() {
            let start = if column == 0 { 0 } else { start.unwrap_or(end) };
            columns[column] = stretch(body_start + start, &body[start..end]);
            end = start;
        }
        return Ok(Group {
            rows: u32::try_from(batch.num_rows()).map_err(|_| odd("it has too many rows".into()))?,
            dictionaries,
            metadata: stretch(start, &bytes[start..body_start]),
            columns,
            ranges,
            statistics: Statistics {
                stored: encode_statistics(&statistics)?.into(),
                decoded: OnceLock::from(statistics),
            },
        });
    }
}

/// How many buffers a column has in a record batch message, by the columnar format's specification.
fn buffer_count(field: &Field, variadic: &mut impl Iterator<Item = i64>) -> usize {
    use DataType as D;
    match field.data_type() {
        D::Null => 0,
        D::Utf8 | D::LargeUtf8 | D::Binary | D::LargeBinary => 3,
        D::Utf8View | D::BinaryView => 2 + variadic.next().and_then(|count| usize::try_from(count).ok()).unwrap_or(0),
        D::List(item) | D::LargeList(item) | D::Map(item, _) => 2 + buffer_count(item, variadic),
        D::ListView(item) | D::LargeListView(item) => 3 + buffer_count(item, variadic),
        D::FixedSizeList(item, _) => 1 + buffer_count(item, variadic),
        D::Struct(fields) => 1 + fields.iter().map(|field| buffer_count(field, variadic)).sum::<usize>(),
        D::RunEndEncoded(ends, values) => buffer_count(ends, variadic) + buffer_count(values, variadic),
        D::Union(fields, mode) => {
            let own = if *mode == arrow::datatypes::UnionMode::Dense { 2 } else { 1 };
            own + fields.iter().map(|(_, field)| buffer_count(field, variadic)).sum::<usize>()
        }
        _ => 2,
    }
}

/// Statistics: for each column the number of nulls and whether bounds follow; then one stream of Arrow rows with the
/// least value of every such column in the first row and the greatest in the second.
fn encode_statistics(statistics: &[ColumnStatistics]) -> Result<Vec<u8>> {
    let mut out = Encoder::default();
    let mut bounds: Vec<(String, ArrayRef)> = Vec::new();
    out.count(statistics.len());
    for (column, facts) in statistics.iter().enumerate() {
        out.u64(facts.nulls);
        out.u8(u8::from(facts.min.is_some() && facts.max.is_some()));
        if let (Some(min), Some(max)) = (&facts.min, &facts.max) {
            bounds.push((column.to_string(), concat(&[min, max]).map_err(from_arrow)?));
        }
    }
    if !bounds.is_empty() {
        let batch = RecordBatch::try_from_iter(bounds).map_err(from_arrow)?;
        let mut bytes = Vec::new();
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).map_err(from_arrow)?;
        writer.write(&batch).and_then(|()| writer.finish()).map_err(from_arrow)?;
        drop(writer);
        out.raw(&bytes);
    }
    Ok(out.finish())
}

fn decode_statistics(bytes: &[u8]) -> Result<Vec<ColumnStatistics>, Flaw> {
    let mut from = Decoder::new(bytes);
    let columns = (0..from.count(9)?).map(|_| Ok((from.u64()?, from.u8()? != 0))).collect::<Result<Vec<_>, Flaw>>()?;
    let rest = from.raw(from.left())?;
    let bounds = match rest.is_empty() {
        true => None,
        false => read_stream(rest)?,
    };
    let mut next = 0;
    columns
        .into_iter()
        .map(|(nulls, has_bounds)| {
            let mut facts = ColumnStatistics { min: None, max: None, nulls };
            if has_bounds {
                let column = bounds.as_ref().and_then(|bounds| bounds.columns().get(next));
                let column = column.filter(|column| column.len() == 2).ok_or("bounds are missing")?;
                (facts.min, facts.max) = (Some(column.slice(0, 1)), Some(column.slice(1, 1)));
                next += 1;
            }
            Ok(facts)
        })
        .collect()
}

/// The segment files of a database that this process knows, each once.
#[derive(Debug)]
pub(crate) struct Segments {
    pub(crate) directory: Directory,
    known: Mutex<HashMap<Ulid, Weak<SegmentFile>>>,
}

impl Segments {
    pub(crate) fn new(directory: Directory) -> Self {
        Self { directory, known: Mutex::default() }
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
        });
        known.retain(|_, file| file.strong_count() > 0);
        known.insert(id, Arc::downgrade(&file));
        file
    }

    fn remember(&self, file: &Arc<SegmentFile>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(file.id, Arc::downgrade(file));
    }
}
