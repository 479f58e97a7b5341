//! Every statement of SQL that this extension runs: the tables behind its views, and the [`Index`] over them. It
//! refuses to know what the rows mean.
//!
//! `head_rows` has one row a key, its newest version, under the primary key `(bucket, key)`; `history_rows` has the
//! older ones of buckets that are or were versioned. A bucket is a number there, so that what a transaction adds to a
//! bucket that another one drops is in no bucket, and not in the next of that name.

use crate::code;
use crate::index::{Bucket, Content, Index, KeyRange, Object, Version, VersionId, Versioning, Versions, Which};
use crate::name::Pairs;
use kodiak_plugin_api::Call;
use kodiak_plugin_api::prelude::*;

/// Columns of `head_rows` and `history_rows`, in order.
const COLUMNS: &str = "bucket, key, stamp, null_version, delete_marker, size, etag, created_at, \
                       content_type, metadata, tags, sha256, payload, checksums, data";

/// Columns that [`version`] reads; a literal for `is_latest` follows.
const LISTED: &str = "key, stamp, null_version, delete_marker, size, etag, created_at";

/// Columns that [`object`] reads behind those and `is_latest`.
const REST: &str = "content_type, metadata, tags, sha256, payload, checksums, data";

const DEFINITIONS: &[&str] = &[
    "CREATE SCHEMA IF NOT EXISTS blob",
    "CREATE TABLE blob.bucket_rows (
        name TEXT NOT NULL PRIMARY KEY,
        id BIGINT NOT NULL,
        versioning TEXT NOT NULL,
        created_at TIMESTAMPTZ NOT NULL
    )",
    "CREATE TABLE blob.head_rows (
        bucket BIGINT NOT NULL,
        key TEXT NOT NULL,
        stamp TEXT NOT NULL,
        null_version BOOLEAN NOT NULL,
        delete_marker BOOLEAN NOT NULL,
        size BIGINT,
        etag TEXT,
        created_at TIMESTAMPTZ NOT NULL,
        content_type TEXT,
        metadata TEXT NOT NULL,
        tags TEXT NOT NULL,
        sha256 BINARY,
        payload TEXT,
        checksums BINARY,
        data BINARY,
        PRIMARY KEY (bucket, key)
    )",
    "CREATE TABLE blob.history_rows (
        bucket BIGINT NOT NULL,
        key TEXT NOT NULL,
        stamp TEXT NOT NULL,
        null_version BOOLEAN NOT NULL,
        delete_marker BOOLEAN NOT NULL,
        size BIGINT,
        etag TEXT,
        created_at TIMESTAMPTZ NOT NULL,
        content_type TEXT,
        metadata TEXT NOT NULL,
        tags TEXT NOT NULL,
        sha256 BINARY,
        payload TEXT,
        checksums BINARY,
        data BINARY,
        PRIMARY KEY (bucket, key, stamp)
    )",
    "CREATE VIEW blob.buckets AS SELECT name, versioning, created_at FROM blob.bucket_rows",
    "CREATE VIEW blob.objects AS
        SELECT b.name AS bucket, o.key AS key,
            CASE WHEN o.null_version THEN 'null' ELSE o.stamp END AS version,
            o.size AS size, o.etag AS etag, o.content_type AS content_type, o.metadata AS metadata, o.tags AS tags,
            o.is_latest AS is_latest, o.delete_marker AS is_delete_marker, o.created_at AS created_at
        FROM (
            SELECT bucket, key, stamp, null_version, size, etag, content_type, metadata, tags, delete_marker, created_at,
                true AS is_latest FROM blob.head_rows
            UNION ALL
            SELECT bucket, key, stamp, null_version, size, etag, content_type, metadata, tags, delete_marker, created_at,
                false AS is_latest FROM blob.history_rows
        ) AS o JOIN blob.bucket_rows AS b ON b.id = o.bucket",
];

/// Creates or updates the tables.
///
/// # Errors
/// Of the statements.
pub fn migrate(call: &Call, from: Option<&str>) -> Result<()> {
    if from.is_none() {
        for definition in DEFINITIONS {
            call.execute(definition, &[])?;
        }
    }
    Ok(())
}

/// Evaluates an expression of the user's.
///
/// # Errors
/// Of the expression.
pub fn evaluate(
    call: &Call,
    expression: &str,
    values: &[Value],
) -> Result<Option<kodiak_plugin_api::arrow_array::RecordBatch>> {
    call.query_row(&format!("SELECT {expression}"), values)
}

/// The index in the tables, in a call's transaction.
pub struct SqlIndex<'a> {
    call: &'a Call,
}

impl<'a> SqlIndex<'a> {
    /// For this call.
    pub fn new(call: &'a Call) -> Self {
        Self { call }
    }

