//! The log: files of records, each with its length, checksums, number and branch. It reads and appends bytes, and
//! refuses to know what a record means.
//!
//! A record also says up to which number all records were durable when it was appended. That tells a torn tail from
//! damage: after a crash the disk may have kept a later record of a group and lost an earlier one, which nobody was
//! told was durable; but a bad record that a later one knows to have been durable is damage.

use crc32c::crc32c;
use ulid::Ulid;

use super::codec::{Decoder, Encoder, Flaw};
use super::io::{Directory, File, Mode, corrupt};
use super::record::Kind;
use super::refs::BranchId;
use crate::error::{Error, Result, codes};

/// The folder of log files.
pub(crate) const FOLDER: &str = "wal";

/// Bytes before the first record of a file.
pub(crate) const HEADER: u64 = 48;
const MAGIC: &[u8; 8] = b"KDKWAL01";

/// Bytes before the payload of a record.
const RECORD_HEADER: usize = 48;
const RECORD_MAGIC: [u8; 4] = *b"KREC";

/// A record cannot be longer: larger transactions write segments.
const PAYLOAD_MAX: usize = 1 << 30;

/// One file of the log.
#[derive(Clone, Debug)]
pub(crate) struct WalFile {
    pub(crate) file: File,
    pub(crate) number: u64,
}

/// What the log says of a record beside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) lsn: u64,
    /// Every record up to this one was durable when it was written.
    pub(crate) durable: u64,
    /// Microseconds since 1970 (UTC).
    pub(crate) time: i64,
    pub(crate) branch: BranchId,
    pub(crate) kind: Kind,
}

/// A record as it lies in a file.
#[derive(Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) stamp: Stamp,
    pub(crate) payload: &'a [u8],
    /// Bytes, header included.
    pub(crate) length: usize,
}

/// What stands at a place in a file.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    Record(Stored<'a>),
    End,
    Bad(Flaw),
}

/// The name of a log file.
pub(crate) fn name(number: u64) -> String {
    format!("{FOLDER}/{number:08}.wal")
}

/// The number of a log file with this name within the folder.
pub(crate) fn number(name: &str) -> Option<u64> {
    name.strip_suffix(".wal")?.parse().ok()
}

impl WalFile {
    /// Makes the file with this number, durable and empty.
    pub(crate) fn create(directory: &Directory, database: Ulid, number: u64, first_lsn: u64) -> Result<Self> {
        let file = directory.open(&name(number), Mode::Truncate)?;
        let mut header = Encoder::default();
        header.raw(MAGIC);
        header.raw(&database.to_bytes());
        header.u64(number);
        header.u64(first_lsn);
        let mut header = header.finish();
        header.extend_from_slice(&crc32c(&header).to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        file.write_at(&header, 0)?;
        file.sync()?;
        directory.sync_dir(FOLDER)?;
        Ok(Self { file, number })
    }

    /// Opens the file with this number if it is there.
    pub(crate) fn open(directory: &Directory, database: Ulid, number: u64, read_only: bool) -> Result<Option<Self>> {
        let name = name(number);
        if directory.open_if_there(&name)?.is_none() {
            return Ok(None);
        }
        let file = directory.open(&name, if read_only { Mode::Read } else { Mode::Write })?;
        let bytes = file.read_head(HEADER)?;
        let mut from = Decoder::new(&bytes);
        let mut parse = || -> Result<bool, Flaw> {
            let head = from.raw(40)?;
            let checksum = from.u32()?;
            let mut from = Decoder::new(head);
            Ok(crc32c(head) == checksum
                && from.raw(8)? == MAGIC
                && from.array()? == database.to_bytes()
                && from.u64()? == number)
        };
        match parse() {
            Ok(true) => Ok(Some(Self { file, number })),
            _ => Err(corrupt(&name, "its header is not that of this database's log")),
        }
    }

    /// Writes a record at `offset`, not yet durable, and returns where the next one goes.
    pub(crate) fn append(&self, offset: u64, stamp: &Stamp, payload: &[u8]) -> Result<u64> {
        if payload.len() > PAYLOAD_MAX {
            return Err(Error::new(codes::UNSUPPORTED, "the transaction is too large for one record of the log"));
        }
        let mut rest = Encoder::default();
        rest.u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        rest.u32(crc32c(payload));
        rest.u64(stamp.lsn);
        rest.u64(stamp.durable);
        rest.i64(stamp.time);
        rest.u32(stamp.branch.0);
        rest.u16(stamp.kind as u16);
        rest.u16(0);
        let rest = rest.finish();
        let mut bytes = Vec::with_capacity(RECORD_HEADER + payload.len());
        bytes.extend_from_slice(&RECORD_MAGIC);
        bytes.extend_from_slice(&crc32c(&rest).to_le_bytes());
        bytes.extend_from_slice(&rest);
        bytes.extend_from_slice(payload);
        self.file.write_at(&bytes, offset)?;
        Ok(offset + bytes.len() as u64)
    }
}

/// Reads what stands at the beginning of `bytes`.
pub(crate) fn next(bytes: &[u8]) -> Next<'_> {
    if bytes.is_empty() {
        return Next::End;
    }
    parse(bytes).map_or_else(Next::Bad, Next::Record)
}

