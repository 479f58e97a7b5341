//! Puts, gets, copies and deletes for the command line. One object is one transaction, and so is every group of
//! [`GROUP_MAX`] objects of a recursive transfer: an acknowledged one lasts, and a full disk does not undo all of it.

use super::arguments::{Cat, Copy, Delete, Get, Put, Range, Tag, pairs};
use super::show::actions;
use super::walk;
use crate::address::{Address, Place};
use crate::code;
use crate::content::{self, Input, progress};
use crate::extension::Blob;
use crate::index::{KeyRange, VersionId, Versioning};
use crate::objects::{About, Objects, Precondition};
use crate::payload::Stretch;
use kodiak_plugin_api::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

/// Objects that one transaction of a recursive transfer moves.
pub const GROUP_MAX: usize = 256;

/// `kodiak blob put`.
pub fn put(blob: &Blob, call: &Call, given: Put) -> Result<Output> {
    let (about, precondition) = (given.description.about()?, given.condition.precondition());
    if given.source == "-" {
        put_input(blob, call, &given.address, about, &precondition)?;
    } else {
        let path = PathBuf::from(given.source);
        put_path(blob, call, &path, &given.address, given.recursive, &about, &precondition)?;
    }
    Ok(Output::done())
}

fn put_input(blob: &Blob, call: &Call, to: &Address, about: About, precondition: &Precondition) -> Result<()> {
    let key = to.object()?;
    let mut seen = progress(call, 0, key);
    let put = |objects: &Objects<'_>| {
        objects.put(&to.bucket, key, &mut Input::new(call), about, precondition, &mut seen).map(drop)
    };
    call.atomically(|| blob.with(call, put))
}

fn put_path(
    blob: &Blob,
    call: &Call,
    path: &Path,
    to: &Address,
    recursive: bool,
    about: &About,
    precondition: &Precondition,
) -> Result<()> {
    if !recursive {
        let mut to = to.clone();
        if to.key.is_empty()
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            to.key = name.to_owned();
        }
        return call.atomically(|| {
            blob.with(call, |objects| {
                let place = (to.bucket.as_str(), to.object()?);
                content::put_file(call, objects, place, path, about.clone(), precondition).map(drop)
            })
        });
    }
    let prefix = walk::folder_prefix(to);
    for group in walk::files(path)?.chunks(GROUP_MAX) {
        call.atomically(|| {
            blob.with(call, |objects| {
                group.iter().try_for_each(|file| {
                    let key = format!("{prefix}{}", file.name);
                    let place = (to.bucket.as_str(), key.as_str());
                    content::put_file(call, objects, place, &file.path, about.clone(), precondition).map(drop)
                })
            })
        })?;
    }
    Ok(())
}

/// `kodiak blob get`.
pub fn get(blob: &Blob, call: &Call, given: &Get) -> Result<Output> {
    let (from, version) = (&given.address, given.version.as_deref());
    match given.destination.as_str() {
        "-" if given.recursive => {
            return Err(code::ADDRESS.error("several objects do not go to standard output").help("name a folder"));
        }
        "-" => write_out(blob, call, from, version, &given.range)?,
        path => get_path(blob, call, from, version, &given.range, Path::new(path), given.recursive)?,
    }
    Ok(Output::done())
}

/// `kodiak blob cat`.
pub fn cat(blob: &Blob, call: &Call, given: &Cat) -> Result<Output> {
    write_out(blob, call, &given.address, given.version.as_deref(), &given.range)?;
    Ok(Output::done())
}

fn write_out(blob: &Blob, call: &Call, from: &Address, version: Option<&str>, range: &Range) -> Result<()> {
    let (key, version) = (from.object()?, version.map(VersionId::parse));
    blob.with(call, |objects| {
        let object = objects.find(&from.bucket, key, version.as_ref())?;
        let stretch = Stretch::within(object.version.size, range.offset, range.length)?;
        objects.read(&from.bucket, &object, stretch, &mut |piece| {
            call.check_cancelled()?;
            call.write_output(piece)
        })
    })
}

fn get_path(
    blob: &Blob,
    call: &Call,
    from: &Address,
    version: Option<&str>,
    range: &Range,
    path: &Path,
    recursive: bool,
) -> Result<()> {
    blob.with(call, |objects| {
        if !recursive {
            let key = from.object()?;
            let object = objects.find(&from.bucket, key, version.map(VersionId::parse).as_ref())?;
            let stretch = Stretch::within(object.version.size, range.offset, range.length)?;
            let target = match path.is_dir() {
                true => walk::below(path, key.rsplit('/').next().unwrap_or(key))?,
                false => path.to_owned(),
            };
            return content::save(call, objects, &from.bucket, &object, stretch, &target);
        }
        let prefix = walk::folder_prefix(from);
        for version in walk::objects(objects, &from.bucket, &prefix)? {
            let target = walk::below(path, &version.key[prefix.len()..])?;
            walk::make_parent(&target)?;
            let object = objects.find(&from.bucket, &version.key, None)?;
            let whole = Stretch { offset: 0, length: object.version.size };
            content::save(call, objects, &from.bucket, &object, whole, &target)?;
        }
        Ok(())
    })
}