    fn has_row(&self, sql: &str, values: &[Value]) -> Result<bool> {
        Ok(self.call.query_row(sql, values)?.is_some())
    }
}

impl Index for SqlIndex<'_> {
    fn bucket(&self, name: &str) -> Result<Option<Bucket>> {
        let sql = "SELECT id, name, versioning, created_at FROM blob.bucket_rows WHERE name = $1";
        let found = self.call.query_row(sql, &[name.into()])?;
        found.as_ref().and_then(|batch| rows(batch).next()).map(bucket).transpose()
    }

    fn buckets(&self) -> Result<Vec<Bucket>> {
        let sql = "SELECT id, name, versioning, created_at FROM blob.bucket_rows ORDER BY name";
        let mut found = Vec::new();
        for batch in self.call.query(sql, &[])? {
            for row in rows(&batch?) {
                found.push(bucket(row)?);
            }
        }
        Ok(found)
    }

    fn insert_bucket(&self, bucket: &Bucket) -> Result<()> {
        let sql = "INSERT INTO blob.bucket_rows (name, id, versioning, created_at) VALUES ($1, $2, $3, $4)";
        let Bucket { id, name, versioning, created_at } = bucket;
        let values = [name.into(), (*id).into(), versioning.word().into(), Value::Timestamp(*created_at)];
        self.call.execute(sql, &values).map(drop)
    }

    fn set_versioning(&self, bucket: &Bucket, versioning: Versioning) -> Result<()> {
        let sql = "UPDATE blob.bucket_rows SET versioning = $2 WHERE name = $1";
        self.call.execute(sql, &[(&bucket.name).into(), versioning.word().into()]).map(drop)
    }

    fn delete_bucket(&self, bucket: &Bucket) -> Result<u64> {
        let id = [bucket.id.into()];
        let mut versions = self.call.execute("DELETE FROM blob.head_rows WHERE bucket = $1", &id)?;
        versions += self.call.execute("DELETE FROM blob.history_rows WHERE bucket = $1", &id)?;
        self.call.execute("DELETE FROM blob.bucket_rows WHERE name = $1", &[(&bucket.name).into()])?;
        Ok(versions)
    }

    fn has_objects(&self, bucket: i64) -> Result<bool> {
        self.has_row("SELECT 1 FROM blob.head_rows WHERE bucket = $1 LIMIT 1", &[bucket.into()])
    }

    fn has_versions(&self, bucket: i64) -> Result<bool> {
        let id = [bucket.into()];
        Ok(self.has_row("SELECT 1 FROM blob.history_rows WHERE bucket = $1 LIMIT 1", &id)?
            || self.has_row("SELECT 1 FROM blob.head_rows WHERE bucket = $1 AND NOT null_version LIMIT 1", &id)?)
    }

    fn head(&self, bucket: i64, key: &str) -> Result<Option<Version>> {
        let sql = format!("SELECT {LISTED}, true FROM blob.head_rows WHERE bucket = $1 AND key = $2");
        let found = self.call.query_row(&sql, &[bucket.into(), key.into()])?;
        found.as_ref().and_then(|batch| rows(batch).next()).map(version).transpose()
    }

    fn object(&self, bucket: i64, key: &str, wanted: Option<&VersionId>) -> Result<Option<Object>> {
        let condition = match wanted {
            None => "",
            Some(VersionId::Null) => " AND null_version",
            Some(VersionId::Stamp(_)) => " AND stamp = $3 AND NOT null_version",
        };
        let mut values = vec![bucket.into(), key.into()];
        if let Some(VersionId::Stamp(stamp)) = wanted {
            values.push(stamp.into());
        }
        let one = |table: &str, is_latest: bool| -> Result<Option<Object>> {
            let sql = format!(
                "SELECT {LISTED}, {is_latest}, {REST} FROM blob.{table} WHERE bucket = $1 AND key = $2{condition}"
            );
            let found = self.call.query_row(&sql, &values)?;
            found.as_ref().and_then(|batch| rows(batch).next()).map(object).transpose()
        };
        match (one("head_rows", true)?, wanted) {
            (None, Some(_)) => one("history_rows", false),
            (found, _) => Ok(found),
        }
    }

    fn insert_head(&self, bucket: i64, object: &Object) -> Result<()> {
        let sql = format!(
            "INSERT INTO blob.head_rows ({COLUMNS}) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
        );
        self.call.execute(&sql, &values(bucket, object)?).map(drop)
    }

    fn replace_head(&self, bucket: i64, object: &Object) -> Result<()> {
        let sql = "UPDATE blob.head_rows SET stamp = $3, null_version = $4, delete_marker = $5, size = $6, etag = $7, \
                   created_at = $8, content_type = $9, metadata = $10, tags = $11, sha256 = $12, payload = $13, \
                   checksums = $14, data = $15 WHERE bucket = $1 AND key = $2";
        self.call.execute(sql, &values(bucket, object)?).map(drop)
    }

    fn delete_heads(&self, bucket: i64, range: &KeyRange) -> Result<u64> {
        let (condition, values) = in_range(bucket, range);
        self.call.execute(&format!("DELETE FROM blob.head_rows WHERE {condition}"), &values)
    }

    fn delete_head(&self, bucket: i64, key: &str) -> Result<()> {
        let sql = "DELETE FROM blob.head_rows WHERE bucket = $1 AND key = $2";
        self.call.execute(sql, &[bucket.into(), key.into()]).map(drop)
    }

    fn archive_head(&self, bucket: i64, key: &str) -> Result<()> {
        let sql = format!(
            "INSERT INTO blob.history_rows ({COLUMNS}) \
             SELECT {COLUMNS} FROM blob.head_rows WHERE bucket = $1 AND key = $2"
        );
        self.call.execute(&sql, &[bucket.into(), key.into()]).map(drop)
    }

    fn promote(&self, bucket: i64, key: &str) -> Result<()> {
        let newest = "SELECT max(stamp) FROM blob.history_rows WHERE bucket = $1 AND key = $2";
        let found = self.call.query_row(newest, &[bucket.into(), key.into()])?;
        let Some(batch) = found else { return Ok(()) };
        let Some(stamp) = rows(&batch).next().map(|row| row.text(0)).transpose()?.flatten() else { return Ok(()) };
        let values = [bucket.into(), key.into(), stamp.into()];
        let condition = "FROM blob.history_rows WHERE bucket = $1 AND key = $2 AND stamp = $3";
        self.call.execute(&format!("INSERT INTO blob.head_rows ({COLUMNS}) SELECT {COLUMNS} {condition}"), &values)?;
        self.call.execute(&format!("DELETE {condition}"), &values).map(drop)
    }

    fn delete_archived(&self, bucket: i64, key: &str, version: &VersionId) -> Result<u64> {
        let sql = "DELETE FROM blob.history_rows WHERE bucket = $1 AND key = $2";
        match version {
            VersionId::Null => self.call.execute(&format!("{sql} AND null_version"), &[bucket.into(), key.into()]),
            VersionId::Stamp(stamp) => {
                let values = [bucket.into(), key.into(), stamp.into()];
                self.call.execute(&format!("{sql} AND stamp = $3 AND NOT null_version"), &values)
            }
        }
    }

    fn set_tags(&self, bucket: i64, version: &Version, tags: &Pairs) -> Result<()> {
        let table = if version.is_latest { "head_rows" } else { "history_rows" };
        let sql = format!("UPDATE blob.{table} SET tags = $4 WHERE bucket = $1 AND key = $2 AND stamp = $3");
        let values = [bucket.into(), (&version.key).into(), (&version.stamp).into(), json(tags)?.into()];
        self.call.execute(&sql, &values).map(drop)
    }

    fn list(&self, bucket: i64, range: &KeyRange, which: Which, limit: Option<u64>) -> Result<Versions> {
        let (condition, values) = in_range(bucket, range);
        let select = |table: &str, is_latest: bool| {
            format!("SELECT {LISTED}, {is_latest} AS is_latest FROM blob.{table} WHERE {condition}")
        };
        let mut sql = match which {
            Which::Latest => format!("{} AND NOT delete_marker ORDER BY key", select("head_rows", true)),
            Which::All => {
                let (heads, history) = (select("head_rows", true), select("history_rows", false));
                format!("SELECT * FROM ({heads} UNION ALL {history}) AS v ORDER BY key, stamp DESC")
            }
        };
        if let Some(limit) = limit {
            sql += &format!(" LIMIT {limit}");
        }
        let batches = self.call.query(&sql, &values)?;
        Ok(Box::new(batches.flat_map(|batch| match batch {
            Ok(batch) => rows(&batch).map(version).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })))
    }

    fn payloads(&self) -> Result<Box<dyn Iterator<Item = Result<String>>>> {
        let sql = "SELECT payload FROM blob.head_rows WHERE payload IS NOT NULL \
                   UNION ALL SELECT payload FROM blob.history_rows WHERE payload IS NOT NULL";
        let payload = |row: Row<'_>| Ok(row.text(0)?.ok_or_else(|| missing("payload"))?.to_owned());
        let batches = self.call.query(sql, &[])?;
        Ok(Box::new(batches.flat_map(move |batch| match batch {
            Ok(batch) => rows(&batch).map(payload).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })))
    }

    fn delete_strays(&self) -> Result<u64> {
        let delete = |table: &str| {
            let sql = format!("DELETE FROM blob.{table} WHERE bucket NOT IN (SELECT id FROM blob.bucket_rows)");
            self.call.execute(&sql, &[])
        };
        Ok(delete("head_rows")? + delete("history_rows")?)
    }
}

