//! Bytes of the file formats: fixed-width little-endian numbers, lengths before what they measure, Arrow IPC for rows
//! and schemas. The reader believes nothing: every length is checked against what is left before it is used, and no
//! input makes it panic or allocate more than the input is long. It refuses to know what the bytes mean.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::convert::try_schema_from_flatbuffer_bytes;
use arrow::ipc::reader::{StreamReader, read_record_batch};
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, StreamWriter};
use arrow::ipc::{MetadataVersion, RecordBatch as Message, root_as_message};
use roaring::{RoaringBitmap, RoaringTreemap};

use super::part::from_arrow;
use super::rows::RowIds;
use super::spec::{Key, TableSpec};
use crate::error::Result;

/// What is wrong with bytes that cannot be decoded: a lowercase phrase. The caller knows the file.
pub(crate) type Flaw = String;

/// Tag of a batch that is one bare message, whose schema the table knows.
const BARE: u8 = 1;
/// Tag of a batch that is a whole stream, for schemas with dictionaries.
const STREAM: u8 = 2;

/// Collects bytes.
#[derive(Debug, Default)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes whose number the format fixes.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Length and bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.raw(bytes);
    }

    /// A count, before the things counted.
    pub(crate) fn count(&mut self, count: usize) {
        self.u64(count as u64);
    }

    pub(crate) fn columns(&mut self, columns: &[usize]) {
        self.count(columns.len());
        columns.iter().for_each(|&column| self.u64(column as u64));
    }

    /// For each new column the old one plus one, or zero.
    pub(crate) fn column_map(&mut self, columns: &[Option<usize>]) {
        self.count(columns.len());
        columns.iter().for_each(|column| self.u64(column.map_or(0, |column| column as u64 + 1)));
    }

    pub(crate) fn spec(&mut self, spec: &TableSpec) {
        let mut tracker = DictionaryTracker::new(true);
        let options = IpcWriteOptions::default();
        let schema =
            IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(&spec.schema, &mut tracker, &options);
        self.bytes(&schema.ipc_message);
        self.count(spec.keys.len());
        for key in &spec.keys {
            self.bytes(key.name.as_bytes());
            self.u8(u8::from(key.primary) | u8::from(!key.unique) << 1);
            self.columns(&key.columns);
        }
    }

    pub(crate) fn ids(&mut self, ids: &RowIds) {
        match ids {
            RowIds::Range { first, count } => {
                self.u8(0);
                self.u64(*first);
                self.u64(*count);
            }
            RowIds::Set(set) => {
                self.u8(1);
                self.treemap(set);
            }
        }
    }

    pub(crate) fn treemap(&mut self, set: &RoaringTreemap) {
        let mut bytes = Vec::with_capacity(set.serialized_size());
        set.serialize_into(&mut bytes).expect("writing to memory does not fail");
        self.bytes(&bytes);
    }

    pub(crate) fn bitmap(&mut self, set: &RoaringBitmap) {
        let mut bytes = Vec::with_capacity(set.serialized_size());
        set.serialize_into(&mut bytes).expect("writing to memory does not fail");
        self.bytes(&bytes);
    }

    pub(crate) fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        if has_dictionary(&batch.schema()) {
            let mut bytes = Vec::new();
            let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).map_err(from_arrow)?;
            writer.write(batch).and_then(|()| writer.finish()).map_err(from_arrow)?;
            drop(writer);
            self.u8(STREAM);
            self.bytes(&bytes);
            return Ok(());
        }
        let (options, mut tracker) = (IpcWriteOptions::default(), DictionaryTracker::new(true));
        let (_, message) = IpcDataGenerator::default()
            .encode(batch, &mut tracker, &options, &mut Default::default())
            .map_err(from_arrow)?;
        self.u8(BARE);
        self.bytes(&message.ipc_message);
        self.bytes(&message.arrow_data);
        Ok(())
    }
}

