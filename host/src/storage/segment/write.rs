//! Writes segments, row group by row group, and takes apart what was written, so that the state knows where each column
//! lies. It refuses to choose which rows go together.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use arrow::ipc::{CompressionType, MessageHeader, MetadataVersion, root_as_message};
use crc32c::{crc32c, crc32c_append};
use ulid::Ulid;

use super::group::{DictionaryExtent, Extent, Group, Statistics, raw_bytes};
use super::{ALIGNMENT, FOLDER, Frame, SegmentFile, Segments};
use crate::error::{Error, Result, codes};
use crate::storage::codec::{Decoder, Flaw, has_dictionary};
use crate::storage::encoding::{Shape, stored_schema};
use crate::storage::io::{File, Mode};
use crate::storage::keys::{KeyEncoder, KeyRange};
use crate::storage::part::from_arrow;
use crate::storage::statistics::{self, ColumnStatistics};

/// Row groups in a file.
const GROUPS_MAX: usize = 8;

/// Bounds of keys longer than this are not kept.
const KEY_BYTES_MAX: usize = 256;

/// Fewer rows are not worth another thread.
const ALONE_ROWS_MAX: usize = 16_384;

/// How hard Zstandard tries: more makes loading slower than reading is worth.
const LEVEL: i32 = 1;

/// A segment that is being written.
pub(crate) struct SegmentWriter {
    file: Arc<SegmentFile>,
    handle: File,
    writer: FileWriter<Vec<u8>>,
    /// The table's schema.
    exposed: SchemaRef,
    shapes: Vec<Shape>,
    dictionaries: Vec<DictionaryExtent>,
    header: u64,
    offset: u64,
    checksum: u32,
    groups_left: usize,
}

/// A row group ready to be written.
pub(crate) struct Encoded {
    stored: Vec<ArrayRef>,
    facts: Vec<ColumnStatistics>,
}

