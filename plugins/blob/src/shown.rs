//! Listings as rows: groups keys by the delimiter, cuts at the limit, and builds batches. It refuses to sort: the
//! index gives keys in their order.

use crate::index::{Version, Versions};
use crate::listing::{Grouper, Step};
use kodiak_plugin_api::Result;
use kodiak_plugin_api::arrow::BatchReader;
use kodiak_plugin_api::arrow_array::builder::{
    BooleanBuilder, Int64Builder, StringViewBuilder, TimestampMicrosecondBuilder,
};
use kodiak_plugin_api::arrow_array::{ArrayRef, RecordBatch, RecordBatchIterator};
use kodiak_plugin_api::arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// Rows of a batch.
const ROWS_MAX: usize = 8192;

/// Which columns a listing has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// `key, size, etag, last_modified`.
    Objects,
    /// Those and `version_id, is_latest, is_delete_marker`.
    Versions,
    /// `key, size, etag, last_modified, version`, as the command line shows.
    Command,
    /// Those and `is_latest, is_delete_marker`.
    CommandVersions,
}

/// A line of a listing.
enum Line {
    Version(Version),
    Prefix(String),
}

impl Columns {
    /// The columns.
    pub fn schema(self) -> SchemaRef {
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let mut fields = vec![
            Field::new("key", DataType::Utf8View, false),
            Field::new("size", DataType::Int64, true),
            Field::new("etag", DataType::Utf8View, true),
            Field::new("last_modified", micros, true),
        ];
        match self {
            Self::Objects => {}
            Self::Versions => fields.push(Field::new("version_id", DataType::Utf8View, true)),
            Self::Command | Self::CommandVersions => fields.push(Field::new("version", DataType::Utf8View, true)),
        }
        if self.has_flags() {
            fields.push(Field::new("is_latest", DataType::Boolean, true));
            fields.push(Field::new("is_delete_marker", DataType::Boolean, true));
        }
        Arc::new(Schema::new(fields))
    }

    fn has_flags(self) -> bool {
        matches!(self, Self::Versions | Self::CommandVersions)
    }
}

/// The rows of a listing, of which there are at most `limit`.
pub fn rows(versions: Versions, grouper: Grouper, limit: Option<u64>, columns: Columns) -> BatchReader {
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut lines = lines(versions, grouper).take(limit);
    let next = move || -> Option<Result<RecordBatch, ArrowError>> {
        let (mut builder, mut rows) = (Builder::new(columns), 0);
        while rows < ROWS_MAX {
            match lines.next() {
                None => break,
                Some(Ok(line)) => builder.push(&line),
                Some(Err(error)) => return Some(Err(error.into())),
            }
            rows += 1;
        }
        (rows > 0).then(|| builder.finish())
    };
    Box::new(RecordBatchIterator::new(std::iter::from_fn(next), columns.schema()))
}

fn lines(versions: Versions, mut grouper: Grouper) -> impl Iterator<Item = Result<Line>> + Send {
    versions.filter_map(move |version| match version {
        Err(error) => Some(Err(error)),
        Ok(version) => match grouper.step(&version.key) {
            Step::Object => Some(Ok(Line::Version(version))),
            Step::Prefix(prefix) => Some(Ok(Line::Prefix(prefix))),
            Step::Covered => None,
        },
    })
}

struct Builder {
    columns: Columns,
    keys: StringViewBuilder,
    sizes: Int64Builder,
    etags: StringViewBuilder,
    times: TimestampMicrosecondBuilder,
    versions: StringViewBuilder,
    latest: BooleanBuilder,
    markers: BooleanBuilder,
}

impl Builder {
    fn new(columns: Columns) -> Self {
        Self {
            columns,
            keys: StringViewBuilder::new(),
            sizes: Int64Builder::new(),
            etags: StringViewBuilder::new(),
            times: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            versions: StringViewBuilder::new(),
            latest: BooleanBuilder::new(),
            markers: BooleanBuilder::new(),
        }
    }

    fn push(&mut self, line: &Line) {
        let version = match line {
            Line::Prefix(prefix) => {
                self.keys.append_value(prefix);
                None
            }
            Line::Version(version) => {
                self.keys.append_value(&version.key);
                Some(version)
            }
        };
        let content = version.filter(|version| !version.is_delete_marker);
        self.sizes.append_option(content.map(|version| i64::try_from(version.size).unwrap_or(i64::MAX)));
        self.etags.append_option(content.map(|version| &version.etag));
        self.times.append_option(version.map(|version| version.created_at));
        self.versions.append_option(version.map(Version::id));
        self.latest.append_option(version.map(|version| version.is_latest));
        self.markers.append_option(version.map(|version| version.is_delete_marker));
    }

    fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.keys.finish()),
            Arc::new(self.sizes.finish()),
            Arc::new(self.etags.finish()),
            Arc::new(self.times.finish()),
        ];
        if self.columns != Columns::Objects {
            columns.push(Arc::new(self.versions.finish()));
        }
        if self.columns.has_flags() {
            columns.push(Arc::new(self.latest.finish()));
            columns.push(Arc::new(self.markers.finish()));
        }
        RecordBatch::try_new(self.columns.schema(), columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kodiak_plugin_api::value;

    fn version(key: &str, is_delete_marker: bool) -> Version {
        let (etag, stamp) = ("e".to_owned(), format!("S-{key}"));
        Version {
            key: key.into(),
            stamp,
            is_null: false,
            is_delete_marker,
            is_latest: true,
            size: 5,
            etag,
            created_at: 9,
        }
    }

    #[test]
    fn prefixes_and_markers_have_no_size_and_the_limit_counts_lines() {
        let versions = ["a/1", "a/2", "b", "c", "d"].map(|key| Ok(version(key, key == "b")));
        let listed = rows(Box::new(versions.into_iter()), Grouper::new("", "/", None), Some(3), Columns::Versions);
        assert_eq!(listed.schema(), Columns::Versions.schema());
        let batches: Vec<RecordBatch> = listed.map(Result::unwrap).collect();
        let shown: Vec<_> = value::rows(&batches[0])
            .map(|row| {
                (
                    row.text(0).unwrap().unwrap().to_owned(),
                    row.integer(1).unwrap(),
                    row.text(4).unwrap().map(str::to_owned),
                )
            })
            .collect();
        let expected = [("a/", None, None), ("b", None, Some("S-b")), ("c", Some(5), Some("S-c"))];
        let expected: Vec<_> = expected.map(|(k, s, v)| (k.to_owned(), s, v.map(str::to_owned))).into();
        assert_eq!((batches.len(), shown), (1, expected));
    }

    #[test]
    fn many_lines_come_in_several_batches() {
        let versions = (0..20_000).map(|i| Ok(version(&format!("{i:05}"), false)));
        let listed = rows(Box::new(versions), Grouper::new("", "", None), None, Columns::Objects);
        let sizes: Vec<usize> = listed.map(|batch| batch.unwrap().num_rows()).collect();
        assert_eq!(sizes, [8192, 8192, 3616]);
    }
}
