//! Index files: the sorted run of one key over the row groups of one segment file, beside it in `indexes/`. They follow
//! from segments alone, so nothing refers to them: one that is missing or damaged is made again, and one whose segment
//! is gone is removed. It refuses to hold what a segment does not say.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::buffer::{Buffer, ScalarBuffer};
use bytes::Bytes;
use crc32c::crc32c;
use ulid::Ulid;

use super::bulk::Target;
use super::codec::{Decoder, Encoder, Flaw};
use super::io::{Directory, corrupt};
use super::keys::KeyEncoder;
use super::part::Part;
use super::run::{Run, group_and_row};
use super::segment::{Group, SegmentFile};
use super::table::Table;
use crate::error::Result;

/// The folder of index files.
pub(crate) const FOLDER: &str = "indexes";

const MAGIC: &[u8; 8] = b"KDKIDX01";
const ALIGNMENT: usize = 64;

/// A run over a whole file, and the groups that it covers: their places in the file, by their numbers in the run.
#[derive(Debug)]
pub(crate) struct FileRun {
    pub(crate) run: Run,
    pub(crate) groups: Box<[(u64, u32)]>,
}

impl FileRun {
    /// The number of a row group.
    pub(crate) fn number(&self, group: &Group) -> Option<usize> {
        self.groups.iter().position(|known| *known == identity(group))
    }
}

fn identity(group: &Group) -> (u64, u32) {
    (group.metadata.offset, group.rows)
}

/// The name of an index file: its segment, and the columns of the file that make the key.
pub(crate) fn name(segment: Ulid, columns: &[usize]) -> String {
    let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
    format!("{segment}-{}.index", columns.join("-"))
}

/// The segment to which a name belongs.
pub(crate) fn segment_of(name: &str) -> Option<Ulid> {
    Ulid::from_string(name.strip_suffix(".index")?.split_once('-')?.0).ok()
}

/// Sorts the rows of a file's groups by a key, which lies in these columns of the file.
pub(crate) fn build(file: &SegmentFile, groups: &[&Group], key: &KeyEncoder, columns: &[usize]) -> Result<FileRun> {
    let mut keys = Vec::with_capacity(groups.len());
    for group in groups {
        let values = columns.iter().map(|&column| file.column(group, column)).collect::<Result<_>>()?;
        keys.push(key.encode(values)?);
    }
    let sortable: Vec<_> = keys.iter().map(|keys| keys.sortable()).enumerate().collect();
    Ok(FileRun { run: Run::build(&sortable), groups: groups.iter().map(|group| identity(group)).collect() })
}

/// The index of a file as it is on disk; `None` if there is none that can be believed.
pub(crate) fn open(directory: &Directory, segment: Ulid, columns: &[usize]) -> Option<FileRun> {
    let path = format!("{FOLDER}/{}", name(segment, columns));
    let bytes = directory.open_if_there(&path).ok()??.map().ok()?;
    decode(bytes, segment, columns).ok()
}

/// Writes the indexes of a finished file: one for each key in whose order some group does not lie. What cannot be
/// written now is made when it is needed.
pub(crate) fn write(directory: &Directory, file: &SegmentFile, groups: &[Arc<Group>], keys: &[KeyEncoder]) {
    for key in keys {
        let columns = &key.key.columns;
        let is_sorted = |group: &Arc<Group>| group.ranges.iter().any(|(of, range)| **of == **columns && range.sorted);
        if groups.iter().all(is_sorted) {
            continue;
        }
        let groups: Vec<&Group> = groups.iter().map(AsRef::as_ref).collect();
        if let Ok(run) = build(file, &groups, key, columns) {
            let _ = store(directory, file.id, columns, &run);
        }
    }
}

/// Writes the indexes of a table's files that are not there.
pub(crate) fn complete(target: Target<'_>, table: &Table) -> Result<()> {
    let directory = &target.segments.directory;
    let there: HashSet<String> = directory.list(FOLDER).unwrap_or_default().into_iter().collect();
    for key in table.keys.iter() {
        for (file, parts) in files(&table.parts, key) {
            let Some(columns) = key.body_columns(parts[0]) else { continue };
            if there.contains(&name(file.id, &columns)) {
                continue;
            }
            let groups: Vec<&Group> = parts.iter().filter_map(|part| Some(part.stored()?.1.as_ref())).collect();
            store(directory, file.id, &columns, &build(file, &groups, key, &columns)?)?;
        }
    }
    Ok(())
}

/// The finished files that a table's parts are in, with those parts, where not all of them lie in the order of the key.
pub(crate) fn files<'a>(parts: &'a [Part], key: &KeyEncoder) -> Vec<(&'a Arc<SegmentFile>, Vec<&'a Part>)> {
    let mut found: Vec<(&Arc<SegmentFile>, Vec<&Part>)> = Vec::new();
    for part in parts {
        let Some((file, _)) = part.stored().filter(|(file, _)| file.frame().is_some()) else { continue };
        match found.last_mut().filter(|(known, _)| known.id == file.id) {
            Some((_, parts)) => parts.push(part),
            None => found.push((file, vec![part])),
        }
    }
    found.retain(|(_, parts)| {
        !parts.iter().all(|part| key.body_columns(part).is_none_or(|columns| part.body().keys.of(&columns).is_sorted()))
    });
    found
}

fn store(directory: &Directory, segment: Ulid, columns: &[usize], run: &FileRun) -> Result<()> {
    directory.create_dir(FOLDER)?;
    directory.replace(FOLDER, &name(segment, columns), &encode(segment, columns, run))
}