/// A condition on the primary key, and its parameters.
fn in_range(bucket: i64, range: &KeyRange) -> (String, Vec<Value>) {
    let mut values: Vec<Value> = vec![bucket.into()];
    let mut condition = "bucket = $1".to_owned();
    for (operator, bound) in [(">=", &range.from), (">", &range.after), ("<", &range.until)] {
        if let Some(bound) = bound {
            values.push(bound.into());
            condition += &format!(" AND key {operator} ${}", values.len());
        }
    }
    (condition, values)
}

fn missing(column: &str) -> Error {
    code::RECORD.error(format!("a row of `blob` has no `{column}`"))
}

fn bucket(row: Row<'_>) -> Result<Bucket> {
    let word = row.text(2)?.unwrap_or_default();
    let unknown = || code::RECORD.error(format!("a bucket's versioning is `{word}`"));
    Ok(Bucket {
        id: row.integer(0)?.ok_or_else(|| missing("id"))?,
        name: row.text(1)?.ok_or_else(|| missing("name"))?.to_owned(),
        versioning: Versioning::from_word(word).ok_or_else(unknown)?,
        created_at: row.timestamp(3)?.ok_or_else(|| missing("created_at"))?,
    })
}

fn version(row: Row<'_>) -> Result<Version> {
    let size = row.integer(4)?.unwrap_or_default();
    Ok(Version {
        key: row.text(0)?.ok_or_else(|| missing("key"))?.to_owned(),
        stamp: row.text(1)?.ok_or_else(|| missing("stamp"))?.to_owned(),
        is_null: row.boolean(2)?.ok_or_else(|| missing("null_version"))?,
        is_delete_marker: row.boolean(3)?.ok_or_else(|| missing("delete_marker"))?,
        is_latest: row.boolean(7)?.ok_or_else(|| missing("is_latest"))?,
        size: u64::try_from(size).map_err(|_| code::RECORD.error(format!("an object's size is {size}")))?,
        etag: row.text(5)?.unwrap_or_default().to_owned(),
        created_at: row.timestamp(6)?.ok_or_else(|| missing("created_at"))?,
    })
}

