//! Reads the statements about routines and triggers. It knows words, not the catalog: what a name means and whether a
//! body is right is decided by those who run them.

use datafusion::sql::sqlparser::ast::{DataType, Expr, Ident, ObjectName, Value as Literal};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::catalog::{Event, Level, RoutineKind, Timing, Volatile};
use crate::error::{Error, Result, codes};
use crate::sql::names::{fold_ident, split_name};
use crate::sql::{parse, split, types, unsupported};

/// A statement of this module's.
pub(crate) enum Statement {
    CreateRoutine(Box<CreateRoutine>),
    DropRoutines(DropRoutines),
    CreateTrigger(Box<CreateTrigger>),
    DropTrigger { if_exists: bool, name: String, table: Option<(Option<String>, String)> },
    Do { language: String, body: String },
    CreateMacro(CreateMacro),
    DropMacro { if_exists: bool, name: Name },
}

/// `CREATE [OR REPLACE] MACRO`.
pub(crate) struct CreateMacro {
    pub(crate) replace: bool,
    pub(crate) if_not_exists: bool,
    pub(crate) name: Name,
    pub(crate) parameters: Vec<(String, Option<String>)>,
    pub(crate) is_table: bool,
    pub(crate) body: String,
}

/// `CREATE [OR REPLACE] FUNCTION | PROCEDURE`.
pub(crate) struct CreateRoutine {
    pub(crate) replace: bool,
    pub(crate) if_not_exists: bool,
    pub(crate) kind: RoutineKind,
    pub(crate) name: (Option<String>, String),
    pub(crate) parameters: Vec<WrittenParameter>,
    pub(crate) returns: Option<WrittenReturns>,
    pub(crate) language: Option<String>,
    pub(crate) volatility: Option<Volatile>,
    pub(crate) strict: bool,
    pub(crate) body: String,
}

/// A parameter as it was written.
pub(crate) struct WrittenParameter {
    pub(crate) name: Option<String>,
    pub(crate) kind: DataType,
    pub(crate) default: Option<Expr>,
}

/// What stands behind `RETURNS`.
pub(crate) enum WrittenReturns {
    Value(DataType),
    /// `SETOF type`: rows of one column.
    Set(DataType),
    Table(Vec<(String, DataType)>),
    Trigger,
    Nothing,
}

/// A schema, if it is written, and a name.
pub(crate) type Name = (Option<String>, String);

/// `DROP FUNCTION | PROCEDURE | ROUTINE`.
pub(crate) struct DropRoutines {
    pub(crate) kind: Option<RoutineKind>,
    pub(crate) if_exists: bool,
    /// Names, and the parameters' types where they are written.
    pub(crate) names: Vec<(Name, Option<Vec<DataType>>)>,
    pub(crate) cascade: bool,
}

/// `CREATE [OR REPLACE] TRIGGER`.
pub(crate) struct CreateTrigger {
    pub(crate) replace: bool,
    pub(crate) if_not_exists: bool,
    pub(crate) name: String,
    pub(crate) timing: Timing,
    pub(crate) events: Vec<Event>,
    pub(crate) table: (Option<String>, String),
    pub(crate) old_name: Option<String>,
    pub(crate) new_name: Option<String>,
    pub(crate) level: Level,
    pub(crate) when: Option<Expr>,
    pub(crate) function: (Option<String>, String),
    pub(crate) arguments: Vec<String>,
}

type Read<T> = Result<T, ParserError>;

