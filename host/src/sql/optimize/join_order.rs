//! The order of inner joins: all orders without cross products are weighed by dynamic programming over sets of relations
//! (Moerkotte and Neumann, 2006, without their enumeration of connected pairs), and the one that makes the fewest rows on
//! the way wins. It leaves alone what has outer joins between, and more relations than it can weigh.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinConstraint, JoinType, NullEquality, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::estimate;

/// Three to the power of this many steps at most.
const RELATIONS_MAX: usize = 11;

/// The rule.
#[derive(Debug)]
pub(super) struct JoinOrder;

impl OptimizerRule for JoinOrder {
    fn name(&self) -> &str {
        "join_order"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        // It walks by itself: a join inside joins belongs to the outermost.
        None
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        reorder(plan)
    }
}

/// Joins as a set: what is joined, and by which conditions.
#[derive(Default)]
struct Joins {
    relations: Vec<LogicalPlan>,
    equal: Vec<(Column, Column)>,
    conditions: Vec<Expr>,
}

fn reorder(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !is_joined(&plan) {
        return plan.map_children(reorder);
    }
    let mut joins = Joins::default();
    joins.collect(plan.clone());
    let (changed, relations) =
        joins.relations.into_iter().try_fold((false, Vec::new()), |(changed, mut all), relation| {
            let relation = reorder(relation)?;
            all.push(relation.data);
            Ok::<_, datafusion::common::DataFusionError>((changed || relation.transformed, all))
        })?;
    joins.relations = relations;
    let ordered = match joins.relations.len() {
        3..=RELATIONS_MAX => joins.order(&plan)?,
        _ => None,
    };
    match ordered {
        Some(ordered) => Ok(Transformed::yes(ordered)),
        None if changed => {
            let mut relations = joins.relations.into_iter();
            Ok(Transformed::yes(with_relations(plan, &mut relations)?))
        }
        None => Ok(Transformed::no(plan)),
    }
}

fn is_inner(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::Join(join)
        if join.join_type == JoinType::Inner && join.null_equality == NullEquality::NullEqualsNothing)
}

/// An inner join, perhaps below a choice of columns.
fn is_joined(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) && is_joined(&projection.input)
        }
        plan => is_inner(plan),
    }
}

/// The same joins over other relations, in the order in which `collect` finds them.
fn with_relations(plan: LogicalPlan, relations: &mut impl Iterator<Item = LogicalPlan>) -> Result<LogicalPlan> {
    if is_joined(&plan) {
        return Ok(plan.map_children(|child| Ok(Transformed::yes(with_relations(child, relations)?)))?.data);
    }
    Ok(relations.next().unwrap_or(plan))
}

impl Joins {
    fn collect(&mut self, plan: LogicalPlan) {
        match plan {
            plan if !is_joined(&plan) => self.relations.push(plan),
            LogicalPlan::Projection(projection) => self.collect(Arc::unwrap_or_clone(projection.input)),
            LogicalPlan::Join(join) => {
                for (one, other) in join.on {
                    match (one, other) {
                        (Expr::Column(one), Expr::Column(other)) => self.equal.push((one, other)),
                        (one, other) => self.conditions.push(one.eq(other)),
                    }
                }
                self.conditions.extend(join.filter.into_iter().flat_map(split_conjunction_owned));
                self.collect(Arc::unwrap_or_clone(join.left));
                self.collect(Arc::unwrap_or_clone(join.right));
            }
            plan => self.relations.push(plan),
        }
    }

    /// The best order; `None` if there is no order without cross products.
    fn order(&self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        let Some(classes) = self.classes() else { return Ok(None) };
        let Some(best) = Weights::new(&self.relations, classes).weigh() else { return Ok(None) };
        let mut conditions: Vec<Option<Expr>> = self.conditions.iter().cloned().map(Some).collect();
        let joined = best.build(&self.relations, best.all(), &mut conditions)?;
        if conditions.iter().any(Option::is_some) {
            return Ok(None);
        }
        let schema = Arc::clone(plan.schema());
        let columns = schema.iter().map(|(table, field)| Expr::Column(Column::new(table.cloned(), field.name())));
        let projection = Projection::try_new_with_schema(columns.collect(), Arc::new(joined), schema)?;
        Ok(Some(LogicalPlan::Projection(projection)))
    }

    /// Columns that are equal, each with its relation.
    fn classes(&self) -> Option<Vec<Vec<(usize, Column)>>> {
        let mut classes: Vec<Vec<(usize, Column)>> = Vec::new();
        let relation = |column: &Column| self.relations.iter().position(|plan| plan.schema().has_column(column));
        for (one, other) in &self.equal {
            let class =
                |column: &Column| classes.iter().position(|class| class.iter().any(|(_, known)| known == column));
            match (class(one), class(other)) {
                (Some(of_one), Some(of_other)) if of_one == of_other => {}
                (Some(of_one), Some(of_other)) => {
                    let moved = classes.remove(of_one.max(of_other));
                    classes[of_one.min(of_other)].extend(moved);
                }
                (Some(class), None) => classes[class].push((relation(other)?, other.clone())),
                (None, Some(class)) => classes[class].push((relation(one)?, one.clone())),
                (None, None) => {
                    classes.push(vec![(relation(one)?, one.clone()), (relation(other)?, other.clone())]);
                }
            }
        }
        Some(classes)
    }
}

