//! `CREATE` and `DROP` of routines and triggers. A routine's body is compiled by its language before it is kept, so
//! that a wrong one is refused now.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::DataType;

use super::syntax::{CreateRoutine, CreateTrigger, DropRoutines, WrittenParameter, WrittenReturns};
use super::trigger::check_condition;
use super::{SQL, find, language, no_routine, trigger_label};
use crate::catalog::{
    Event, Level, Parameter, Relation, Returns, Routine, RoutineKind, Timing, Trigger, Volatile, drop_routine,
    drop_trigger as forget_trigger, is_virtual, put_routine, put_trigger,
};
use crate::error::{Error, Result, codes};
use crate::sql::bind::{Binder, no_table};
use crate::sql::functions::{TABLE_FUNCTIONS, built_in};
use crate::sql::outcome::Outcome;
use crate::sql::scope::Scope;
use crate::sql::{parse, types};
use crate::storage::Transaction;

/// `CREATE [OR REPLACE] FUNCTION | PROCEDURE`.
pub(super) fn create_routine(scope: &Arc<Scope>, create: CreateRoutine) -> Result<Outcome> {
    let tag = format!("CREATE {}", create.kind.noun().to_uppercase());
    let schema = scope.schema_or_default(create.name.0.clone());
    check_schema(scope, &schema)?;
    let name = create.name.1.clone();
    let language_name = create.language.clone().unwrap_or_else(|| SQL.to_owned());
    let language = language(scope, &language_name)?;
    let routine = Routine {
        schema,
        kind: create.kind,
        parameters: parameters(scope, &create.parameters)?,
        returns: returns(create.kind, create.returns, &name)?,
        name,
        language: language_name,
        extension: language.extension().map(str::to_owned),
        volatility: create.volatility.unwrap_or(Volatile::Volatile),
        strict: create.strict,
        body: create.body,
        inline: None,
        path: scope.path.clone(),
        owner: scope.owner.clone(),
    };
    if routine.returns == Returns::Trigger && !routine.parameters.is_empty() {
        let text = format!("the trigger function `{}` cannot have parameters", routine.label());
        return Err(Error::new(codes::PLAN, text).help("a trigger's arguments are given by EXECUTE FUNCTION f('a')"));
    }
    check_name(scope, &routine)?;
    let known = scope.catalog.routines(&routine.schema, &routine.name)?;
    if let Some(known) = known.iter().find(|known| known.signature() == routine.signature()) {
        if create.if_not_exists {
            return Ok(Outcome::done(tag));
        }
        if !create.replace || known.kind != routine.kind {
            let text = format!("a {} `{}` exists already", known.kind.noun(), known.full_label());
            let error = Error::new(codes::EXISTS, text);
            return Err(match known.kind == routine.kind {
                true => error.help(format!("CREATE OR REPLACE {}", routine.kind.noun().to_uppercase())),
                false => error.help(format!("DROP {} {}", known.kind.noun().to_uppercase(), known.full_label())),
            });
        }
        may_change(scope, known.owner.as_deref(), &known.schema, &known.name)?;
    }
    // Kept before it is compiled, so that a body may name its own routine; a failure undoes the statement.
    scope.unit.with(|transaction| put_routine(transaction, &routine))?;
    let checked = language.check(&scope.caller().deeper()?, &routine)?;
    if checked.inline.is_some() {
        let routine = Routine { inline: checked.inline, ..routine };
        scope.unit.with(|transaction| put_routine(transaction, &routine))?;
    }
    Ok(Outcome::done(tag))
}

fn check_schema(scope: &Scope, schema: &str) -> Result<()> {
    if is_virtual(schema) {
        return Err(Error::new(codes::UNSUPPORTED, format!("nothing can be created in schema `{schema}`")));
    }
    if scope.catalog.has_schema(schema) { Ok(()) } else { Err(no_table(scope, schema, "")) }
}