/// Reads the statement if it is one of this module's.
pub(crate) fn statement(text: &str) -> Option<Result<Statement>> {
    let words = split::leading_words(text, 4);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let body: fn(&mut Parser<'_>) -> Read<Reading> = match words.as_slice() {
        ["CREATE", "OR", "REPLACE", what, ..] | ["CREATE", what, ..] => match *what {
            "FUNCTION" => |parser: &mut Parser<'_>| create_routine(parser, RoutineKind::Function),
            "PROCEDURE" => |parser: &mut Parser<'_>| create_routine(parser, RoutineKind::Procedure),
            "TRIGGER" => create_trigger,
            "MACRO" => create_macro,
            _ => return None,
        },
        ["DROP", "FUNCTION" | "PROCEDURE" | "ROUTINE", ..] => drop_routines,
        ["DROP", "TRIGGER", ..] => drop_trigger,
        ["DROP", "MACRO", ..] => drop_macro,
        ["DO", ..] => anonymous,
        _ => return None,
    };
    Some(parse::read(text, body).and_then(checked))
}

/// What is read but not supported is refused here, where its name is known.
fn checked(statement: Reading) -> Result<Statement> {
    match statement {
        Reading::Fine(statement) => Ok(*statement),
        Reading::Refused(what) => Err(unsupported(&what)),
    }
}

/// A statement, or what in it is not supported.
enum Reading {
    Fine(Box<Statement>),
    Refused(String),
}

fn fine(statement: Statement) -> Read<Reading> {
    Ok(Reading::Fine(Box::new(statement)))
}

/// What comes behind a construct that is not supported is not read.
fn refuse(parser: &mut Parser<'_>, what: String) -> Read<Reading> {
    while parser.next_token().token != Token::EOF {}
    Ok(Reading::Refused(what))
}

/// Takes these words, upper case, if they come next; words that the parser does not know as keywords are fine too.
fn take(parser: &mut Parser<'_>, words: &[&str]) -> bool {
    for (ahead, word) in words.iter().enumerate() {
        let token = parser.peek_nth_token(ahead);
        let same = matches!(&token.token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word));
        if !same {
            return false;
        }
    }
    for _ in words {
        parser.next_token();
    }
    true
}

fn need(parser: &mut Parser<'_>, words: &[&str]) -> Read<()> {
    if take(parser, words) { Ok(()) } else { parser.expected(&words.join(" "), parser.peek_token()) }
}

fn name(parser: &mut Parser<'_>) -> Read<(Option<String>, String)> {
    let name = parser.parse_object_name(false)?;
    split_name(&name).map_err(|error| ParserError::ParserError(error.message().to_owned()))
}

fn ident(parser: &mut Parser<'_>) -> Read<String> {
    parser.parse_identifier().map(|ident: Ident| fold_ident(&ident))
}

fn string(parser: &mut Parser<'_>) -> Read<String> {
    let token = parser.next_token();
    match token.token {
        Token::DollarQuotedString(text) => Ok(text.value),
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => Ok(text),
        _ => parser.expected("a body in quotes, such as $$ ... $$", token),
    }
}

