//! Rewrites calls before they are planned: arguments that are named or left out are put in their places, so that the
//! planner sees plain calls only.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, ObjectName,
    TableAlias, TableFactor, VisitMut, VisitorMut,
};

use super::{find, macros};
use crate::catalog::{Macro, Routine, RoutineKind, SqlType};
use crate::error::{Error, Result, codes};
use crate::sql::functions::built_in;
use crate::sql::names::{fold_ident, quoted, split_name};
use crate::sql::scope::Scope;
use crate::sql::{parse, types};

/// Rewrites what stands in a tree.
pub(crate) fn rewrite<T: VisitMut>(scope: &Arc<Scope>, path: &str, tree: &mut T) -> Result<()> {
    match tree.visit(&mut Rewriting { scope, path, expanded: 0, depth: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriting<'a> {
    scope: &'a Arc<Scope>,
    path: &'a str,
    /// Calls of macros that were replaced.
    expanded: usize,
    /// Macros around what is visited.
    depth: usize,
}

impl VisitorMut for Rewriting<'_> {
    type Break = Error;

    /// Before what stands inside, so that macros in the body of a macro are seen as well.
    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match self.expand(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        match self.expand_table(factor) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match self.expr(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

/// Calls of macros in one statement, for those that multiply.
const EXPANDED_MAX: usize = 1000;
/// Macros in macros; more means that one calls itself.
const DEPTH_MAX: usize = 16;

fn too_deep(name: &str) -> Error {
    Error::new(codes::TOO_DEEP, format!("the macro `{name}` calls itself, or too many others"))
}

impl Rewriting<'_> {
    fn found(&mut self, name: &ObjectName) -> Result<Option<Macro>> {
        let Ok((schema, name)) = split_name(name) else { return Ok(None) };
        if schema.is_none() && built_in().has(&name) {
            return Ok(None);
        }
        let found = self.scope.catalog.macro_of(schema.as_deref().unwrap_or(self.path), &name)?;
        self.expanded += usize::from(found.is_some());
        if self.expanded > EXPANDED_MAX {
            return Err(too_deep(&name));
        }
        Ok(found)
    }

    fn expand(&mut self, expr: &mut Expr) -> Result<()> {
        if let Expr::Function(function) = expr
            && let Some(found) = self.found(&function.name)?
        {
            let in_macro = |error: Error| error.replace_place(None).detail(format!("in the macro `{}`", found.name));
            let mut body = macros::expression(&found, function).map_err(in_macro)?;
            self.inside(&found, &mut body)?;
            *expr = body;
        }
        Ok(())
    }

    /// Expands what stands in the body of a macro.
    fn inside<T: VisitMut>(&mut self, found: &Macro, body: &mut T) -> Result<()> {
        if self.depth >= DEPTH_MAX {
            return Err(too_deep(&found.name));
        }
        let mut inner =
            Rewriting { scope: self.scope, path: self.path, expanded: self.expanded, depth: self.depth + 1 };
        let flow = body.visit(&mut inner);
        self.expanded = inner.expanded;
        match flow {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(error) => Err(error),
        }
    }

    fn expand_table(&mut self, factor: &mut TableFactor) -> Result<()> {
        let (name, args, alias) = match factor {
            TableFactor::Table { name, args: Some(args), alias, .. } => (&*name, &args.args, &*alias),
            TableFactor::Function { name, args, alias, .. } => (&*name, &*args, &*alias),
            _ => return Ok(()),
        };
        if let Some(found) = self.found(name)? {
            let mut query = macros::table(&found, args)
                .map_err(|error| error.replace_place(None).detail(format!("in the macro `{}`", found.name)))?;
            let alias = alias.clone();
            self.inside(&found, &mut query)?;
            let alias = alias.or_else(|| {
                let name = quoted(&found.name);
                Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None })
            });
            *factor = TableFactor::Derived { lateral: false, subquery: Box::new(query), alias, sample: None };
        }
        Ok(())
    }

    fn expr(&self, expr: &mut Expr) -> Result<()> {
        if let Some(call) = checked_cast(expr) {
            *expr = call;
            return Ok(());
        }
        let Expr::Function(function) = expr else { return Ok(()) };
        let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
        let named = list.args.iter().any(|arg| !matches!(arg, FunctionArg::Unnamed(_)));
        let Ok((schema, name)) = split_name(&function.name) else { return Ok(()) };
        if schema.is_none() && built_in().has(&name) {
            return Ok(());
        }
        let mut routines = find(self.scope, self.path, schema.as_deref(), &name)?;
        routines.retain(|routine| routine.kind == RoutineKind::Function);
        if routines.is_empty() {
            return Ok(());
        }
        if named || routines.iter().all(|routine| list.args.len() < routine.parameters.len()) {
            arrange(&name, &routines, list)?;
        }
        Ok(())
    }
}

/// A cast to a type that text carries is a call of the function that checks the text.
fn checked_cast(expr: &Expr) -> Option<Expr> {
    let (kind, value, tries) = match expr {
        Expr::Cast { kind, expr, data_type, format: None, .. } => {
            (data_type, expr.as_ref().clone(), matches!(kind, CastKind::TryCast | CastKind::SafeCast))
        }
        Expr::TypedString(typed) => (&typed.data_type, Expr::Value(typed.value.clone()), false),
        _ => return None,
    };
    let function = match types::sql_type(kind).ok()? {
        SqlType::Json => "json",
        SqlType::Uuid => "to_uuid",
        _ => return None,
    };
    let text = Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(value),
        data_type: DataType::Text,
        array: false,
        format: None,
    };
    if tries && function == "json" {
        return parse::expression(&format!("CASE WHEN json_valid({text}) THEN {text} END")).ok();
    }
    parse::expression(&format!("{function}({text})")).ok()
}

