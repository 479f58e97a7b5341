//! `MERGE`: one query joins source and target and says for each row which clause it meets; then rows go and come as in
//! `UPDATE`, `DELETE` and `INSERT`. A target row that two source rows would change is an error, as the standard has it.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, UInt64Type};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{
    CaseWhen, Expr as SqlExpr, Ident, JoinConstraint, JoinOperator, Merge, MergeAction, MergeClause, MergeClauseKind,
    MergeInsertKind, SelectItem, SetExpr, Statement, TableFactor, TableWithJoins, Value as Literal,
};

use super::insert::{default_expr, is_default, makes_own, positions};
use super::target::{Target, select_from};
use super::update::assignments;
use super::write::{Writer, assign};
use crate::catalog::{Event, Table};
use crate::error::{Error, Result, codes};
use crate::sql::bind::Binder;
use crate::sql::fault::{fold, fold_arrow};
use crate::sql::names::quoted;
use crate::sql::outcome::Outcome;
use crate::sql::routine::{Triggers, keep};
use crate::sql::scope::Scope;
use crate::sql::{parse, query, unsupported};
use crate::storage::TableId;

/// The column of the source that tells that there is a row of it.
const SOURCE: &str = "\u{1}source";
const ACTION: &str = "\u{1}action";

/// What a clause does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Insert,
    Update,
    Delete,
    Nothing,
}

struct Clause {
    /// When it is met, but for the clauses before it.
    condition: SqlExpr,
    kind: Kind,
    /// The new row, for those that make one.
    values: Vec<SqlExpr>,
}

/// `MERGE INTO t USING s ON condition WHEN ...`.
pub(crate) fn merge(scope: &Arc<Scope>, merge: Merge) -> Result<Outcome> {
    if merge.output.is_some() || !merge.optimizer_hints.is_empty() {
        return Err(unsupported("OUTPUT and hints in MERGE"));
    }
    let target = Target::new(scope, &TableWithJoins { relation: merge.table, joins: Vec::new() })?;
    if target.is_view {
        return Err(unsupported("MERGE into a view"));
    }
    let (source, source_name) = source(merge.source)?;
    let clauses = merge.clauses.into_iter().map(|clause| read(&target, &source_name, clause));
    let clauses = clauses.collect::<Result<Vec<_>>>()?;
    let plan = plan(scope, &target, source, *merge.on, &clauses)?;
    let changed = run(scope, &target.table, &plan, &clauses)?;
    Ok(Outcome::changed("MERGE", changed))
}

/// The source with its mark, and the name that the statement has for it.
fn source(factor: TableFactor) -> Result<(TableFactor, Ident)> {
    let alias = match &factor {
        TableFactor::Table { alias, name, .. } => match alias {
            Some(alias) => Some(alias.name.clone()),
            None => name.0.last().and_then(|part| part.as_ident()).cloned(),
        },
        TableFactor::Derived { alias, .. } | TableFactor::Function { alias, .. } => {
            alias.as_ref().map(|alias| alias.name.clone())
        }
        _ => return Err(unsupported("this source of MERGE")),
    };
    let alias = alias.unwrap_or_else(|| quoted("source"));
    let mut marked = parse::query(&format!("SELECT *, TRUE AS \"{SOURCE}\" FROM (SELECT 1) AS x"))?;
    if let SetExpr::Select(select) = marked.body.as_mut() {
        select.from = select_from(factor, Vec::new());
    }
    let mut derived = parse::query("SELECT 1 FROM (SELECT 1) AS x")?;
    if let SetExpr::Select(select) = derived.body.as_mut()
        && let Some(TableFactor::Derived { subquery, alias: named, .. }) =
            select.from.first_mut().map(|from| &mut from.relation)
    {
        **subquery = marked;
        if let Some(named) = named {
            named.name = alias.clone();
        }
        return Ok((select.from.remove(0).relation, alias));
    }
    Err(Error::new(codes::INTERNAL, "a derived table was read as something else"))
}

