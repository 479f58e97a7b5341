//! What one pass over an object's bytes computes: MD5 for the ETag, SHA-256, and a CRC32C for every chunk of 1 MiB. It
//! refuses to do I/O.
//!
//! MD5 and SHA-256 are slower than a disk, so that a stream of more than one chunk has a thread for each of them beside
//! the caller's, which computes the CRCs. They end with the stream: nothing runs after [`Digests`] is finished or dropped.

use md5::Md5;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes that share a CRC: what has to be read to trust any one of them.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Chunks that may wait for a thread: bounds memory.
const QUEUED_MAX: usize = 3;

/// What is known about an object once its last byte was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Bytes.
    pub size: u64,
    /// MD5.
    pub md5: [u8; 16],
    /// SHA-256.
    pub sha256: [u8; 32],
    /// CRC32C of each chunk, little-endian, four bytes each.
    pub checksums: Vec<u8>,
}

impl Summary {
    /// Of bytes that are there already.
    pub fn of(bytes: &[u8]) -> Self {
        let mut checksums = Vec::new();
        bytes.chunks(CHUNK_BYTES).for_each(|chunk| push_checksum(&mut checksums, chunk));
        Self {
            size: bytes.len() as u64,
            md5: Md5::digest(bytes).into(),
            sha256: Sha256::digest(bytes).into(),
            checksums,
        }
    }

    /// The ETag of an object that was put in one piece: its MD5 in hex.
    pub fn etag(&self) -> String {
        hex(&self.md5)
    }
}

/// Computes a [`Summary`] chunk by chunk.
pub struct Digests {
    size: u64,
    checksums: Vec<u8>,
    md5: Lane<Md5>,
    sha256: Lane<Sha256>,
}

impl Default for Digests {
    fn default() -> Self {
        Self { size: 0, checksums: Vec::new(), md5: Lane::Here(Md5::new()), sha256: Lane::Here(Sha256::new()) }
    }
}

impl Digests {
    /// Takes the next chunk: exactly [`CHUNK_BYTES`], except for the last.
    pub fn update(&mut self, chunk: &Arc<Vec<u8>>) {
        push_checksum(&mut self.checksums, chunk);
        self.size += chunk.len() as u64;
        self.md5.update(chunk);
        self.sha256.update(chunk);
    }

    /// What came out.
    pub fn finish(self) -> Summary {
        Summary {
            size: self.size,
            md5: self.md5.finish().into(),
            sha256: self.sha256.finish().into(),
            checksums: self.checksums,
        }
    }
}

/// One digest, on the caller's thread for the first chunk and on its own from then on.
enum Lane<D> {
    Here(D),
    There {
        chunks: SyncSender<Arc<Vec<u8>>>,
        thread: JoinHandle<D>,
    },
    /// Only while a thread is started.
    Gone,
}

impl<D: Digest + Send + 'static> Lane<D> {
    fn update(&mut self, chunk: &Arc<Vec<u8>>) {
        match self {
            Self::Here(digest) if chunk.len() < CHUNK_BYTES => digest.update(chunk.as_slice()),
            Self::Here(_) => {
                let Self::Here(digest) = std::mem::replace(self, Self::Gone) else { return };
                *self = spawn(digest);
                self.update(chunk);
            }
            Self::There { chunks, .. } => {
                // The thread ends before its sender only by a panic, which `finish` passes on.
                let _ = chunks.send(Arc::clone(chunk));
            }
            Self::Gone => {}
        }
    }

    fn finish(self) -> sha2::digest::Output<D> {
        match self {
            Self::Here(digest) => digest.finalize(),
            Self::There { chunks, thread } => {
                drop(chunks);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).finalize()
            }
            Self::Gone => unreachable!("a lane is replaced as soon as it is taken"),
        }
    }
}

fn spawn<D: Digest + Send + 'static>(mut digest: D) -> Lane<D> {
    let (chunks, queue) = sync_channel::<Arc<Vec<u8>>>(QUEUED_MAX);
    let thread = std::thread::spawn(move || {
        queue.into_iter().for_each(|chunk| digest.update(chunk.as_slice()));
        digest
    });
    Lane::There { chunks, thread }
}

/// The CRC32C that chunk `index` must have; none when there is no such chunk.
pub fn checksum(checksums: &[u8], index: u64) -> Option<u32> {
    let start = usize::try_from(index).ok()?.checked_mul(4)?;
    let bytes = checksums.get(start..start.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Chunks of an object of this size.
pub fn chunk_count(size: u64) -> u64 {
    size.div_ceil(CHUNK_BYTES as u64)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn push_checksum(checksums: &mut Vec<u8>, chunk: &[u8]) {
    checksums.extend_from_slice(&crc32c::crc32c(chunk).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_the_values_of_rfc_1321() {
        let vectors = [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ];
        for (text, etag) in vectors {
            assert_eq!(Summary::of(text.as_bytes()).etag(), etag);
        }
    }

    #[test]
    fn crc32c_is_the_value_of_rfc_3720() {
        let zeros = Summary::of(&[0; 32]);
        assert_eq!(checksum(&zeros.checksums, 0), Some(0x8a91_36aa));
        assert_eq!(checksum(&zeros.checksums, 1), None);
    }

    #[test]
    fn a_stream_gives_what_the_whole_gives() {
        for size in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 7] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 31 % 251) as u8).collect();
            let mut digests = Digests::default();
            bytes.chunks(CHUNK_BYTES).for_each(|chunk| digests.update(&Arc::new(chunk.to_vec())));
            let summary = digests.finish();
            assert_eq!(summary, Summary::of(&bytes));
            assert_eq!(summary.checksums.len() as u64, 4 * chunk_count(size as u64));
        }
    }
}
