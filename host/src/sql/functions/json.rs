//! JSON in text: functions and operators of PostgreSQL and DuckDB. A value is text that is valid JSON; whoever stores it
//! in a column of type JSON has it checked. Numbers keep their digits, and objects the order of their keys.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListBuilder, StringViewArray, StringViewBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, DataFusionError, Result as EngineResult};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use serde_json::Value;

use crate::error::{Error, codes};
use crate::sql::fault::{external, fold};

/// What a function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Does {
    /// Checks that it is JSON.
    Check,
    Valid,
    /// The value at a path, as JSON.
    Get,
    /// The value at a path, as text.
    GetText,
    ArrayLength,
    Kind,
    Keys,
    Exists,
    Contains,
    /// Any SQL value as JSON.
    From,
}

/// Names, what they do, how many arguments.
const FUNCTIONS: &[(&str, Does, &[usize])] = &[
    ("json", Does::Check, &[1]),
    ("json_valid", Does::Valid, &[1]),
    ("json_extract", Does::Get, &[2]),
    ("json_extract_path", Does::Get, &[2]),
    ("json_extract_string", Does::GetText, &[2]),
    ("json_extract_path_text", Does::GetText, &[2]),
    ("json_value", Does::GetText, &[2]),
    ("json_array_length", Does::ArrayLength, &[1, 2]),
    ("json_type", Does::Kind, &[1, 2]),
    ("json_typeof", Does::Kind, &[1]),
    ("json_keys", Does::Keys, &[1, 2]),
    ("json_exists", Does::Exists, &[2]),
    ("json_contains", Does::Contains, &[2]),
    ("to_json", Does::From, &[1]),
];

pub(super) fn functions() -> Vec<ScalarUDF> {
    FUNCTIONS.iter().map(|(name, does, counts)| ScalarUDF::new_from_impl(Json::new(name, *does, counts))).collect()
}

/// The function that checks that text is JSON.
pub(crate) fn check() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Json::new("json", Does::Check, &[1])))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Json {
    name: &'static str,
    does: Does,
    signature: Signature,
}

impl Json {
    fn new(name: &'static str, does: Does, counts: &[usize]) -> Self {
        let counts = counts.iter().map(|count| datafusion::logical_expr::TypeSignature::Any(*count)).collect();
        Self { name, does, signature: Signature::one_of(counts, Volatility::Immutable) }
    }

    fn result(&self) -> DataType {
        match self.does {
            Does::Check | Does::Get | Does::GetText | Does::Kind | Does::From => DataType::Utf8View,
            Does::Valid | Does::Exists | Does::Contains => DataType::Boolean,
            Does::ArrayLength => DataType::Int64,
            Does::Keys => DataType::List(Arc::new(Field::new("item", DataType::Utf8View, true))),
        }
    }
}

impl ScalarUDFImpl for Json {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(self.result())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let rows = args.number_rows;
        let first = args.args[0].to_array(rows)?;
        if self.does == Does::From {
            return from_sql(&first).map(ColumnarValue::Array);
        }
        let texts = cast(&first, &DataType::Utf8View)?;
        let texts = texts.as_string_view();
        let paths = match args.args.get(1) {
            Some(paths) => Some(cast(&paths.to_array(rows)?, &DataType::Utf8View)?),
            None => None,
        };
        let numeric = args.args.get(1).is_some_and(|paths| paths.data_type().is_integer());
        let path = |row: usize| -> Option<Vec<Step>> {
            let paths = paths.as_ref()?.as_string_view();
            paths.is_valid(row).then(|| steps(paths.value(row), numeric))
        };
        self.all(texts, paths.is_some(), &path).map(ColumnarValue::Array).map_err(external)
    }
}

