//! Reading one row by a key without the planner: `SELECT columns FROM t WHERE key = $1` is recognised when it is
//! prepared, and what its names mean is kept as long as the table's record and the settings are the ones it was read
//! from. Whatever is not exactly of this form, or has values that need a cast, is left to the planner.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringViewArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, SelectItem, SetExpr, Statement, TableFactor, UnaryOperator, Value as Literal,
};

use super::fault::fold_arrow;
use super::names::{fold_ident, split_name};
use super::outcome::{Outcome, Rows};
use super::session::Session;
use super::settings::Settings;
use super::value::Value;
use crate::catalog::{Catalog, Relation, SqlType, Table, ZONE, is_virtual};
use crate::error::Result;
use crate::storage::{Bytes, Snapshot, TableId};

/// A statement that reads one row by a key.
pub(crate) struct Point {
    settings: Arc<Settings>,
    /// The key of the table's record, and the record.
    record: (Vec<u8>, Bytes),
    table: TableId,
    key: usize,
    /// For each column of the key its type, and where its value comes from.
    values: Vec<(SqlType, Source)>,
    columns: Vec<usize>,
    schema: SchemaRef,
}

/// Where the value of a key's column comes from.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// A parameter, counted from 0.
    Parameter(usize),
    Constant(Value),
}

impl Point {
    /// Recognises a statement; `None` if the planner must see it.
    pub(crate) fn recognise(session: &Session, statement: &Statement) -> Result<Option<Self>> {
        let Some(form) = Form::of(statement) else { return Ok(None) };
        let settings = session.settings();
        let schema = form.schema.clone().unwrap_or_else(|| settings.schema.clone());
        if is_virtual(&schema) {
            return Ok(None);
        }
        let snapshot = snapshot(session)?;
        let catalog = Catalog::new(snapshot.clone(), Arc::clone(&session.engine.cache));
        let Some(relation) = catalog.relation(&schema, &form.name)? else { return Ok(None) };
        let Relation::Table(table) = relation.as_ref() else { return Ok(None) };
        let key = crate::catalog::record_key(&schema, &form.name);
        let Some(record) = snapshot.get(&key) else { return Ok(None) };
        Ok(form.point(table, settings, (key, record)))
    }

    /// The row, if the statement still means what it meant and the values are of the key's own types.
    pub(crate) fn run(&self, session: &Session, params: &[Value]) -> Result<Option<Outcome>> {
        if !Arc::ptr_eq(&session.settings(), &self.settings) || !session.may_read() {
            return Ok(None);
        }
        let mut values = Vec::with_capacity(self.values.len());
        for (kind, source) in &self.values {
            let value = match source {
                Source::Parameter(number) => params.get(*number),
                Source::Constant(value) => Some(value),
            };
            let Some(array) = value.and_then(|value| array(kind, value)) else { return Ok(None) };
            values.push(array);
        }
        let snapshot = snapshot(session)?;
        let is_same = snapshot.get(&self.record.0).is_some_and(|record| same(&record, &self.record.1));
        if !is_same {
            return Ok(None);
        }
        let view = snapshot.table(self.table)?;
        let mut batches = Vec::new();
        if let Some(place) = view.locate(self.key, &values)? {
            let columns = self.columns.iter().map(|&column| view.value(place, column)).collect::<Result<Vec<_>>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(1));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
            batches.push(batch.map_err(|error| fold_arrow(&error))?);
        }
        Ok(Some(Outcome::rows("SELECT", Rows::ready(Arc::clone(&self.schema), batches))))
    }
}

/// What the session reads from.
fn snapshot(session: &Session) -> Result<Snapshot> {
    match session.open_unit() {
        Some(unit) => unit.snapshot(),
        None => session.engine.store.snapshot_of(&session.settings().branch),
    }
}

fn same(one: &Bytes, other: &Bytes) -> bool {
    std::ptr::eq(one.as_ptr(), other.as_ptr()) && one.len() == other.len() || one == other
}

