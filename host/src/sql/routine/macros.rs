//! Macros: expressions and queries under a name, put in the place of their calls before anything is planned. A call may
//! also stand in braces, `{{name(args)}}`, wherever a value, a condition or a table may.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, VisitMut, VisitorMut,
};

use crate::catalog::{Macro, drop_macro, is_virtual, put_macro};
use crate::error::{Error, Result, codes};
use crate::sql::bind::no_table;
use crate::sql::functions::{TABLE_FUNCTIONS, built_in};
use crate::sql::names::fold_ident;
use crate::sql::nearest::nearest;
use crate::sql::outcome::Outcome;
use crate::sql::scope::Scope;
use crate::sql::{parse, split};

use super::define::may_change;
use super::syntax::CreateMacro;

/// `CREATE [OR REPLACE] MACRO`.
pub(super) fn create(scope: &Arc<Scope>, create: CreateMacro) -> Result<Outcome> {
    let schema = scope.schema_or_default(create.name.0);
    if is_virtual(&schema) {
        return Err(Error::new(codes::UNSUPPORTED, format!("nothing can be created in schema `{schema}`")));
    }
    if !scope.catalog.has_schema(&schema) {
        return Err(no_table(scope, &schema, ""));
    }
    let name = create.name.1;
    if built_in().has(&name) || TABLE_FUNCTIONS.contains(&name.as_str()) {
        return Err(Error::new(codes::EXISTS, format!("a built-in function `{name}` exists already")));
    }
    if let Some(routine) = scope.catalog.routines(&schema, &name)?.first() {
        return Err(Error::new(codes::EXISTS, format!("a {} `{name}` exists already", routine.kind.noun())));
    }
    if let Some((extension, _, _)) = scope.extensions.functions().into_iter().find(|(_, _, known)| *known == name) {
        let text = format!("a function `{name}` of the extension `{extension}` exists already");
        return Err(Error::new(codes::EXISTS, text));
    }
    if let Some(known) = scope.catalog.macro_of(&schema, &name)? {
        if create.if_not_exists {
            return Ok(Outcome::done("CREATE MACRO"));
        }
        if !create.replace {
            let error = Error::new(codes::EXISTS, format!("a macro `{name}` exists already"));
            return Err(error.help("CREATE OR REPLACE MACRO"));
        }
        may_change(scope, known.owner.as_deref(), &known.schema, &known.name)?;
    }
    for (number, (parameter, _)) in create.parameters.iter().enumerate() {
        if create.parameters[..number].iter().any(|(known, _)| known == parameter) {
            return Err(Error::new(codes::AMBIGUOUS, format!("two parameters are called `{parameter}`")));
        }
    }
    let made = Macro {
        schema,
        name,
        parameters: create.parameters,
        is_table: create.is_table,
        body: create.body,
        owner: scope.owner.clone(),
    };
    scope.unit.with(|transaction| put_macro(transaction, &made))?;
    Ok(Outcome::done("CREATE MACRO"))
}

/// `DROP MACRO [TABLE] [IF EXISTS] name`.
pub(super) fn drop(scope: &Arc<Scope>, if_exists: bool, name: (Option<String>, String)) -> Result<Outcome> {
    let schema = scope.schema_or_default(name.0);
    match scope.catalog.macro_of(&schema, &name.1)? {
        Some(found) => {
            may_change(scope, found.owner.as_deref(), &found.schema, &found.name)?;
            scope.unit.with(|transaction| drop_macro(transaction, &found))?;
        }
        None if if_exists => {}
        None => return Err(no_macro(scope, &name.1)),
    }
    Ok(Outcome::done("DROP MACRO"))
}

fn no_macro(scope: &Scope, name: &str) -> Error {
    let error = Error::new(codes::NO_FUNCTION, format!("no macro `{name}`"));
    let all = scope.catalog.all_macros().unwrap_or_default();
    match nearest(name, all.iter().map(|one| &one.name)) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// The expression that a call of a macro stands for.
pub(super) fn expression(found: &Macro, function: &Function) -> Result<Expr> {
    if found.is_table {
        let error = Error::new(codes::NO_FUNCTION, format!("the macro `{}` is a table", found.name));
        return Err(error.help(format!("SELECT * FROM {}(...)", found.name)));
    }
    let args = match &function.args {
        FunctionArguments::List(list) => list.args.as_slice(),
        _ => &[],
    };
    let mut body = parse::expression(&found.body)?;
    substitute(&mut body, found, args)?;
    Ok(Expr::Nested(Box::new(body)))
}

/// The query that a call of a macro in `FROM` stands for.
pub(super) fn table(found: &Macro, args: &[FunctionArg]) -> Result<Query> {
    if !found.is_table {
        let error = Error::new(codes::NO_FUNCTION, format!("the macro `{}` is a value, not a table", found.name));
        return Err(error.help(format!("SELECT {}(...)", found.name)));
    }
    let mut body = parse::query(&found.body)?;
    substitute(&mut body, found, args)?;
    Ok(body)
}

fn substitute<T: VisitMut>(body: &mut T, found: &Macro, args: &[FunctionArg]) -> Result<()> {
    struct Putting(Vec<(String, Expr)>);
    impl VisitorMut for Putting {
        type Break = ();
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Identifier(ident) = expr
                && let Some((_, value)) = self.0.iter().find(|(name, _)| *name == fold_ident(ident))
            {
                *expr = Expr::Nested(Box::new(value.clone()));
            }
            ControlFlow::Continue(())
        }
    }
    let values = arguments(found, args)?;
    let _: ControlFlow<()> = body.visit(&mut Putting(values));
    Ok(())
}