impl Json {
    fn all(
        &self,
        texts: &StringViewArray,
        with_path: bool,
        path: &dyn Fn(usize) -> Option<Vec<Step>>,
    ) -> Result<ArrayRef, Error> {
        let rows = texts.len();
        // The part of each row that is meant; none for NULL and for what is not there.
        let part = |row: usize| -> Result<Option<&str>, Error> {
            if texts.is_null(row) {
                return Ok(None);
            }
            match (with_path, path(row)) {
                (false, _) => Ok(Some(texts.value(row))),
                (true, None) => Ok(None),
                (true, Some(path)) => find(texts.value(row), &path),
            }
        };
        Ok(match self.does {
            Does::From => {
                let texts: ArrayRef = Arc::new(texts.clone());
                from_sql(&texts).map_err(|error| fold(&error))?
            }
            Does::Check => {
                for text in texts.iter().flatten() {
                    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| not_json(text, &error))?;
                }
                Arc::new(texts.clone())
            }
            Does::Valid => {
                let valid = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
                Arc::new(texts.iter().map(|text| text.map(valid)).collect::<BooleanArray>())
            }
            Does::Get => {
                let mut all = StringViewBuilder::with_capacity(rows);
                for row in 0..rows {
                    all.append_option(part(row)?.map(str::trim));
                }
                Arc::new(all.finish())
            }
            Does::GetText => {
                let mut all = StringViewBuilder::with_capacity(rows);
                for row in 0..rows {
                    all.append_option(part(row)?.map(text_of).transpose()?.flatten());
                }
                Arc::new(all.finish())
            }
            Does::Exists => {
                let found = (0..rows).map(|row| Ok(part(row)?.is_some()));
                let found = found.collect::<Result<Vec<_>, Error>>()?.into_iter().enumerate();
                Arc::new(found.map(|(row, found)| texts.is_valid(row).then_some(found)).collect::<BooleanArray>())
            }
            Does::Contains => {
                let mut all = Vec::with_capacity(rows);
                for row in 0..rows {
                    let wanted = path(row).map(|steps| raw(&steps));
                    all.push(match (texts.is_valid(row), wanted) {
                        (true, Some(wanted)) => Some(contains(&value(texts.value(row))?, &value(&wanted)?)),
                        _ => None,
                    });
                }
                Arc::new(BooleanArray::from(all))
            }
            Does::ArrayLength => {
                let length = |text: &str| -> Result<i64, Error> {
                    // As in DuckDB, what is no array has no elements.
                    value(text)?;
                    Ok(i64::try_from(items(text.trim()).len()).unwrap_or(i64::MAX))
                };
                let all = (0..rows).map(|row| part(row)?.map(length).transpose());
                Arc::new(all.collect::<Result<Vec<_>, Error>>()?.into_iter().collect::<Int64Array>())
            }
            Does::Kind => {
                let mut all = StringViewBuilder::with_capacity(rows);
                for row in 0..rows {
                    all.append_option(part(row)?.map(kind).transpose()?);
                }
                Arc::new(all.finish())
            }
            Does::Keys => {
                let mut all = ListBuilder::new(StringViewBuilder::new());
                for row in 0..rows {
                    match part(row)? {
                        None => all.append(false),
                        Some(text) => {
                            value(text)?;
                            entries(text.trim()).iter().for_each(|(key, _)| all.values().append_value(key));
                            all.append(true);
                        }
                    }
                }
                Arc::new(all.finish())
            }
        })
    }
}

/// A step of a path.
enum Step {
    Key(String),
    /// From the end if negative.
    Index(i64),
    /// The argument as it is, for functions whose second argument is no path.
    Raw(String),
}

fn raw(steps: &[Step]) -> String {
    steps.iter().find_map(|step| if let Step::Raw(text) = step { Some(text.clone()) } else { None }).unwrap_or_default()
}

/// Reads a path: `$.a.b[0]` as in JSONPath, `/a/0` as in a JSON pointer, a number for an element, else a key.
fn steps(path: &str, numeric: bool) -> Vec<Step> {
    let mut all = vec![];
    if numeric && let Ok(index) = path.parse() {
        return vec![Step::Index(index), Step::Raw(path.to_owned())];
    }
    if let Some(rest) = path.strip_prefix('$') {
        let mut rest = rest;
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('[') {
                let (inside, after) = inside.split_once(']').unwrap_or((inside, ""));
                let inside = inside.trim_matches(['"', '\'']);
                // `#-1` is how DuckDB and SQLite count from the end.
                let index = inside.strip_prefix('#').unwrap_or(inside).parse();
                all.push(index.map_or_else(|_| Step::Key(inside.to_owned()), Step::Index));
                rest = after;
            } else {
                let name = rest.strip_prefix('.').unwrap_or(rest);
                if let Some(quoted) = name.strip_prefix('"') {
                    let (key, after) = quoted.split_once('"').unwrap_or((quoted, ""));
                    all.push(Step::Key(key.to_owned()));
                    rest = after;
                } else {
                    let end = name.find(['.', '[']).unwrap_or(name.len());
                    all.push(Step::Key(name[..end].to_owned()));
                    rest = &name[end..];
                }
            }
        }
    } else if let Some(pointer) = path.strip_prefix('/') {
        for part in pointer.split('/') {
            let key = part.replace("~1", "/").replace("~0", "~");
            all.push(key.parse().map_or_else(|_| Step::Key(key), Step::Index));
        }
    } else {
        all.push(Step::Key(path.to_owned()));
    }
    all.push(Step::Raw(path.to_owned()));
    all
}