/// What is built in or an extension's is found first, so that a routine of that name could never be called.
fn check_name(scope: &Scope, routine: &Routine) -> Result<()> {
    if routine.kind == RoutineKind::Procedure || routine.schema != scope.path {
        return Ok(());
    }
    let name = routine.name.as_str();
    if built_in().has(name) || TABLE_FUNCTIONS.contains(&name) {
        return Err(Error::new(codes::EXISTS, format!("a built-in function `{name}` exists already")));
    }
    if scope.catalog.macro_of(&routine.schema, name)?.is_some() {
        return Err(Error::new(codes::EXISTS, format!("a macro `{name}` exists already")));
    }
    let owner = scope.extensions.functions().into_iter().find(|(_, _, known)| known == name);
    match owner {
        Some((extension, _, _)) => {
            Err(Error::new(codes::EXISTS, format!("a function `{name}` of the extension `{extension}` exists already")))
        }
        None => Ok(()),
    }
}

fn parameters(scope: &Arc<Scope>, written: &[WrittenParameter]) -> Result<Vec<Parameter>> {
    let mut all: Vec<Parameter> = Vec::with_capacity(written.len());
    for (number, one) in (1..).zip(written) {
        let name = one.name.clone().unwrap_or_else(|| format!("${number}"));
        if all.iter().any(|known| known.name == name) {
            return Err(Error::new(codes::AMBIGUOUS, format!("two parameters are called `{name}`")));
        }
        let default = match &one.default {
            None if all.iter().any(|known| known.default.is_some()) => {
                let text = format!("the parameter `{name}` needs a default, as the one before it has one");
                return Err(Error::new(codes::SYNTAX, text));
            }
            None => None,
            Some(expr) => {
                // Planned once without any columns, so that a wrong one is refused now.
                Binder::new(scope).expression(expr.clone(), &datafusion::common::DFSchema::empty())?;
                Some(expr.to_string())
            }
        };
        all.push(Parameter { name, kind: types::sql_type(&one.kind)?, default });
    }
    Ok(all)
}

fn returns(kind: RoutineKind, written: Option<WrittenReturns>, name: &str) -> Result<Returns> {
    Ok(match written {
        None if kind == RoutineKind::Procedure => Returns::Nothing,
        None => {
            let text = format!("the function `{name}` does not say what it returns");
            return Err(Error::new(codes::SYNTAX, text).help("RETURNS type, RETURNS TABLE(...) or RETURNS TRIGGER"));
        }
        Some(WrittenReturns::Value(kind)) => Returns::Value(types::sql_type(&kind)?),
        Some(WrittenReturns::Set(kind)) => Returns::Table(vec![(name.to_owned(), types::sql_type(&kind)?)]),
        Some(WrittenReturns::Nothing) => Returns::Nothing,
        Some(WrittenReturns::Trigger) => Returns::Trigger,
        Some(WrittenReturns::Table(columns)) => {
            let mut all: Vec<(String, _)> = Vec::with_capacity(columns.len());
            for (name, kind) in columns {
                if all.iter().any(|(known, _)| *known == name) {
                    return Err(Error::new(codes::EXISTS, format!("the column `{name}` occurs more than once")));
                }
                all.push((name, types::sql_type(&kind)?));
            }
            Returns::Table(all)
        }
    })
}

/// What belongs to an extension that cannot be asked is not changed behind its back.
pub(super) fn may_change(scope: &Scope, owner: Option<&str>, schema: &str, name: &str) -> Result<()> {
    match owner {
        Some(owner) if scope.owner.as_deref() != Some(owner) => scope.extensions.check_write(owner, schema, name),
        _ => Ok(()),
    }
}

