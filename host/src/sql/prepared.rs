//! Parameters and prepared statements. A parameter is put into the statement's tree as a literal, which keeps one path
//! for every kind of statement; what is prepared here is the tree.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use datafusion::sql::sqlparser::ast::{Expr, Statement, Value as Literal, visit_expressions, visit_expressions_mut};

use super::names::fold_ident;
use super::outcome::Outcome;
use super::point::{self, Point};
use super::session::{Session, lock};
use super::value::Value;
use super::{dispatch, parse, split, unsupported};
use crate::error::{Error, Result, codes};

/// A statement under a name.
pub(crate) struct Prepared {
    statement: Statement,
    parameters: usize,
    fast: Fast,
}

/// What is known of a statement that may read one row by a key; looked at anew when its names mean something else.
#[derive(Default)]
struct Fast(Mutex<Option<Arc<Point>>>);

impl Fast {
    /// Runs the statement if it is of that form and its values fit; `None` if the planner must.
    fn run(&self, session: &Arc<Session>, statement: &Statement, values: &[Value]) -> Result<Option<Outcome>> {
        let known = lock(&self.0).clone();
        if let Some(point) = known
            && let Some(outcome) = point.run(session, values)?
        {
            return Ok(Some(outcome));
        }
        let Some(point) = Point::recognise(session, statement)?.map(Arc::new) else { return Ok(None) };
        *lock(&self.0) = Some(Arc::clone(&point));
        point.run(session, values)
    }
}

/// A statement that a program prepared; it has no name.
pub(crate) struct Kept {
    text: String,
    statement: Statement,
    parameters: usize,
    fast: Option<Fast>,
}

