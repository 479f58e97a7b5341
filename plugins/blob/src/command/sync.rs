//! `kodiak blob sync`: makes a folder or prefix like another one. Files and objects are alike when size and MD5 are;
//! times are not asked.

use super::arguments::Sync;
use super::show::actions;
use super::transfer::GROUP_MAX;
use super::walk::{self, Found};
use crate::address::{Address, Place};
use crate::code::{self, io_error};
use crate::content;
use crate::digest::{CHUNK_BYTES, Digests};
use crate::extension::Blob;
use crate::index::Version;
use crate::objects::{About, Objects, Precondition};
use crate::payload::{Stretch, fill};
use kodiak_plugin_api::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What one name needs.
enum Step {
    Put(PathBuf, String),
    Get(Version, PathBuf),
    Copy(String, String),
    DeleteObject(String),
    DeleteFile(PathBuf),
}

/// Runs it.
pub fn sync(blob: &Blob, call: &Call, given: &Sync) -> Result<Output> {
    let steps = blob.with(call, |objects| plan(call, objects, given))?;
    if given.dry_run {
        let shown: Vec<_> = steps.iter().map(|step| shown(step, given)).collect();
        return actions(&shown);
    }
    for group in steps.chunks(GROUP_MAX) {
        call.atomically(|| {
            blob.with(call, |objects| group.iter().try_for_each(|step| take(call, objects, given, step)))
        })?;
    }
    Ok(Output::done())
}

fn plan(call: &Call, objects: &Objects<'_>, given: &Sync) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    match (&given.from, &given.to) {
        (Place::Path(folder), Place::Blob(to)) => {
            let (prefix, there) = (walk::folder_prefix(to), objects_by_name(objects, to)?);
            let here = by_name(walk::files(folder)?);
            for (name, file) in &here {
                if !alike(call, file, there.get(name))? {
                    steps.push(Step::Put(file.path.clone(), format!("{prefix}{name}")));
                }
            }
            let gone = there.iter().filter(|(name, _)| given.delete && !here.contains_key(*name));
            steps.extend(gone.map(|(_, version)| Step::DeleteObject(version.key.clone())));
        }
        (Place::Blob(from), Place::Path(folder)) => {
            let there = objects_by_name(objects, from)?;
            let here = if folder.exists() { by_name(walk::files(folder)?) } else { BTreeMap::new() };
            for (name, version) in &there {
                let same = here.get(name).map_or(Ok(false), |file| alike(call, file, Some(version)))?;
                if !same {
                    steps.push(Step::Get(version.clone(), walk::below(folder, name)?));
                }
            }
            let gone = here.iter().filter(|(name, _)| given.delete && !there.contains_key(*name));
            steps.extend(gone.map(|(_, file)| Step::DeleteFile(file.path.clone())));
        }
        (Place::Blob(from), Place::Blob(to)) => {
            let (source, target) = (objects_by_name(objects, from)?, objects_by_name(objects, to)?);
            let prefix = walk::folder_prefix(to);
            for (name, version) in &source {
                let same = |other: &Version| other.size == version.size && other.etag == version.etag;
                if !target.get(name).is_some_and(same) {
                    steps.push(Step::Copy(version.key.clone(), format!("{prefix}{name}")));
                }
            }
            let gone = target.iter().filter(|(name, _)| given.delete && !source.contains_key(*name));
            steps.extend(gone.map(|(_, version)| Step::DeleteObject(version.key.clone())));
        }
        _ => return Err(code::ADDRESS.error("one side of a sync is a prefix, the other a prefix or a folder")),
    }
    Ok(steps)
}

fn by_name(files: Vec<Found>) -> BTreeMap<String, Found> {
    files.into_iter().map(|file| (file.name.clone(), file)).collect()
}

fn objects_by_name(objects: &Objects<'_>, address: &Address) -> Result<BTreeMap<String, Version>> {
    let prefix = walk::folder_prefix(address);
    let found = walk::objects(objects, &address.bucket, &prefix)?;
    Ok(found.into_iter().map(|version| (version.key[prefix.len()..].to_owned(), version)).collect())
}

fn alike(call: &Call, file: &Found, version: Option<&Version>) -> Result<bool> {
    let Some(version) = version else { return Ok(false) };
    // The ETag of a multipart upload says nothing about the file.
    if file.size != version.size || version.etag.contains('-') {
        return Ok(false);
    }
    Ok(etag(call, &file.path)? == version.etag)
}

fn etag(call: &Call, path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|error| io_error("open", path, &error))?;
    let mut digests = Digests::default();
    loop {
        call.check_cancelled()?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = fill(&mut file, &mut chunk)?;
        chunk.truncate(length);
        digests.update(&Arc::new(chunk));
        if length < CHUNK_BYTES {
            return Ok(digests.finish().etag());
        }
    }
}

fn take(call: &Call, objects: &Objects<'_>, given: &Sync, step: &Step) -> Result<()> {
    call.check_cancelled()?;
    let (from, to) = (bucket(&given.from), bucket(&given.to));
    match step {
        Step::Put(path, key) => {
            content::put_file(call, objects, (to, key), path, About::default(), &Precondition::None).map(drop)
        }
        Step::Get(version, path) => {
            walk::make_parent(path)?;
            let object = objects.find(from, &version.key, None)?;
            let whole = Stretch { offset: 0, length: object.version.size };
            content::save(call, objects, from, &object, whole, path)
        }
        Step::Copy(old, new) => objects.copy((from, old, None), (to, new), &Precondition::None).map(drop),
        Step::DeleteObject(key) => objects.delete(to, key, None).map(drop),
        Step::DeleteFile(path) => fs::remove_file(path).map_err(|error| io_error("remove", path, &error)),
    }
}

fn shown(step: &Step, given: &Sync) -> (&'static str, String) {
    let object = |key: &str| format!("blob://{}/{key}", bucket(&given.to));
    match step {
        Step::Put(_, key) => ("put", object(key)),
        Step::Get(_, path) => ("get", path.display().to_string()),
        Step::Copy(_, key) => ("copy", object(key)),
        Step::DeleteObject(key) => ("delete", object(key)),
        Step::DeleteFile(path) => ("delete", path.display().to_string()),
    }
}

fn bucket(place: &Place) -> &str {
    match place {
        Place::Blob(address) => &address.bucket,
        _ => "",
    }
}
