//! Making, changing and dropping buckets. It refuses to drop one with anything in it unless told so.

use crate::code;
use crate::index::{Bucket, Index, Versioning};
use crate::name;
use kodiak_plugin_api::Result;
use std::hash::{BuildHasher, Hasher, RandomState};

/// Makes a bucket; gives whether there was none.
///
/// # Errors
/// `BUCKET_NAME`, `BUCKET_EXISTS` unless `or_keep`.
pub fn create(index: &dyn Index, name: &str, versioning: Versioning, or_keep: bool, now: i64) -> Result<bool> {
    name::check_bucket(name)?;
    if index.bucket(name)?.is_some() {
        if or_keep {
            return Ok(false);
        }
        return Err(code::BUCKET_EXISTS.error(format!("a bucket `{name}` exists already")));
    }
    let bucket = Bucket { id: new_id(now), name: name.to_owned(), versioning, created_at: now };
    index.insert_bucket(&bucket)?;
    Ok(true)
}

/// Switches a bucket's versioning.
///
/// # Errors
/// `VERSIONING` for `off` when there are versions: S3 knows no way back either.
pub fn alter(index: &dyn Index, bucket: &Bucket, versioning: Versioning) -> Result<()> {
    let name = &bucket.name;
    let wanted = match versioning {
        // What was never on is not suspended, or one null version would be kept among none.
        Versioning::Off if index.has_versions(bucket.id)? => {
            let text = format!("bucket `{name}` has versions, so its versioning can only be suspended");
            let help = format!("ALTER BUCKET \"{name}\" SET (versioning = suspended)");
            return Err(code::VERSIONING.error(text).help(help));
        }
        wanted => wanted,
    };
    if wanted != bucket.versioning {
        index.set_versioning(bucket, wanted)?;
    }
    Ok(())
}

/// Drops a bucket; gives how many versions went with it.
///
/// # Errors
/// `BUCKET_NOT_EMPTY` unless `cascade`.
pub fn drop_bucket(index: &dyn Index, bucket: &Bucket, cascade: bool) -> Result<u64> {
    let name = &bucket.name;
    if !cascade && (index.has_objects(bucket.id)? || index.has_versions(bucket.id)?) {
        let error = code::BUCKET_NOT_EMPTY.error(format!("bucket `{name}` is not empty"));
        return Err(error.help(format!("DROP BUCKET \"{name}\" CASCADE, or kodiak blob rb --force blob://{name}")));
    }
    index.delete_bucket(bucket)
}

/// The time in front and chance behind: two transactions do not meet, and numbers grow.
fn new_id(now: i64) -> i64 {
    let chance = RandomState::new().build_hasher().finish() & 0xfff;
    ((now.max(0) & 0x0007_ffff_ffff_ffff) << 12) | i64::try_from(chance).unwrap_or_default()
}
