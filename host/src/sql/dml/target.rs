//! The table that `UPDATE` and `DELETE` change, in the query that finds its rows: it stands there under a name that
//! only the planner's side understands, with its row ids as one more column.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr, TableAlias, TableFactor, TableWithJoins,
};

use crate::catalog::Table;
use crate::error::Result;
use crate::sql::attach::WITHIN;
use crate::sql::bind::WITH_ROW_IDS;
use crate::sql::names::{fold_ident, quoted, split_name};
use crate::sql::scan::ROW_ID;
use crate::sql::scope::Scope;
use crate::sql::{parse, unsupported};

/// A table to be changed, and the name that the statement has for it.
pub(super) struct Target {
    pub(super) table: Table,
    pub(super) alias: String,
    /// Whether it is a view, whose triggers do the work.
    pub(super) is_view: bool,
}

impl Target {
    /// Reads the target of `UPDATE t AS a` or `DELETE FROM t AS a`.
    pub(super) fn new(scope: &Arc<Scope>, target: &TableWithJoins) -> Result<Self> {
        if !target.joins.is_empty() {
            return Err(unsupported("a join as the table to change").help("use UPDATE ... FROM or DELETE ... USING"));
        }
        let TableFactor::Table { name, alias, args: None, .. } = &target.relation else {
            return Err(unsupported("changing anything but a table"));
        };
        let (schema, name) = split_name(name)?;
        let (table, is_view) = scope.target(&scope.schema_or_default(schema), &name)?;
        let alias = match alias {
            Some(alias) if !alias.columns.is_empty() => {
                return Err(unsupported("names of columns in the alias of the table to change"));
            }
            Some(alias) => fold_ident(&alias.name),
            None => table.name.clone(),
        };
        Ok(Self { table, alias, is_view })
    }

    /// The column of row ids.
    pub(super) fn row_id(&self) -> Result<SelectItem> {
        // The rows of a view have none; one number stands for all.
        let expr = if self.is_view { parse::expression("CAST(0 AS BIGINT UNSIGNED)")? } else { self.column(ROW_ID) };
        Ok(SelectItem::ExprWithAlias { expr, alias: quoted(ROW_ID) })
    }

    /// The columns as they are, under names that meet no others.
    pub(super) fn old_columns(&self) -> impl Iterator<Item = SelectItem> {
        let columns = self.table.columns.iter().enumerate();
        columns.map(|(i, column)| SelectItem::ExprWithAlias {
            expr: self.column(&column.name),
            alias: quoted(&format!("\u{1}old{i}")),
        })
    }

    /// A column of the target.
    pub(super) fn column(&self, name: &str) -> Expr {
        Expr::CompoundIdentifier(vec![quoted(&self.alias), quoted(name)])
    }

    /// `SELECT items FROM target, others WHERE condition`.
    pub(super) fn query(
        &self,
        items: Vec<SelectItem>,
        others: Vec<TableWithJoins>,
        condition: Option<Expr>,
    ) -> Result<Query> {
        let mut query = parse::query("SELECT 1")?;
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.projection = items;
            let catalog = (!self.is_view).then_some(WITH_ROW_IDS);
            select.from = select_from(named_table(catalog, &self.table, &self.alias), others);
            select.selection = condition;
        }
        Ok(query)
    }
}

/// A table, if need be in one of the catalogs that only statements can name.
pub(super) fn named_table(catalog: Option<&str>, table: &Table, alias: &str) -> TableFactor {
    let schema = match &table.database {
        Some(database) => format!("{database}{WITHIN}{}", table.schema),
        None => table.schema.clone(),
    };
    let parts = catalog.into_iter().chain([schema.as_str(), table.name.as_str()]);
    let parts = parts.map(|part| ObjectNamePart::Identifier(quoted(part)));
    TableFactor::Table {
        name: ObjectName(parts.collect()),
        alias: Some(TableAlias { explicit: true, name: quoted(alias), columns: Vec::new(), at: None }),
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// A `FROM` list.
pub(super) fn select_from(first: TableFactor, others: Vec<TableWithJoins>) -> Vec<TableWithJoins> {
    let mut from = vec![TableWithJoins { relation: first, joins: Vec::new() }];
    from.extend(others);
    from
}

/// A name for the `i`th computed column.
pub(super) fn computed(i: usize) -> Ident {
    quoted(&format!("\u{1}new{i}"))
}
