//! Functions over objects, in the caller's transaction.

use crate::code;
use crate::content;
use crate::extension::Blob;
use crate::index::{Version, VersionId};
use crate::objects::{About, Precondition};
use crate::payload::Stretch;
use crate::shown::Columns;
use crate::syntax::List;
use kodiak_plugin_api::prelude::*;

type Place = (Text, Text);
type VersionOf = (Text, Text, Nullable<Text>);
type RangeOf = (Text, Text, Nullable<Text>, Nullable<BigInt>, Nullable<BigInt>);

/// Registers every function.
pub fn register(registrar: &mut Registrar<Blob>) {
    let get = Signature::<Place, Binary>::stable();
    registrar.scalar_with("blob_get", get, |blob, call, (b, k)| get_range(blob, call, (b, k), None, (None, None)));
    let get = Signature::<VersionOf, Binary>::stable();
    registrar.scalar_with("blob_get", get, |blob, call, (b, k, v)| get_range(blob, call, (b, k), v, (None, None)));
    let get = Signature::<RangeOf, Binary>::stable();
    registrar.scalar_with("blob_get", get, |blob, call, (b, k, v, o, l)| get_range(blob, call, (b, k), v, (o, l)));
    let put = Signature::<(Text, Text, Binary), Text>::volatile();
    registrar.scalar_with("blob_put", put, |blob, call, (b, k, bytes)| put_bytes(blob, call, (b, k), bytes));
    let put = Signature::<(Text, Text, Text), Text>::volatile();
    registrar.scalar_with("blob_put", put, |blob, call, (b, k, text)| put_bytes(blob, call, (b, k), text.as_bytes()));
    let etag = Signature::<Place, Text>::stable();
    registrar.scalar_with("blob_etag", etag, |blob, call, (b, k)| look(blob, call, (b, k), |version| version.etag));
    let size = Signature::<Place, BigInt>::stable();
    registrar.scalar_with("blob_size", size, |blob, call, (b, k)| {
        look(blob, call, (b, k), |version| i64::try_from(version.size).unwrap_or(i64::MAX))
    });
    registrar.table("list_blobs", bind_list);
}

fn get_range(
    blob: &Blob,
    call: &Call,
    (bucket, key): (&str, &str),
    version: Option<&str>,
    (offset, length): (Option<i64>, Option<i64>),
) -> Result<Vec<u8>> {
    let version = version.map(VersionId::parse);
    blob.with(call, |objects| {
        let object = objects.find(bucket, key, version.as_ref())?;
        let stretch = Stretch::within(object.version.size, offset, length)?;
        content::value(objects, bucket, &object, stretch)
    })
}

fn put_bytes(blob: &Blob, call: &Call, (bucket, key): (&str, &str), mut bytes: &[u8]) -> Result<String> {
    let mut seen = |_| call.check_cancelled();
    let put = |objects: &crate::objects::Objects<'_>| {
        objects.put(bucket, key, &mut bytes, About::default(), &Precondition::None, &mut seen)
    };
    blob.with(call, put).map(|version| version.etag)
}

/// NULL for an object that is not there; a bucket that is not there is an error.
fn look<T>(blob: &Blob, call: &Call, (bucket, key): (&str, &str), f: impl FnOnce(Version) -> T) -> Result<Option<T>> {
    blob.with(call, |objects| {
        let head = objects.index.head(objects.bucket(bucket)?.id, key)?;
        Ok(head.filter(|head| !head.is_delete_marker).map(f))
    })
}

fn bind_list(_: &Blob, _: &Call, arguments: &TableArguments) -> Result<Table> {
    if arguments.len() > 4 {
        let error =
            Error::new("KDK-0103", format!("`list_blobs` takes one to four arguments, not {}", arguments.len()));
        return Err(error.sqlstate("42883").help("list_blobs(bucket [, prefix [, delimiter [, versions]]])"));
    }
    let list = List {
        bucket: arguments.required_text(0, "bucket")?,
        prefix: arguments.text(1)?.unwrap_or_default(),
        delimiter: arguments.text(2)?.unwrap_or_default(),
        versions: arguments.boolean(3)?.unwrap_or_default(),
        limit: None,
        after: None,
    };
    if list.bucket.is_empty() {
        return Err(code::BUCKET_NAME.error("the name of a bucket is not empty"));
    }
    let columns = if list.versions { Columns::Versions } else { Columns::Objects };
    Ok(Table::new(columns.schema(), move |call, scan| {
        // A listing needs no state of the plugin's: nothing is written.
        let limit = scan.limit.and_then(|limit| u64::try_from(limit).ok());
        Blob::default().list(call, &List { limit, ..list.clone() }, columns)
    }))
}
