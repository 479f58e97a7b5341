//! What is known about buckets and objects, apart from where it is kept: records, and the trait of whoever keeps them
//! in the caller's transaction. It refuses to decide anything: versions and preconditions are `objects`' job.

use crate::name::Pairs;
use kodiak_plugin_api::Result;

/// The version id of objects that were put while versioning was not on.
pub const NULL_VERSION: &str = "null";

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Never used again: objects refer to it, so that a bucket made later under the name has none of the old ones.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Whether overwritten objects stay.
    pub versioning: Versioning,
    /// Microseconds since 1970.
    pub created_at: i64,
}

/// Whether overwritten objects stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// They go.
    Off,
    /// They stay as versions.
    On,
    /// Earlier versions stay; what is put now is the null version, of which there is one.
    Suspended,
}

/// What a listing shows of one version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The key.
    pub key: String,
    /// A ULID that sorts after those of all older versions of the key.
    pub stamp: String,
    /// Whether it was put while versioning was not on.
    pub is_null: bool,
    /// Whether it says that the object was deleted.
    pub is_delete_marker: bool,
    /// Whether it is the newest.
    pub is_latest: bool,
    /// Bytes.
    pub size: u64,
    /// Empty for a delete marker.
    pub etag: String,
    /// Microseconds since 1970.
    pub created_at: i64,
}

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What a listing shows.
    pub version: Version,
    /// A media type; empty for a delete marker.
    pub content_type: String,
    /// The user's words about it.
    pub metadata: Pairs,
    /// Words about it that may change.
    pub tags: Pairs,
    /// SHA-256 of the content; empty for a delete marker.
    pub sha256: Vec<u8>,
    /// The content.
    pub content: Content,
}

/// Where the bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A delete marker has none.
    None,
    /// Here.
    Inline(Vec<u8>),
    /// In a payload file.
    File {
        /// The payload's id.
        payload: String,
        /// CRC32C of each chunk, little-endian.
        checksums: Vec<u8>,
    },
}

/// How users name a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionId {
    /// The null version.
    Null,
    /// By its stamp.
    Stamp(String),
}

/// Keys of a listing: each bound may be open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// The least key.
    pub from: Option<String>,
    /// The greatest key that is left out at the beginning.
    pub after: Option<String>,
    /// The least key that is left out at the end.
    pub until: Option<String>,
}

/// Which versions a listing shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The latest, unless it is a delete marker.
    Latest,
    /// All, newest first within a key.
    All,
}

/// Versions in the order of their keys' bytes.
pub type Versions = Box<dyn Iterator<Item = Result<Version>> + Send>;

/// Keeps the records, in the caller's transaction. A key's newest version is its *head*: whoever changes a key changes
/// the head's row, and so two transactions on one key conflict. Older versions are *archived*.
#[allow(clippy::missing_errors_doc, reason = "each fails as the statement behind it does")]
pub trait Index {
    /// Finds a bucket.
    fn bucket(&self, name: &str) -> Result<Option<Bucket>>;
    /// Every bucket, by name.
    fn buckets(&self) -> Result<Vec<Bucket>>;
    /// Adds a bucket.
    fn insert_bucket(&self, bucket: &Bucket) -> Result<()>;
    /// Changes a bucket's versioning.
    fn set_versioning(&self, bucket: &Bucket, versioning: Versioning) -> Result<()>;
    /// Removes a bucket and everything in it; gives the number of versions.
    fn delete_bucket(&self, bucket: &Bucket) -> Result<u64>;
    /// Whether a bucket has a head.
    fn has_objects(&self, bucket: i64) -> Result<bool>;
    /// Whether a bucket has archived versions, or a version with an id of its own.
    fn has_versions(&self, bucket: i64) -> Result<bool>;

    /// The head of a key.
    fn head(&self, bucket: i64, key: &str) -> Result<Option<Version>>;
    /// One version with everything: the head, or that which is named.
    fn object(&self, bucket: i64, key: &str, version: Option<&VersionId>) -> Result<Option<Object>>;
    /// Adds the head of a key that has none.
    fn insert_head(&self, bucket: i64, object: &Object) -> Result<()>;
    /// Changes the head of a key to another version.
    fn replace_head(&self, bucket: i64, object: &Object) -> Result<()>;
    /// Removes the heads of a range of keys; gives how many there were.
    fn delete_heads(&self, bucket: i64, range: &KeyRange) -> Result<u64>;
    /// Removes the head of a key.
    fn delete_head(&self, bucket: i64, key: &str) -> Result<()>;
    /// Copies the head of a key to the archive.
    fn archive_head(&self, bucket: i64, key: &str) -> Result<()>;
    /// Makes the newest archived version the head of a key that has none now, if there is one.
    fn promote(&self, bucket: i64, key: &str) -> Result<()>;
    /// Removes an archived version; gives how many there were.
    fn delete_archived(&self, bucket: i64, key: &str, version: &VersionId) -> Result<u64>;
    /// Changes the tags of a version.
    fn set_tags(&self, bucket: i64, version: &Version, tags: &Pairs) -> Result<()>;

    /// Lists versions; `limit` bounds their number.
    fn list(&self, bucket: i64, range: &KeyRange, which: Which, limit: Option<u64>) -> Result<Versions>;
    /// Every payload that a row refers to, those of no bucket included.
    fn payloads(&self) -> Result<Box<dyn Iterator<Item = Result<String>>>>;
    /// Removes rows of no bucket: what a transaction put while another one dropped the bucket.
    fn delete_strays(&self) -> Result<u64>;
}

impl Versioning {
    /// As users write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Suspended => "suspended",
        }
    }

    /// From what users write, in any case; `enabled` is S3's word for `on`.
    pub fn from_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "off" | "false" => Some(Self::Off),
            "on" | "true" | "enabled" => Some(Self::On),
            "suspended" => Some(Self::Suspended),
            _ => None,
        }
    }
}

impl Version {
    /// As users name it.
    pub fn id(&self) -> &str {
        if self.is_null { NULL_VERSION } else { &self.stamp }
    }

    /// Whether users mean this one.
    pub fn is(&self, id: &VersionId) -> bool {
        match id {
            VersionId::Null => self.is_null,
            VersionId::Stamp(stamp) => !self.is_null && self.stamp == *stamp,
        }
    }
}

impl VersionId {
    /// From what users write.
    pub fn parse(text: &str) -> Self {
        if text == NULL_VERSION { Self::Null } else { Self::Stamp(text.to_ascii_uppercase()) }
    }

    /// As users name it.
    pub fn text(&self) -> &str {
        match self {
            Self::Null => NULL_VERSION,
            Self::Stamp(stamp) => stamp,
        }
    }
}

impl KeyRange {
    /// The keys with a prefix, behind `after`.
    pub fn of_prefix(prefix: &str, after: Option<&str>) -> Self {
        Self {
            from: (!prefix.is_empty()).then(|| prefix.to_owned()),
            after: after.map(str::to_owned),
            until: crate::listing::end_of_prefix(prefix),
        }
    }

    /// Whether it has this key.
    pub fn contains(&self, key: &str) -> bool {
        self.from.as_deref().is_none_or(|from| from <= key)
            && self.after.as_deref().is_none_or(|after| after < key)
            && self.until.as_deref().is_none_or(|until| key < until)
    }
}
