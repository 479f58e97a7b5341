//! The cursor over statements as a host would send them.

use super::{Cursor, Statement, Token, TokenKind};
use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use std::sync::Arc;

/// A statement cut at blanks: `'text'`, `"name"`, numbers, words, and anything else a symbol.
fn statement(claim: &str, text: &str) -> Statement {
    let mut tokens = Vec::new();
    let mut at = 0;
    for piece in text.split(' ') {
        let span = at..at + piece.len();
        at = span.end + 1;
        let kind = match piece.as_bytes() {
            [] => continue,
            [b'\'', ..] => TokenKind::Text,
            [b'"', ..] => TokenKind::Quoted,
            [first, ..] if first.is_ascii_digit() => TokenKind::Number,
            [first, ..] if first.is_ascii_alphabetic() => TokenKind::Word,
            _ => TokenKind::Symbol,
        };
        tokens.push(Token { kind, text: piece.trim_matches(['\'', '"']).to_owned(), span });
    }
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let parameters =
        RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).expect("no columns");
    Statement { claim: claim.to_owned(), text: text.to_owned(), tokens, parameters }
}

fn message<T: std::fmt::Debug>(result: crate::Result<T>) -> String {
    let error = result.expect_err("it does not fit");
    assert_eq!((error.code(), error.state()), ("KDK-0100", "42601"));
    error.text().to_owned()
}

#[test]
fn it_begins_behind_the_claim() {
    let two = statement("PUT BLOB", "put blob 'k'");
    assert_eq!(two.cursor().string(), Ok("k".into()));
    let joined = statement("PUT BLOB", "PUT_BLOB 'k'");
    assert_eq!(joined.cursor().string(), Ok("k".into()));
    let one = statement("GREET", "GREET 'k'");
    assert_eq!(one.cursor().string(), Ok("k".into()));
    assert!(statement("PUT BLOB", "put blob").cursor().end().is_ok());
}

#[test]
fn words_are_taken_together_or_not_at_all() {
    let statement = statement("X", "X if Not exists \"if\"");
    let mut cursor = statement.cursor();
    assert!(!cursor.accept("IF EXISTS"));
    assert!(cursor.accept("IF NOT EXISTS"));
    assert!(!cursor.accept("IF"), "a quoted name is no keyword");
    assert_eq!(message(cursor.expect("THEN")), "expected THEN, found `\"if\"`");
    assert_eq!(cursor.name(), Ok("if".into()));
    assert!(!cursor.accept("MORE") && cursor.take().is_none());
    assert_eq!(message(cursor.expect("MORE")), "expected MORE, found the end of the statement");
}

#[test]
fn each_kind_is_told_from_the_others() {
    let statement = statement("X", "X Name \"NaMe\" 'text' 42 -1 =");
    let mut cursor = statement.cursor();
    assert_eq!(message(cursor.string()), "expected a string, found `Name`");
    assert_eq!(message(cursor.unsigned()), "expected a whole number, found `Name`");
    assert_eq!(cursor.name(), Ok("name".into()), "an unquoted name is folded");
    assert_eq!(cursor.take().map(|token| token.kind), Some(TokenKind::Quoted));
    assert_eq!(message(cursor.name()), "expected a name, found `'text'`");
    assert_eq!(cursor.string(), Ok("text".into()));
    assert_eq!(cursor.unsigned(), Ok(42));
    assert_eq!(message(cursor.unsigned()), "expected a whole number, found `-1`");
    cursor.take();
    assert!(!cursor.accept_symbol(","));
    assert_eq!(message(cursor.expect_symbol(",")), "expected `,`, found `=`");
    assert!(cursor.expect_symbol("=").is_ok() && cursor.end().is_ok());
}

#[test]
fn a_number_that_is_too_big_is_no_whole_number() {
    let statement = statement("X", "X 99999999999999999999");
    assert_eq!(message(statement.cursor().unsigned()), "expected a whole number, found `99999999999999999999`");
}

#[test]
fn an_expression_ends_at_a_word_outside_parentheses() {
    let statement = statement("X", "X f ( a into b ) + 'into' into c");
    let mut cursor = statement.cursor();
    assert_eq!(cursor.expression(&["INTO"]), Ok("f ( a into b ) + 'into'"));
    assert!(cursor.accept("INTO"));
    assert_eq!(cursor.expression(&["INTO"]), Ok("c"));
    assert_eq!(message(cursor.expression(&[])), "expected an expression, found the end of the statement");
    assert!(cursor.end().is_ok());
}

#[test]
fn an_expression_needs_something() {
    let statement = statement("X", "X into c");
    assert_eq!(message(statement.cursor().expression(&["INTO"])), "expected an expression, found `into`");
    let unbalanced = self::statement("X", "X ) ) a into b");
    assert_eq!(unbalanced.cursor().expression(&["INTO"]), Ok(") ) a"));
}

#[test]
fn what_is_left_over_is_shown() {
    let statement = statement("X", "X a b");
    let mut cursor: Cursor<'_> = statement.cursor();
    assert_eq!(cursor.peek(), cursor.clone().take());
    cursor.take();
    assert_eq!(message(cursor.end()), "expected the end of the statement, found `b`");
}
