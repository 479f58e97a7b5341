//! Folds the errors of the engine and of Arrow into ours. Its promise: users never see the engine's name, a debug
//! print or a back trace, and every failure has the code that SQL users expect.

use arrow::error::ArrowError;
use datafusion::common::{Column, DataFusionError, SchemaError, Span};
use datafusion::parquet::errors::ParquetError;

use super::nearest::nearest;
use super::parse::relative;
use crate::error::{Code, Error, codes};

/// Our error on its way through the engine.
pub(crate) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Folds an error; where the engine says what it is about, it has a relative place.
pub(crate) fn fold(error: &DataFusionError) -> Error {
    let (error, span) = fold_spanned(error);
    match span {
        Some(span) => error.at(relative(span.start.line, span.start.column)),
        None => error,
    }
}

fn fold_spanned(error: &DataFusionError) -> (Error, Option<Span>) {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let (error, span) = fold_spanned(inner);
            (error, diagnostic.span.or(span))
        }
        DataFusionError::Context(_, inner) => fold_spanned(inner),
        DataFusionError::Shared(inner) => fold_spanned(inner),
        DataFusionError::Collection(all) => match all.first() {
            Some(first) => fold_spanned(first),
            None => (Error::new(codes::EXECUTION, "the statement failed"), None),
        },
        DataFusionError::External(inner) => (fold_foreign(inner.as_ref()), None),
        DataFusionError::ArrowError(inner, _) => (fold_arrow(inner), None),
        DataFusionError::ParquetError(inner) => (fold_parquet(inner), None),
        DataFusionError::SchemaError(inner, _) => fold_schema(inner),
        DataFusionError::IoError(inner) => {
            (Error::new(codes::IO, format!("a file cannot be read or written: {inner}")), None)
        }
        DataFusionError::ObjectStore(inner) => (Error::new(codes::IO, phrase(&inner.to_string())), None),
        DataFusionError::ResourcesExhausted(text) => (out_of_memory(text), None),
        DataFusionError::NotImplemented(text) => (Error::new(codes::UNSUPPORTED, not_supported(text)), None),
        DataFusionError::Internal(text) => (internal(text), None),
        DataFusionError::Plan(text) | DataFusionError::Configuration(text) => (fold_plan(text), None),
        DataFusionError::Execution(text) => (fold_execution(text), None),
        DataFusionError::ExecutionJoin(_) => (internal("a task of the query ended by itself"), None),
        other => (fold_execution(&other.strip_backtrace()), None),
    }
}

/// Folds an error of Arrow.
pub(crate) fn fold_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::ExternalError(inner) => fold_foreign(inner.as_ref()),
        ArrowError::DivideByZero => Error::new(codes::DIVISION_BY_ZERO, "division by zero"),
        ArrowError::ArithmeticOverflow(_) => Error::new(codes::VALUE, "the result does not fit its type"),
        ArrowError::CastError(text) | ArrowError::ParseError(text) => Error::new(codes::VALUE, cast(text)),
        ArrowError::IoError(text, _) => Error::new(codes::IO, phrase(text)),
        ArrowError::MemoryError(text) => out_of_memory(text),
        ArrowError::NotYetImplemented(text) => Error::new(codes::UNSUPPORTED, not_supported(text)),
        ArrowError::InvalidArgumentError(text) => Error::new(codes::VALUE, phrase(text)),
        ArrowError::ParquetError(text) | ArrowError::IpcError(text) => Error::new(codes::FILE_FORMAT, phrase(text)),
        other => Error::new(codes::EXECUTION, phrase(&other.to_string())),
    }
}

/// Folds an error of Parquet; the caller adds the file.
pub(crate) fn fold_parquet(error: &ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => fold_foreign(inner.as_ref()),
        other => Error::new(codes::FILE_FORMAT, phrase(&other.to_string())),
    }
}

fn fold_foreign(error: &(dyn std::error::Error + 'static)) -> Error {
    if let Some(ours) = error.downcast_ref::<Error>() {
        return ours.clone();
    }
    if let Some(engine) = error.downcast_ref::<DataFusionError>() {
        return fold(engine);
    }
    if let Some(arrow) = error.downcast_ref::<ArrowError>() {
        return fold_arrow(arrow);
    }
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        return Error::new(codes::IO, format!("a file cannot be read or written: {io}"));
    }
    Error::new(codes::EXECUTION, phrase(&error.to_string()))
}

fn fold_schema(error: &SchemaError) -> (Error, Option<Span>) {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let error = Error::new(codes::NO_COLUMN, format!("no column `{}`", field_name(field)));
            let near = nearest(field.name(), valid_fields.iter().map(Column::name));
            let error = match near {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None if valid_fields.is_empty() => error,
                None => error.help(format!("there are {}", listed(valid_fields))),
            };
            (error, field.spans().first())
        }
        SchemaError::AmbiguousReference { field } => {
            let error = Error::new(codes::AMBIGUOUS, format!("the column `{}` is ambiguous", field.name()));
            (error.help("write the table's name before it"), field.spans().first())
        }
        SchemaError::DuplicateQualifiedField { qualifier, name } => {
            let message = format!("the column `{qualifier}.{name}` occurs more than once");
            (Error::new(codes::AMBIGUOUS, message).help("give one of the tables another name by AS"), None)
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            let message = format!("the column `{name}` occurs more than once");
            (Error::new(codes::AMBIGUOUS, message).help("give one of them another name by AS"), None)
        }
    }
}