/// `DROP FUNCTION | PROCEDURE | ROUTINE`.
pub(super) fn drop_routines(scope: &Arc<Scope>, drop: &DropRoutines) -> Result<Outcome> {
    let noun = drop.kind.map_or("routine", RoutineKind::noun);
    let triggers = scope.catalog.all_triggers()?;
    for ((schema, name), kinds) in &drop.names {
        let mut found = find(scope, &scope.path, schema.as_deref(), name)?;
        found.retain(|routine| drop.kind.is_none_or(|kind| routine.kind == kind));
        if let Some(kinds) = kinds {
            let wanted = kinds.iter().map(|kind: &DataType| types::sql_type(kind)).collect::<Result<Vec<_>>>()?;
            found.retain(|routine| routine.parameters.iter().map(|one| &one.kind).eq(wanted.iter()));
        }
        let routine = match found.as_slice() {
            [] if drop.if_exists => continue,
            [] => return Err(no_routine(scope, noun, schema.as_deref(), name)),
            [one] => one,
            several => {
                let error = Error::new(codes::AMBIGUOUS, format!("there are {} of the name `{name}`", several.len()));
                let error = several.iter().fold(error, |error, one| error.detail(one.full_label()));
                return Err(error.help(format!("DROP {} {}", noun.to_uppercase(), several[0].full_label())));
            }
        };
        let users = triggers.iter().filter(|trigger| {
            routine.returns == Returns::Trigger && trigger.function == (routine.schema.clone(), routine.name.clone())
        });
        let users: Vec<&Trigger> = users.collect();
        if let Some(first) = users.first()
            && !drop.cascade
        {
            let text = format!("the trigger `{} calls `{}`", trigger_label(first), routine.label());
            return Err(
                Error::new(codes::DEPENDENTS, text).help(format!("DROP {} {name} CASCADE", noun.to_uppercase()))
            );
        }
        scope.unit.with(|transaction| {
            users.iter().try_for_each(|trigger| forget_trigger(transaction, trigger))?;
            drop_routine(transaction, routine)
        })?;
    }
    Ok(Outcome::done(format!("DROP {}", noun.to_uppercase())))
}

/// `CREATE [OR REPLACE] TRIGGER`.
pub(super) fn create_trigger(scope: &Arc<Scope>, create: CreateTrigger) -> Result<Outcome> {
    let (schema, name) = (scope.schema_or_default(create.table.0.clone()), create.table.1.clone());
    if is_virtual(&schema) {
        return Err(Error::new(codes::UNSUPPORTED, format!("a trigger on the system table `{schema}.{name}`")));
    }
    let relation = scope.relation(&schema, &name)?;
    may_change(scope, relation.owner(), &schema, &name)?;
    let columns = super::trigger::columns(scope, &relation)?;
    check_kind(&create, &relation)?;
    for event in &create.events {
        if let Event::Update(names) = event
            && let Some(unknown) = names.iter().find(|name| columns.column_with_name(name).is_none())
        {
            return Err(Error::new(codes::NO_COLUMN, format!("no column `{unknown}` in `{name}`")));
        }
    }
    let function = (scope.schema_or_default(create.function.0.clone()), create.function.1.clone());
    let found = scope.catalog.routines(&function.0, &function.1)?;
    if !found.iter().any(|routine| routine.returns == Returns::Trigger) {
        return Err(match found.first() {
            None => no_routine(scope, "function", create.function.0.as_deref(), &create.function.1),
            Some(other) => Error::new(codes::TYPE, format!("`{}` is no function for triggers", other.label()))
                .help(format!("CREATE FUNCTION {}() RETURNS TRIGGER ...", create.function.1)),
        });
    }
    let known = scope.catalog.triggers(&schema, &name)?;
    if known.iter().any(|known| known.name == create.name) {
        if create.if_not_exists {
            return Ok(Outcome::done("CREATE TRIGGER"));
        }
        if !create.replace {
            let text = format!("a trigger `{}` on `{name}` exists already", create.name);
            return Err(Error::new(codes::EXISTS, text).help("CREATE OR REPLACE TRIGGER"));
        }
    }
    let trigger = Trigger {
        schema,
        table: name,
        name: create.name,
        timing: create.timing,
        events: create.events,
        level: create.level,
        when: create.when.map(|condition| condition.to_string()),
        old_name: create.old_name,
        new_name: create.new_name,
        function,
        arguments: create.arguments,
        disabled: false,
        owner: scope.owner.clone(),
    };
    if let Some(condition) = &trigger.when {
        check_condition(scope, &trigger, &columns, parse::expression(condition)?)?;
    }
    scope.unit.with(|transaction| put_trigger(transaction, &trigger))?;
    Ok(Outcome::done("CREATE TRIGGER"))
}

