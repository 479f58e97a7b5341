//! `COPY`: files into tables and results into files. A file is written beside its place and moved there when it is
//! whole; rows come in as one statement, so that a bad line leaves nothing behind.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::default_table_source::provider_as_source;
use datafusion::common::TableReference;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::sql::sqlparser::ast::{
    CopyLegacyOption, CopyOption, CopySource, CopyTarget, Ident, ObjectName, ObjectNamePart, SelectItem, SetExpr,
    Statement,
};

use super::bind::Binder;
use super::dml::insert_plan;
use super::fault::fold;
use super::file::{self, CsvWriter, Format, Options, ParquetFile};
use super::names::{fold_ident, quoted, split_name};
use super::outcome::Outcome;
use super::scope::Scope;
use super::{dml, parse, query, unsupported};
use crate::catalog::{Generated, Relation, Table};
use crate::error::{Error, Result, codes};

/// `COPY t [(columns)] FROM 'file'`, `COPY t | (query) TO 'file'`.
pub(super) fn run(scope: &Arc<Scope>, statement: Statement) -> Result<Outcome> {
    let Statement::Copy { source, to, target, options, legacy_options, values } = statement else {
        return Err(unsupported("this form of COPY"));
    };
    if !values.is_empty() {
        return Err(unsupported("rows behind COPY ... FROM STDIN"));
    }
    let CopyTarget::File { filename } = target else { return Err(unsupported("COPY with anything but a file")) };
    let options = read_options(&options, &legacy_options)?;
    match (to, source) {
        (false, CopySource::Table { table_name, columns }) => from(scope, &table_name, &columns, &filename, &options),
        (false, CopySource::Query(_)) => Err(Error::new(codes::SYNTAX, "COPY ... FROM needs a table")),
        (true, source) => write(scope, source, &filename, &options),
    }
}

fn read_options(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> Result<Options> {
    let mut read = Options::default();
    let single = |name: &str, c: char| {
        u8::try_from(c)
            .ok()
            .filter(u8::is_ascii)
            .ok_or_else(|| Error::new(codes::VALUE, format!("{name} must be one ASCII character")))
    };
    for option in options {
        match option {
            CopyOption::Format(name) => read.format = Some(Format::named(&name.value)?),
            CopyOption::Header(header) => read.header = Some(*header),
            CopyOption::Delimiter(c) => read.delimiter = Some(single("DELIMITER", *c)?),
            CopyOption::Quote(c) => read.quote = Some(single("QUOTE", *c)?),
            CopyOption::Null(text) => read.null = Some(text.clone()),
            CopyOption::Encoding(name) if ["utf8", "utf-8"].contains(&name.to_lowercase().as_str()) => {}
            other => return Err(unsupported(&format!("the option {other} of COPY"))),
        }
    }
    match legacy.first() {
        None => Ok(read),
        Some(option) => {
            Err(unsupported(&format!("the option {option} of COPY")).help("COPY ... (FORMAT csv, HEADER true)"))
        }
    }
}

fn refuse_csv_options(options: &Options) -> Result<()> {
    if options.header.is_some() || options.delimiter.is_some() || options.quote.is_some() || options.null.is_some() {
        return Err(Error::new(
            codes::UNSUPPORTED,
            "HEADER, DELIMITER, QUOTE and NULL are options of CSV, not of Parquet",
        ));
    }
    Ok(())
}

fn from(scope: &Arc<Scope>, name: &ObjectName, columns: &[Ident], path: &str, options: &Options) -> Result<Outcome> {
    let (schema, name) = split_name(name)?;
    let table = scope.table_to_change(&scope.schema_or_default(schema), &name)?;
    let names: Vec<String> = columns.iter().map(fold_ident).collect();
    let positions = positions(&table, &names)?;
    let provider = file::rows_for(scope, path, options, &table, &positions)?;
    let found = provider.schema().fields().len();
    if found != positions.len() {
        let message = format!("`{path}` has {found} columns, table `{}` takes {}", table.label(), positions.len());
        return Err(Error::new(codes::FILE_FORMAT, message));
    }
    let plan = LogicalPlanBuilder::scan(TableReference::bare("file"), provider_as_source(provider), None);
    let plan = plan.and_then(LogicalPlanBuilder::build).map_err(|error| fold(&error))?;
    let rows = insert_plan(scope, &table, plan, &positions)?;
    Ok(Outcome::changed("COPY", rows))
}

/// Columns that files carry: all, but for those that the others make.
fn positions(table: &Table, names: &[String]) -> Result<Vec<usize>> {
    let made = |at: &usize| matches!(table.columns[*at].generated, Some(Generated::Stored(_)));
    if names.is_empty() {
        return Ok((0..table.columns.len()).filter(|at| !made(at)).collect());
    }
    let mut positions = Vec::with_capacity(names.len());
    for name in names {
        let at = table.position(name).ok_or_else(|| dml::no_column(table, name))?;
        if made(&at) {
            let text = format!("the column `{name}` makes its own values, a file cannot");
            return Err(Error::new(codes::PLAN, text).with_sqlstate("42P10").help("leave it out"));
        }
        positions.push(at);
    }
    Ok(positions)
}

fn write(scope: &Arc<Scope>, source: CopySource, path: &str, options: &Options) -> Result<Outcome> {
    let format = options.format.map_or_else(|| Format::by_name(path), Ok)?;
    if format == Format::Parquet {
        refuse_csv_options(options)?;
    }
    if options.null.is_some() {
        return Err(unsupported("NULL in COPY ... TO").help("NULL is written as an empty field"));
    }
    let plan = Binder::new(scope).plan(Statement::Query(Box::new(source_query(scope, source)?)))?;
    let batches = query::start(scope, &plan)?;
    let schema = query::visible(batches.schema());
    let target = Target::new(Path::new(path))?;
    let rows = target.fill(format, options, &schema, batches)?;
    target.place()?;
    Ok(Outcome::changed("COPY", rows))
}

fn source_query(scope: &Scope, source: CopySource) -> Result<datafusion::sql::sqlparser::ast::Query> {
    match source {
        CopySource::Query(query) => Ok(*query),
        CopySource::Table { table_name, mut columns } => {
            let mut query = parse::query("SELECT * FROM t")?;
            if let SetExpr::Select(select) = query.body.as_mut() {
                let (schema, table) = split_name(&table_name)?;
                let relation = scope.catalog.relation(&scope.schema_or_default(schema.clone()), &table)?;
                if let Some(Relation::Table(known)) = relation.as_deref() {
                    // So that the table can take back what it gave.
                    let names: Vec<String> = columns.iter().map(fold_ident).collect();
                    let carried = positions(known, &names)?;
                    if columns.is_empty() && carried.len() < known.columns.len() {
                        columns = carried.iter().map(|at| quoted(&known.columns[*at].name)).collect();
                    }
                }
                if !columns.is_empty() {
                    select.projection = columns
                        .into_iter()
                        .map(|column| {
                            SelectItem::UnnamedExpr(datafusion::sql::sqlparser::ast::Expr::Identifier(column))
                        })
                        .collect();
                }
                if let Some(from) = select.from.first_mut()
                    && let datafusion::sql::sqlparser::ast::TableFactor::Table { name, .. } = &mut from.relation
                {
                    let parts = schema.into_iter().chain([table]).map(|part| ObjectNamePart::Identifier(quoted(&part)));
                    *name = ObjectName(parts.collect());
                }
            }
            Ok(query)
        }
    }
}

/// A file that appears at its place only when it is whole.
struct Target<'a> {
    path: &'a Path,
    temporary: tempfile::NamedTempFile,
}

