//! Table functions: argument values in, a table out, with the columns and the number of rows that are wanted.

use crate::abi::{AbiFilter, AbiScan};
use crate::arrow::{BatchReader, import_batch};
use crate::error::{Error, Result};
use crate::host::Call;
use crate::value::{Row, rows};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchIterator};
use arrow_schema::{ArrowError, SchemaRef};

/// Argument values of a table function: one row.
#[derive(Clone, Debug)]
pub struct TableArguments {
    values: RecordBatch,
}

impl TableArguments {
    pub(crate) fn new(values: RecordBatch) -> Self {
        Self { values }
    }

    /// How many arguments were given.
    pub fn len(&self) -> usize {
        self.values.num_columns()
    }

    /// Whether none was given.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A text argument; none when it is NULL or was not given.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn text(&self, index: usize) -> Result<Option<String>> {
        if index >= self.len() {
            return Ok(None);
        }
        Ok(self.row()?.text(index)?.map(str::to_owned))
    }

    /// A text argument that must be there.
    ///
    /// # Errors
    /// When it is missing, NULL or of another type; `name` is named.
    pub fn required_text(&self, index: usize, name: &str) -> Result<String> {
        let missing = || Error::new("KDK-0103", format!("argument {} (`{name}`) is missing", index + 1));
        self.text(index)?.ok_or_else(missing)
    }

    /// An integer argument; none when it is NULL or was not given.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn integer(&self, index: usize) -> Result<Option<i64>> {
        if index >= self.len() {
            return Ok(None);
        }
        self.row()?.integer(index)
    }

    /// A boolean argument; none when it is NULL or was not given.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn boolean(&self, index: usize) -> Result<Option<bool>> {
        if index >= self.len() {
            return Ok(None);
        }
        self.row()?.boolean(index)
    }

    /// The argument as an array of one value.
    pub fn array(&self, index: usize) -> Option<&ArrayRef> {
        self.values.columns().get(index)
    }

    fn row(&self) -> Result<Row<'_>> {
        rows(&self.values).next().ok_or_else(|| Error::message("the host passed no argument values"))
    }
}

/// What the query needs of the table.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Indexes of the wanted columns, in order; none means all.
    pub projection: Option<Vec<usize>>,
    /// No more rows than this are read.
    pub limit: Option<usize>,
    /// Conditions that every row of interest meets: a table may skip by them, the host checks again.
    pub filters: Vec<Filter>,
}

/// `column operator value`.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The column's name.
    pub column: String,
    /// `=`, `<>`, `<`, `<=`, `>` or `>=`.
    pub operator: String,
    /// An array of one value.
    pub value: ArrayRef,
}

impl Scan {
    #[allow(unsafe_code)]
    pub(crate) fn from_abi(raw: AbiScan) -> Result<Self> {
        let filter = |raw: AbiFilter| {
            // SAFETY: the host hands over a valid struct array for its schema; plugins trust their host.
            let batch = unsafe { import_batch(raw.value) }?;
            let value = batch.columns().first().cloned().ok_or_else(|| Error::message("a filter without a value"))?;
            Ok(Filter { column: raw.column.into(), operator: raw.operator.into(), value })
        };
        Ok(Self {
            projection: raw.projection.into_option().map(|columns| columns.iter().map(|c| *c as usize).collect()),
            limit: raw.limit.into_option().map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            filters: raw.filters.into_iter().map(filter).collect::<Result<_>>()?,
        })
    }
}

/// A table that a table function was bound to.
pub struct Table {
    schema: SchemaRef,
    read: Read,
}

type Read = Box<dyn Fn(&Call, &Scan) -> Result<BatchReader> + Send + Sync>;

impl Table {
    /// A table of these columns. `read` may give all columns: the projection is applied afterwards when it did.
    pub fn new(schema: SchemaRef, read: impl Fn(&Call, &Scan) -> Result<BatchReader> + Send + Sync + 'static) -> Self {
        Self { schema, read: Box::new(read) }
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Reads what `scan` asks for.
    ///
    /// # Errors
    /// The table's own.
    pub fn read(&self, call: &Call, scan: &Scan) -> Result<BatchReader> {
        let reader = (self.read)(call, scan)?;
        let Some(projection) = scan.projection.clone() else { return Ok(reader) };
        let wanted = std::sync::Arc::new(self.schema.project(&projection)?);
        if reader.schema().fields() == wanted.fields() {
            return Ok(reader);
        }
        let project = move |batch: Result<RecordBatch, ArrowError>| batch?.project(&projection);
        Ok(Box::new(RecordBatchIterator::new(reader.map(project), wanted)))
    }
}