/// Takes bytes apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn raw(&mut self, count: usize) -> Result<&'a [u8], Flaw> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or("it ends in the middle of a value")?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or("it ends in the middle of a value")?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Flaw> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Flaw> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Flaw> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Flaw> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Flaw> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    pub(crate) fn usize(&mut self) -> Result<usize, Flaw> {
        usize::try_from(self.u64()?).map_err(|_| "a number is too large".to_owned())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Flaw> {
        let count = self.usize()?;
        self.raw(count)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Flaw> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a text is not UTF-8".to_owned())
    }

    /// A count of things that take at least `each` bytes.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, Flaw> {
        let count = self.usize()?;
        if count.checked_mul(each).is_none_or(|bytes| bytes > self.left()) {
            return Err(format!("it announces {count} items and ends before them"));
        }
        Ok(count)
    }

    pub(crate) fn columns(&mut self) -> Result<Vec<usize>, Flaw> {
        (0..self.count(8)?).map(|_| self.usize()).collect()
    }

    pub(crate) fn column_map(&mut self) -> Result<Vec<Option<usize>>, Flaw> {
        (0..self.count(8)?).map(|_| Ok(self.usize()?.checked_sub(1))).collect()
    }

    pub(crate) fn spec(&mut self) -> Result<TableSpec, Flaw> {
        let bytes = self.bytes()?;
        let schema = guarded(|| try_schema_from_flatbuffer_bytes(bytes))?;
        let keys = (0..self.count(17)?)
            .map(|_| {
                let name = self.text()?.to_owned();
                let flags = self.u8()?;
                Ok(Key { name, columns: self.columns()?, primary: flags & 1 != 0, unique: flags & 2 == 0 })
            })
            .collect::<Result<Vec<_>, Flaw>>()?;
        let spec = TableSpec { schema: Arc::new(schema), keys };
        spec.validate().map_err(|error| error.message().to_owned())?;
        Ok(spec)
    }

    pub(crate) fn ids(&mut self) -> Result<RowIds, Flaw> {
        match self.u8()? {
            0 => {
                let (first, count) = (self.u64()?, self.u64()?);
                first.checked_add(count).ok_or("row ids are out of bounds")?;
                Ok(RowIds::Range { first, count })
            }
            1 => Ok(RowIds::Set(Arc::new(self.treemap()?))),
            tag => Err(format!("row ids are of unknown kind {tag}")),
        }
    }

    pub(crate) fn treemap(&mut self) -> Result<RoaringTreemap, Flaw> {
        let bytes = self.bytes()?;
        RoaringTreemap::deserialize_from(bytes).map_err(|source| format!("a set of rows is damaged: {source}"))
    }

    pub(crate) fn bitmap(&mut self) -> Result<RoaringBitmap, Flaw> {
        let bytes = self.bytes()?;
        RoaringBitmap::deserialize_from(bytes).map_err(|source| format!("a set of rows is damaged: {source}"))
    }

    pub(crate) fn batch(&mut self, schema: &SchemaRef) -> Result<RecordBatch, Flaw> {
        match self.u8()? {
            STREAM => {
                let batch = read_stream(self.bytes()?)?;
                batch.ok_or_else(|| "a stream of rows is empty".to_owned())
            }
            BARE => {
                let (message, body) = (self.bytes()?, self.bytes()?);
                let body = Buffer::from(body);
                let parsed = root_as_message(message).map_err(|flaw| format!("rows are damaged: {flaw}"))?;
                let parsed = parsed.header_as_record_batch().ok_or("rows are of another kind")?;
                check_bounds(&parsed, body.len())?;
                let none: HashMap<i64, ArrayRef> = HashMap::new();
                guarded(|| read_record_batch(&body, parsed, schema.clone(), &none, None, &MetadataVersion::V5))
            }
            tag => Err(format!("rows are of unknown kind {tag}")),
        }
    }
}

/// The first batch of an Arrow stream.
pub(crate) fn read_stream(bytes: &[u8]) -> Result<Option<RecordBatch>, Flaw> {
    check_frames(bytes)?;
    guarded(|| StreamReader::try_new(bytes, None)?.next().transpose())
}

/// Refuses a stream whose messages announce more than there is: the Arrow reader makes room for it before it reads.
fn check_frames(mut bytes: &[u8]) -> Result<(), Flaw> {
    const CONTINUES: [u8; 4] = [0xff; 4];
    let outside = || "a message reaches outside its bytes".to_owned();
    while !bytes.is_empty() {
        let (marker, rest) = bytes.split_first_chunk::<4>().ok_or_else(outside)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(outside)?;
        if *marker != CONTINUES {
            return Err("a message has no beginning".to_owned());
        }
        let length = usize::try_from(i32::from_le_bytes(*length)).map_err(|_| outside())?;
        if length == 0 {
            return Ok(());
        }
        let (header, rest) = rest.split_at_checked(length).ok_or_else(outside)?;
        let message = root_as_message(header).map_err(|flaw| format!("a message is damaged: {flaw}"))?;
        let body = usize::try_from(message.bodyLength()).map_err(|_| outside())?;
        let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
        for batch in message.header_as_record_batch().into_iter().chain(dictionary) {
            check_bounds(&batch, body)?;
            // Never written here; its buffers would announce sizes of their own.
            if batch.compression().is_some() {
                return Err("a message is compressed".to_owned());
            }
        }
        bytes = rest.split_at_checked(body).ok_or_else(outside)?.1;
    }
    Ok(())
}

/// Refuses a message whose buffers lie outside its body: the Arrow reader takes that for granted.
pub(crate) fn check_bounds(batch: &Message<'_>, body: usize) -> Result<(), Flaw> {
    let inside = batch.buffers().is_none_or(|buffers| {
        buffers.iter().all(|buffer| {
            let (offset, length) = (u64::try_from(buffer.offset()), u64::try_from(buffer.length()));
            matches!((offset, length), (Ok(offset), Ok(length)) if offset.checked_add(length).is_some_and(|end| end <= body as u64))
        })
    });
    let counted = batch.length() >= 0
        && batch.nodes().is_none_or(|nodes| {
            nodes.iter().all(|node| node.length() >= 0 && (0..=node.length()).contains(&node.null_count()))
        });
    if inside && counted { Ok(()) } else { Err("rows reach outside their bytes".to_owned()) }
}

/// Runs a decoder of Arrow's, which validates what it reads but asserts in some places where it should refuse.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> Result<T, arrow::error::ArrowError>) -> Result<T, Flaw> {
    match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(result) => result.map_err(|source| format!("rows are damaged: {source}")),
        Err(_) => Err("rows are damaged".to_owned()),
    }
}

/// Whether a dictionary is anywhere in it.
pub(crate) fn has_dictionary(schema: &Schema) -> bool {
    fn inside(field: &Field) -> bool {
        match field.data_type() {
            DataType::Dictionary(..) => true,
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _)
            | DataType::Map(item, _) => inside(item),
            DataType::Struct(fields) => fields.iter().any(|field| inside(field)),
            DataType::Union(fields, _) => fields.iter().any(|(_, field)| inside(field)),
            DataType::RunEndEncoded(ends, values) => inside(ends) || inside(values),
            _ => false,
        }
    }
    schema.fields().iter().any(|field| inside(field))
}