impl SegmentWriter {
    /// Starts a file, locked so that nobody takes it for a leftover. The caller holds the writer lock.
    pub(crate) fn create(segments: &Segments, exposed: &SchemaRef, shapes: Vec<Shape>) -> Result<Self> {
        let file = Arc::new(SegmentFile {
            id: Ulid::generate(),
            directory: segments.directory.clone(),
            mapped: RwLock::default(),
            frame: OnceLock::new(),
            unpublished: Mutex::default(),
            is_published: AtomicBool::new(false),
            hot: segments.hot.clone(),
        });
        let handle = segments.directory.open(&format!("{FOLDER}/{}.arrow", file.id), Mode::Truncate)?;
        handle.try_lock()?;
        *file.unpublished.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle.clone());
        segments.remember(&file);
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)
            .and_then(|options| options.try_with_compression(Some(CompressionType::ZSTD)))
            .and_then(|options| options.try_with_compression_level(Some(LEVEL)));
        let schema = stored_schema(exposed, &shapes);
        let writer = FileWriter::try_new_with_options(Vec::new(), &schema, options.map_err(from_arrow)?);
        let mut writer = writer.map_err(from_arrow)?;
        let header = std::mem::take(writer.get_mut());
        handle.write_at(&header, 0)?;
        let length = header.len() as u64;
        // A dictionary cannot be replaced within a file: those of the table's own, which differ by row group, get a file
        // for each.
        let groups_left = if has_dictionary(exposed) { 1 } else { GROUPS_MAX };
        Ok(Self {
            file,
            handle,
            writer,
            exposed: exposed.clone(),
            shapes,
            dictionaries: Vec::new(),
            header: length,
            offset: length,
            checksum: crc32c(&header),
            groups_left,
        })
    }

    /// Whether the next row group belongs in another file.
    pub(crate) fn is_full(&self) -> bool {
        self.groups_left == 0
    }

    /// The schema of the table whose rows it takes.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.exposed
    }

    /// The rows as this file stores them; the facts come back if they do not fit into it.
    pub(crate) fn encode(
        &self,
        batch: &RecordBatch,
        facts: Vec<ColumnStatistics>,
    ) -> Result<Result<Encoded, Vec<ColumnStatistics>>> {
        let store = |column: usize| self.shapes[column].store(batch.column(column), &facts[column]);
        let stored = each_column(batch, store).into_iter().collect::<Result<Option<Vec<_>>>>()?;
        Ok(match stored {
            Some(stored) => Ok(Encoded { stored, facts }),
            None => Err(facts),
        })
    }

    /// Adds a row group, and says what must be known of it to read it.
    pub(crate) fn write(
        &mut self,
        batch: &RecordBatch,
        encoded: Encoded,
        keys: &[KeyEncoder],
    ) -> Result<(Arc<SegmentFile>, Arc<Group>)> {
        let mut ranges = Vec::with_capacity(keys.len());
        for key in keys {
            let values = key.key.columns.iter().map(|&column| batch.column(column).clone()).collect();
            let range = key.encode(values)?.range();
            if range.bounds.as_ref().is_none_or(|(min, max)| min.len().max(max.len()) <= KEY_BYTES_MAX) {
                ranges.push((key.key.columns.as_slice().into(), range));
            }
        }
        let Encoded { stored, facts } = encoded;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let stored = RecordBatch::try_new_with_options(self.writer.schema().clone(), stored, &options);
        let stored = stored.map_err(from_arrow)?;
        self.writer.write(&stored).map_err(from_arrow)?;
        let bytes = std::mem::take(self.writer.get_mut());
        self.handle.write_at(&bytes, self.offset)?;
        let mut group = describe(&bytes, self.offset, &stored, ranges, facts)?;
        // The first row group brings the dictionaries, which the later ones of the file share.
        self.dictionaries.append(&mut group.dictionaries);
        group.dictionaries.clone_from(&self.dictionaries);
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

/// What there is to know of each column.
pub(crate) fn facts(batch: &RecordBatch) -> Vec<ColumnStatistics> {
    each_column(batch, |column| ColumnStatistics::of(batch.column(column)))
}

/// The best shapes for these rows.
pub(crate) fn shapes(batch: &RecordBatch, facts: &[ColumnStatistics]) -> Vec<Shape> {
    each_column(batch, |column| Shape::of(batch.column(column), &facts[column]))
}

/// Works on the columns of a large batch with as many threads as there are cores.
fn each_column<T: Send>(batch: &RecordBatch, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let columns = batch.num_columns();
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(columns);
    if batch.num_rows() < ALONE_ROWS_MAX || threads < 2 {
        return (0..columns).map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let turn = || {
        let mut done = Vec::new();
        loop {
            let column = next.fetch_add(1, Ordering::Relaxed);
            if column >= columns {
                return done;
            }
            done.push((column, work(column)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(turn)).collect();
        let mut done = turn();
        for other in others {
            match other.join() {
                Ok(mut others) => done.append(&mut others),
                Err(payload) => std::panic::resume_unwind(payload),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(column, _)| *column);
    done.into_iter().map(|(_, value)| value).collect()
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
    let odd = |flaw: Flaw| Error::new(codes::INTERNAL, format!("a row group is odd: {flaw}"));
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
            let words = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
            let words = words.ok_or_else(|| odd("a dictionary has no words".into()))?;
            let extent = stretch(start, &bytes[start..body_start + body_length]);
            let raw_bytes = raw_bytes(&words, body, |_| true).map_err(odd)?;
            dictionaries.push(DictionaryExtent { extent, metadata: metadata as u32, raw_bytes });
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
        let mut raw = vec![0; starts.len()];
        let mut end = body.len();
        for (column, start) in starts.iter().enumerate().rev() {
            let start = if column == 0 { 0 } else { start.unwrap_or(end) };
            columns[column] = stretch(body_start + start, &body[start..end]);
            let inside = start as u64..end as u64;
            raw[column] = raw_bytes(&header, body, |offset| inside.contains(&offset)).map_err(odd)?;
            end = start;
        }
        return Ok(Group {
            rows: u32::try_from(batch.num_rows()).map_err(|_| odd("it has too many rows".into()))?,
            dictionaries,
            metadata: stretch(start, &bytes[start..body_start]),
            columns,
            raw_bytes: raw,
            ranges,
            statistics: Statistics {
                stored: statistics::encode(&statistics)?.into(),
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
