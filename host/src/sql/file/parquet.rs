//! Parquet: read by the engine's own reader, which prunes row groups and pages; written row group by row group.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;

use crate::error::{Error, Result, codes};
use crate::sql::fault::fold_parquet;
use crate::sql::run;
use crate::sql::scope::Scope;

/// The table in a file, or in all files that a pattern matches.
pub(super) fn table(scope: &Scope, path: &str) -> Result<Arc<dyn TableProvider>> {
    let state = scope.state()?;
    let table = run::wait(async {
        let url = ListingTableUrl::parse(path)?;
        let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension("");
        let config = ListingTableConfig::new(url).with_listing_options(options).infer_schema(state).await?;
        ListingTable::try_new(config)
    });
    let table = table.map_err(|error| {
        let named = Error::new(
            if error.is(codes::EXECUTION) || error.is(codes::PLAN) { codes::FILE_FORMAT } else { codes::IO },
            format!("`{path}` cannot be read as Parquet: {}", error.message()),
        );
        if error.is(codes::INTERNAL) { error } else { named }
    })?;
    Ok(Arc::new(table))
}

/// A file that is being written.
pub(crate) struct ParquetFile(ArrowWriter<BufWriter<File>>);

impl ParquetFile {
    /// Begins a file.
    pub(crate) fn new(file: File, schema: SchemaRef) -> Result<Self> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = ArrowWriter::try_new(BufWriter::new(file), schema, Some(properties));
        writer.map(Self).map_err(|error| fold_parquet(&error))
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write(batch).map_err(|error| fold_parquet(&error))
    }

    /// Ends the file.
    pub(crate) fn finish(self, path: &Path) -> Result<File> {
        let writer = self.0.into_inner().map_err(|error| fold_parquet(&error))?;
        writer.into_inner().map_err(|error| Error::io("write", path, error.error()))
    }
}