/// `kodiak blob rm`.
pub fn remove(blob: &Blob, call: &Call, given: &Delete) -> Result<Output> {
    let (address, version) = (&given.address, given.version.as_deref().map(VersionId::parse));
    if !given.recursive {
        let key = address.object()?;
        if given.dry_run {
            let found = blob.with(call, |objects| objects.find(&address.bucket, key, version.as_ref()).map(drop));
            return match found {
                Err(error) if code::NO_KEY.is(&error) || code::NO_VERSION.is(&error) => actions(&[]),
                found => found.and_then(|()| actions(&[("delete", address.to_string())])),
            };
        }
        call.atomically(|| blob.with(call, |objects| objects.delete(&address.bucket, key, version.as_ref())))?;
        return Ok(Output::done());
    }
    let keys = |objects: &Objects<'_>| -> Result<Vec<String>> {
        let versions = walk::objects(objects, &address.bucket, &address.key)?;
        Ok(versions.into_iter().map(|version| version.key).collect())
    };
    if given.dry_run {
        let found = blob.with(call, keys)?;
        let named = |key: String| ("delete", Address { key, ..address.clone() }.to_string());
        return actions(&found.into_iter().map(named).collect::<Vec<_>>());
    }
    call.atomically(|| {
        blob.with(call, |objects| {
            let bucket = objects.bucket(&address.bucket)?;
            if bucket.versioning == Versioning::Off {
                return objects.index.delete_heads(bucket.id, &KeyRange::of_prefix(&address.key, None)).map(drop);
            }
            keys(objects)?.iter().try_for_each(|key| objects.delete(&address.bucket, key, None).map(drop))
        })
    })?;
    Ok(Output::done())
}

/// `kodiak blob cp`.
pub fn copy(blob: &Blob, call: &Call, given: Copy) -> Result<Output> {
    let precondition = given.condition.precondition();
    let whole = Range { offset: None, length: None };
    match (&given.from, &given.to) {
        (Place::Blob(from), Place::Blob(to)) => {
            copy_objects(blob, call, from, to, given.recursive, &precondition, false)?
        }
        (Place::Standard, Place::Blob(to)) => put_input(blob, call, to, About::default(), &precondition)?,
        (Place::Path(path), Place::Blob(to)) => {
            put_path(blob, call, path, to, given.recursive, &About::default(), &precondition)?;
        }
        (Place::Blob(from), Place::Standard) => write_out(blob, call, from, None, &whole)?,
        (Place::Blob(from), Place::Path(path)) => get_path(blob, call, from, None, &whole, path, given.recursive)?,
        _ => return Err(no_blob()),
    }
    Ok(Output::done())
}

/// `kodiak blob mv`.
pub fn rename(blob: &Blob, call: &Call, given: Copy) -> Result<Output> {
    let precondition = given.condition.precondition();
    match (&given.from, &given.to) {
        (Place::Blob(from), Place::Blob(to)) => {
            copy_objects(blob, call, from, to, given.recursive, &precondition, true)?
        }
        (Place::Path(path), Place::Blob(to)) => {
            // What is removed are the files that were put, not those that came meanwhile.
            let files = match given.recursive {
                true => walk::files(path)?.into_iter().map(|file| file.path).collect(),
                false => vec![path.clone()],
            };
            put_path(blob, call, path, to, given.recursive, &About::default(), &precondition)?;
            for file in files {
                fs::remove_file(&file).map_err(|error| code::io_error("remove", &file, &error))?;
            }
        }
        (Place::Blob(from), Place::Path(path)) => {
            let whole = Range { offset: None, length: None };
            get_path(blob, call, from, None, &whole, path, given.recursive)?;
            let delete = |objects: &Objects<'_>| -> Result<()> {
                if !given.recursive {
                    return objects.delete(&from.bucket, from.object()?, None).map(drop);
                }
                let found = walk::objects(objects, &from.bucket, &walk::folder_prefix(from))?;
                found.iter().try_for_each(|version| objects.delete(&from.bucket, &version.key, None).map(drop))
            };
            call.atomically(|| blob.with(call, delete))?;
        }
        _ => return Err(no_blob()),
    }
    Ok(Output::done())
}

fn copy_objects(
    blob: &Blob,
    call: &Call,
    from: &Address,
    to: &Address,
    recursive: bool,
    precondition: &Precondition,
    delete: bool,
) -> Result<()> {
    let mut pairs = Vec::new();
    if recursive {
        let (old, new) = (walk::folder_prefix(from), walk::folder_prefix(to));
        let found = blob.with(call, |objects| walk::objects(objects, &from.bucket, &old))?;
        pairs.extend(found.into_iter().map(|v| (v.key.clone(), format!("{new}{}", &v.key[old.len()..]))));
    } else {
        let key = from.object()?;
        let target = if to.key.is_empty() { key.rsplit('/').next().unwrap_or(key) } else { &to.key };
        pairs.push((key.to_owned(), target.to_owned()));
    }
    if from.bucket == to.bucket && delete {
        pairs.retain(|(old, new)| old != new);
    }
    for group in pairs.chunks(GROUP_MAX) {
        call.atomically(|| {
            blob.with(call, |objects| {
                group.iter().try_for_each(|(old, new)| {
                    call.check_cancelled()?;
                    objects.copy((&from.bucket, old, None), (&to.bucket, new), precondition)?;
                    if delete { objects.delete(&from.bucket, old, None).map(drop) } else { Ok(()) }
                })
            })
        })?;
    }
    Ok(())
}

/// `kodiak blob tag`.
pub fn tag(blob: &Blob, call: &Call, given: &Tag) -> Result<Output> {
    let (key, version) = (given.address.object()?, given.version.as_deref().map(VersionId::parse));
    let tags = pairs(&given.tags)?;
    call.atomically(|| blob.with(call, |objects| objects.tag(&given.address.bucket, key, version.as_ref(), &tags)))?;
    Ok(Output::done())
}

fn no_blob() -> Error {
    code::ADDRESS.error("neither side is an object").help("an address is written blob://bucket/key")
}