/// The text of the part that a path leads to. Nothing is built on the way, so numbers and spaces stay as they are.
fn find<'a>(text: &'a str, path: &[Step]) -> Result<Option<&'a str>, Error> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| not_json(text, &error))?;
    let mut at = text.trim();
    for step in path {
        let next = match step {
            Step::Raw(_) => continue,
            Step::Key(key) => entries(at).into_iter().rev().find(|(name, _)| name == key).map(|(_, part)| part),
            Step::Index(index) => {
                let items = items(at);
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let place = if *index < 0 { length + *index } else { *index };
                usize::try_from(place).ok().and_then(|place| items.get(place).copied())
            }
        };
        match next {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// The entries of an object that is known to be JSON, in order; of anything else none.
fn entries(text: &str) -> Vec<(String, &str)> {
    let mut all = Vec::new();
    let Some(mut rest) = text.strip_prefix('{').map(str::trim_start) else { return all };
    while rest.starts_with('"') {
        let (key, after) = rest.split_at(end_of(rest));
        let after = after.trim_start().strip_prefix(':').unwrap_or(after).trim_start();
        let (part, after) = after.split_at(end_of(after));
        all.push((serde_json::from_str(key).unwrap_or_default(), part));
        rest = after.trim_start().strip_prefix(',').unwrap_or_default().trim_start();
    }
    all
}

/// The elements of an array that is known to be JSON; of anything else none.
fn items(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let Some(mut rest) = text.strip_prefix('[').map(str::trim_start) else { return all };
    while !rest.is_empty() && !rest.starts_with(']') {
        let (part, after) = rest.split_at(end_of(rest));
        all.push(part);
        rest = after.trim_start().strip_prefix(',').unwrap_or_default().trim_start();
    }
    all
}

/// Where the value at the beginning of JSON ends.
fn end_of(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return at,
            // What is neither a string nor nested goes on to white space or a sign.
            b if depth == 0 && b.is_ascii_whitespace() => return at,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 1;
        if depth == 0 && matches!(bytes[at.min(bytes.len()) - 1], b'"' | b'}' | b']') {
            return at.min(bytes.len());
        }
    }
    bytes.len()
}

fn value(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| not_json(text, &error))
}

/// A string without its quotes, NULL for `null`, anything else as it is written.
fn text_of(part: &str) -> Result<Option<String>, Error> {
    match part.trim() {
        "null" => Ok(None),
        quoted if quoted.starts_with('"') => {
            serde_json::from_str(quoted).map(Some).map_err(|error| not_json(quoted, &error))
        }
        other => Ok(Some(other.to_owned())),
    }
}

fn kind(text: &str) -> Result<&'static str, Error> {
    Ok(match value(text)? {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    })
}

/// PostgreSQL's `@>`: an object contains one with some of its entries, an array one with some of its elements.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            part.iter().all(|part| whole.iter().any(|whole| contains(whole, part)))
        }
        (Value::Array(whole), part) if !part.is_object() => whole.contains(part),
        (whole, part) => whole == part,
    }
}

fn not_json(text: &str, error: &serde_json::Error) -> Error {
    const SHOWN_MAX: usize = 40;
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let dots = if shown.len() < text.len() { "…" } else { "" };
    Error::new(codes::VALUE, format!("`{shown}{dots}` is not JSON")).detail(error.to_string()).with_sqlstate("22032")
}

/// SQL values as JSON: numbers and booleans as they are, lists and structs with their parts, all else as text.
fn from_sql(values: &ArrayRef) -> EngineResult<ArrayRef> {
    let mut all = StringViewBuilder::with_capacity(values.len());
    let mut text = String::new();
    for row in 0..values.len() {
        if values.is_null(row) {
            all.append_null();
        } else {
            text.clear();
            write_json(values, row, &mut text)?;
            all.append_value(&text);
        }
    }
    Ok(Arc::new(all.finish()))
}

