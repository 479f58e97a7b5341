//! What putting, reading, deleting, copying and tagging mean, with S3's versions, delete markers and preconditions: all
//! of it decided on the rows that the caller's transaction sees. It refuses to know SQL, paths and terminals.

use crate::code;
use crate::digest::Summary;
use crate::index::{Bucket, Content, Index, Object, Version, VersionId, Versioning};
use crate::name::{self, Pairs};
use crate::payload::{INLINE_BYTES_MAX, Payloads, Stretch, fill, new_id};
use crate::stamp;
use crate::writers::Writers;
use kodiak_plugin_api::{Error, Result};
use std::io::Read;

/// The media type of objects that nobody gave one.
pub const CONTENT_TYPE: &str = "application/octet-stream";

/// Objects in one database, as one call sees them.
pub struct Objects<'a> {
    /// Rows.
    pub index: &'a dyn Index,
    /// Where payload files are; asked for only when one is needed, since a database in memory has no folder.
    pub payloads: &'a dyn Fn() -> Result<Payloads>,
    /// Who needs which payload.
    pub writers: &'a Writers,
    /// Microseconds since 1970.
    pub now: i64,
}

/// What is said about a new object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Media type; [`CONTENT_TYPE`] when none is given.
    pub content_type: Option<String>,
    /// Names and values that stay.
    pub metadata: Pairs,
    /// Names and values that may change.
    pub tags: Pairs,
}

/// When a put may happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Always.
    #[default]
    None,
    /// When there is no such object.
    NotExists,
    /// When the object has this ETag; `*` is any.
    Match(String),
}

/// What a delete did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Versions that are gone, or hidden by a marker.
    pub objects: u64,
    /// Whether a delete marker was made.
    pub marker: bool,
}

