//! The step that brings TPC-H into the database: found and verified, or generated, written as Parquet and copied in.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;

use super::tpch::{TABLES, Table};
use super::{Tour, unexpected};
use crate::error::{Error, Result, codes};

/// Loads every table that is missing; verifies the others.
pub(super) fn run(tour: &mut Tour<'_>) -> Result<()> {
    let scale = tour.scale_factor;
    tour.say(&format!("  scale factor {scale}; every table is one transaction, made durable before the next begins"));
    for table in TABLES {
        let started = Instant::now();
        let verb = match count(tour, table)? {
            Some(rows) if rows == table.count(scale) => "found",
            // Rows of another scale factor: they are ours to replace, since this folder is the walk's.
            Some(_) => {
                tour.connection.execute(&format!("DROP TABLE {}", table.name), &[])?;
                load(tour, table)?;
                "replaced"
            }
            None => {
                load(tour, table)?;
                "loaded"
            }
        };
        let rows = count(tour, table)?.unwrap_or(0);
        tour.say(&format!("  {:<9}{rows:>12} rows {verb} in {:.1} s", table.name, started.elapsed().as_secs_f64()));
    }
    tour.say("");
    tour.next.push("kodiak sql -c 'SELECT count(*) FROM lineitem'".to_owned());
    Ok(())
}

/// The rows of a table; none if there is no such table.
fn count(tour: &Tour<'_>, table: &Table) -> Result<Option<i64>> {
    let rows = match tour.connection.query(&format!("SELECT count(*) FROM {}", table.name), &[]) {
        Ok(rows) => rows,
        Err(error) if error.is(codes::NO_TABLE) => return Ok(None),
        Err(error) => return Err(error),
    };
    let batches = rows.collect_batches()?;
    let count = batches
        .iter()
        .find(|batch| batch.num_rows() > 0)
        .map(|batch| batch.column(0).as_primitive_opt::<Int64Type>().map(|counts| counts.value(0)));
    count.flatten().map(Some).ok_or_else(|| unexpected(format!("`{}` could not be counted", table.name)))
}

fn load(tour: &Tour<'_>, table: &Table) -> Result<()> {
    // Beside the database, so that the file and its copy are on one file system with room for both.
    let scratch = tempfile::Builder::new()
        .prefix(".tpch-")
        .tempdir_in(&tour.project.folder)
        .map_err(|error| Error::io("create a folder in", &tour.project.folder, &error))?;
    let path = scratch.path().join(format!("{}.parquet", table.name));
    let rows = (table.rows)(tour.scale_factor);
    let definition = table.definition(&rows.schema());
    generate(tour, table, rows, &path)?;
    let text = path.display().to_string().replace('\'', "''");
    tour.interrupt.during(|| {
        tour.connection.execute("BEGIN", &[])?;
        tour.connection.execute(&definition, &[])?;
        tour.connection.execute(&format!("COPY {} FROM '{text}'", table.name), &[])?;
        tour.connection.execute("COMMIT", &[])
    })?;
    let (expected, loaded) = (table.count(tour.scale_factor), count(tour, table)?);
    if loaded != Some(expected) {
        let loaded = loaded.unwrap_or(0);
        return Err(unexpected(format!("`{}` holds {loaded} rows where {expected} were generated", table.name)));
    }
    Ok(())
}

fn generate(tour: &Tour<'_>, table: &Table, rows: super::tpch::Rows, path: &Path) -> Result<()> {
    let failed = |error: parquet::errors::ParquetError| {
        Error::new(codes::IO, format!("cannot write `{}`: {error}", path.display()))
    };
    let file = File::create(path).map_err(|error| Error::io("create", path, &error))?;
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).map_err(failed)?;
    let total = u64::try_from((table.estimate)(tour.scale_factor)).unwrap_or(0);
    let progress = tour.context.ui.progress(table.name, total, "rows");
    for batch in rows {
        let batch: RecordBatch = batch.map_err(|error| unexpected(format!("tpchgen failed: {error}")))?;
        writer.write(&batch).map_err(failed)?;
        progress.advance(batch.num_rows() as u64);
    }
    writer.close().map_err(failed)?;
    progress.finish();
    Ok(())
}
