//! Secrets and slots as rows: everything but what they hold.

use crate::record::Head;
use crate::slot::Slot;
use kodiak_plugin_api::Result;
use kodiak_plugin_api::arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use kodiak_plugin_api::arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

const REDACTED: &str = "[redacted]";

/// Columns of `kodiak secrets list`: `name, type, scope, version, created_at, rotated_at`.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(fields()))
}

/// Columns of `secrets.secrets`: those, and a value that is never shown.
pub fn table_schema() -> SchemaRef {
    let mut fields = fields();
    fields.push(Field::new("value", DataType::Utf8View, false));
    Arc::new(Schema::new(fields))
}

fn fields() -> Vec<Field> {
    let time = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    vec![
        Field::new("name", DataType::Utf8View, false),
        Field::new("type", DataType::Utf8View, false),
        Field::new("scope", DataType::Utf8View, true),
        Field::new("version", DataType::Int64, false),
        Field::new("created_at", time(), false),
        Field::new("rotated_at", time(), true),
    ]
}

/// Rows of `kodiak secrets list`.
///
/// # Errors
/// `TAMPERED`.
pub fn list(heads: &[Head]) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(schema(), columns(heads)?)?)
}

/// Rows of `secrets.secrets`.
///
/// # Errors
/// `TAMPERED`.
pub fn table(heads: &[Head]) -> Result<RecordBatch> {
    let mut columns = columns(heads)?;
    columns.push(text(heads.iter().map(|_| Some(REDACTED))));
    Ok(RecordBatch::try_new(table_schema(), columns)?)
}

fn columns(heads: &[Head]) -> Result<Vec<ArrayRef>> {
    let versions = heads.iter().map(Head::current).collect::<Result<Vec<_>>>()?;
    let created = heads.iter().map(|head| Some(head.created_at));
    Ok(vec![
        text(heads.iter().map(|head| Some(head.name.as_str()))),
        text(versions.iter().map(|version| Some(version.kind.as_str()))),
        text(versions.iter().map(|version| Some(version.scope.as_str()).filter(|scope| !scope.is_empty()))),
        Arc::new(versions.iter().map(|version| Some(i64::from(version.number))).collect::<Int64Array>()),
        times(created),
        times(heads.iter().map(|head| head.rotated_at)),
    ])
}

/// Rows of `kodiak secrets slots list`.
///
/// # Errors
/// None that a user could cause.
pub fn slots(slots: &[Slot]) -> Result<RecordBatch> {
    let details: Vec<String> = slots.iter().map(|slot| slot.kind.detail()).collect();
    let ids: Int64Array = slots.iter().map(|slot| Some(i64::from(slot.id))).collect();
    batch([
        ("slot", Arc::new(ids) as ArrayRef),
        ("kind", text(slots.iter().map(|slot| Some(slot.word())))),
        ("detail", text(details.iter().map(|detail| Some(detail.as_str())))),
        ("created_at", times(slots.iter().map(|slot| Some(slot.created_at)))),
    ])
}

/// A table of these columns.
///
/// # Errors
/// When they have different lengths.
pub fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> Result<RecordBatch> {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// A column of text.
pub fn text<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringViewArray>())
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}
