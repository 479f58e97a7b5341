//! What an author writes: a type that is a [`Plugin`], and what it registers.

use crate::arrow::BatchReader;
use crate::command::{Output, Run, parsed};
use crate::error::{Error, Result};
use crate::function::{Arguments, Body, IntoResult, Overload, ResultType, Signature, Volatility, typed};
use crate::host::{Call, Host};
use crate::language::Language;
use crate::statement::{Outcome, Statement};
use crate::table::{Table, TableArguments};
use arrow_array::ArrayRef;
use arrow_schema::DataType;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// An extension's plugin. One instance serves one database of the host's, from any thread.
pub trait Plugin: Sized + Send + Sync + 'static {
    /// Makes an instance; nothing of the database may be needed yet.
    ///
    /// # Errors
    /// Why it cannot work here.
    fn activate(host: &Host) -> Result<Self>;

    /// Registers everything that the manifest declares, no more and no less.
    fn register(registrar: &mut Registrar<Self>);

    /// Brings the extension's data in the database from version `from` to this one, in the transaction of the call
    /// that needs it first; `from` is none when there is no data yet.
    ///
    /// # Errors
    /// Why it cannot be done; nothing of it stays then.
    fn migrate(&self, call: &Call, from: Option<&str>) -> Result<()> {
        let _ = (call, from);
        Ok(())
    }

    /// Joins the plugin's threads.
    ///
    /// # Errors
    /// What did not end in time.
    fn shutdown(&self, deadline: Duration) -> Result<()> {
        let _ = deadline;
        Ok(())
    }
}

pub(crate) type RunStatement<P> = Box<dyn Fn(&P, &Call, &Statement) -> Result<Outcome> + Send + Sync>;
pub(crate) type BindTable<P> = Box<dyn Fn(&P, &Call, &TableArguments) -> Result<Table> + Send + Sync>;

/// Collects what a plugin contributes.
pub struct Registrar<P> {
    pub(crate) command: Option<Run<P>>,
    pub(crate) statements: BTreeMap<String, RunStatement<P>>,
    pub(crate) scalars: BTreeMap<String, Vec<Overload<P>>>,
    pub(crate) tables: BTreeMap<String, BindTable<P>>,
    pub(crate) languages: BTreeMap<String, Box<dyn Language<P>>>,
}

impl<P: Plugin> Registrar<P> {
    pub(crate) fn collect() -> Self {
        let mut registrar = Self {
            command: None,
            statements: BTreeMap::new(),
            scalars: BTreeMap::new(),
            tables: BTreeMap::new(),
            languages: BTreeMap::new(),
        };
        P::register(&mut registrar);
        registrar
    }

    /// The command `kodiak <extension>`, its arguments parsed by clap.
    pub fn command<A: clap::Parser>(
        &mut self,
        run: impl Fn(&P, &Call, A) -> Result<Output> + Send + Sync + 'static,
    ) -> &mut Self {
        self.command = Some(parsed(run));
        self
    }

    /// The statements that begin with these keywords.
    pub fn statement(
        &mut self,
        claim: &str,
        run: impl Fn(&P, &Call, &Statement) -> Result<Outcome> + Send + Sync + 'static,
    ) -> &mut Self {
        self.statements.insert(claim.to_uppercase(), Box::new(run));
        self
    }

    /// A scalar function of its arguments alone. Registered again under one name, it is another overload.
    pub fn scalar<A, R, T>(
        &mut self,
        name: &str,
        signature: Signature<A, R>,
        f: impl for<'a> Fn(A::Views<'a>) -> T + Send + Sync + 'static,
    ) -> &mut Self
    where
        A: Arguments,
        R: ResultType,
        T: IntoResult<R> + 'static,
    {
        self.overload(name, typed(signature, move |_: &P, _: &Call, views: A::Views<'_>| f(views)))
    }

    /// A scalar function that also needs the plugin or the host.
    pub fn scalar_with<A, R, T>(
        &mut self,
        name: &str,
        signature: Signature<A, R>,
        f: impl for<'a> Fn(&'a P, &'a Call, A::Views<'a>) -> T + Send + Sync + 'static,
    ) -> &mut Self
    where
        A: Arguments,
        R: ResultType,
        T: IntoResult<R> + 'static,
    {
        self.overload(name, typed(signature, f))
    }

    /// A scalar function over whole arrays. `arguments` none means any types; `result` gives the type for them.
    pub fn scalar_arrays(
        &mut self,
        name: &str,
        volatility: Volatility,
        arguments: Option<Vec<DataType>>,
        result: impl Fn(&[DataType]) -> Result<DataType> + Send + Sync + 'static,
        f: impl Fn(&P, &Call, &[ArrayRef], usize) -> Result<ArrayRef> + Send + Sync + 'static,
    ) -> &mut Self {
        let body = Body::Arrays { result: Arc::new(result), body: Arc::new(f) };
        self.overload(name, Overload { arguments, volatility, body })
    }

    /// A table function: `bind` sees the argument values and gives a table.
    pub fn table(
        &mut self,
        name: &str,
        bind: impl Fn(&P, &Call, &TableArguments) -> Result<Table> + Send + Sync + 'static,
    ) -> &mut Self {
        self.tables.insert(name.to_lowercase(), Box::new(bind));
        self
    }

    /// A language of routines: `CREATE FUNCTION ... LANGUAGE name`.
    pub fn language(&mut self, name: &str, language: impl Language<P>) -> &mut Self {
        self.languages.insert(name.to_lowercase(), Box::new(language));
        self
    }

    fn overload(&mut self, name: &str, overload: Overload<P>) -> &mut Self {
        self.scalars.entry(name.to_lowercase()).or_default().push(overload);
        self
    }

    pub(crate) fn bind(&self, name: &str, types: &[DataType]) -> Result<(&Overload<P>, DataType)> {
        let overloads = self.scalars.get(name).ok_or_else(|| unknown(name))?;
        let fits = |overload: &&Overload<P>| overload.arguments.as_ref().is_none_or(|wanted| wanted == types);
        let overload = overloads.iter().find(fits).ok_or_else(|| no_overload(name, types))?;
        let result = match &overload.body {
            Body::Typed { result, .. } => result.clone(),
            Body::Arrays { result, .. } => result(types)?,
        };
        Ok((overload, result))
    }
}

pub(crate) fn unknown(name: &str) -> Error {
    Error::new("KDK-0454", format!("the plugin registers no `{name}`"))
}

fn no_overload(name: &str, types: &[DataType]) -> Error {
    let types = types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Error::new("KDK-0103", format!("`{name}` does not take ({types})")).sqlstate("42883")
}

/// A reader over batches that are there already.
pub fn batches(schema: arrow_schema::SchemaRef, batches: Vec<arrow_array::RecordBatch>) -> BatchReader {
    Box::new(arrow_array::RecordBatchIterator::new(batches.into_iter().map(Ok), schema))
}