fn write_json(values: &ArrayRef, row: usize, out: &mut String) -> EngineResult<()> {
    if values.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    let quoted = |text: &str| Value::String(text.to_owned()).to_string();
    match values.data_type() {
        DataType::Boolean => out.push_str(if values.as_boolean().value(row) { "true" } else { "false" }),
        kind if kind.is_numeric() => {
            let number = shown(values, row)?;
            // NaN and infinity are no numbers of JSON.
            let plain = number.ends_with(|c: char| c.is_ascii_digit());
            out.push_str(&if plain { number } else { quoted(&number) });
        }
        DataType::List(_) => {
            let items = values.as_list::<i32>().value(row);
            out.push('[');
            for item in 0..items.len() {
                out.push_str(if item == 0 { "" } else { "," });
                write_json(&items, item, out)?;
            }
            out.push(']');
        }
        DataType::Struct(fields) => {
            out.push('{');
            for (number, (field, part)) in fields.iter().zip(values.as_struct().columns()).enumerate() {
                out.push_str(if number == 0 { "" } else { "," });
                out.push_str(&quoted(field.name()));
                out.push(':');
                write_json(part, row, out)?;
            }
            out.push('}');
        }
        DataType::Map(..) => {
            let entries = values.as_map().value(row);
            out.push('{');
            for entry in 0..entries.len() {
                out.push_str(if entry == 0 { "" } else { "," });
                out.push_str(&quoted(&shown(entries.column(0), entry)?));
                out.push(':');
                write_json(entries.column(1), entry, out)?;
            }
            out.push('}');
        }
        _ => out.push_str(&quoted(&shown(values, row)?)),
    }
    Ok(())
}

fn shown(values: &ArrayRef, row: usize) -> EngineResult<String> {
    let options = arrow::util::display::FormatOptions::default();
    let formatter = arrow::util::display::ArrayFormatter::try_new(values.as_ref(), &options)?;
    formatter.value(row).try_to_string().map_err(|error| DataFusionError::ArrowError(Box::new(error), None))
}

/// `->` and `->>`.
#[derive(Debug)]
pub(super) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, _: &DFSchema) -> EngineResult<PlannerResult<RawBinaryExpr>> {
        let does = match expr.op {
            BinaryOperator::Arrow => ("json_extract", Does::Get),
            BinaryOperator::LongArrow => ("json_extract_string", Does::GetText),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let function = Arc::new(ScalarUDF::new_from_impl(Json::new(does.0, does.1, &[2])));
        let call = ScalarFunction::new_udf(function, vec![expr.left, expr.right]);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(call)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(text: &'a str, path: &str) -> Option<&'a str> {
        find(text, &steps(path, false)).expect("is JSON")
    }

    #[test]
    fn parts_are_found_and_stay_as_they_are_written() {
        let text = r#" {"a" : [1.50, {"b,}": "x\"y]"}, 12345678901234567890123], "c": null, "a.b": {} } "#;
        assert_eq!(at(text, "$.a[0]"), Some("1.50"));
        assert_eq!(at(text, "$.a[-1]"), Some("12345678901234567890123"));
        assert_eq!(at(text, "$.a[1].\"b,}\""), Some(r#""x\"y]""#));
        assert_eq!(at(text, "/a/1"), Some(r#"{"b,}": "x\"y]"}"#));
        assert_eq!(at(text, "a.b"), Some("{}"));
        assert_eq!(at(text, "c"), Some("null"));
        assert_eq!(at(text, "$.a[3]"), None);
        assert_eq!(at(text, "$.c.d"), None);
        assert_eq!(at("[]", "$[0]"), None);
        assert!(find("{", &steps("a", false)).is_err());
    }

    #[test]
    fn text_is_unquoted_and_null_is_none() {
        assert_eq!(text_of(r#""a\u00e4\"""#).expect("text"), Some("a\u{e4}\"".to_owned()));
        assert_eq!(text_of("null").expect("text"), None);
        assert_eq!(text_of("[1, 2]").expect("text"), Some("[1, 2]".to_owned()));
    }
}