/// The value as an array of one row, if it needs no cast.
fn array(kind: &SqlType, value: &Value) -> Option<ArrayRef> {
    macro_rules! whole {
        ($array:ident, $native:ty, $value:expr) => {
            Arc::new($array::from(vec![<$native>::try_from(*$value).ok()?]))
        };
    }
    Some(match (kind, value) {
        (SqlType::BigInt, Value::Integer(value)) => Arc::new(Int64Array::from(vec![*value])),
        (SqlType::Integer, Value::Integer(value)) => whole!(Int32Array, i32, value),
        (SqlType::SmallInt, Value::Integer(value)) => whole!(Int16Array, i16, value),
        (SqlType::TinyInt, Value::Integer(value)) => whole!(Int8Array, i8, value),
        (SqlType::UBigInt, Value::Integer(value)) => whole!(UInt64Array, u64, value),
        (SqlType::UInteger, Value::Integer(value)) => whole!(UInt32Array, u32, value),
        (SqlType::USmallInt, Value::Integer(value)) => whole!(UInt16Array, u16, value),
        (SqlType::UTinyInt, Value::Integer(value)) => whole!(UInt8Array, u8, value),
        (SqlType::Boolean, Value::Boolean(value)) => Arc::new(BooleanArray::from(vec![*value])),
        (SqlType::Double, Value::Double(value)) => Arc::new(Float64Array::from(vec![*value])),
        (SqlType::Text, Value::Text(value)) => Arc::new(StringViewArray::from(vec![value.as_str()])),
        (SqlType::Binary, Value::Binary(value)) => Arc::new(BinaryViewArray::from(vec![value.as_slice()])),
        (SqlType::TimestampTz, Value::Timestamp(value)) => {
            Arc::new(TimestampMicrosecondArray::from(vec![*value]).with_timezone(ZONE))
        }
        _ => return None,
    })
}

/// The statement's own words.
struct Form {
    schema: Option<String>,
    name: String,
    alias: String,
    items: Vec<SelectItem>,
    equal: Vec<(String, Source)>,
}

impl Form {
    fn of(statement: &Statement) -> Option<Self> {
        let Statement::Query(query) = statement else { return None };
        let SetExpr::Select(select) = query.body.as_ref() else { return None };
        let [from] = select.from.as_slice() else { return None };
        let TableFactor::Table { name, alias, args: None, version: None, .. } = &from.relation else { return None };
        let condition = select.selection.as_ref()?;
        // Whatever else stands in the statement shows in its text.
        let mut plain = Query::clone(&super::parse::query("SELECT 1").ok()?);
        if let SetExpr::Select(known) = plain.body.as_mut() {
            known.projection.clone_from(&select.projection);
            known.from.clone_from(&select.from);
            known.selection.clone_from(&select.selection);
        }
        let (schema, folded) = split_name(name).ok()?;
        let is_quoted_file =
            name.0.iter().any(|part| part.as_ident().is_some_and(|ident| ident.quote_style == Some('\'')));
        let shown = match alias {
            Some(alias) => format!("{name} {alias}"),
            None => name.to_string(),
        };
        if plain.to_string() != query.to_string() || from.to_string() != shown || is_quoted_file {
            return None;
        }
        let alias = match alias {
            Some(alias) if !alias.columns.is_empty() => return None,
            Some(alias) => fold_ident(&alias.name),
            None => folded.clone(),
        };
        let mut form = Self { schema, name: folded, alias, items: select.projection.clone(), equal: Vec::new() };
        form.conditions(condition)?;
        Some(form)
    }

    /// Conditions that are all `column = value`.
    fn conditions(&mut self, expr: &Expr) -> Option<()> {
        match expr {
            Expr::Nested(inner) => self.conditions(inner),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                self.conditions(left)?;
                self.conditions(right)
            }
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                let (column, value) = match self.column(left) {
                    Some(column) => (column, right),
                    None => (self.column(right)?, left),
                };
                self.equal.push((column, source(value)?));
                Some(())
            }
            _ => None,
        }
    }

    fn column(&self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Identifier(ident) => Some(fold_ident(ident)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, column] if fold_ident(table) == self.alias => Some(fold_ident(column)),
                _ => None,
            },
            _ => None,
        }
    }

    fn point(&self, table: &Table, settings: Arc<Settings>, record: (Vec<u8>, Bytes)) -> Option<Point> {
        let keys = table.stored_keys();
        let names = |columns: &[u32]| -> Vec<&str> {
            table.positions_of(columns).into_iter().map(|at| table.columns[at].name.as_str()).collect()
        };
        let is_it = |columns: &[u32]| {
            let names = names(columns);
            names.len() == self.equal.len()
                && names.iter().all(|name| self.equal.iter().any(|(known, _)| known == name))
        };
        let key = keys.iter().position(|key| key.unique && is_it(key.columns))?;
        let mut values = Vec::with_capacity(self.equal.len());
        for at in table.positions_of(keys[key].columns) {
            let (_, source) = self.equal.iter().find(|(name, _)| *name == table.columns[at].name)?;
            values.push((table.columns[at].kind.clone(), source.clone()));
        }
        let (mut columns, mut fields) = (Vec::new(), Vec::new());
        let mut add = |at: usize, name: String| {
            let column = &table.columns[at];
            columns.push(at);
            fields.push(Field::new(name, column.kind.arrow(), !column.not_null));
        };
        for item in &self.items {
            match item {
                // Beside others it may name a column twice, which is the planner's to judge.
                SelectItem::Wildcard(options) if options.to_string().is_empty() && self.items.len() == 1 => {
                    (0..table.columns.len()).for_each(|at| add(at, table.columns[at].name.clone()));
                }
                SelectItem::UnnamedExpr(expr) => {
                    let name = self.column(expr)?;
                    add(table.position(&name)?, name);
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    add(table.position(&self.column(expr)?)?, fold_ident(alias));
                }
                _ => return None,
            }
        }
        let schema = Arc::new(Schema::new(fields));
        Some(Point { settings, record, table: TableId(table.id), key, values, columns, schema })
    }
}

