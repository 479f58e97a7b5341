//! One statement's text becomes sqlparser's tree. It knows no catalog and gives no meaning: it only numbers parameters
//! and tells where in the text something is wrong.
//!
//! Below the session every place is *relative*: it has no source and counts from the statement's beginning. The session
//! alone knows the script, and moves the place there by [`Origin::locate`].

use datafusion::sql::sqlparser::ast::{Expr, Query, Statement};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::dialect::Kodiak;
use crate::error::{Error, Place, Result, codes};

/// How deep expressions may nest; beyond it a statement is refused rather than the stack overrun.
const DEPTH_MAX: usize = 200;

/// Where a statement's text lies in a script.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// Name of the file or of the source.
    pub(crate) source: &'a str,
    /// The whole script.
    pub(crate) script: &'a str,
    /// Byte at which the statement begins.
    pub(crate) start: usize,
    /// Line of that byte, counted from 1; the reader of a script counts along.
    pub(crate) line: u64,
    /// Whether a text may hold what no message repeats.
    pub(crate) is_sensitive: &'a dyn Fn(&str) -> bool,
}

impl Origin<'_> {
    /// Gives an error its place in the script: the one it knows within the statement, or the statement's beginning.
    pub(crate) fn locate(&self, error: Error) -> Error {
        match error.place() {
            Some(place) if place.source.is_empty() => {
                let place = self.place(place.line, place.column);
                error.replace_place(Some(place))
            }
            Some(_) => error,
            None => error.at(self.beginning()),
        }
    }

    /// The place of the statement's first word.
    pub(crate) fn beginning(&self) -> Place {
        let blank = super::split::skip_blank(&self.script[self.start..]);
        let lines = self.script[self.start..self.start + blank].bytes().filter(|b| *b == b'\n').count() as u64;
        Origin { start: self.start + blank, line: self.line + lines, ..*self }.place(1, 1)
    }

    /// The place of a position within the statement; lines and columns count from 1.
    fn place(&self, line: u64, column: u64) -> Place {
        let mut line_start = self.script[..self.start].rfind('\n').map_or(0, |at| at + 1);
        let indent = if line == 1 { self.script[line_start..self.start].chars().count() as u64 } else { 0 };
        if line > 1 {
            let ends =
                self.script[self.start..].match_indices('\n').nth(usize::try_from(line).unwrap_or(usize::MAX) - 2);
            line_start = ends.map_or(line_start, |(at, _)| self.start + at + 1);
        }
        let text = self.script[line_start..].lines().next().unwrap_or_default().trim_end();
        let text = if self.shares_line_with_secret(line_start, text) { "" } else { text };
        Place {
            source: self.source.to_owned(),
            line: self.line + line - 1,
            column: indent + column,
            text: text.to_owned(),
        }
    }

    /// Whether the line may hold the value of a secret: the statement's own, or that of another one on the same line.
    fn shares_line_with_secret(&self, line_start: usize, text: &str) -> bool {
        let mentions = |text: &str| text.as_bytes().windows(6).any(|word| word.eq_ignore_ascii_case(b"secret"));
        let mentions = |text: &str| mentions(text) || (self.is_sensitive)(text);
        let follows_another = self.script.get(line_start..self.start).is_some_and(|text| !text.trim().is_empty());
        let own = super::split::first(&self.script[self.start..]).map_or("", |piece| piece.text);
        (self.is_sensitive)(own)
            || (text.contains(';') && mentions(text))
            || (follows_another && mentions(&self.script[..self.start]))
    }
}

/// A place within a statement.
pub(crate) fn relative(line: u64, column: u64) -> Place {
    Place { source: String::new(), line, column, text: String::new() }
}

/// The error of a text that may hold a secret: its code and place, and not a word of the text.
pub(crate) fn concealed(error: &Error) -> Error {
    let text = "the statement is not understood, and not shown because it may hold a secret";
    let hidden = Error::foreign(error.code(), text).with_sqlstate(error.sqlstate().unwrap_or_default());
    match error.place() {
        Some(place) => hidden.at(Place { text: String::new(), ..place.clone() }),
        None => hidden,
    }
}

/// Reads exactly one statement.
pub(crate) fn statement(text: &str) -> Result<Statement> {
    whole(text, "end of statement", |parser| parser.parse_statement())
}

/// Reads an expression that the catalog keeps, such as a default.
pub(crate) fn expression(text: &str) -> Result<Expr> {
    whole(text, "the end", |parser| parser.parse_expr())
}

/// Reads a query that the catalog keeps, such as a view.
pub(crate) fn query(text: &str) -> Result<Query> {
    whole(text, "the end", |parser| parser.parse_query().map(|query| *query))
}

/// Reads a statement whose grammar is ours.
pub(crate) fn read<T>(text: &str, body: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>) -> Result<T> {
    whole(text, "end of statement", body)
}

fn whole<T>(text: &str, end: &str, read: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>) -> Result<T> {
    let mut parser = parser(tokens(text).map_err(fold)?);
    let parsed = read(&mut parser).and_then(|tree| {
        let next = parser.peek_token();
        if next.token == Token::EOF { Ok(tree) } else { parser.expected(end, next) }
    });
    parsed.map_err(fold)
}