/// The argument of each parameter.
fn arguments(found: &Macro, args: &[FunctionArg]) -> Result<Vec<(String, Expr)>> {
    let wrong = |text: String| {
        let names: Vec<&str> = found.parameters.iter().map(|(name, _)| name.as_str()).collect();
        Error::new(codes::NO_FUNCTION, text).detail(format!("it takes: {}({})", found.name, names.join(", ")))
    };
    let mut placed: Vec<Option<Expr>> = vec![None; found.parameters.len()];
    for (position, arg) in args.iter().enumerate() {
        let by_name = |label: &Ident| {
            let label = fold_ident(label);
            let at = found.parameters.iter().position(|(name, _)| *name == label);
            at.ok_or_else(|| wrong(format!("`{}` has no argument called `{label}`", found.name)))
        };
        let (at, arg) = match arg {
            FunctionArg::Unnamed(arg) => (position, arg),
            FunctionArg::Named { name, arg, .. } => (by_name(name)?, arg),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => (by_name(name)?, arg),
            FunctionArg::ExprNamed { .. } => return Err(wrong(format!("`{}`: a label is no name", found.name))),
        };
        let FunctionArgExpr::Expr(arg) = arg else {
            return Err(wrong(format!("`{}` does not take `*`", found.name)));
        };
        let count = placed.len();
        let slot = placed.get_mut(at).ok_or_else(|| wrong(format!("`{}` takes {count} arguments", found.name)))?;
        if slot.replace(arg.clone()).is_some() {
            return Err(wrong(format!("the argument `{}` of `{}` is given twice", found.parameters[at].0, found.name)));
        }
    }
    let filled = placed.into_iter().zip(&found.parameters).map(|(given, (name, default))| match (given, default) {
        (Some(given), _) => Ok((name.clone(), given)),
        (None, Some(text)) => Ok((name.clone(), parse::expression(text)?)),
        (None, None) => Err(wrong(format!("the argument `{name}` of `{}` is missing", found.name))),
    });
    filled.collect()
}

/// The text with each `{{name(args)}}` as a plain call; strings and comments are left alone.
pub(crate) fn open_braces(scope: &Scope, text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let (mut at, mut copied) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("{{")
            && let Some(end) = closing(text, at + 2)
            && let Some((name, call)) = call_in(&text[at + 2..end])
        {
            let (schema, bare) = name.split_once('.').map_or((None, name), |(schema, bare)| (Some(schema), bare));
            let schema = scope.schema_or_default(schema.map(str::to_lowercase));
            let found = scope.catalog.macro_of(&schema, &bare.to_lowercase())?;
            let found = found.ok_or_else(|| no_macro(scope, bare))?;
            out.push_str(&text[copied..at]);
            out.push_str(&if found.is_table { format!("(SELECT * FROM {call})") } else { format!("({call})") });
            at = end + 2;
            copied = at;
            continue;
        }
        at = split::after_token(text, at);
        while !text.is_char_boundary(at) {
            at += 1;
        }
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

/// Where the `}}` of a call stands.
fn closing(text: &str, start: usize) -> Option<usize> {
    let mut at = start;
    while at < text.len() {
        if text[at..].starts_with("}}") {
            return Some(at);
        }
        at = split::after_token(text, at);
        while !text.is_char_boundary(at) {
            at += 1;
        }
    }
    None
}

/// The name and the call in braces; none when it is something else, such as a struct.
fn call_in(inside: &str) -> Option<(&str, String)> {
    let inside = inside.trim();
    let end = inside.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(inside.len());
    let (name, rest) = (&inside[..end], inside[end..].trim());
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match rest {
        "" => Some((name, format!("{name}()"))),
        rest if rest.starts_with('(') && rest.ends_with(')') => Some((name, inside.to_owned())),
        _ => None,
    }
}
