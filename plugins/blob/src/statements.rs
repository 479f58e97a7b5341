//! Runs statements in the caller's transaction. It refuses to print: rows and counts go to the host.

use crate::content;
use crate::extension::Blob;
use crate::objects::{About, Objects, Precondition};
use crate::payload::Stretch;
use crate::shown::Columns;
use crate::syntax::{Place, Request, Source, read};
use crate::{buckets, code, sql};
use kodiak_plugin_api::arrow_array::{ArrayRef, BinaryViewArray, RecordBatch};
use kodiak_plugin_api::prelude::*;
use std::path::Path;
use std::sync::Arc;

const CLAIMS: &[&str] = &[
    "CREATE BUCKET",
    "ALTER BUCKET",
    "DROP BUCKET",
    "PUT BLOB",
    "GET BLOB",
    "DELETE BLOB",
    "LIST BLOBS",
    "COPY BLOB",
    "TAG BLOB",
];

/// Registers every claim, with a space and with an underscore.
pub fn register(registrar: &mut Registrar<Blob>) {
    for claim in CLAIMS {
        registrar.statement(claim, run);
        registrar.statement(&claim.replace(' ', "_"), run);
    }
}

fn run(blob: &Blob, call: &Call, statement: &Statement) -> Result<Outcome> {
    let request = read(statement)?;
    if let Request::List(list) = &request {
        let columns = if list.versions { Columns::Versions } else { Columns::Objects };
        return blob.list(call, list, columns).map(Outcome::rows);
    }
    blob.with(call, |objects| change(call, objects, request))
}

fn change(call: &Call, objects: &Objects<'_>, request: Request) -> Result<Outcome> {
    match request {
        Request::Create { bucket, versioning, or_keep } => {
            if buckets::create(objects.index, &bucket, versioning, or_keep, objects.now)? {
                call.own_object("bucket", &bucket)?;
            }
            Ok(Outcome::done())
        }
        Request::Alter { bucket, versioning } => {
            buckets::alter(objects.index, &objects.bucket(&bucket)?, versioning)?;
            Ok(Outcome::done())
        }
        Request::Drop { bucket, if_exists, cascade } => {
            let found = match objects.bucket(&bucket) {
                Err(error) if if_exists && code::NO_BUCKET.is(&error) => return Ok(Outcome::done()),
                found => found?,
            };
            buckets::drop_bucket(objects.index, &found, cascade)?;
            call.disown_object("bucket", &bucket)?;
            Ok(Outcome::done())
        }
        Request::Put { place, source, about, precondition } => put(call, objects, &place, source, about, &precondition),
        Request::Get { place: (bucket, key), version, range, to } => {
            let object = objects.find(&bucket, &key, version.as_ref())?;
            let (offset, length) = range.unzip();
            let stretch = Stretch::within(object.version.size, offset, length)?;
            if let Some(path) = to {
                content::save(call, objects, &bucket, &object, stretch, &path)?;
                return Ok(Outcome::affected(1));
            }
            let bytes = content::value(objects, &bucket, &object, stretch)?;
            let data: ArrayRef = Arc::new(BinaryViewArray::from(vec![bytes.as_slice()]));
            Ok(Outcome::batch(RecordBatch::try_from_iter([("data", data)])?))
        }
        Request::Delete { place: (bucket, key), version } => {
            Ok(Outcome::affected(objects.delete(&bucket, &key, version.as_ref())?.objects))
        }
        Request::Copy { from, version, to, precondition } => {
            objects.copy((&from.0, &from.1, version.as_ref()), (&to.0, &to.1), &precondition)?;
            Ok(Outcome::affected(1))
        }
        Request::Tag { place: (bucket, key), version, tags } => {
            objects.tag(&bucket, &key, version.as_ref(), &tags)?;
            Ok(Outcome::affected(1))
        }
        Request::List(_) => Err(Error::message("a listing changes nothing")),
    }
}

fn put(
    call: &Call,
    objects: &Objects<'_>,
    (bucket, key): &Place,
    source: Source,
    about: About,
    precondition: &Precondition,
) -> Result<Outcome> {
    match source {
        Source::File(path) => {
            content::put_file(call, objects, (bucket, key), Path::new(&path), about, precondition)?;
        }
        Source::Expression { sql, values } => {
            let bytes = evaluate(call, &sql, &values)?;
            objects.put(bucket, key, &mut bytes.as_slice(), about, precondition, &mut |_| call.check_cancelled())?;
        }
    }
    Ok(Outcome::affected(1))
}

fn evaluate(call: &Call, expression: &str, values: &[Value]) -> Result<Vec<u8>> {
    let batch = sql::evaluate(call, expression, values)?;
    let batch = batch.ok_or_else(|| code::VALUE.error("an object's value is one value, not none"))?;
    if batch.num_columns() != 1 {
        return Err(code::VALUE.error(format!("an object's value is one value, not {}", batch.num_columns())));
    }
    let row = rows(&batch).next().ok_or_else(|| code::VALUE.error("an object's value is one value, not none"))?;
    content::bytes_of(row, batch.column(0))
}