fn read(target: &Target, source: &Ident, clause: MergeClause) -> Result<Clause> {
    let there = |expr: SqlExpr| SqlExpr::IsNotNull(Box::new(expr));
    let missing = |expr: SqlExpr| SqlExpr::IsNull(Box::new(expr));
    let in_source = || SqlExpr::CompoundIdentifier(vec![source.clone(), quoted(SOURCE)]);
    let in_target = || target.column(crate::sql::scan::ROW_ID);
    let met = match clause.clause_kind {
        MergeClauseKind::Matched => and(there(in_source()), there(in_target())),
        MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget => missing(in_target()),
        MergeClauseKind::NotMatchedBySource => missing(in_source()),
    };
    let condition = match clause.predicate {
        Some(predicate) => and(met, SqlExpr::Nested(Box::new(predicate))),
        None => met,
    };
    let by_target = matches!(clause.clause_kind, MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget);
    let table = &target.table;
    let (kind, values) = match clause.action {
        MergeAction::Insert(insert) if by_target => {
            if insert.insert_predicate.is_some() {
                return Err(unsupported("WHERE behind INSERT in MERGE").help("WHEN NOT MATCHED AND ... THEN INSERT"));
            }
            let MergeInsertKind::Values(values) = insert.kind else { return Err(unsupported("INSERT ROW in MERGE")) };
            let positions = positions(table, &insert.columns)?;
            let rows = values.rows;
            let [row] = rows.as_slice() else { return Err(unsupported("several rows in INSERT of MERGE")) };
            if row.content.len() > positions.len()
                || (row.content.len() < positions.len() && !insert.columns.is_empty())
            {
                let text = format!(
                    "{} values for {} columns of table `{}`",
                    row.content.len(),
                    positions.len(),
                    table.label()
                );
                return Err(Error::new(codes::PLAN, text));
            }
            let mut made = (0..table.columns.len()).map(|at| default_expr(table, at)).collect::<Result<Vec<_>>>()?;
            for (value, position) in row.content.iter().zip(positions) {
                if !is_default(value) {
                    if table.columns[position].makes_itself() {
                        return Err(makes_own(&table.columns[position].name));
                    }
                    made[position] = value.clone();
                }
            }
            (Kind::Insert, made)
        }
        MergeAction::Insert(_) => {
            return Err(Error::new(codes::SYNTAX, "INSERT in MERGE needs WHEN NOT MATCHED"));
        }
        MergeAction::Update(_) | MergeAction::Delete { .. } if by_target => {
            return Err(Error::new(codes::SYNTAX, "WHEN NOT MATCHED can only INSERT"));
        }
        MergeAction::Update(update) => {
            if update.update_predicate.is_some() || update.delete_predicate.is_some() {
                return Err(unsupported("WHERE behind UPDATE in MERGE").help("WHEN MATCHED AND ... THEN UPDATE"));
            }
            let assigned = assignments(table, update.assignments)?;
            let column = |at: usize| {
                let new = assigned.iter().find(|(known, _)| *known == at).map(|(_, expr)| expr.clone());
                new.unwrap_or_else(|| target.column(&table.columns[at].name))
            };
            (Kind::Update, (0..table.columns.len()).map(column).collect())
        }
        MergeAction::Delete { .. } => (Kind::Delete, Vec::new()),
    };
    Ok(Clause { condition, kind, values })
}

fn and(left: SqlExpr, right: SqlExpr) -> SqlExpr {
    use datafusion::sql::sqlparser::ast::BinaryOperator;
    SqlExpr::BinaryOp { left: Box::new(left), op: BinaryOperator::And, right: Box::new(right) }
}

fn number(value: usize) -> SqlExpr {
    SqlExpr::Value(Literal::Number(value.to_string(), false).into())
}

/// `CASE WHEN conditions THEN results END`.
fn case(conditions: Vec<CaseWhen>) -> SqlExpr {
    use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
    SqlExpr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions,
        else_result: None,
    }
}