impl Kept {
    pub(crate) fn new(session: &Session, text: &str) -> Result<Self> {
        let mut pieces = split::statements(text);
        let piece = pieces.next().ok_or_else(|| Error::new(codes::SYNTAX, "there is no statement"))?;
        if pieces.next().is_some() {
            return Err(Error::new(codes::SYNTAX, "only one statement can be prepared"));
        }
        let text = piece.text.to_owned();
        // What an extension claims is not for our parser.
        let is_ours = session.engine.extensions().claim(&text)?.is_none() && dispatch::own_statement(&text).is_none();
        let statement = if is_ours { parse::statement(&text)? } else { parse::statement("SELECT 1")? };
        let parameters = count(&statement)?;
        let fast = (is_ours && Point::recognise(session, &statement)?.is_some()).then(Fast::default);
        Ok(Self { text, statement, parameters, fast })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The one row, if that is what the statement reads.
    pub(crate) fn point(&self, session: &Arc<Session>, params: &[Value]) -> Result<Option<Outcome>> {
        match &self.fast {
            Some(fast) if params.len() == self.parameters => fast.run(session, &self.statement, params),
            _ => Ok(None),
        }
    }
}

/// Runs `EXECUTE name(values)` as it stands, if the statement of that name reads one row by a key.
pub(super) fn call(session: &Arc<Session>, text: &str, params: &[Value]) -> Result<Option<Outcome>> {
    let Some((name, values)) = point::execute_call(text).filter(|_| params.is_empty()) else { return Ok(None) };
    let found = lock(&session.shared.prepared).get(&name).cloned();
    match found {
        Some(found) if found.parameters == values.len() => found.fast.run(session, &found.statement, &values),
        _ => Ok(None),
    }
}

/// Runs `PREPARE`, `EXECUTE` and `DEALLOCATE`.
pub(super) fn run(session: &Arc<Session>, statement: &Statement) -> Result<Option<Outcome>> {
    match statement {
        Statement::Prepare { name, data_types, statement } => {
            if !data_types.is_empty() {
                return Err(unsupported("types of parameters in PREPARE").help("write a cast, such as $1::BIGINT"));
            }
            prepare(session, fold_ident(name), Statement::clone(statement))?;
            Ok(Some(Outcome::done("PREPARE")))
        }
        Statement::Execute {
            name: Some(name),
            parameters,
            immediate: false,
            into,
            using,
            output: false,
            default: false,
            ..
        } => {
            if !into.is_empty() || !using.is_empty() {
                return Err(unsupported("INTO and USING in EXECUTE"));
            }
            execute(session, &name.to_string().to_lowercase(), parameters).map(Some)
        }
        Statement::Execute { .. } => Err(unsupported("this form of EXECUTE")),
        Statement::Deallocate { name, .. } => {
            let name = fold_ident(name);
            let mut prepared = lock(&session.shared.prepared);
            if name == "all" {
                prepared.clear();
            } else {
                prepared.remove(&name).ok_or_else(|| unknown(&name))?;
            }
            Ok(Some(Outcome::done("DEALLOCATE")))
        }
        _ => Ok(None),
    }
}

fn prepare(session: &Session, name: String, statement: Statement) -> Result<()> {
    let parameters = count(&statement)?;
    let mut prepared = lock(&session.shared.prepared);
    if prepared.contains_key(&name) {
        let error = Error::new(codes::EXISTS, format!("a prepared statement `{name}` exists already"));
        return Err(error.help(format!("DEALLOCATE {name}")));
    }
    prepared.insert(name, Arc::new(Prepared { statement, parameters, fast: Fast::default() }));
    Ok(())
}

fn execute(session: &Arc<Session>, name: &str, values: &[Expr]) -> Result<Outcome> {
    let found = lock(&session.shared.prepared).get(name).cloned().ok_or_else(|| unknown(name))?;
    let mut statement = found.statement.clone();
    put(&mut statement, found.parameters, values)?;
    session.run_statement(statement)
}

fn unknown(name: &str) -> Error {
    Error::new(codes::NO_OBJECT, format!("no prepared statement `{name}`"))
}

/// Puts values where the statement has parameters.
pub(super) fn put_params(statement: &mut Statement, params: &[Value]) -> Result<()> {
    let parameters = count(statement)?;
    let values: Vec<Expr> = params.iter().map(Value::to_expr).collect();
    put(statement, parameters, &values)
}

/// `PREPARE` itself takes no parameters.
pub(super) fn refuse_params(params: &[Value]) -> Result<()> {
    if params.is_empty() { Ok(()) } else { Err(mismatch(0, params.len())) }
}

fn put(statement: &mut Statement, parameters: usize, values: &[Expr]) -> Result<()> {
    if parameters != values.len() {
        return Err(mismatch(parameters, values.len()));
    }
    if parameters == 0 {
        return Ok(());
    }
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expr: &mut Expr| {
        if let Some(value) = number(expr).and_then(|number| values.get(number - 1)) {
            *expr = Expr::Nested(Box::new(value.clone()));
        }
        ControlFlow::Continue(())
    });
    Ok(())
}

/// How many parameters a statement has; their numbers must leave no gap.
fn count(statement: &Statement) -> Result<usize> {
    let mut numbers = BTreeSet::new();
    let bad = visit_expressions(statement, |expr: &Expr| match (placeholder(expr), number(expr)) {
        (None, _) => ControlFlow::Continue(()),
        (Some(_), Some(number)) => {
            numbers.insert(number);
            ControlFlow::Continue(())
        }
        (Some(name), None) => ControlFlow::Break(name.to_owned()),
    });
    if let ControlFlow::Break(name) = bad {
        return Err(Error::new(codes::PARAMETERS, format!("`{name}` is no parameter; use `?` or `$1`")));
    }
    match (numbers.len(), numbers.last()) {
        (count, Some(last)) if count != *last => {
            let missing = (1..*last).find(|number| !numbers.contains(number)).unwrap_or_default();
            Err(Error::new(codes::PARAMETERS, format!("the statement has ${last} but no ${missing}")))
        }
        (count, _) => Ok(count),
    }
}

fn placeholder(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Literal::Placeholder(name) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

fn number(expr: &Expr) -> Option<usize> {
    placeholder(expr)?.strip_prefix('$')?.parse().ok().filter(|number| *number > 0)
}

fn mismatch(wanted: usize, given: usize) -> Error {
    Error::new(codes::PARAMETERS, format!("the statement has {wanted} parameters, {given} values were given"))
}