fn source(expr: &Expr) -> Option<Source> {
    match expr {
        Expr::Nested(inner) => source(inner),
        Expr::Value(value) => match &value.value {
            Literal::Placeholder(name) => {
                let number: usize = name.strip_prefix('$')?.parse().ok()?;
                Some(Source::Parameter(number.checked_sub(1)?))
            }
            _ => constant(expr).map(Source::Constant),
        },
        _ => constant(expr).map(Source::Constant),
    }
}

/// A literal as a value, where the two mean the same.
pub(super) fn constant(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::Nested(inner) => constant(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match constant(expr)? {
            Value::Integer(value) => Some(Value::Integer(value.checked_neg()?)),
            _ => None,
        },
        Expr::Value(value) => match &value.value {
            Literal::Number(digits, false) => digits.parse().ok().map(Value::Integer),
            Literal::SingleQuotedString(text) => Some(Value::Text(text.clone())),
            Literal::Boolean(value) => Some(Value::Boolean(*value)),
            _ => None,
        },
        _ => None,
    }
}

/// `EXECUTE name(value, ...)` with plain values, read without the parser, which would take longer than the row.
pub(super) fn execute_call(text: &str) -> Option<(String, Vec<Value>)> {
    let rest = text.trim();
    let (word, rest) = rest.split_at_checked(7)?;
    if !word.eq_ignore_ascii_case("EXECUTE") || !rest.starts_with([' ', '\t', '\n']) {
        return None;
    }
    let rest = rest.trim_start().strip_suffix(')')?;
    let (name, mut rest) = rest.split_once('(')?;
    let name = name.trim_end();
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return None;
    }
    let mut values = Vec::new();
    loop {
        rest = rest.trim();
        let length = match rest.as_bytes().first()? {
            b'\'' => {
                let end = rest[1..].find('\'')? + 1;
                values.push(Value::Text(rest[1..end].to_owned()));
                end + 1
            }
            b'0'..=b'9' | b'-' => {
                let digits = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| end + 1);
                values.push(Value::Integer(rest[..digits].parse().ok()?));
                digits
            }
            _ => return None,
        };
        rest = rest[length..].trim_start();
        match rest.as_bytes().first() {
            None => return Some((name.to_lowercase(), values)),
            Some(b',') => rest = &rest[1..],
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_point(text: &str) -> bool {
        Form::of(&super::super::parse::statement(text).expect("parses")).is_some()
    }

    #[test]
    fn only_the_plain_form_is_recognised() {
        for text in [
            "select * from t where id = $1",
            "select a, t.b as c from s.t where (t.id = ?) and k = 'x'",
            "SELECT x.a FROM t AS x WHERE $1 = x.id",
        ] {
            assert!(is_point(text), "{text}");
        }
        for text in [
            "select * from t",
            "select * from t where id > 1",
            "select * from t where id = 1 or id = 2",
            "select distinct a from t where id = 1",
            "select * from t where id = 1 limit 1",
            "select * from t where id = 1 offset 1",
            "select * from t where id = 1 for update",
            "select * from t, u where id = 1",
            "select * from t join u on true where id = 1",
            "with t as (select 1) select * from t where id = 1",
            "select * from t tablesample bernoulli (1) where id = 1",
            "select * from t where id = 1 group by a",
            "select a from t where id = 1 union select 1",
            "select * from f(1) where id = 1",
            "select * from 'f.csv' where id = 1",
        ] {
            assert!(!is_point(text), "{text}");
        }
    }

    #[test]
    fn calls_are_read_as_the_parser_reads_them() {
        let call = |text| execute_call(text);
        assert_eq!(call("execute P(5)"), Some(("p".into(), vec![Value::Integer(5)])));
        let values = vec![Value::Integer(-1), Value::Text("a b".into()), Value::Integer(0)];
        assert_eq!(call(" EXECUTE p ( -1 , 'a b',0 ) "), Some(("p".into(), values)));
        for text in [
            "execute p",
            "execute p()",
            "execute p(1.5)",
            "execute p('it''s')",
            "execute p(1) x",
            "execute \"P\"(1)",
            "executep(1)",
            "execute p(a)",
            "execute p(-)",
            "execute p(99999999999999999999)",
        ] {
            assert_eq!(call(text), None, "{text}");
        }
    }
}
