//! Rewrites calls before they are planned: arguments that are named or left out are put in their places, so that the
//! planner sees plain calls only.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, VisitMut,
    VisitorMut,
};

use super::find;
use crate::catalog::{Routine, RoutineKind, SqlType};
use crate::error::{Error, Result, codes};
use crate::sql::functions::built_in;
use crate::sql::names::{fold_ident, split_name};
use crate::sql::scope::Scope;
use crate::sql::{parse, types};

/// Rewrites what stands in a tree.
pub(crate) fn rewrite<T: VisitMut>(scope: &Arc<Scope>, path: &str, tree: &mut T) -> Result<()> {
    match tree.visit(&mut Rewriting { scope, path }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriting<'a> {
    scope: &'a Arc<Scope>,
    path: &'a str,
}

impl VisitorMut for Rewriting<'_> {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match self.expr(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Rewriting<'_> {
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