fn field_name(field: &Column) -> String {
    field.relation.as_ref().map_or_else(|| field.name.clone(), |table| format!("{table}.{}", field.name))
}

fn listed(fields: &[Column]) -> String {
    const SHOWN_MAX: usize = 8;
    let mut names: Vec<String> = fields.iter().take(SHOWN_MAX).map(|field| format!("`{}`", field.name())).collect();
    if fields.len() > SHOWN_MAX {
        names.push(format!("{} more", fields.len() - SHOWN_MAX));
    }
    names.join(", ")
}

fn fold_plan(text: &str) -> Error {
    let clean = phrase(text);
    if let Some(name) = text.strip_prefix("Invalid function '").and_then(|rest| rest.split_once('\'')) {
        return no_function(name.0, std::iter::empty::<&str>());
    }
    if let Some(signature) = between(text, "No function matches the given name and argument types '", "'") {
        let error = Error::new(codes::NO_FUNCTION, format!("no function matches `{}`", sql_types(signature)));
        let candidates = text.split("Candidate functions:").nth(1).unwrap_or_default();
        return candidates
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .fold(error, |error, line| error.detail(format!("there is {}", sql_types(line))));
    }
    let lower = clean.to_lowercase();
    Error::new(plan_code(&lower), sql_types(&clean))
}

fn plan_code(lower: &str) -> Code {
    let table: &[(&[&str], Code)] = &[
        (&["divide by zero", "division by zero"], codes::DIVISION_BY_ZERO),
        (&["no function matches", "function not found"], codes::NO_FUNCTION),
        (&["overflow", "cannot parse", "cannot cast string", "out of range"], codes::VALUE),
        (
            &[
                "coerc",
                "type mismatch",
                "cannot be cast",
                "cannot cast",
                "unsupported cast",
                "incompatible type",
                "data type",
                "different types",
                "cannot infer common",
                "invalid types",
            ],
            codes::TYPE,
        ),
        (&["no value found for placeholder", "placeholder"], codes::PARAMETERS),
        (&["not supported", "unsupported", "not implemented"], codes::UNSUPPORTED),
    ];
    table.iter().find(|(words, _)| words.iter().any(|word| lower.contains(word))).map_or(codes::PLAN, |(_, code)| *code)
}

fn fold_execution(text: &str) -> Error {
    let lower = text.to_lowercase();
    // So the engine reports a panic in one of its tasks.
    if lower.contains("panicked with message") {
        return internal(text);
    }
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return Error::new(codes::DIVISION_BY_ZERO, "division by zero");
    }
    if lower.contains("overflow") {
        return Error::new(codes::VALUE, "the result does not fit its type").detail(phrase(text));
    }
    if lower.contains("cannot cast") || lower.contains("error parsing") || lower.contains("can't be parsed") {
        return Error::new(codes::VALUE, cast(text));
    }
    Error::new(codes::EXECUTION, phrase(text))
}

/// The error for a function that nobody knows.
pub(crate) fn no_function<S: AsRef<str>>(name: &str, others: impl IntoIterator<Item = S>) -> Error {
    let error = Error::new(codes::NO_FUNCTION, format!("no function `{name}`"));
    let built_in = super::functions::built_in().names().map(|(_, name)| name.to_owned());
    match nearest(name, built_in.chain(others.into_iter().map(|other| other.as_ref().to_owned()))) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error.help("SELECT name FROM kodiak.functions lists all functions"),
    }
}

fn out_of_memory(text: &str) -> Error {
    let error = Error::new(codes::OUT_OF_MEMORY, "the statement needs more memory than `memory_limit` allows");
    let first = text.lines().next().map(phrase).unwrap_or_default();
    let error = if first.is_empty() { error } else { error.detail(first) };
    error.help("SET memory_limit = '...' to allow more")
}

fn internal(text: &str) -> Error {
    Error::new(codes::INTERNAL, "an internal error in the query engine").detail(phrase(text))
}

/// The error for a panic that was caught.
pub(crate) fn panicked(payload: &(dyn std::any::Any + Send)) -> Error {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    internal(text.as_deref().unwrap_or("it gave no reason"))
}

fn not_supported(text: &str) -> String {
    if text.contains("OuterReferenceColumn") || text.contains("does not support logical expression") {
        return "a subquery that refers to the outer query in this way: not supported".to_owned();
    }
    let clean = phrase(text);
    if clean.contains("support") || clean.contains("implement") { clean } else { format!("{clean}: not supported") }
}

/// `Cannot cast string 'x' to value of Int32 type` in our words.
fn cast(text: &str) -> String {
    let clean = phrase(text);
    if let Some(value) = between(&clean, "cannot cast string '", "' to value of ") {
        let kind = between(&clean, "' to value of ", " type").unwrap_or_default();
        return format!("`{value}` is not of type {}", sql_types(kind));
    }
    sql_types(&clean)
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let end = text[start..].find(after)?;
    Some(&text[start..start + end])
}