fn create_routine(parser: &mut Parser<'_>, kind: RoutineKind) -> Read<Reading> {
    need(parser, &["CREATE"])?;
    let replace = take(parser, &["OR", "REPLACE"]);
    parser.next_token();
    let if_not_exists = take(parser, &["IF", "NOT", "EXISTS"]);
    let name = name(parser)?;
    parser.expect_token(&Token::LParen)?;
    let mut parameters = Vec::new();
    if !parser.consume_token(&Token::RParen) {
        loop {
            for mode in ["OUT", "INOUT", "VARIADIC"] {
                if take(parser, &[mode]) {
                    return refuse(parser, format!("a parameter of mode {mode}"));
                }
            }
            take(parser, &["IN"]);
            parameters.push(parameter(parser)?);
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&Token::RParen)?;
    }
    let mut made = CreateRoutine {
        replace,
        if_not_exists,
        kind,
        name,
        parameters,
        returns: None,
        language: None,
        volatility: None,
        strict: false,
        body: String::new(),
    };
    let mut body = None;
    loop {
        if take(parser, &["RETURNS", "NULL", "ON", "NULL", "INPUT"]) || take(parser, &["STRICT"]) {
            made.strict = true;
        } else if take(parser, &["CALLED", "ON", "NULL", "INPUT"]) {
            made.strict = false;
        } else if made.returns.is_none() && take(parser, &["RETURNS"]) {
            made.returns = Some(returns(parser)?);
        } else if made.language.is_none() && take(parser, &["LANGUAGE"]) {
            made.language = Some(language(parser)?);
        } else if take(parser, &["IMMUTABLE"]) {
            made.volatility = Some(Volatile::Immutable);
        } else if take(parser, &["STABLE"]) {
            made.volatility = Some(Volatile::Stable);
        } else if take(parser, &["VOLATILE"]) {
            made.volatility = Some(Volatile::Volatile);
        } else if take(parser, &["SECURITY", "INVOKER"])
            || take(parser, &["PARALLEL", "SAFE"])
            || take(parser, &["PARALLEL", "UNSAFE"])
            || take(parser, &["PARALLEL", "RESTRICTED"])
        {
            // The caller's rights are the only ones there are, and how to run in parallel is the host's to decide.
        } else if body.is_none() && take(parser, &["AS"]) {
            body = Some(string(parser)?);
        } else if body.is_none() && take(parser, &["RETURN"]) {
            body = Some(format!("SELECT {}", parser.parse_expr()?));
        } else {
            break;
        }
    }
    match body {
        Some(body) => made.body = body,
        None => return parser.expected("AS and a body", parser.peek_token()),
    }
    fine(Statement::CreateRoutine(Box::new(made)))
}

fn language(parser: &mut Parser<'_>) -> Read<String> {
    if let Token::SingleQuotedString(text) = parser.peek_token().token {
        parser.next_token();
        return Ok(text.to_lowercase());
    }
    ident(parser)
}

fn parameter(parser: &mut Parser<'_>) -> Read<WrittenParameter> {
    let known = |kind: &DataType| types::sql_type(kind).is_ok();
    let named = parser.maybe_parse(|parser| {
        let (name, kind) = (ident(parser)?, parser.parse_data_type()?);
        if known(&kind) { Ok((name, kind)) } else { parser.expected("a type", parser.peek_token()) }
    })?;
    let (name, kind) = match named {
        Some((name, kind)) => (Some(name), kind),
        // A single word may be a type, and a name with a type that does not exist is reported with that type.
        None => match parser.peek_nth_token(1).token {
            Token::Comma | Token::RParen | Token::LParen | Token::LBracket | Token::Eq => {
                (None, parser.parse_data_type()?)
            }
            _ => {
                let plain = parser.maybe_parse(|parser| {
                    let kind = parser.parse_data_type()?;
                    let end = matches!(parser.peek_token().token, Token::Comma | Token::RParen | Token::Eq);
                    if end { Ok(kind) } else { parser.expected("the next parameter", parser.peek_token()) }
                })?;
                match plain {
                    Some(kind) => (None, kind),
                    None => (Some(ident(parser)?), parser.parse_data_type()?),
                }
            }
        },
    };
    let default = take(parser, &["DEFAULT"]) || parser.consume_token(&Token::Eq);
    let default = if default { Some(parser.parse_expr()?) } else { None };
    Ok(WrittenParameter { name, kind, default })
}

fn returns(parser: &mut Parser<'_>) -> Read<WrittenReturns> {
    if take(parser, &["TRIGGER"]) {
        return Ok(WrittenReturns::Trigger);
    }
    if take(parser, &["VOID"]) {
        return Ok(WrittenReturns::Nothing);
    }
    if take(parser, &["SETOF"]) {
        return Ok(WrittenReturns::Set(parser.parse_data_type()?));
    }
    if !take(parser, &["TABLE"]) {
        return Ok(WrittenReturns::Value(parser.parse_data_type()?));
    }
    parser.expect_token(&Token::LParen)?;
    let columns = parser.parse_comma_separated(|parser| Ok((ident(parser)?, parser.parse_data_type()?)))?;
    parser.expect_token(&Token::RParen)?;
    Ok(WrittenReturns::Table(columns))
}

