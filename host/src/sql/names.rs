//! Names: how identifiers fold, how a qualified name is read, and what an expression without a name is called in a
//! result. Folding follows PostgreSQL (lower case unless quoted), headers follow DuckDB (the expression's own text).

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{Expr, Ident, ObjectName, Query, Select, SelectItem, SetExpr};

use crate::error::{Error, Result, codes};

/// Separates a name from the number that makes it unique within the engine, where two columns cannot share one.
const TWIN: char = '\u{1}';

/// An identifier as the catalog knows it.
pub(crate) fn fold_ident(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The schema, if it is written, and the name.
pub(crate) fn split_name(name: &ObjectName) -> Result<(Option<String>, String)> {
    let parts = name.0.iter().map(|part| part.as_ident().map(fold_ident));
    let parts = parts.collect::<Option<Vec<_>>>().unwrap_or_default();
    match <[String; 1]>::try_from(parts) {
        Ok([name]) => Ok((None, name)),
        Err(parts) => match <[String; 2]>::try_from(parts) {
            Ok([schema, name]) => Ok((Some(schema), name)),
            Err(parts) if parts.len() == 3 => {
                let schema = format!("{}{}{}", parts[0], super::attach::WITHIN, parts[1]);
                Ok((Some(schema), parts[2].clone()))
            }
            Err(_) => Err(Error::new(codes::SYNTAX, format!("`{name}` is not a name, or a schema and a name"))),
        },
    }
}

/// The name of a function, quoted or not, as functions are looked up.
pub(crate) fn function_name(name: &ObjectName) -> String {
    match name.0.as_slice() {
        [part] => part.as_ident().map_or_else(|| name.to_string().to_lowercase(), fold_ident),
        _ => name.to_string().to_lowercase(),
    }
}

/// A name quoted where it has to be.
pub(crate) fn quoted(name: &str) -> Ident {
    Ident::with_quote('"', name)
}

/// Gives every unnamed expression of the outermost query the name that users see, and makes equal names unique.
pub(crate) fn name_columns(query: &mut Query) {
    if let Some(select) = first_select(&mut query.body) {
        let mut seen = HashMap::new();
        for item in &mut select.projection {
            name_item(item, &mut seen);
        }
    }
}

/// The name that users see for a column of the engine.
pub(crate) fn shown(name: &str) -> &str {
    name.split(TWIN).next().unwrap_or(name)
}

/// The select whose columns name those of the whole query.
fn first_select(body: &mut SetExpr) -> Option<&mut Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&mut query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}

fn name_item(item: &mut SelectItem, seen: &mut HashMap<String, usize>) {
    match item {
        SelectItem::UnnamedExpr(expr) => {
            let plain = match expr {
                Expr::Identifier(ident) => Some(fold_ident(ident)),
                Expr::CompoundIdentifier(parts) => parts.last().map(fold_ident),
                _ => None,
            };
            let name = plain.clone().unwrap_or_else(|| header(expr));
            let times = seen.entry(name.clone()).or_default();
            *times += 1;
            if plain.is_none() || *times > 1 {
                let alias = quoted(&unique(&name, *times));
                let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
        SelectItem::ExprWithAlias { alias, .. } => {
            let name = fold_ident(alias);
            let times = seen.entry(name.clone()).or_default();
            *times += 1;
            if *times > 1 {
                *alias = quoted(&unique(&name, *times));
            }
        }
        _ => {}
    }
}

fn unique(name: &str, times: usize) -> String {
    if times == 1 { name.to_owned() } else { format!("{name}{TWIN}{times}") }
}

fn header(expr: &Expr) -> String {
    match expr {
        Expr::Nested(inner) => header(inner),
        // A cast is called as what it casts.
        Expr::Cast { expr, .. } if matches!(expr.as_ref(), Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
            let text = expr.to_string();
            text.rsplit('.').next().unwrap_or(&text).trim_matches('"').to_lowercase()
        }
        _ => expr.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse;

    fn named(text: &str) -> String {
        let mut query = parse::query(text).expect("parses");
        name_columns(&mut query);
        query.to_string().replace(TWIN, "#")
    }

    #[test]
    fn expressions_are_named_by_their_text_and_twins_told_apart() {
        assert_eq!(
            named("select a, t.b, a+1, count(*)"),
            "SELECT a, t.b, a + 1 AS \"a + 1\", count(*) AS \"count(*)\""
        );
        assert_eq!(named("select id, t.id, 1 as id"), "SELECT id, t.id AS \"id#2\", 1 AS \"id#3\"");
        assert_eq!(shown("id\u{1}2"), "id");
    }
}
