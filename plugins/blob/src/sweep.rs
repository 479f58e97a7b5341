//! Checking that every payload is there and whole, and removing those that nobody refers to. It refuses to touch a
//! file that a row, or a living process, may need.

use crate::code::{self, io_error};
use crate::digest::hex;
use crate::index::{Content, Index, Object};
use crate::objects::Objects;
use crate::payload::{Payloads, Stretch};
use crate::writers;
use kodiak_plugin_api::Result;
use md5::Md5;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::path::PathBuf;

/// A payload file or an unfinished one that nobody needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its path.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// Finds what nobody needs, and removes it unless it is only to be named. `referred` gives the payloads that rows refer
/// to, in a transaction that begins when it is called.
///
/// # Errors
/// Of the disk or of the index.
pub fn sweep(
    payloads: &Payloads,
    remove: Remove,
    referred: impl FnOnce() -> Result<HashSet<String>>,
) -> Result<Vec<Orphan>> {
    // In this order: files, then who lives, then what is committed. See `writers`.
    let files = files(payloads)?;
    let sweep = writers::begin_sweep(payloads.root())?;
    let referred = referred()?;
    let mut orphans = Vec::new();
    for (id, orphan) in files {
        // A payload that has its row lies in the folder of data: an unfinished one of its name is nobody's.
        let temporary = orphan.path.starts_with(payloads.temporary_folder());
        if sweep.needed.contains(&id) || (!temporary && referred.contains(&id)) {
            continue;
        }
        if remove == Remove::Yes {
            match payloads.disk().remove(&orphan.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &orphan.path, &error));
                }
                _ => {}
            }
        }
        orphans.push(orphan);
    }
    Ok(orphans)
}

/// Whether a sweep removes what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remove {
    /// It does.
    Yes,
    /// It only names them.
    No,
}

fn files(payloads: &Payloads) -> Result<Vec<(String, Orphan)>> {
    let list = |path: &std::path::Path| payloads.disk().list(path).map_err(|error| io_error("list", path, &error));
    let mut folders = vec![payloads.temporary_folder()];
    folders.extend(list(&payloads.data_folder())?.into_iter().map(|(path, _)| path));
    let mut found = Vec::new();
    for folder in folders {
        for (path, size) in list(&folder)? {
            if let Some(id) = path.file_name().and_then(|name| name.to_str()) {
                found.push((id.to_owned(), Orphan { path, size }));
            }
        }
    }
    Ok(found)
}

/// The payloads that rows refer to.
///
/// # Errors
/// Of the index.
pub fn referred(index: &dyn Index) -> Result<HashSet<String>> {
    index.payloads()?.collect()
}

/// Reads all of an object and compares what is there with what its row says: checksums, MD5 where the ETag is one, and
/// SHA-256.
///
/// # Errors
/// `DAMAGED`, `MISSING`, or of the disk.
pub fn verify(
    objects: &Objects<'_>,
    bucket: &str,
    object: &Object,
    seen: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let (mut md5, mut sha256, mut size) = (Md5::new(), Sha256::new(), 0);
    let whole = Stretch { offset: 0, length: object.version.size };
    objects.read(bucket, object, whole, &mut |piece| {
        md5.update(piece);
        sha256.update(piece);
        size += piece.len() as u64;
        seen(piece.len() as u64)
    })?;
    if object.content == Content::None {
        return Ok(());
    }
    let (md5, sha256): ([u8; 16], [u8; 32]) = (md5.finalize().into(), sha256.finalize().into());
    let etag = &object.version.etag;
    // The ETag of a multipart upload is no digest of the whole.
    let etag_holds = etag.contains('-') || *etag == hex(&md5);
    if size != object.version.size || sha256.as_slice() != object.sha256 || !etag_holds {
        let text = format!(
            "object `{}` in bucket `{bucket}` is damaged: its bytes are not those that were put",
            object.version.key
        );
        return Err(code::DAMAGED.error(text));
    }
    Ok(())
}