fn parse(bytes: &[u8]) -> Result<Stored<'_>, Flaw> {
    let mut from = Decoder::new(bytes);
    if from.array()? != RECORD_MAGIC {
        return Err("a record does not begin where one should".to_owned());
    }
    let header_checksum = from.u32()?;
    let header = from.raw(RECORD_HEADER - 8)?;
    if crc32c(header) != header_checksum {
        return Err("the checksum of a record's header does not match".to_owned());
    }
    let mut fields = Decoder::new(header);
    let (length, checksum) = (fields.u32()? as usize, fields.u32()?);
    let (lsn, durable, time) = (fields.u64()?, fields.u64()?, fields.i64()?);
    let (branch, kind) = (BranchId(fields.u32()?), fields.u16()?);
    let payload = from.raw(length)?;
    if crc32c(payload) != checksum {
        return Err(format!("the checksum of record {lsn} does not match"));
    }
    let kind = Kind::from_u16(kind).ok_or_else(|| format!("record {lsn} is of unknown kind {kind}"))?;
    let stamp = Stamp { lsn, durable, time, branch, kind };
    Ok(Stored { stamp, payload, length: RECORD_HEADER + length })
}

/// Whether the bad record number `lsn` at the beginning of `bytes` is known to have been durable, so that it is damage
/// rather than the tail that a crash left.
pub(crate) fn was_durable(bytes: &[u8], lsn: u64) -> bool {
    let later =
        |start: usize| parse(&bytes[start..]).is_ok_and(|record| record.stamp.durable >= lsn && record.stamp.lsn > lsn);
    (1..bytes.len().saturating_sub(RECORD_HEADER - 1))
        .any(|start| bytes[start..].starts_with(&RECORD_MAGIC) && later(start))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::storage::tests::faulty::Twin;

    fn stamp(lsn: u64, durable: u64) -> Stamp {
        Stamp { lsn, durable, time: 5, branch: BranchId(3), kind: Kind::Commit }
    }

    fn three_records() -> (Vec<u8>, [usize; 4]) {
        let directory = Twin::new(1).directory();
        directory.create_dir(FOLDER).unwrap();
        let wal = WalFile::create(&directory, Ulid::from_bytes([7; 16]), 1, 1).unwrap();
        let mut ends = [HEADER as usize; 4];
        for lsn in 1..=3 {
            let payload = vec![lsn as u8; 10 * lsn];
            let end = wal.append(ends[lsn - 1] as u64, &stamp(lsn as u64, lsn as u64 - 1), &payload).unwrap();
            ends[lsn] = end as usize;
        }
        (wal.file.read_from(0).unwrap(), ends)
    }

    #[test]
    fn a_bad_last_record_is_a_tail_and_any_other_is_damage() {
        let (bytes, ends) = three_records();
        for record in 0..3 {
            for at in ends[record]..ends[record + 1] {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x10;
                let from = &flipped[ends[record]..];
                assert!(matches!(next(from), Next::Bad(_)), "byte {at} does not matter");
                assert_eq!(was_durable(from, record as u64 + 1), record < 2, "byte {at}");
            }
        }
    }

    #[test]
    fn a_bad_record_of_a_group_that_was_never_durable_is_a_tail_though_a_later_one_is_whole() {
        let directory = Twin::new(1).directory();
        directory.create_dir(FOLDER).unwrap();
        let wal = WalFile::create(&directory, Ulid::from_bytes([7; 16]), 1, 1).unwrap();
        let end = wal.append(HEADER, &stamp(1, 0), b"lost").unwrap();
        let end = wal.append(end, &stamp(2, 0), b"kept").unwrap();
        let mut bytes = wal.file.read_from(HEADER).unwrap();
        bytes[49] ^= 1;
        assert!(matches!(next(&bytes), Next::Bad(_)) && !was_durable(&bytes, 1));
        wal.append(end, &stamp(3, 2), b"knows").unwrap();
        let mut bytes = wal.file.read_from(HEADER).unwrap();
        bytes[49] ^= 1;
        assert!(was_durable(&bytes, 1));
    }

    #[test]
    fn a_record_is_there_only_as_a_whole() {
        let (bytes, ends) = three_records();
        for end in ends[2] + 1..ends[3] {
            assert!(matches!(next(&bytes[ends[2]..end]), Next::Bad(_)));
        }
        assert!(matches!(next(&bytes[ends[2]..]), Next::Record(record) if record.stamp == stamp(3, 2)));
        assert!(matches!(next(&bytes[ends[3]..]), Next::End));
    }

    #[test]
    fn a_file_of_another_database_or_number_is_refused() {
        let directory = Twin::new(1).directory();
        directory.create_dir(FOLDER).unwrap();
        let own = Ulid::from_bytes([7; 16]);
        WalFile::create(&directory, own, 1, 1).unwrap();
        assert!(WalFile::open(&directory, own, 1, false).unwrap().is_some());
        assert!(WalFile::open(&directory, own, 2, false).unwrap().is_none());
        let error = WalFile::open(&directory, Ulid::from_bytes([8; 16]), 1, false).unwrap_err();
        assert!(error.is(codes::CORRUPT) && error.message().contains("wal/00000001.wal"), "{error:?}");
    }
}