fn check_kind(create: &CreateTrigger, relation: &Relation) -> Result<()> {
    let (_, name) = relation.name();
    let wrong = |text: String| Err(Error::new(codes::PLAN, text));
    match (relation, create.timing) {
        (Relation::View(_), Timing::Before | Timing::After) => {
            wrong(format!("`{name}` is a view; only INSTEAD OF triggers can stand on it"))
        }
        (Relation::Table(_), Timing::Instead) => {
            wrong(format!("`{name}` is a table; INSTEAD OF triggers stand on views"))
        }
        (Relation::View(_), Timing::Instead) if create.level == Level::Statement => {
            wrong("an INSTEAD OF trigger must be FOR EACH ROW".to_owned())
        }
        (Relation::View(_), Timing::Instead) if create.when.is_some() => {
            wrong("an INSTEAD OF trigger cannot have a condition".to_owned())
        }
        (_, timing) if timing != Timing::After && (create.old_name.is_some() || create.new_name.is_some()) => {
            wrong("REFERENCING is for AFTER triggers".to_owned())
        }
        _ => Ok(()),
    }
}

/// `DROP TRIGGER [IF EXISTS] name [ON table]`.
pub(super) fn drop_trigger(
    scope: &Arc<Scope>,
    if_exists: bool,
    name: &str,
    table: Option<(Option<String>, String)>,
) -> Result<Outcome> {
    let found = match &table {
        Some((schema, table)) => {
            let schema = scope.schema_or_default(schema.clone());
            if !if_exists {
                scope.relation(&schema, table)?;
            }
            scope.catalog.triggers(&schema, table)?
        }
        None => scope.catalog.all_triggers()?.into_iter().filter(|one| one.schema == scope.path).collect(),
    };
    let found: Vec<Trigger> = found.into_iter().filter(|trigger| trigger.name == name).collect();
    match found.as_slice() {
        [] if if_exists => Ok(Outcome::done("DROP TRIGGER")),
        [] => Err(Error::new(codes::NO_OBJECT, format!("no trigger `{name}`"))),
        [one] => {
            may_change(scope, one.owner.as_deref(), &one.schema, &one.table)?;
            scope.unit.with(|transaction| forget_trigger(transaction, one))?;
            Ok(Outcome::done("DROP TRIGGER"))
        }
        several => {
            let error = Error::new(codes::AMBIGUOUS, format!("several tables have a trigger `{name}`"));
            Err(error.help(format!("DROP TRIGGER {name} ON {}", several[0].table)))
        }
    }
}

/// A table goes with its triggers.
pub(crate) fn drop_triggers_of(scope: &Scope, transaction: &Transaction, schema: &str, table: &str) -> Result<()> {
    let triggers = scope.catalog.triggers(schema, table)?;
    triggers.iter().try_for_each(|trigger| forget_trigger(transaction, trigger))
}

/// A renamed table keeps its triggers.
pub(crate) fn move_triggers(
    scope: &Scope,
    transaction: &Transaction,
    (schema, table): (&str, &str),
    (new_schema, new_table): (&str, &str),
) -> Result<()> {
    for trigger in scope.catalog.triggers(schema, table)? {
        forget_trigger(transaction, &trigger)?;
        let moved = Trigger { schema: new_schema.to_owned(), table: new_table.to_owned(), ..trigger };
        put_trigger(transaction, &moved)?;
    }
    Ok(())
}