/// Sets of relations are the bits of a number.
type Set = usize;

struct Weights {
    rows: Vec<f64>,
    classes: Vec<Vec<(usize, Column)>>,
    /// For each class, the different values of each of its columns.
    distinct: Vec<Vec<f64>>,
    /// For each class, the relations that have one of its columns.
    members: Vec<Set>,
    best: HashMap<Set, Choice>,
}

#[derive(Clone, Copy)]
struct Choice {
    cost: f64,
    rows: f64,
    /// The side that is kept in memory, and the other one; none for a single relation.
    sides: Option<(Set, Set)>,
}

impl Weights {
    fn new(relations: &[LogicalPlan], classes: Vec<Vec<(usize, Column)>>) -> Self {
        let rows: Vec<f64> = relations.iter().map(|relation| estimate::rows(relation).max(1.0)).collect();
        let distinct = classes.iter().map(|class| {
            class.iter().map(|(of, column)| estimate::distinct(&relations[*of], column, rows[*of]).max(1.0)).collect()
        });
        let members = classes.iter().map(|class| class.iter().fold(0, |set, (of, _)| set | 1 << of));
        Self { distinct: distinct.collect(), members: members.collect(), best: HashMap::new(), classes, rows }
    }

    fn all(&self) -> Set {
        (1 << self.rows.len()) - 1
    }

    fn weigh(mut self) -> Option<Self> {
        for (relation, rows) in self.rows.iter().enumerate() {
            self.best.insert(1 << relation, Choice { cost: 0.0, rows: *rows, sides: None });
        }
        for set in 1..=self.all() {
            if set.count_ones() < 2 {
                continue;
            }
            let rows = self.rows_of(set);
            let mut best: Option<Choice> = None;
            let mut one = (set - 1) & set;
            while one > 0 {
                let other = set ^ one;
                if one < other
                    && self.are_connected(one, other)
                    && let (Some(a), Some(b)) = (self.best.get(&one), self.best.get(&other))
                {
                    // Rows that come out, and rows that are put into a table to be looked up.
                    let cost = a.cost + b.cost + rows + a.rows.min(b.rows);
                    if best.is_none_or(|best| cost < best.cost) {
                        let sides = if a.rows <= b.rows { (one, other) } else { (other, one) };
                        best = Some(Choice { cost, rows, sides: Some(sides) });
                    }
                }
                one = (one - 1) & set;
            }
            if let Some(best) = best {
                self.best.insert(set, best);
            }
        }
        self.best.contains_key(&self.all()).then_some(self)
    }

    fn are_connected(&self, one: Set, other: Set) -> bool {
        self.members.iter().any(|members| members & one != 0 && members & other != 0)
    }

    /// All combinations, divided for each class by the different values of all its columns but the poorest.
    fn rows_of(&self, set: Set) -> f64 {
        let is_in = |relation: usize| set >> relation & 1 == 1;
        let mut rows: f64 =
            self.rows.iter().enumerate().filter(|(relation, _)| is_in(*relation)).map(|(_, rows)| rows).product();
        for (class, distinct) in self.classes.iter().zip(&self.distinct) {
            let mut values: Vec<f64> =
                class.iter().zip(distinct).filter(|((of, _), _)| is_in(*of)).map(|(_, values)| *values).collect();
            values.sort_unstable_by(f64::total_cmp);
            rows /= values.iter().skip(1).product::<f64>();
        }
        rows.max(1.0)
    }

    fn build(&self, relations: &[LogicalPlan], set: Set, conditions: &mut [Option<Expr>]) -> Result<LogicalPlan> {
        let Some((left, right)) = self.best.get(&set).and_then(|choice| choice.sides) else {
            return Ok(relations[set.trailing_zeros() as usize].clone());
        };
        let of = |side: Set| {
            move |class: &Vec<(usize, Column)>| {
                class.iter().find(|(of, _)| side >> of & 1 == 1).map(|(_, column)| column.clone())
            }
        };
        let (of_left, of_right) = (of(left), of(right));
        let (left, right) = (self.build(relations, left, conditions)?, self.build(relations, right, conditions)?);
        let on = self.classes.iter().filter_map(|class| Some((of_left(class)?, of_right(class)?)));
        let on = on.map(|(one, other)| (Expr::Column(one), Expr::Column(other))).collect();
        let there = |column: &Column| left.schema().has_column(column) || right.schema().has_column(column);
        let due = conditions.iter_mut().filter_map(|condition| {
            let is_due = condition.as_ref().is_some_and(|expr| expr.column_refs().into_iter().all(there));
            if is_due { condition.take() } else { None }
        });
        let filter = conjunction(due.collect::<Vec<_>>());
        let join = Join::try_new(
            Arc::new(left),
            Arc::new(right),
            on,
            filter,
            JoinType::Inner,
            JoinConstraint::On,
            NullEquality::NullEqualsNothing,
            false,
        )?;
        Ok(LogicalPlan::Join(join))
    }
}