impl Objects<'_> {
    /// Finds a bucket.
    ///
    /// # Errors
    /// `NO_BUCKET`, or of the index.
    pub fn bucket(&self, name: &str) -> Result<Bucket> {
        self.index.bucket(name)?.ok_or_else(|| {
            let help = format!("CREATE BUCKET \"{name}\", or kodiak blob mb blob://{name}");
            code::NO_BUCKET.error(format!("no bucket `{name}`")).help(help)
        })
    }

    /// Puts an object; `seen` is told the bytes so far.
    ///
    /// # Errors
    /// `NO_BUCKET`, `KEY`, `LIMIT`, `PRECONDITION`, `NO_KEY`; of the source, of the disk, of the index.
    pub fn put(
        &self,
        bucket: &str,
        key: &str,
        source: &mut dyn Read,
        about: About,
        precondition: &Precondition,
        seen: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Version> {
        name::check_key(key)?;
        name::check_tags(&about.tags)?;
        name::check_metadata(&about.metadata)?;
        let bucket = self.bucket(bucket)?;
        let head = self.index.head(bucket.id, key)?;
        precondition.check(&bucket, key, head.as_ref())?;
        let (content, summary) = self.take(source, seen)?;
        let object = Object {
            version: self.version(&bucket, key, head.as_ref(), &summary),
            content_type: about.content_type.unwrap_or_else(|| CONTENT_TYPE.to_owned()),
            metadata: about.metadata,
            tags: about.tags,
            sha256: summary.sha256.to_vec(),
            content,
        };
        let placed = self.place(&bucket, head.as_ref(), &object);
        if placed.is_err()
            && let Content::File { payload, .. } = &object.content
        {
            // No row will ever refer to it; what cannot be removed now is swept later.
            let _ = (self.payloads)().and_then(|payloads| payloads.remove(payload));
        }
        placed.map(|()| object.version)
    }

    fn take(&self, source: &mut dyn Read, seen: &mut dyn FnMut(u64) -> Result<()>) -> Result<(Content, Summary)> {
        let mut first = vec![0; INLINE_BYTES_MAX + 1];
        let length = fill(source, &mut first)?;
        first.truncate(length);
        if length <= INLINE_BYTES_MAX {
            let summary = Summary::of(&first);
            seen(summary.size)?;
            return Ok((Content::Inline(first), summary));
        }
        let (payloads, payload) = ((self.payloads)()?, new_id());
        self.writers.note(payloads.root(), &payload)?;
        let summary = payloads.write(&payload, &first, source, seen)?;
        Ok((Content::File { payload, checksums: summary.checksums.clone() }, summary))
    }

    fn version(&self, bucket: &Bucket, key: &str, head: Option<&Version>, summary: &Summary) -> Version {
        Version {
            key: key.to_owned(),
            stamp: stamp::next(head.map(|head| head.stamp.as_str())),
            is_null: bucket.versioning != Versioning::On,
            is_delete_marker: false,
            is_latest: true,
            size: summary.size,
            etag: summary.etag(),
            created_at: self.now,
        }
    }

    /// Makes `object` the head of its key; what becomes of the old one is the bucket's versioning.
    fn place(&self, bucket: &Bucket, head: Option<&Version>, object: &Object) -> Result<()> {
        let key = &object.version.key;
        let Some(head) = head else { return self.index.insert_head(bucket.id, object) };
        let keeps = match bucket.versioning {
            Versioning::Off => false,
            Versioning::On => true,
            // The null version is replaced, wherever it is.
            Versioning::Suspended => !head.is_null,
        };
        if keeps {
            if bucket.versioning == Versioning::Suspended {
                self.index.delete_archived(bucket.id, key, &VersionId::Null)?;
            }
            self.index.archive_head(bucket.id, key)?;
        }
        self.index.replace_head(bucket.id, object)
    }

    /// Finds an object: the latest version, or that which is named.
    ///
    /// # Errors
    /// `NO_BUCKET`, `NO_KEY`, `NO_VERSION`.
    pub fn find(&self, bucket: &str, key: &str, version: Option<&VersionId>) -> Result<Object> {
        let found = self.index.object(self.bucket(bucket)?.id, key, version)?;
        let (object, id) = match (found, version) {
            (Some(object), _) if !object.version.is_delete_marker => return Ok(object),
            (found, id) => (found, id),
        };
        match (object, id) {
            (Some(marker), _) => Err(code::NO_KEY
                .error(format!("no object `{key}` in bucket `{bucket}`: it was deleted"))
                .detail(format!("version `{}` is a delete marker", marker.version.id()))),
            (None, Some(id)) => {
                let text = format!("object `{key}` in bucket `{bucket}` has no version `{}`", id.text());
                Err(code::NO_VERSION.error(text))
            }
            (None, None) => Err(code::NO_KEY.error(format!("no object `{key}` in bucket `{bucket}`"))),
        }
    }

    /// Gives a stretch of an object to `sink`, piece by piece, each checked before.
    ///
    /// # Errors
    /// `DAMAGED`, `MISSING`, with bucket, key and file; of the disk, of the sink.
    pub fn read(
        &self,
        bucket: &str,
        object: &Object,
        stretch: Stretch,
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        match &object.content {
            Content::None => Ok(()),
            Content::Inline(data) => {
                // Within the size, which is that of the data.
                let from = usize::try_from(stretch.offset).unwrap_or(usize::MAX).min(data.len());
                let length = usize::try_from(stretch.length).unwrap_or(usize::MAX).min(data.len() - from);
                sink(&data[from..from + length])
            }
            Content::File { payload, checksums } => {
                let reader = (self.payloads)()?.open(payload, object.version.size, checksums.clone());
                let read = reader.and_then(|mut reader| reader.read(stretch, sink));
                read.map_err(|error| locate(error, bucket, &object.version))
            }
        }
    }

    /// Deletes an object, or one version of it for good.
    ///
    /// # Errors
    /// `NO_BUCKET`, or of the index.
    pub fn delete(&self, bucket: &str, key: &str, version: Option<&VersionId>) -> Result<Deleted> {
        let bucket = self.bucket(bucket)?;
        let head = self.index.head(bucket.id, key)?;
        if let Some(version) = version {
            return self.delete_version(&bucket, key, head.as_ref(), version);
        }
        if bucket.versioning != Versioning::Off {
            name::check_key(key)?;
            let empty = Summary::of(&[]);
            let version = Version {
                is_delete_marker: true,
                etag: String::new(),
                ..self.version(&bucket, key, head.as_ref(), &empty)
            };
            let marker = Object {
                version,
                content_type: String::new(),
                metadata: Pairs::new(),
                tags: Pairs::new(),
                sha256: Vec::new(),
                content: Content::None,
            };
            self.place(&bucket, head.as_ref(), &marker)?;
            let hidden = head.is_some_and(|head| !head.is_delete_marker);
            return Ok(Deleted { objects: hidden.into(), marker: true });
        }
        if head.is_some() {
            self.index.delete_head(bucket.id, key)?;
        }
        Ok(Deleted { objects: head.is_some().into(), marker: false })
    }

    fn delete_version(&self, bucket: &Bucket, key: &str, head: Option<&Version>, id: &VersionId) -> Result<Deleted> {
        let objects = if head.is_some_and(|head| head.is(id)) {
            self.index.delete_head(bucket.id, key)?;
            self.index.promote(bucket.id, key)?;
            1
        } else {
            self.index.delete_archived(bucket.id, key, id)?
        };
        Ok(Deleted { objects, marker: false })
    }

    /// Makes an object of another one's content, without copying it.
    ///
    /// # Errors
    /// As [`Objects::find`] and [`Objects::put`]; `SWEPT` when another process deleted the source meanwhile.
    pub fn copy(
        &self,
        from: (&str, &str, Option<&VersionId>),
        to: (&str, &str),
        precondition: &Precondition,
    ) -> Result<Version> {
        name::check_key(to.1)?;
        let source = self.find(from.0, from.1, from.2)?;
        let bucket = self.bucket(to.0)?;
        let head = self.index.head(bucket.id, to.1)?;
        precondition.check(&bucket, to.1, head.as_ref())?;
        if let Content::File { payload, .. } = &source.content {
            let payloads = (self.payloads)()?;
            let open = || {
                // No checksums are needed to see that the file is there.
                match payloads.disk().open(&payloads.path(payload)) {
                    Ok(_) => Ok(()),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        let path = payloads.path(payload);
                        let text = format!("the payload file `{}` of the source is gone", path.display());
                        Err(locate(code::SWEPT.error(text), from.0, &source.version))
                    }
                    Err(error) => Err(code::io_error("open", &payloads.path(payload), &error)),
                }
            };
            self.writers.note_shared(payloads.root(), payload, open)?;
        }
        let version = Version {
            key: to.1.to_owned(),
            stamp: stamp::next(head.as_ref().map(|head| head.stamp.as_str())),
            is_null: bucket.versioning != Versioning::On,
            is_latest: true,
            created_at: self.now,
            ..source.version
        };
        let copy = Object { version, ..source };
        self.place(&bucket, head.as_ref(), &copy)?;
        Ok(copy.version)
    }

    /// Replaces the tags of a version.
    ///
    /// # Errors
    /// `LIMIT`, or as [`Objects::find`].
    pub fn tag(&self, bucket: &str, key: &str, version: Option<&VersionId>, tags: &Pairs) -> Result<()> {
        name::check_tags(tags)?;
        let object = self.find(bucket, key, version)?;
        self.index.set_tags(self.bucket(bucket)?.id, &object.version, tags)
    }
}

