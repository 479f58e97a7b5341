//! Listings and facts for the command line.

use super::arguments::{List, Stat, Versions};
use crate::code;
use crate::digest::hex;
use crate::extension::Blob;
use crate::index::{Content, Index, VersionId};
use crate::name::Pairs;
use crate::shown::Columns;
use crate::sql::SqlIndex;
use crate::syntax;
use kodiak_plugin_api::arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use kodiak_plugin_api::prelude::*;
use std::sync::Arc;

/// `kodiak blob ls`.
pub fn list(blob: &Blob, call: &Call, given: List) -> Result<Output> {
    let Some(address) = given.address else { return buckets(call) };
    let list = syntax::List {
        bucket: address.bucket,
        prefix: address.key,
        delimiter: if given.recursive { String::new() } else { "/".to_owned() },
        versions: given.versions,
        limit: given.limit,
        after: given.after,
    };
    let columns = if given.versions { Columns::CommandVersions } else { Columns::Command };
    blob.list(call, &list, columns).map(Output::rows)
}

/// `kodiak blob versions`.
pub fn versions(blob: &Blob, call: &Call, given: &Versions) -> Result<Output> {
    let (bucket, prefix) = (given.address.bucket.clone(), given.address.key.clone());
    let list = syntax::List { bucket, prefix, versions: true, ..syntax::List::default() };
    blob.list(call, &list, Columns::CommandVersions).map(Output::rows)
}

fn buckets(call: &Call) -> Result<Output> {
    let found = SqlIndex::new(call).buckets()?;
    let times = TimestampMicrosecondArray::from_iter_values(found.iter().map(|bucket| bucket.created_at));
    batch([
        ("name", text(found.iter().map(|bucket| Some(bucket.name.as_str())))),
        ("versioning", text(found.iter().map(|bucket| Some(bucket.versioning.word())))),
        ("created_at", Arc::new(times.with_timezone("UTC"))),
    ])
}

/// `kodiak blob stat`.
pub fn stat(blob: &Blob, call: &Call, given: &Stat) -> Result<Output> {
    let (address, wanted) = (&given.address, given.version.as_deref().map(VersionId::parse));
    let object = blob.with(call, |objects| objects.find(&address.bucket, address.object()?, wanted.as_ref()))?;
    let version = &object.version;
    let size = i64::try_from(version.size).unwrap_or(i64::MAX);
    let time = TimestampMicrosecondArray::from(vec![version.created_at]).with_timezone("UTC");
    let payload = match &object.content {
        Content::File { payload, .. } => Some(payload.as_str()),
        _ => None,
    };
    let (metadata, tags, sha256) = (json(&object.metadata)?, json(&object.tags)?, hex(&object.sha256));
    let one = |value: &str| text([Some(value)].into_iter());
    batch([
        ("bucket", one(&address.bucket)),
        ("key", one(&version.key)),
        ("version", one(version.id())),
        ("size", Arc::new(Int64Array::from(vec![size]))),
        ("etag", one(&version.etag)),
        ("sha256", one(&sha256)),
        ("content_type", one(&object.content_type)),
        ("metadata", one(&metadata)),
        ("tags", one(&tags)),
        ("last_modified", Arc::new(time)),
        ("payload", text([payload].into_iter())),
    ])
}

/// What would be done, or was.
pub fn actions(done: &[(&str, String)]) -> Result<Output> {
    batch([
        ("action", text(done.iter().map(|(action, _)| Some(*action)))),
        ("place", text(done.iter().map(|(_, place)| Some(place.as_str())))),
    ])
}

/// A table of these columns.
pub fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> Result<Output> {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    Ok(Output::batch(RecordBatch::try_from_iter_with_nullable(columns)?))
}

/// A column of text.
pub fn text<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringViewArray>())
}

fn json(pairs: &Pairs) -> Result<String> {
    serde_json::to_string(pairs).map_err(|error| code::RECORD.error(format!("names and values as JSON: {error}")))
}