fn drop_routines(parser: &mut Parser<'_>) -> Read<Reading> {
    need(parser, &["DROP"])?;
    let kind = if take(parser, &["FUNCTION"]) {
        Some(RoutineKind::Function)
    } else if take(parser, &["PROCEDURE"]) {
        Some(RoutineKind::Procedure)
    } else {
        need(parser, &["ROUTINE"])?;
        None
    };
    let if_exists = take(parser, &["IF", "EXISTS"]);
    let names = parser.parse_comma_separated(|parser| {
        let name = name(parser)?;
        if !parser.consume_token(&Token::LParen) {
            return Ok((name, None));
        }
        if parser.consume_token(&Token::RParen) {
            return Ok((name, Some(Vec::new())));
        }
        let kinds = parser.parse_comma_separated(|parser| parameter(parser).map(|parameter| parameter.kind))?;
        parser.expect_token(&Token::RParen)?;
        Ok((name, Some(kinds)))
    })?;
    let cascade = take(parser, &["CASCADE"]);
    take(parser, &["RESTRICT"]);
    fine(Statement::DropRoutines(DropRoutines { kind, if_exists, names, cascade }))
}

fn create_trigger(parser: &mut Parser<'_>) -> Read<Reading> {
    need(parser, &["CREATE"])?;
    let replace = take(parser, &["OR", "REPLACE"]);
    need(parser, &["TRIGGER"])?;
    let if_not_exists = take(parser, &["IF", "NOT", "EXISTS"]);
    let trigger = ident(parser)?;
    let timing = if take(parser, &["BEFORE"]) {
        Timing::Before
    } else if take(parser, &["AFTER"]) {
        Timing::After
    } else if take(parser, &["INSTEAD", "OF"]) {
        Timing::Instead
    } else {
        return parser.expected("BEFORE, AFTER or INSTEAD OF", parser.peek_token());
    };
    let mut events = Vec::new();
    loop {
        if take(parser, &["TRUNCATE"]) {
            return refuse(parser, "a trigger for TRUNCATE".to_owned());
        }
        events.push(event(parser)?);
        if !take(parser, &["OR"]) {
            break;
        }
    }
    need(parser, &["ON"])?;
    let table = name(parser)?;
    let (mut old_name, mut new_name) = (None, None);
    if take(parser, &["REFERENCING"]) {
        loop {
            let slot = if take(parser, &["OLD", "TABLE"]) {
                &mut old_name
            } else if take(parser, &["NEW", "TABLE"]) {
                &mut new_name
            } else {
                break;
            };
            take(parser, &["AS"]);
            *slot = Some(ident(parser)?);
        }
    }
    let mut level = Level::Statement;
    if take(parser, &["FOR"]) {
        take(parser, &["EACH"]);
        if take(parser, &["ROW"]) {
            level = Level::Row;
        } else {
            need(parser, &["STATEMENT"])?;
        }
    }
    let when = if take(parser, &["WHEN"]) {
        parser.expect_token(&Token::LParen)?;
        let condition = parser.parse_expr()?;
        parser.expect_token(&Token::RParen)?;
        Some(condition)
    } else {
        None
    };
    need(parser, &["EXECUTE"])?;
    if !take(parser, &["FUNCTION"]) {
        need(parser, &["PROCEDURE"])?;
    }
    let function = name(parser)?;
    let mut arguments = Vec::new();
    if parser.consume_token(&Token::LParen) && !parser.consume_token(&Token::RParen) {
        arguments = parser.parse_comma_separated(argument)?;
        parser.expect_token(&Token::RParen)?;
    }
    fine(Statement::CreateTrigger(Box::new(CreateTrigger {
        replace,
        if_not_exists,
        name: trigger,
        timing,
        events,
        table,
        old_name,
        new_name,
        level,
        when,
        function,
        arguments,
    })))
}