fn object(row: Row<'_>) -> Result<Object> {
    let version = version(row)?;
    let content = match (row.text(12)?, row.binary(14)?) {
        (Some(payload), _) => {
            let checksums = row.binary(13)?.ok_or_else(|| missing("checksums"))?.to_owned();
            Content::File { payload: payload.to_owned(), checksums }
        }
        (None, Some(data)) => Content::Inline(data.to_owned()),
        (None, None) if version.is_delete_marker => Content::None,
        (None, None) => return Err(missing("payload")),
    };
    Ok(Object {
        version,
        content_type: row.text(8)?.unwrap_or_default().to_owned(),
        metadata: pairs(row.text(9)?)?,
        tags: pairs(row.text(10)?)?,
        sha256: row.binary(11)?.unwrap_or_default().to_owned(),
        content,
    })
}

/// Values of [`COLUMNS`].
fn values(bucket: i64, object: &Object) -> Result<Vec<Value>> {
    let version = &object.version;
    let marker = version.is_delete_marker;
    let unless_marker = |value: Value| if marker { Value::Null } else { value };
    let size = i64::try_from(version.size).map_err(|_| code::TOO_LARGE.error("an object has at most 2^63 bytes"))?;
    let (payload, checksums, data) = match &object.content {
        Content::None => (Value::Null, Value::Null, Value::Null),
        Content::Inline(data) => (Value::Null, Value::Null, data.as_slice().into()),
        Content::File { payload, checksums } => (payload.into(), checksums.as_slice().into(), Value::Null),
    };
    Ok(vec![
        bucket.into(),
        (&version.key).into(),
        (&version.stamp).into(),
        version.is_null.into(),
        marker.into(),
        unless_marker(size.into()),
        unless_marker((&version.etag).into()),
        Value::Timestamp(version.created_at),
        unless_marker((&object.content_type).into()),
        json(&object.metadata)?.into(),
        json(&object.tags)?.into(),
        unless_marker(object.sha256.as_slice().into()),
        payload,
        checksums,
        data,
    ])
}

fn json(pairs: &Pairs) -> Result<String> {
    serde_json::to_string(pairs).map_err(|error| code::RECORD.error(format!("names and values as JSON: {error}")))
}

fn pairs(text: Option<&str>) -> Result<Pairs> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Pairs::new()) };
    serde_json::from_str(text).map_err(|error| code::RECORD.error(format!("metadata or tags cannot be read: {error}")))
}