/// Row id, number of the clause, the old row, and for each clause that makes a row its values.
fn plan(
    scope: &Arc<Scope>,
    target: &Target,
    source: TableFactor,
    on: SqlExpr,
    clauses: &[Clause],
) -> Result<LogicalPlan> {
    let actions = clauses.iter().enumerate();
    let actions = actions.map(|(i, clause)| CaseWhen { condition: clause.condition.clone(), result: number(i) });
    let action = case(actions.collect());
    let mut items = vec![target.row_id()?];
    items.push(SelectItem::ExprWithAlias { expr: action.clone(), alias: quoted(ACTION) });
    items.extend(target.old_columns());
    for (i, clause) in clauses.iter().enumerate() {
        for (at, value) in clause.values.iter().enumerate() {
            // Only for the rows that meet the clause, so that another's values cannot fail.
            let mine = SqlExpr::BinaryOp {
                left: Box::new(action.clone()),
                op: datafusion::sql::sqlparser::ast::BinaryOperator::Eq,
                right: Box::new(number(i)),
            };
            let expr = case(vec![CaseWhen { condition: mine, result: value.clone() }]);
            items.push(SelectItem::ExprWithAlias { expr, alias: quoted(&format!("\u{1}new{i}_{at}")) });
        }
    }
    let mut find = target.query(items, Vec::new(), None)?;
    if let SetExpr::Select(select) = find.body.as_mut() {
        let from = select.from.first_mut().ok_or_else(|| Error::new(codes::INTERNAL, "a query without a table"))?;
        let all = clauses.iter().any(|clause| clause.kind != Kind::Insert);
        let every_source = clauses.iter().any(|clause| clause.kind == Kind::Insert);
        let constraint = JoinConstraint::On(on);
        // Rows of the target that no source row meets are wanted only by NOT MATCHED BY SOURCE.
        let join_operator = match (every_source, all) {
            (true, true) => JoinOperator::FullOuter(constraint),
            (true, false) => JoinOperator::Right(constraint),
            (false, _) => JoinOperator::Left(constraint),
        };
        let join = datafusion::sql::sqlparser::ast::Join { relation: source, global: false, join_operator };
        from.joins.push(join);
    }
    let plan = Binder::new(scope).plan(Statement::Query(Box::new(find)))?;
    fit(plan, &target.table, clauses)
}

/// Brings the values of every clause to the table's types.
fn fit(plan: LogicalPlan, table: &Table, clauses: &[Clause]) -> Result<LogicalPlan> {
    let (columns, schema) = (plan.schema().columns(), Arc::clone(plan.schema()));
    let count = table.columns.len();
    let mut items: Vec<Expr> = columns[..2 + count].iter().cloned().map(Expr::Column).collect();
    let mut at = 2 + count;
    for clause in clauses.iter().filter(|clause| !clause.values.is_empty()) {
        for (column, source) in table.columns.iter().zip(&columns[at..at + clause.values.len()]) {
            items.push(assign(Expr::Column(source.clone()), column, &schema)?.alias(source.name()));
        }
        at += clause.values.len();
    }
    LogicalPlanBuilder::from(plan).project(items).and_then(LogicalPlanBuilder::build).map_err(|error| fold(&error))
}

/// Rows of one kind of change.
#[derive(Default)]
struct Changes {
    ids: Vec<u64>,
    old: Vec<RecordBatch>,
    new: Vec<RecordBatch>,
}

fn run(scope: &Arc<Scope>, table: &Table, plan: &LogicalPlan, clauses: &[Clause]) -> Result<u64> {
    let wanted = |kind: Kind| clauses.iter().any(|clause| clause.kind == kind);
    let arm = |kind: Kind, event: Event| match wanted(kind) {
        true => Triggers::of(scope, table, event),
        false => Ok(None),
    };
    let set = table.columns.iter().map(|column| column.name.clone()).collect();
    let mut inserting = arm(Kind::Insert, Event::Insert)?;
    let mut updating = arm(Kind::Update, Event::Update(set))?;
    let mut deleting = arm(Kind::Delete, Event::Delete)?;
    let (mut inserts, mut updates, mut deletes) = (Changes::default(), Changes::default(), Changes::default());
    let mut seen = HashSet::new();
    for batch in query::start(scope, plan)? {
        let batch = batch?;
        scope.token.check()?;
        let actions = batch.column(1).as_primitive::<Int64Type>();
        let mut at = 2 + table.columns.len();
        for (number, clause) in clauses.iter().enumerate() {
            let values = at..at + clause.values.len();
            at = values.end;
            let mine =
                actions.iter().map(|action| Some(action == i64::try_from(number).ok())).collect::<BooleanArray>();
            let mine = filter_record_batch(&batch, &mine).map_err(|error| fold_arrow(&error))?;
            if mine.num_rows() == 0 || clause.kind == Kind::Nothing {
                continue;
            }
            let part = |columns: std::ops::Range<usize>| {
                let rows = mine.project(&columns.collect::<Vec<_>>()).map_err(|error| fold_arrow(&error))?;
                nullable(&rows, table)
            };
            let ids: &UInt64Array = mine.column(0).as_primitive::<UInt64Type>();
            let changes = match clause.kind {
                Kind::Insert => &mut inserts,
                Kind::Update => &mut updates,
                _ => &mut deletes,
            };
            if clause.kind != Kind::Insert {
                if let Some(id) = ids.values().iter().find(|id| !seen.insert(**id)) {
                    let text = format!("MERGE would change a row of `{}` twice", table.label());
                    let error = Error::new(codes::UNIQUE, text).with_sqlstate("21000");
                    return Err(error.detail(format!("row {id} is met by more than one row of the source")));
                }
                changes.ids.extend(ids.values());
                changes.old.push(part(2..2 + table.columns.len())?);
            }
            if !clause.values.is_empty() {
                changes.new.push(part(values)?);
            }
        }
    }
    // One writer, so that foreign keys are judged when everything is done.
    let mut writer = Writer::new(scope, table)?;
    let deleted = delete(scope, table, &mut writer, &mut deletes, deleting.as_mut())?;
    update(scope, table, &mut writer, &mut updates, updating.as_mut())?;
    insert(&mut writer, inserts, inserting.as_mut())?;
    let written = writer.finish()?;
    for triggers in [deleting, updating, inserting].into_iter().flatten() {
        triggers.finish()?;
    }
    Ok(deleted + written)
}

