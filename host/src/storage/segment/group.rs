//! Row groups: where their columns lie in a file, how one of them is checked and decoded, and how all that is written in
//! the state. It refuses to believe a byte that no checksum covers, or a length that was not announced.

use std::sync::OnceLock;

use arrow::array::ArrayRef;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field};
use arrow::ipc::reader::FileDecoder;
use arrow::ipc::{Block, MessageHeader, MetadataVersion, RecordBatch as Message, root_as_message};
use bytes::Bytes;
use crc32c::crc32c;

use super::{Mapped, stretch};
use crate::error::Result;
use crate::storage::codec::{Decoder, Encoder, Flaw, check_bounds, guarded};
use crate::storage::encoding;
use crate::storage::keys::KeyRange;
use crate::storage::statistics::{self, ColumnStatistics};

/// Before the bytes of a buffer in a compressed message stands their number when they are not compressed any more.
const PREFIX_BYTES: usize = 8;

/// The number that means that a buffer is not compressed.
const AS_IT_IS: i64 = -1;

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
    /// Messages of dictionaries, which row groups of a file may share.
    pub(super) dictionaries: Vec<DictionaryExtent>,
    /// The record batch message up to its body.
    pub(crate) metadata: Extent,
    /// For each column its part of the body; together they are the body.
    pub(crate) columns: Vec<Extent>,
    /// For each column its bytes when they are not compressed any more.
    pub(super) raw_bytes: Vec<u64>,
    /// For each known key, by columns of the file.
    pub(crate) ranges: Vec<(Box<[usize]>, KeyRange)>,
    pub(super) statistics: Statistics,
}

/// Statistics as they are stored, and decoded when first asked for: opening a database must not take time for them.
#[derive(Debug)]
pub(super) struct Statistics {
    pub(super) stored: Bytes,
    pub(super) decoded: OnceLock<Vec<ColumnStatistics>>,
}

/// The message of a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DictionaryExtent {
    /// All of it.
    pub(super) extent: Extent,
    /// How much of it is metadata.
    pub(super) metadata: u32,
    /// Its bytes when they are not compressed any more.
    pub(super) raw_bytes: u64,
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
            self.statistics.decoded.get_or_init(|| statistics::decode(&self.statistics.stored).unwrap_or_default());
        decoded.get(column)
    }

    pub(super) fn decode(&self, mapped: &Mapped, column: usize) -> Result<ArrayRef, Flaw> {
        let bytes = mapped.buffer.as_slice();
        let missing = || "a row group has fewer columns than its table".to_owned();
        let extent = self.columns.get(column).ok_or_else(missing)?;
        let (field, exposed) =
            mapped.schema.fields().get(column).zip(mapped.exposed.get(column)).ok_or_else(missing)?;
        verify(bytes, extent, "a column")?;
        verify(bytes, &self.metadata, "the header of a row group")?;
        let message = message(bytes, &self.metadata)?;
        let batch = message.header_as_record_batch().ok_or("a row group is something else")?;
        let body_length = usize::try_from(self.body_length()).unwrap_or(0);
        check_bounds(&batch, body_length)?;
        if batch.length() != i64::from(self.rows) {
            return Err("a row group has another number of rows".to_owned());
        }
        let body = self.metadata.offset + self.metadata.length;
        let of_body = stretch(bytes, body, self.body_length()).ok_or("a row group lies outside the file")?;
        let inside = (extent.offset - body)..(extent.offset - body + extent.length);
        if raw_bytes(&batch, of_body, |offset| inside.contains(&offset))? != self.raw_bytes[column] {
            return Err("a column announces another length".to_owned());
        }
        let mut decoder = FileDecoder::new(mapped.schema.clone(), MetadataVersion::V5).with_projection(vec![column]);
        let dictionaries = self.dictionaries.iter().filter(|_| field.data_type().is_nested() || is_dictionary(field));
        for dictionary in dictionaries {
            verify(bytes, &dictionary.extent, "a dictionary")?;
            dictionary.check(bytes)?;
            let length = dictionary.extent.length.saturating_sub(u64::from(dictionary.metadata));
            let (block, buffer) = block(mapped, dictionary.extent.offset, dictionary.metadata, length)?;
            guarded(|| decoder.read_dictionary(&block, &buffer))?;
        }
        let metadata = u32::try_from(self.metadata.length).map_err(|_| "a header is too long")?;
        let (block, buffer) = block(mapped, self.metadata.offset, metadata, self.body_length())?;
        let batch = guarded(|| decoder.read_record_batch(&block, &buffer))?;
        let stored = batch.map(|batch| batch.column(0).clone()).ok_or_else(|| "a row group is empty".to_owned())?;
        Ok(encoding::lean(stored, exposed))
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        let extent = |out: &mut Encoder, extent: &Extent| {
            out.u64(extent.offset);
            out.u64(extent.length);
            out.u32(extent.checksum);
        };
        out.u32(self.rows);
        out.count(self.dictionaries.len());
        for dictionary in &self.dictionaries {
            extent(out, &dictionary.extent);
            out.u32(dictionary.metadata);
            out.u64(dictionary.raw_bytes);
        }
        extent(out, &self.metadata);
        out.count(self.columns.len());
        for (column, raw_bytes) in self.columns.iter().zip(&self.raw_bytes) {
            extent(out, column);
            out.u64(*raw_bytes);
        }
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
        let dictionaries = (0..from.count(32)?)
            .map(|_| Ok(DictionaryExtent { extent: extent(from)?, metadata: from.u32()?, raw_bytes: from.u64()? }));
        let dictionaries = dictionaries.collect::<Result<_, Flaw>>()?;
        let metadata = extent(from)?;
        let columns = (0..from.count(28)?).map(|_| Ok((extent(from)?, from.u64()?)));
        let (columns, raw_bytes): (Vec<Extent>, Vec<u64>) =
            columns.collect::<Result<Vec<_>, Flaw>>()?.into_iter().unzip();
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
        Ok(Self { rows, dictionaries, metadata, columns, raw_bytes, ranges, statistics })
    }
}

