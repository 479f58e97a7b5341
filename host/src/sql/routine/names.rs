//! Gives the names in a body their meaning: parameters, by name or number, and `NEW` and `OLD` of a row trigger become
//! numbered places whose values the planner knows. As in PostgreSQL, a name that is also a column of a table in the
//! statement means the column; `routine.parameter` always means the parameter.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::logical_expr::planner::ContextProvider;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, Statement, TableFactor,
    Value as Literal, Visit, VisitMut, Visitor, VisitorMut,
};

use crate::catalog::Parameter;
use crate::sql::bind::Binder;
use crate::sql::names::{fold_ident, quoted, split_name};
use crate::sql::scope::Scope;

/// What the names in a body may mean.
pub(super) struct Names<'a> {
    pub(super) routine: &'a str,
    pub(super) parameters: &'a [Parameter],
    /// The table's columns, for a row trigger.
    pub(super) columns: &'a [String],
}

impl Names<'_> {
    /// Puts places where the statement has names.
    pub(super) fn bind(&self, scope: &Arc<Scope>, path: &str, statement: &mut Statement) {
        let mut hidden = Hidden { scope, path, depth: 0, names: HashSet::new() };
        if !self.parameters.is_empty() {
            let _: ControlFlow<()> = Visit::visit(&*statement, &mut hidden);
        }
        let _: ControlFlow<()> = VisitMut::visit(statement, &mut Placing { names: self, hidden: &hidden.names });
    }

    /// Where the values of `NEW` and `OLD` begin: behind the parameters, `NEW` first.
    fn place(&self, parts: &[Ident], hidden: &HashSet<String>) -> Option<usize> {
        match parts {
            [name] => {
                let name = fold_ident(name);
                if hidden.contains(&name) {
                    return None;
                }
                self.parameters.iter().position(|parameter| parameter.name == name)
            }
            [table, column] => {
                let (table, column) = (fold_ident(table), fold_ident(column));
                let at = self.columns.iter().position(|known| *known == column);
                match (table.as_str(), at) {
                    ("new", Some(at)) => Some(self.parameters.len() + at),
                    ("old", Some(at)) => Some(self.parameters.len() + self.columns.len() + at),
                    _ if table == self.routine => self.parameters.iter().position(|parameter| parameter.name == column),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn place(number: usize) -> Expr {
    Expr::Value(Literal::Placeholder(format!("${}", number + 1)).into())
}

struct Placing<'a> {
    names: &'a Names<'a>,
    hidden: &'a HashSet<String>,
}

impl VisitorMut for Placing<'_> {
    type Break = ();

    /// `NEW.*` and `OLD.*`.
    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if self.names.columns.is_empty() {
            return ControlFlow::Continue(());
        }
        let items = std::mem::take(&mut select.projection);
        for item in items {
            let row = match &item {
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    name.0.first().and_then(|part| part.as_ident()).map(fold_ident).filter(|_| name.0.len() == 1)
                }
                _ => None,
            };
            match row.as_deref() {
                Some(row @ ("new" | "old")) => {
                    for column in self.names.columns {
                        let expr = Expr::CompoundIdentifier(vec![Ident::new(row), quoted(column)]);
                        select.projection.push(SelectItem::ExprWithAlias { expr, alias: quoted(column) });
                    }
                }
                _ => select.projection.push(item),
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let found = match expr {
            Expr::Identifier(name) => self.names.place(std::slice::from_ref(name), self.hidden),
            Expr::CompoundIdentifier(parts) => self.names.place(parts, self.hidden),
            _ => None,
        };
        if let Some(number) = found {
            *expr = place(number);
        }
        ControlFlow::Continue(())
    }
}

/// Names that columns of the statement's tables hide.
struct Hidden<'a> {
    scope: &'a Arc<Scope>,
    path: &'a str,
    depth: usize,
    names: HashSet<String>,
}

impl Visitor for Hidden<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.depth += 1;
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.names.extend(table.alias.columns.iter().map(|column| fold_ident(&column.name)));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        // What the outermost query calls its columns hides nothing from the query itself.
        if self.depth > 1 {
            for item in &select.projection {
                if let SelectItem::ExprWithAlias { alias, .. } = item {
                    self.names.insert(fold_ident(alias));
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } = factor
        {
            self.names.extend(alias.columns.iter().map(|column| fold_ident(&column.name)));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        if let Ok((schema, name)) = split_name(relation) {
            let reference = match schema {
                Some(schema) => TableReference::partial(schema, name),
                None => TableReference::bare(name),
            };
            // What is not there is reported when the statement is planned.
            if let Ok(source) = Binder::at(self.scope, self.path).get_table_source(reference) {
                self.names.extend(source.schema().fields().iter().map(|field| field.name().clone()));
            }
        }
        ControlFlow::Continue(())
    }
}

/// Whether a statement is one expression over parameters alone; then that expression.
pub(super) fn plain_expression(statement: &Statement) -> Option<&Expr> {
    use datafusion::sql::sqlparser::ast::{GroupByExpr, SetExpr};
    let Statement::Query(query) = statement else { return None };
    let bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.pipe_operators.is_empty();
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, with) if by.is_empty() && with.is_empty());
    if !bare || grouped || !select.from.is_empty() || select.selection.is_some() || select.having.is_some() {
        return None;
    }
    if select.distinct.is_some() || select.qualify.is_some() {
        return None;
    }
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] => Some(expr),
        _ => None,
    }
}

/// Numbered parameters under their names, so that an expression's columns are the parameters.
pub(super) fn name_places(expr: &mut Expr, routine: &str, parameters: &[Parameter]) {
    struct Naming<'a>(&'a str, &'a [Parameter]);
    impl VisitorMut for Naming<'_> {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            let number = match expr {
                Expr::Value(value) => match &value.value {
                    Literal::Placeholder(name) => name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()),
                    _ => None,
                },
                _ => None,
            };
            if let Some(parameter) = number.and_then(|number| self.1.get(number.checked_sub(1)?)) {
                *expr = Expr::CompoundIdentifier(vec![quoted(self.0), quoted(&parameter.name)]);
            }
            ControlFlow::Continue(())
        }
    }
    let _: ControlFlow<()> = expr.visit(&mut Naming(routine, parameters));
}