fn delete(
    scope: &Scope,
    table: &Table,
    writer: &mut Writer<'_>,
    changes: &mut Changes,
    mut triggers: Option<&mut Triggers>,
) -> Result<u64> {
    let mut ids = changes.ids.as_slice();
    let mut all = 0;
    for old in std::mem::take(&mut changes.old) {
        let (mine, rest) = ids.split_at(old.num_rows());
        ids = rest;
        let (mut going, mut old) = (mine.to_vec(), old);
        if let Some(triggers) = triggers.as_deref_mut() {
            if let Some(kept) = triggers.before(Some(old.clone()), None)?.rows {
                going = kept.iter().map(|row| mine[*row]).collect();
                old = keep(&old, &kept)?;
            }
            triggers.remember(Some(old), None);
        }
        writer.referential.removing(&going)?;
        all += scope.unit_of(table)?.with(|transaction| transaction.delete(TableId(table.id), &going))?;
    }
    Ok(all)
}

/// All old rows go before the first new one comes, so that keys may move between them.
fn update(
    scope: &Scope,
    table: &Table,
    writer: &mut Writer<'_>,
    changes: &mut Changes,
    mut triggers: Option<&mut Triggers>,
) -> Result<()> {
    let mut ids = changes.ids.as_slice();
    let mut rows = Vec::new();
    for (old, new) in std::mem::take(&mut changes.old).into_iter().zip(std::mem::take(&mut changes.new)) {
        let (mine, rest) = ids.split_at(old.num_rows());
        ids = rest;
        let (mut going, mut old, mut new) = (mine.to_vec(), old, new);
        if let Some(triggers) = triggers.as_deref_mut() {
            let passed = triggers.before(Some(old.clone()), Some(new.clone()))?;
            if let Some(kept) = &passed.rows {
                going = kept.iter().map(|row| mine[*row]).collect();
            }
            (old, new) = (passed.old.unwrap_or(old), passed.new.unwrap_or(new));
        }
        let new = writer.generate(new)?;
        writer.referential.changing(&going, &new)?;
        scope.unit_of(table)?.with(|transaction| transaction.delete(TableId(table.id), &going))?;
        rows.push((old, new));
    }
    for (old, new) in rows {
        let new = writer.write(&new)?;
        if let Some(triggers) = triggers.as_deref_mut() {
            triggers.remember(Some(old), Some(new));
        }
    }
    Ok(())
}

fn insert(writer: &mut Writer<'_>, changes: Changes, mut triggers: Option<&mut Triggers>) -> Result<()> {
    for new in changes.new {
        let new = match triggers.as_deref_mut() {
            Some(triggers) => triggers.before(None, Some(new.clone()))?.new.unwrap_or(new),
            None => new,
        };
        let new = writer.write(&new)?;
        if let Some(triggers) = triggers.as_deref_mut() {
            triggers.remember(None, Some(new));
        }
    }
    Ok(())
}

/// Rows under the table's names; what must not be null is the writer's to say.
fn nullable(rows: &RecordBatch, table: &Table) -> Result<RecordBatch> {
    let fields = table
        .arrow_schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect::<Vec<_>>();
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema, rows.columns().to_vec(), &options).map_err(|error| fold_arrow(&error))
}