/// Arrow's names for types in a message become SQL's.
fn sql_types(text: &str) -> String {
    const NAMES: &[(&str, &str)] = &[
        ("Utf8View", "TEXT"),
        ("LargeUtf8", "TEXT"),
        ("Utf8", "TEXT"),
        ("BinaryView", "BINARY"),
        ("LargeBinary", "BINARY"),
        ("Int8", "TINYINT"),
        ("Int16", "SMALLINT"),
        ("Int32", "INTEGER"),
        ("Int64", "BIGINT"),
        ("UInt8", "UTINYINT"),
        ("UInt16", "USMALLINT"),
        ("UInt32", "UINTEGER"),
        ("UInt64", "UBIGINT"),
        ("Float32", "REAL"),
        ("Float64", "DOUBLE"),
        ("Boolean", "BOOLEAN"),
        ("Date32", "DATE"),
        ("Decimal128", "DECIMAL"),
        ("Binary", "BINARY"),
        ("Null", "NULL"),
    ];
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        result.push_str(NAMES.iter().find(|(arrow, _)| *arrow == word).map_or(word, |(_, sql)| sql));
        let next = after.find(|c: char| c.is_alphanumeric() || c == '_').unwrap_or(after.len());
        result.push_str(&after[..next]);
        rest = &after[next..];
    }
    result
}

/// A sentence up to where it begins to print the insides of something.
fn without_dump(text: &str) -> &str {
    let Some(at) = [" { ", "(Field {", "Some("].iter().filter_map(|mark| text.find(mark)).min() else { return text };
    let before = text[..at].trim_end_matches(|c: char| !c.is_whitespace()).trim_end();
    if before.is_empty() { &text[..at] } else { before.trim_end_matches([':', ',']) }
}

/// A library's sentence as one of our phrases: no prefix, no back trace, no capital, no full stop.
fn phrase(text: &str) -> String {
    let text = text.split("\n\nbacktrace").next().unwrap_or_default();
    let text = text.split("This issue was likely caused").next().unwrap_or_default();
    let mut text = text.trim();
    const PREFIXES: &[&str] = &[
        "DataFusion error:",
        "Arrow error:",
        "Error during planning:",
        "Execution error:",
        "Internal error:",
        "External error:",
        "Optimizer rule",
        "This feature is not implemented:",
        "Invalid argument error:",
        "Cast error:",
        "Parser error:",
        "Compute error:",
        "Parquet error:",
        "Schema error:",
        "Json error:",
        "Csv error:",
        "Parquet argument error:",
        "External:",
    ];
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.trim();
    }
    let text = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    let text = without_dump(&text);
    let text = text.replace("DataFusion", "the query engine").replace("datafusion", "the query engine");
    let text = text.trim_end_matches('.');
    let mut chars = text.chars();
    let (first, second) = (chars.next(), text.chars().nth(1));
    match first {
        // An acronym or a type's name keeps its capital.
        Some(first) if first.is_uppercase() && second.is_none_or(char::is_lowercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_that_sql_users_expect() {
        let zero = DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None);
        assert!(fold(&zero).is(codes::DIVISION_BY_ZERO));
        let cast = ArrowError::CastError("Cannot cast string 'x' to value of Int32 type".into());
        assert_eq!(fold_arrow(&cast).message(), "`x` is not of type INTEGER");
        let plan = DataFusionError::Plan("Invalid function 'lenght'.\nDid you mean 'len'?".into());
        assert!(fold(&plan).is(codes::NO_FUNCTION));
        assert_eq!(fold(&plan).help_text(), Some("did you mean `length`?"));
    }

    #[test]
    fn nobody_is_shown_the_insides_of_a_tree() {
        let error = DataFusionError::NotImplemented("Unsupported ast node Derived { lateral: Some(x) } here".into());
        assert_eq!(fold(&error).message(), "unsupported ast node");
        let outer = "Physical plan does not support logical expression OuterReferenceColumn(Field { name: \"id\" })";
        let outer = fold(&DataFusionError::NotImplemented(outer.into()));
        assert_eq!(outer.message(), "a subquery that refers to the outer query in this way: not supported");
    }

    #[test]
    fn nothing_names_the_engine() {
        let error = DataFusionError::Internal("DataFusion is broken.\n\nbacktrace: 0: x".into()).context("at main.rs");
        let error = fold(&error);
        assert!(!format!("{error:?}").contains("DataFusion"));
        assert!(!format!("{error:?}").contains("backtrace"));
    }

    #[test]
    fn our_errors_come_through_unchanged() {
        let ours = Error::new(codes::UNIQUE, "there already").help("try again");
        let wrapped = DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(ours))), None);
        let wrapped = DataFusionError::Shared(std::sync::Arc::new(wrapped.context("x")));
        assert!(fold(&wrapped).is(codes::UNIQUE));
        assert_eq!(fold(&wrapped).help_text(), Some("try again"));
    }
}
