//! The functions that are built in: DataFusion's and ours, in one table that the whole process shares. Functions of
//! extensions are not here; see [`super::claim`].

mod dates;
mod decimals;
mod ids;
pub(crate) mod json;
mod maps;
mod overflow;
mod series;
mod text;
pub(crate) mod uuid_text;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};

pub(crate) use overflow::CheckedArithmetic;
pub(crate) use series::series;

/// Functions by name, aliases included.
pub(crate) struct Functions {
    pub(crate) scalar: HashMap<String, Arc<ScalarUDF>>,
    pub(crate) higher_order: HashMap<String, Arc<HigherOrderUDF>>,
    pub(crate) aggregate: HashMap<String, Arc<AggregateUDF>>,
    pub(crate) window: HashMap<String, Arc<WindowUDF>>,
    pub(crate) expr_planners: Vec<Arc<dyn ExprPlanner>>,
}

/// Table functions that are built in.
pub(crate) const TABLE_FUNCTIONS: &[&str] =
    &["changes", "generate_series", "range", "unnest", "read_csv", "read_parquet"];

/// The table of built-in functions.
pub(crate) fn built_in() -> &'static Functions {
    static FUNCTIONS: LazyLock<Functions> = LazyLock::new(Functions::new);
    &FUNCTIONS
}

impl Functions {
    fn new() -> Self {
        let mut scalar = HashMap::with_capacity(512);
        let ours = ids::functions().into_iter().chain(text::functions()).chain(json::functions());
        let ours = ours.chain(uuid_text::functions()).map(Arc::new);
        for function in SessionStateDefaults::default_scalar_functions().into_iter().chain(ours) {
            for alias in function.aliases() {
                scalar.insert(alias.clone(), Arc::clone(&function));
            }
            scalar.insert(function.name().to_owned(), function);
        }
        let mut aggregate = HashMap::new();
        for function in SessionStateDefaults::default_aggregate_functions() {
            for alias in function.aliases() {
                aggregate.insert(alias.clone(), Arc::clone(&function));
            }
            aggregate.insert(function.name().to_owned(), function);
        }
        let mut window = HashMap::new();
        for function in SessionStateDefaults::default_window_functions() {
            for alias in function.aliases() {
                window.insert(alias.clone(), Arc::clone(&function));
            }
            window.insert(function.name().to_owned(), function);
        }
        let mut higher_order = HashMap::new();
        for function in SessionStateDefaults::default_higher_order_functions() {
            for alias in function.aliases() {
                higher_order.insert(alias.clone(), Arc::clone(&function));
            }
            higher_order.insert(function.name().to_owned(), function);
        }
        let ours: Arc<dyn ExprPlanner> = Arc::new(dates::DateArithmetic);
        let operators: Arc<dyn ExprPlanner> = Arc::new(json::Operators);
        let maps: Arc<dyn ExprPlanner> = Arc::new(maps::MapAccess);
        let expr_planners =
            [ours, operators, maps].into_iter().chain(SessionStateDefaults::default_expr_planners()).collect();
        Self { scalar, higher_order, aggregate, window, expr_planners }
    }

    /// Whether a function that is not a table function has this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.scalar.contains_key(name)
            || self.aggregate.contains_key(name)
            || self.window.contains_key(name)
            || self.higher_order.contains_key(name)
    }

    /// Every name, for the nearest one and for the list of functions.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let scalar = self.scalar.keys().chain(self.higher_order.keys()).map(|name| ("scalar", name.as_str()));
        let aggregate = self.aggregate.keys().map(|name| ("aggregate", name.as_str()));
        let window = self.window.keys().map(|name| ("window", name.as_str()));
        let table = TABLE_FUNCTIONS.iter().map(|name| ("table", *name));
        scalar.chain(aggregate).chain(window).chain(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_stand_beside_the_engines() {
        let functions = built_in();
        for name in
            ["abs", "md5", "generate_ulid", "generate_uuid_v5", "ulid_timestamp", "version", "string_agg", "row_number"]
        {
            assert!(functions.has(name), "{name}");
        }
    }
}