impl Precondition {
    /// Decides on what the transaction sees, and fails when in doubt.
    fn check(&self, bucket: &Bucket, key: &str, head: Option<&Version>) -> Result<()> {
        let found = head.filter(|head| !head.is_delete_marker);
        let place = || format!("`{key}` in bucket `{}`", bucket.name);
        match (self, found) {
            (Self::None, _) | (Self::NotExists, None) => Ok(()),
            (Self::NotExists, Some(_)) => {
                Err(code::PRECONDITION.error(format!("precondition failed: object {} exists already", place())))
            }
            (Self::Match(_), None) => Err(code::NO_KEY.error(format!("precondition failed: no object {}", place()))),
            (Self::Match(wanted), Some(found)) => {
                let wanted = wanted.trim_matches('"');
                if wanted == "*" || wanted.eq_ignore_ascii_case(&found.etag) {
                    return Ok(());
                }
                let text = format!("precondition failed: object {} has the ETag `{}`", place(), found.etag);
                Err(code::PRECONDITION.error(text))
            }
        }
    }
}

/// Adds the object to what is wrong with its payload.
pub fn locate(error: Error, bucket: &str, version: &Version) -> Error {
    if ![code::DAMAGED, code::MISSING, code::SWEPT, code::FILE, code::RECORD].iter().any(|code| code.is(&error)) {
        return error;
    }
    let text = format!("object `{}` in bucket `{bucket}`: {}", version.key, error.text());
    let mut located = Error::new(error.code(), text).sqlstate(error.state());
    if code::DAMAGED.is(&error) || code::MISSING.is(&error) {
        located = located.help("kodiak blob verify");
    }
    located.detail(format!("version `{}`", version.id()))
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