impl DictionaryExtent {
    /// Refuses a dictionary that announces another length than it had when it was written.
    fn check(&self, bytes: &[u8]) -> Result<(), Flaw> {
        let found =
            stretch(bytes, self.extent.offset, self.extent.length).ok_or("a dictionary lies outside the file")?;
        let (head, body) = found.split_at_checked(self.metadata as usize).ok_or("a dictionary is too short")?;
        let message = root_as_message(head.get(8..).ok_or("a dictionary is too short")?);
        let message = message.map_err(|flaw| format!("a dictionary is damaged: {flaw}"))?;
        let words = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
        let words = words.filter(|_| message.header_type() == MessageHeader::DictionaryBatch);
        let words = words.ok_or("a dictionary is something else")?;
        check_bounds(&words, body.len())?;
        if raw_bytes(&words, body, |_| true)? != self.raw_bytes {
            return Err("a dictionary announces another length".to_owned());
        }
        Ok(())
    }
}

/// How long the buffers say that they are when they are not compressed any more: the Arrow reader makes room for that.
pub(super) fn raw_bytes(batch: &Message<'_>, body: &[u8], is_wanted: impl Fn(u64) -> bool) -> Result<u64, Flaw> {
    let mut sum = 0_u64;
    let is_compressed = batch.compression().is_some();
    for buffer in batch.buffers().into_iter().flatten() {
        let (offset, length) = (buffer.offset() as u64, buffer.length() as u64);
        if length == 0 || !is_wanted(offset) {
            continue;
        }
        let bytes = stretch(body, offset, length).ok_or("a buffer lies outside its message")?;
        let raw = match bytes.first_chunk::<PREFIX_BYTES>() {
            _ if !is_compressed => length,
            None => return Err("a buffer is too short".to_owned()),
            Some(prefix) => match i64::from_le_bytes(*prefix) {
                AS_IT_IS => length - PREFIX_BYTES as u64,
                announced => u64::try_from(announced).map_err(|_| "a buffer announces a negative length")?,
            },
        };
        sum = sum.checked_add(raw).ok_or("buffers announce too much")?;
    }
    Ok(sum)
}

fn is_dictionary(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Dictionary(..))
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