/// Puts arguments in the order of the parameters, with defaults where none is given.
fn arrange(name: &str, routines: &[Routine], list: &mut FunctionArgumentList) -> Result<()> {
    let mut first = None;
    for routine in routines {
        match arranged(name, routine, &list.args) {
            Ok(args) => {
                list.args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
                return Ok(());
            }
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(()), Err)
}

/// The arguments of a call, one for each parameter.
pub(super) fn arranged(name: &str, routine: &Routine, args: &[FunctionArg]) -> Result<Vec<Expr>> {
    let parameters = &routine.parameters;
    let mut placed: Vec<Option<Expr>> = vec![None; parameters.len()];
    let wrong =
        |text: String| Error::new(codes::NO_FUNCTION, text).detail(format!("it takes: {}", routine.full_label()));
    let value = |arg: &FunctionArgExpr| match arg {
        FunctionArgExpr::Expr(expr) => Ok(expr.clone()),
        _ => Err(wrong(format!("`{name}` does not take `*`"))),
    };
    let mut labels = false;
    for (position, arg) in args.iter().enumerate() {
        let (at, arg) = match arg {
            FunctionArg::Unnamed(arg) if !labels => (position, arg),
            FunctionArg::Unnamed(_) => {
                return Err(wrong(format!("`{name}`: an argument without a name follows one with a name")));
            }
            FunctionArg::Named { name: label, arg, .. } => (labelled(name, routine, &fold_ident(label), &wrong)?, arg),
            FunctionArg::ExprNamed { name: label, arg, .. } => {
                let label = match label {
                    Expr::Identifier(ident) => fold_ident(ident),
                    other => other.to_string(),
                };
                (labelled(name, routine, &label, &wrong)?, arg)
            }
        };
        labels |= at != position || !matches!(args[position], FunctionArg::Unnamed(_));
        let slot = placed.get_mut(at).ok_or_else(|| wrong(format!("`{name}` takes {} arguments", parameters.len())))?;
        if slot.is_some() {
            return Err(wrong(format!("the argument `{}` of `{name}` is given twice", parameters[at].name)));
        }
        *slot = Some(value(arg)?);
    }
    placed
        .into_iter()
        .zip(parameters)
        .map(|(expr, parameter)| match (expr, &parameter.default) {
            (Some(expr), _) => Ok(expr),
            (None, Some(text)) => Ok(Expr::Nested(Box::new(parse::expression(text)?))),
            (None, None) => Err(wrong(format!("the argument `{}` of `{name}` is missing", parameter.name))),
        })
        .collect()
}

fn labelled(name: &str, routine: &Routine, label: &str, wrong: &dyn Fn(String) -> Error) -> Result<usize> {
    let found = routine.parameters.iter().position(|parameter| parameter.name == label);
    found.ok_or_else(|| wrong(format!("`{name}` has no argument called `{label}`")))
}