impl<'a> Target<'a> {
    fn new(path: &'a Path) -> Result<Self> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .map_or_else(|| PathBuf::from("."), Path::to_owned);
        let mut builder = tempfile::Builder::new();
        builder.prefix(".kodiak-copy-");
        // A temporary file is its owner's alone; this one becomes a data file, which the umask alone shall restrict.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temporary = builder.tempfile_in(&folder);
        Ok(Self { path, temporary: temporary.map_err(|error| Error::io("create", path, &error))? })
    }

    fn fill(
        &self,
        format: Format,
        options: &Options,
        schema: &SchemaRef,
        batches: impl Iterator<Item = Result<RecordBatch>>,
    ) -> Result<u64> {
        let file = self.temporary.reopen().map_err(|error| Error::io("open", self.path, &error))?;
        let mut rows = 0;
        let file: File = match format {
            Format::Csv => {
                let mut writer = CsvWriter::new(BufWriter::new(file), options, schema)?;
                for batch in batches {
                    let batch = batch?;
                    rows += batch.num_rows() as u64;
                    writer.write(&batch)?;
                }
                writer.finish()?.into_inner().map_err(|error| Error::io("write", self.path, error.error()))?
            }
            Format::Parquet => {
                let mut writer = ParquetFile::new(file, Arc::clone(schema))?;
                for batch in batches {
                    let batch = batch?;
                    rows += batch.num_rows() as u64;
                    let batch =
                        batch.with_schema(Arc::clone(schema)).map_err(|error| super::fault::fold_arrow(&error))?;
                    writer.write(&batch)?;
                }
                writer.finish(self.path)?
            }
        };
        file.sync_all().map_err(|error| Error::io("write", self.path, &error))?;
        Ok(rows)
    }

    fn place(self) -> Result<()> {
        let path = self.path;
        self.temporary.persist(path).map(drop).map_err(|error| Error::io("write", path, &error.error))
    }
}
