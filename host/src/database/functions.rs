//! Functions of plugins in the form that the front end calls: overloads chosen by type, bound once a statement, called
//! once a batch.

use super::plugins::Plugins;
use super::services::{from_arrow, one_row};
use crate::error::{Error, Result, codes};
use crate::extensions::{Argument, Grant, Instance, Scalar, Table};
use crate::sql::Caller;
use crate::sql::claim::{BoundTable, RowStream, ScalarFunction, TableFunction, Volatility};
use arrow::array::ArrayRef;
use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, SchemaRef};
use std::sync::{Arc, Mutex, PoisonError};

/// A scalar function of an extension, for one statement.
pub(super) struct PluginScalar {
    plugins: Plugins,
    grant: Grant,
    name: String,
    bound: Mutex<Vec<(Vec<DataType>, Arc<Scalar>)>>,
}

impl std::fmt::Debug for PluginScalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.grant.name(), self.name)
    }
}

impl PluginScalar {
    pub(super) fn new(plugins: Plugins, grant: Grant, name: &str) -> Self {
        Self { plugins, grant, name: name.to_owned(), bound: Mutex::default() }
    }

    fn bind(&self, caller: &Caller, types: &[DataType]) -> Result<Arc<Scalar>> {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, scalar)) = bound.iter().find(|(known, _)| known == types) {
            return Ok(scalar.clone());
        }
        let caller = self.plugins.caller(caller, self.grant.name());
        let instance = self.plugins.instance(&self.grant, &caller)?;
        let scalar = Arc::new(instance.scalar(&caller, &self.name, types)?);
        bound.push((types.to_vec(), scalar.clone()));
        Ok(scalar)
    }

    fn instance(&self, caller: &Caller) -> Result<Arc<Instance>> {
        self.plugins.instance(&self.grant, &self.plugins.caller(caller, self.grant.name()))
    }
}

impl ScalarFunction for PluginScalar {
    fn extension(&self) -> &str {
        self.grant.name()
    }

    fn coerce(&self, caller: &Caller, args: &[DataType]) -> Result<Vec<DataType>> {
        let instance = self.instance(caller)?;
        let declared = instance.scalar_declaration(&self.name).ok_or_else(|| {
            Error::new(codes::NO_FUNCTION, format!("`{}` is a table function", self.name))
                .help(format!("SELECT * FROM {}(...)", self.name))
        })?;
        if declared.overloads.is_empty() {
            return Ok(args.to_vec());
        }
        let fitting = declared.overloads.iter().filter_map(|types| Some((cost(args, types)?, types)));
        match fitting.min_by_key(|(cost, _)| *cost) {
            Some((_, types)) => Ok(types.clone()),
            None => Err(no_overload(&self.name, args, &declared.overloads)),
        }
    }

    fn return_type(&self, caller: &Caller, args: &[DataType]) -> Result<DataType> {
        Ok(self.bind(caller, args)?.result().clone())
    }

    fn volatility(&self, caller: &Caller) -> Result<Volatility> {
        let instance = self.instance(caller)?;
        Ok(match instance.scalar_declaration(&self.name).map(|declared| declared.volatility.as_str()) {
            Some("immutable") => Volatility::Immutable,
            Some("stable") => Volatility::Stable,
            _ => Volatility::Volatile,
        })
    }

    fn call(&self, caller: &Caller, args: &[Argument], rows: usize) -> Result<ArrayRef> {
        let types: Vec<DataType> = args.iter().map(|argument| argument.array().data_type().clone()).collect();
        self.bind(caller, &types)?.invoke(args, rows).map_err(|error| ended(caller, error))
    }
}

/// A plugin that stops because its call should end says that it was cancelled; the statement knows whether it was that or
/// its deadline.
pub(super) fn ended(caller: &Caller, error: Error) -> Error {
    if error.is(codes::CANCELLED) { caller.token().check().err().unwrap_or(error) } else { error }
}

/// How far the given types are from an overload's; none when they do not fit. Equal types cost nothing, a value-keeping
/// widening little, a NULL nothing, anything else that can be cast implicitly more.
fn cost(given: &[DataType], wanted: &[DataType]) -> Option<u32> {
    if given.len() != wanted.len() {
        return None;
    }
    given.iter().zip(wanted).map(|(given, wanted)| argument_cost(given, wanted)).sum()
}

fn argument_cost(given: &DataType, wanted: &DataType) -> Option<u32> {
    let is_text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_binary = |t: &DataType| matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
    let is_exact = |t: &DataType| t.is_integer() || matches!(t, DataType::Decimal128(..) | DataType::Decimal256(..));
    if given == wanted || given == &DataType::Null {
        return Some(0);
    }
    if let DataType::Dictionary(_, values) = given {
        return argument_cost(values, wanted).map(|cost| cost + 1);
    }
    match (given, wanted) {
        _ if is_text(given) && is_text(wanted) || is_binary(given) && is_binary(wanted) => Some(0),
        _ if given.is_integer() && wanted.is_integer() => {
            Some(1 + u32::from(wanted.primitive_width() < given.primitive_width()))
        }
        _ if is_exact(given) && wanted.is_floating() => Some(3),
        _ if given.is_floating() && wanted.is_floating() => Some(1),
        (DataType::Date32, DataType::Timestamp(..)) | (DataType::Timestamp(..), DataType::Timestamp(..)) => Some(2),
        // A literal without a type of its own is text; so it is where text can mean the wanted type.
        _ if is_text(given) && wanted.is_temporal() && can_cast_types(given, wanted) => Some(4),
        _ if is_text(given) && is_binary(wanted) => Some(4),
        _ => None,
    }
}

fn no_overload(name: &str, given: &[DataType], overloads: &[Vec<DataType>]) -> Error {
    let shown = |types: &[DataType]| types.iter().map(crate::sql::type_name).collect::<Vec<_>>().join(", ");
    let error = Error::new(codes::NO_FUNCTION, format!("`{name}` does not take ({})", shown(given)));
    overloads.iter().fold(error, |error, types| error.detail(format!("it takes: {name}({})", shown(types))))
}

/// A table function of an extension, for one statement.
pub(super) struct PluginTable {
    plugins: Plugins,
    grant: Grant,
    name: String,
}

impl std::fmt::Debug for PluginTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.grant.name(), self.name)
    }
}

impl PluginTable {
    pub(super) fn new(plugins: Plugins, grant: Grant, name: &str) -> Self {
        Self { plugins, grant, name: name.to_owned() }
    }
}

impl TableFunction for PluginTable {
    fn extension(&self) -> &str {
        self.grant.name()
    }

    fn bind(&self, caller: &Caller, args: Vec<ArrayRef>) -> Result<Arc<dyn BoundTable>> {
        let caller = self.plugins.caller(caller, self.grant.name());
        let instance = self.plugins.instance(&self.grant, &caller)?;
        Ok(Arc::new(Bound(instance.table(&caller, &self.name, &one_row(args)?)?)))
    }
}

struct Bound(Table);

impl BoundTable for Bound {
    fn schema(&self) -> SchemaRef {
        self.0.schema().clone()
    }

    fn scan(&self, projection: &[usize]) -> Result<RowStream> {
        let reader = self.0.scan(Some(projection), &[], None)?;
        Ok(Box::new(reader.map(|batch| batch.map_err(from_arrow))))
    }
}
