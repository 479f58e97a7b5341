//! Buckets, `verify` and `gc` for the command line.

use super::arguments::{Gc, Make, Remove, Verify};
use super::show::{actions, batch, text};
use crate::code;
use crate::content::progress;
use crate::extension::{Blob, payloads};
use crate::index::{Index, KeyRange, VersionId, Which};
use crate::sql::SqlIndex;
use crate::{buckets, sweep};
use kodiak_plugin_api::arrow_array::Int64Array;
use kodiak_plugin_api::prelude::*;
use std::sync::Arc;

/// `kodiak blob mb`.
pub fn make(blob: &Blob, call: &Call, given: &Make) -> Result<Output> {
    call.atomically(|| {
        blob.with(call, |objects| {
            let (index, keep) = (objects.index, given.if_not_exists);
            if buckets::create(index, &given.bucket, given.versioning, keep, objects.now)? {
                call.own_object("bucket", &given.bucket)?;
            }
            Ok(())
        })
    })?;
    Ok(Output::done())
}

/// `kodiak blob rb`.
pub fn remove(blob: &Blob, call: &Call, given: &Remove) -> Result<Output> {
    if given.dry_run {
        return blob.with(call, |objects| {
            let bucket = objects.bucket(&given.bucket)?;
            let versions = objects.index.list(bucket.id, &KeyRange::default(), Which::All, None)?;
            let mut gone = vec![("drop", format!("blob://{}", given.bucket))];
            for version in versions {
                let version = version?;
                gone.push(("delete", format!("blob://{}/{} ({})", given.bucket, version.key, version.id())));
            }
            if gone.len() > 1 && !given.force {
                return Err(code::BUCKET_NOT_EMPTY.error(format!("bucket `{}` is not empty", given.bucket)));
            }
            actions(&gone)
        });
    }
    call.atomically(|| {
        blob.with(call, |objects| {
            buckets::drop_bucket(objects.index, &objects.bucket(&given.bucket)?, given.force)?;
            call.disown_object("bucket", &given.bucket)
        })
    })?;
    Ok(Output::done())
}

/// `kodiak blob verify`: what is wrong, and exit code 1 when something is.
pub fn verify(blob: &Blob, call: &Call, given: &Verify) -> Result<Output> {
    let mut found: Vec<[String; 5]> = Vec::new();
    blob.with(call, |objects| {
        let all = match &given.address {
            Some(address) => vec![objects.bucket(&address.bucket)?],
            None => objects.index.buckets()?,
        };
        let prefix = given.address.as_ref().map_or("", |address| &address.key);
        let mut done = 0;
        for bucket in all {
            for version in objects.index.list(bucket.id, &KeyRange::of_prefix(prefix, None), Which::All, None)? {
                let version = version?;
                if version.is_delete_marker {
                    continue;
                }
                let mut shown = progress(call, 0, &version.key);
                let mut seen = |bytes: u64| {
                    done += bytes;
                    shown(done)
                };
                let id = VersionId::parse(version.id());
                let object = objects.find(&bucket.name, &version.key, Some(&id));
                let checked = object.and_then(|object| sweep::verify(objects, &bucket.name, &object, &mut seen));
                match checked {
                    Ok(()) => {}
                    Err(error) if error.code() == "KDK-0010" => return Err(error),
                    Err(error) => found.push([
                        bucket.name.clone(),
                        version.key.clone(),
                        version.id().to_owned(),
                        error.code().to_owned(),
                        error.text().to_owned(),
                    ]),
                }
            }
        }
        Ok(())
    })?;
    let column = |i: usize| text(found.iter().map(move |row| Some(row[i].as_str())));
    let output = batch([
        ("bucket", column(0)),
        ("key", column(1)),
        ("version", column(2)),
        ("code", column(3)),
        ("problem", column(4)),
    ])?;
    Ok(output.exit_code(u8::from(!found.is_empty())))
}

/// `kodiak blob gc`.
pub fn gc(call: &Call, given: &Gc) -> Result<Output> {
    let remove = if given.dry_run { sweep::Remove::No } else { sweep::Remove::Yes };
    if !given.dry_run {
        call.atomically(|| SqlIndex::new(call).delete_strays())?;
    }
    let orphans = sweep::sweep(&payloads(call)?, remove, || {
        // A session of its own begins a transaction of its own: it sees everything that is committed by now.
        let session = call.session()?;
        sweep::referred(&SqlIndex::new(&session))
    })?;
    let paths: Vec<String> = orphans.iter().map(|orphan| orphan.path.display().to_string()).collect();
    let sizes: Int64Array = orphans.iter().map(|orphan| i64::try_from(orphan.size).ok()).collect();
    batch([("file", text(paths.iter().map(|path| Some(path.as_str())))), ("size", Arc::new(sizes))])
}
