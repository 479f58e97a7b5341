//! The system tables about extensions: what is enabled, what each owns, what each needs, what each cost.

use super::keeper::owned;
use super::plugins::Plugins;
use crate::error::Result;
use crate::extensions;
use crate::sql::Caller;
use crate::sql::claim::{BoundTable, RowStream, TableFunction};
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use std::sync::Arc;

/// One of the tables, for one statement.
#[derive(Debug)]
pub(super) struct Listing {
    plugins: Plugins,
    make: Make,
}

type Make = fn(&Plugins, &Caller) -> Result<RecordBatch>;

impl Listing {
    /// The table `kodiak.name`, if there is one.
    pub(super) fn of(plugins: &Plugins, name: &str) -> Option<Self> {
        let make: Make = match name {
            "extensions" => enabled,
            "extension_objects" => objects,
            "extension_dependencies" => dependencies,
            "extension_stats" => stats,
            _ => return None,
        };
        Some(Self { plugins: plugins.clone(), make })
    }
}

impl TableFunction for Listing {
    fn extension(&self) -> &str {
        "kodiak"
    }

    fn bind(&self, caller: &Caller, _: Vec<ArrayRef>) -> Result<Arc<dyn BoundTable>> {
        Ok(Arc::new(Made((self.make)(&self.plugins, caller)?)))
    }
}

struct Made(RecordBatch);

impl BoundTable for Made {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn scan(&self, projection: &[usize]) -> Result<RowStream> {
        let batch = self.0.project(projection).map_err(super::from_arrow)?;
        Ok(Box::new(std::iter::once(Ok(batch))))
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(super::from_arrow)
}

fn text<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(values))
}

fn enabled(plugins: &Plugins, _: &Caller) -> Result<RecordBatch> {
    let (view, extensions) = (plugins.view()?, plugins.extensions()?);
    let all: Vec<_> = view.set().iter().collect();
    let state = |name: &str| match view.state(name) {
        "installed" if extensions.is_loaded(name) => "loaded",
        state => state,
    };
    let summary = |name: &str| view.artifact(name).map(|installed| installed.manifest.extension.summary.clone());
    batch(vec![
        ("name", text(all.iter().map(|one| &one.name))),
        ("version", text(all.iter().map(|one| one.version.to_string()))),
        ("state", text(all.iter().map(|one| state(&one.name)))),
        ("enabled", Arc::new(all.iter().map(|one| Some(one.enabled)).collect::<BooleanArray>())),
        ("source", text(all.iter().map(|one| one.source.to_string()))),
        ("sha256", text(all.iter().map(|one| one.sha256.to_string()))),
        ("summary", text(all.iter().map(|one| summary(&one.name).unwrap_or_default()))),
    ])
}

/// What extensions own is listed whether or not they can be used; what cannot be reached is dormant.
fn objects(plugins: &Plugins, caller: &Caller) -> Result<RecordBatch> {
    let view = plugins.view()?;
    let all = owned(&caller.catalog()?)?;
    let state = |extension: &str| if view.grant(extension).is_ok() { "active" } else { "dormant" };
    batch(vec![
        ("extension", text(all.iter().map(|one| &one.extension))),
        ("kind", text(all.iter().map(|one| &one.kind))),
        ("name", text(all.iter().map(|one| &one.name))),
        ("state", text(all.iter().map(|one| state(&one.extension)))),
    ])
}

fn dependencies(plugins: &Plugins, _: &Caller) -> Result<RecordBatch> {
    let view = plugins.view()?;
    let mut rows = Vec::new();
    for one in view.set() {
        rows.extend(
            one.requires.iter().map(|(name, requirement)| (&one.name, name.clone(), requirement.to_string(), false)),
        );
        if let Some(installed) = view.artifact(&one.name) {
            let optional = &installed.manifest.optional_dependencies;
            rows.extend(
                optional.iter().map(|(name, requirement)| (&one.name, name.clone(), requirement.to_string(), true)),
            );
        }
    }
    batch(vec![
        ("extension", text(rows.iter().map(|row| row.0))),
        ("dependency", text(rows.iter().map(|row| &row.1))),
        ("requirement", text(rows.iter().map(|row| &row.2))),
        ("optional", Arc::new(rows.iter().map(|row| Some(row.3)).collect::<BooleanArray>())),
    ])
}

/// Since this process began.
fn stats(_: &Plugins, _: &Caller) -> Result<RecordBatch> {
    let all = extensions::totals();
    let count = |of: fn(&extensions::Totals) -> u64| -> ArrayRef {
        Arc::new(all.iter().map(|one| i64::try_from(of(one)).ok()).collect::<Int64Array>())
    };
    let milliseconds = all.iter().map(|one| Some(one.nanoseconds as f64 / 1e6)).collect::<Float64Array>();
    batch(vec![
        ("extension", text(all.iter().map(|one| &one.extension))),
        ("calls", count(|one| one.calls)),
        ("rows", count(|one| one.rows)),
        ("time_ms", Arc::new(milliseconds)),
        ("panics", count(|one| one.panics)),
    ])
}