fn event(parser: &mut Parser<'_>) -> Read<Event> {
    if take(parser, &["INSERT"]) {
        return Ok(Event::Insert);
    }
    if take(parser, &["DELETE"]) {
        return Ok(Event::Delete);
    }
    if !take(parser, &["UPDATE"]) {
        return parser.expected("INSERT, UPDATE or DELETE", parser.peek_token());
    }
    let columns = if take(parser, &["OF"]) { parser.parse_comma_separated(ident)? } else { Vec::new() };
    Ok(Event::Update(columns))
}

/// A literal, as text.
fn argument(parser: &mut Parser<'_>) -> Read<String> {
    let found = parser.peek_token();
    match parser.parse_value()?.value {
        Literal::SingleQuotedString(text) | Literal::Number(text, _) => Ok(text),
        Literal::DollarQuotedString(text) => Ok(text.value),
        Literal::Boolean(value) => Ok(value.to_string()),
        _ => parser.expected("a literal", found),
    }
}

fn create_macro(parser: &mut Parser<'_>) -> Read<Reading> {
    need(parser, &["CREATE"])?;
    let replace = take(parser, &["OR", "REPLACE"]);
    need(parser, &["MACRO"])?;
    let if_not_exists = take(parser, &["IF", "NOT", "EXISTS"]);
    let name = name(parser)?;
    parser.expect_token(&Token::LParen)?;
    let mut parameters = Vec::new();
    if !parser.consume_token(&Token::RParen) {
        parameters = parser.parse_comma_separated(|parser| {
            let name = ident(parser)?;
            let default = parser.consume_token(&Token::Assignment) || take(parser, &["DEFAULT"]);
            let default = if default { Some(parser.parse_expr()?.to_string()) } else { None };
            Ok((name, default))
        })?;
        parser.expect_token(&Token::RParen)?;
    }
    need(parser, &["AS"])?;
    let table = take(parser, &["TABLE"]);
    let query = ["SELECT", "WITH", "VALUES", "FROM"].into_iter().any(|word| {
        matches!(&parser.peek_token().token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
    });
    let is_table = table || query;
    let body = if is_table { parser.parse_query()?.to_string() } else { parser.parse_expr()?.to_string() };
    fine(Statement::CreateMacro(CreateMacro { replace, if_not_exists, name, parameters, is_table, body }))
}

fn drop_macro(parser: &mut Parser<'_>) -> Read<Reading> {
    need(parser, &["DROP", "MACRO"])?;
    take(parser, &["TABLE"]);
    let if_exists = take(parser, &["IF", "EXISTS"]);
    fine(Statement::DropMacro { if_exists, name: name(parser)? })
}

fn drop_trigger(parser: &mut Parser<'_>) -> Read<Reading> {
    need(parser, &["DROP", "TRIGGER"])?;
    let if_exists = take(parser, &["IF", "EXISTS"]);
    let trigger = ident(parser)?;
    let table = if take(parser, &["ON"]) { Some(name(parser)?) } else { None };
    if !take(parser, &["CASCADE"]) {
        take(parser, &["RESTRICT"]);
    }
    fine(Statement::DropTrigger { if_exists, name: trigger, table })
}

fn anonymous(parser: &mut Parser<'_>) -> Read<Reading> {
    need(parser, &["DO"])?;
    let mut named = if take(parser, &["LANGUAGE"]) { Some(language(parser)?) } else { None };
    let body = string(parser)?;
    if named.is_none() && take(parser, &["LANGUAGE"]) {
        named = Some(language(parser)?);
    }
    fine(Statement::Do { language: named.unwrap_or_else(|| super::SQL.to_owned()), body })
}

/// The name of a routine in a call.
pub(crate) fn called(name: &ObjectName) -> Result<(Option<String>, String)> {
    split_name(name).map_err(|_| Error::new(codes::SYNTAX, format!("`{name}` is no name of a routine")))
}