pub(crate) fn encode(segment: Ulid, columns: &[usize], FileRun { run, groups }: &FileRun) -> Vec<u8> {
    let (words, places) = (run.words.inner().as_slice(), run.places.inner().as_slice());
    let mut head = Encoder::default();
    head.raw(&segment.to_bytes());
    head.columns(columns);
    head.count(groups.len());
    for (offset, rows) in groups {
        head.u64(*offset);
        head.u32(*rows);
    }
    head.u8(u8::from(run.is_exact));
    head.bytes(&run.shared);
    head.count(run.len());
    head.count(run.nulls);
    head.u32(crc32c(words));
    head.u32(crc32c(places));
    let head = head.finish();
    let mut out = Encoder::default();
    out.raw(MAGIC);
    out.u32(crc32c(&head));
    out.u32(0);
    out.bytes(&head);
    let mut out = out.finish();
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    out.extend_from_slice(words);
    out.extend_from_slice(places);
    out
}

/// Takes an index file apart, which may be any bytes.
pub(crate) fn decode(bytes: Bytes, segment: Ulid, columns: &[usize]) -> Result<FileRun, Flaw> {
    let mut from = Decoder::new(&bytes);
    if from.raw(8)? != MAGIC {
        return Err("it is not an index".to_owned());
    }
    let checksum = from.u32()?;
    from.u32()?;
    let head = from.bytes()?;
    if crc32c(head) != checksum {
        return Err("the checksum of its header does not match".to_owned());
    }
    let body = (bytes.len() - from.left()).next_multiple_of(ALIGNMENT);
    let mut head = Decoder::new(head);
    if head.array()? != segment.to_bytes() || head.columns()? != columns {
        return Err("it belongs to another segment or key".to_owned());
    }
    let groups: Box<[(u64, u32)]> =
        (0..head.count(12)?).map(|_| Ok((head.u64()?, head.u32()?))).collect::<Result<_, Flaw>>()?;
    let is_exact = head.u8()? != 0;
    let shared: Box<[u8]> = head.bytes()?.into();
    let (count, nulls) = (head.usize()?, head.usize()?);
    let (words_checksum, places_checksum) = (head.u32()?, head.u32()?);
    let rows: u64 = groups.iter().map(|(_, rows)| u64::from(*rows)).sum();
    let (words_end, end) = (
        count.checked_mul(8).and_then(|length| length.checked_add(body)),
        count.checked_mul(12).and_then(|length| length.checked_add(body)),
    );
    let (Some(words_end), Some(end)) = (words_end, end) else { return Err("it is too long".to_owned()) };
    if end != bytes.len() || nulls > count || rows != count as u64 || !head.is_empty() {
        return Err("it has another length than it says".to_owned());
    }
    let (words, places) = (bytes.slice(body..words_end), bytes.slice(words_end..end));
    if crc32c(&words) != words_checksum || crc32c(&places) != places_checksum {
        return Err("the checksum of its rows does not match".to_owned());
    }
    let places: ScalarBuffer<u32> = aligned(places, 4).into();
    let inside = |place: &u32| {
        let (group, row) = group_and_row(*place);
        groups.get(group).is_some_and(|(_, rows)| row < *rows)
    };
    if !places.iter().all(inside) {
        return Err("it names rows that its segment does not have".to_owned());
    }
    let run = Run { words: aligned(words, 8).into(), places, nulls, shared, is_exact };
    Ok(FileRun { run, groups })
}

/// The bytes as numbers can be read from them.
fn aligned(bytes: Bytes, size: usize) -> Buffer {
    let is_aligned = (bytes.as_ptr() as usize).is_multiple_of(size);
    if is_aligned { Buffer::from(bytes) } else { Buffer::from(bytes.to_vec()) }
}

/// Verifies an index file against the segment that it belongs to, as far as the table still has its groups.
pub(crate) fn check(directory: &Directory, file: &SegmentFile, parts: &[&Part], key: &KeyEncoder) -> Result<()> {
    let Some(columns) = parts.first().and_then(|part| key.body_columns(part)) else { return Ok(()) };
    let path = format!("{FOLDER}/{}", name(file.id, &columns));
    let Some(bytes) = directory.read(&path)? else { return Ok(()) };
    let stored = decode(bytes.into(), file.id, &columns).map_err(|flaw| corrupt(&path, &flaw))?;
    let known: Vec<Option<&Group>> = stored
        .groups
        .iter()
        .map(|group| {
            let mut groups = parts.iter().filter_map(|part| Some(part.stored()?.1.as_ref()));
            groups.find(|known| identity(known) == *group)
        })
        .collect();
    let Some(groups) = known.into_iter().collect::<Option<Vec<_>>>() else { return Ok(()) };
    let made = build(file, &groups, key, &columns)?.run;
    let same = made.words == stored.run.words && made.places == stored.run.places && made.nulls == stored.run.nulls;
    if same { Ok(()) } else { Err(corrupt(&path, "its rows are not in the order of their keys")) }
}

/// Index files that belong to no segment which is there.
pub(crate) fn left_over(directory: &Directory, segments: &HashSet<Ulid>) -> Vec<String> {
    let names = directory.list(FOLDER).unwrap_or_default().into_iter();
    let is_left_over = |name: &String| segment_of(name).is_none_or(|segment| !segments.contains(&segment));
    names.filter(is_left_over).map(|name| format!("{FOLDER}/{name}")).collect()
}