fn parser(tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    Parser::new(&Kodiak).with_recursion_limit(DEPTH_MAX).with_tokens_with_locations(tokens)
}

/// Tokens in which each `?` has its number, so that `?` and `$1` are one thing from here on.
fn tokens(text: &str) -> Result<Vec<TokenWithSpan>, ParserError> {
    let mut tokens = Tokenizer::new(&Kodiak, text).tokenize_with_location()?;
    let mut number = 0;
    for token in &mut tokens {
        if let Token::Placeholder(name) = &mut token.token
            && name == "?"
        {
            number += 1;
            *name = format!("${number}");
        }
    }
    as_of(&mut tokens);
    Ok(tokens)
}

/// Puts `AS OF VERSION` and `AS OF TIMESTAMP` into the words that the parser has for them; both take any expression.
fn as_of(tokens: &mut Vec<TokenWithSpan>) {
    let words: Vec<usize> =
        tokens.iter().enumerate().filter(|(_, t)| !matches!(t.token, Token::Whitespace(_))).map(|(i, _)| i).collect();
    let is = |at: usize, word: &str| matches!(&tokens[at].token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    let mut found: Vec<(Vec<usize>, [&str; 4])> = Vec::new();
    for three in words.windows(3) {
        if is(three[0], "AS") && is(three[1], "OF") {
            if is(three[2], "VERSION") {
                found.push((three.to_vec(), ["FOR", "SYSTEM_TIME", "AS", "OF"]));
            } else if is(three[2], "TIMESTAMP") || is(three[2], "TIMESTAMPTZ") {
                found.push((three.to_vec(), ["TIMESTAMP", "AS", "OF", ""]));
            }
        }
    }
    for (places, words) in found.into_iter().rev() {
        let span = tokens[places[0]].span;
        let words = words.into_iter().filter(|word| !word.is_empty());
        let words = words.map(|word| TokenWithSpan::new(Token::make_keyword(word), span));
        tokens.splice(places[0]..=places[2], words);
    }
}

/// Folds the parser's error: it puts its position at the end of the message, as text.
fn fold(error: ParserError) -> Error {
    let text = match error {
        ParserError::RecursionLimitExceeded => return Error::new(codes::SYNTAX, "the statement nests too deep"),
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    let (message, position) = split_position(&text);
    let error = Error::new(codes::SYNTAX, phrase(message));
    match position {
        Some((line, column)) => error.at(relative(line, column)),
        None => error,
    }
}

fn split_position(text: &str) -> (&str, Option<(u64, u64)>) {
    let found = text.rfind(" at Line: ").and_then(|at| {
        let (line, column) = text[at + " at Line: ".len()..].split_once(", Column: ")?;
        Some((&text[..at], (line.parse().ok()?, column.trim().parse().ok()?)))
    });
    found.map_or((text, None), |(message, position)| (message, Some(position)))
}

/// The parser's sentence as one of our phrases.
fn phrase(message: &str) -> String {
    let message = message.trim().trim_end_matches('.');
    if let Some((expected, found)) = message.strip_prefix("Expected: ").and_then(|m| m.rsplit_once(", found: ")) {
        let found = if found == "EOF" { "the end of the statement".to_owned() } else { format!("`{found}`") };
        return format!("expected {expected}, found {found}");
    }
    let mut chars = message.chars();
    let first = chars.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
    first + chars.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(script: &str, start: usize) -> Result<Statement> {
        let line = script[..start].bytes().filter(|b| *b == b'\n').count() as u64 + 1;
        let is_sensitive = &crate::sql::split::holds_secret;
        let origin = Origin { source: "f.sql", script, start, line, is_sensitive };
        statement(&script[start..]).map_err(|error| origin.locate(error))
    }

    #[test]
    fn errors_carry_the_place_in_the_script() {
        let script = "select 1;\n  select (2 from t";
        let error = parse(script, 9).expect_err("a parenthesis is open");
        let place = error.place().expect("a place");
        assert_eq!((place.line, place.text.as_str()), (2, "  select (2 from t"));
        assert_eq!(place.column, 13);
        assert!(error.is(codes::SYNTAX));
        assert_eq!(error.message(), "expected ), found `from`");
    }

    #[test]
    fn an_error_in_the_first_line_counts_from_the_line_of_the_script() {
        let script = "select 1; selec 2";
        let place = parse(script, 9).expect_err("no such statement").place().cloned().expect("a place");
        assert_eq!((place.line, place.column), (1, 11));
    }

    #[test]
    fn what_follows_a_statement_is_refused() {
        assert!(parse("select 1 from t limit 1 nonsense", 0).is_err());
    }

    #[test]
    fn parameters_are_numbered() {
        let tree = parse("select ?, ?", 0).expect("parses");
        assert_eq!(tree.to_string(), "SELECT $1, $2");
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let text = format!("select {}1{}", "(".repeat(5000), ")".repeat(5000));
        assert!(parse(&text, 0).expect_err("too deep").is(codes::SYNTAX));
    }
}
