//! Statements that an extension claims by their leading keywords: text, tokens and parameters in, rows or a count out.

use crate::abi::{AbiStatement, AbiStatementOutcome, AbiToken, RNone, ROption, RSome, token};
use crate::arrow::{BatchReader, export_stream, import_batch};
use crate::error::{Error, Result};
use arrow_array::RecordBatch;
use std::fmt;

/// A statement as the extension gets it.
#[derive(Clone, Debug)]
pub struct Statement {
    claim: String,
    text: String,
    tokens: Vec<Token>,
    parameters: RecordBatch,
}

/// A token of a statement, with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// A word as written, a string or quoted name without quotes and escapes, a symbol.
    pub text: String,
    /// Byte range in [`Statement::text`].
    pub span: std::ops::Range<usize>,
}

/// Kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A keyword or an unquoted name.
    Word,
    /// A name in double quotes.
    Quoted,
    /// A string.
    Text,
    /// A number.
    Number,
    /// Punctuation or an operator.
    Symbol,
    /// `?` or `$1`.
    Parameter,
    /// `X'00ff'`, its digits.
    Binary,
}

impl Statement {
    /// A statement as the host would pass it, for an author's own tests. `claim` is in upper case with single spaces.
    pub fn new(claim: &str, text: &str, tokens: Vec<Token>, parameters: RecordBatch) -> Self {
        Self { claim: claim.to_owned(), text: text.to_owned(), tokens, parameters }
    }

    /// The claim that matched, in upper case with single spaces.
    pub fn claim(&self) -> &str {
        &self.claim
    }

    /// The text, without the closing semicolon.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every token, the claim's included.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// One row, one column a parameter; no columns when there are none.
    pub fn parameters(&self) -> &RecordBatch {
        &self.parameters
    }

    /// A cursor behind the claim.
    pub fn cursor(&self) -> Cursor<'_> {
        let words = self.claim.split(' ').count();
        // `PUT_BLOB` is one token and stands for `PUT BLOB`.
        let joined = self.tokens.first().is_some_and(|first| first.text.contains('_') && words > 1);
        Cursor { statement: self, next: if joined { 1 } else { words } }
    }

    #[allow(unsafe_code)]
    pub(crate) fn from_abi(raw: AbiStatement) -> Result<Self> {
        // SAFETY: the host hands over a valid struct array for its schema; plugins trust their host.
        let parameters = unsafe { import_batch(raw.parameters) }?;
        let tokens = raw.tokens.into_iter().map(Token::from).collect();
        Ok(Self { claim: raw.claim.into(), text: raw.text.into(), tokens, parameters })
    }
}

impl From<AbiToken> for Token {
    fn from(raw: AbiToken) -> Self {
        let kind = match raw.kind {
            token::WORD => TokenKind::Word,
            token::QUOTED => TokenKind::Quoted,
            token::STRING => TokenKind::Text,
            token::NUMBER => TokenKind::Number,
            token::PARAMETER => TokenKind::Parameter,
            token::BINARY => TokenKind::Binary,
            _ => TokenKind::Symbol,
        };
        Self { kind, text: raw.text.into(), span: raw.start..raw.end }
    }
}

/// Reads a statement token by token.
///
/// Every `expect` fails with a message that shows what stands there instead.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    statement: &'a Statement,
    next: usize,
}

impl<'a> Cursor<'a> {
    /// The next token, without taking it.
    pub fn peek(&self) -> Option<&'a Token> {
        self.statement.tokens.get(self.next)
    }

    /// Takes the next token.
    pub fn take(&mut self) -> Option<&'a Token> {
        let token = self.peek()?;
        self.next += 1;
        Some(token)
    }

    /// Takes these words, in any case, or none of them.
    pub fn accept(&mut self, words: &str) -> bool {
        let start = self.next;
        for word in words.split(' ') {
            match self.take() {
                Some(token) if token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word) => {}
                _ => {
                    self.next = start;
                    return false;
                }
            }
        }
        true
    }

    /// Takes this symbol or nothing.
    pub fn accept_symbol(&mut self, symbol: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == TokenKind::Symbol && token.text == symbol);
        self.next += usize::from(found);
        found
    }

    /// Takes these words.
    ///
    /// # Errors
    /// A syntax error when others stand there.
    pub fn expect(&mut self, words: &str) -> Result<()> {
        if self.accept(words) { Ok(()) } else { Err(self.expected(words)) }
    }

    /// Takes this symbol.
    ///
    /// # Errors
    /// A syntax error when another token stands there.
    pub fn expect_symbol(&mut self, symbol: &str) -> Result<()> {
        if self.accept_symbol(symbol) { Ok(()) } else { Err(self.expected(format_args!("`{symbol}`"))) }
    }

    /// Takes a name: a word, folded to lower case, or a quoted name as it is.
    ///
    /// # Errors
    /// A syntax error when another token stands there.
    pub fn name(&mut self) -> Result<String> {
        match self.peek() {
            Some(token) if token.kind == TokenKind::Word => {
                self.next += 1;
                Ok(token.text.to_lowercase())
            }
            Some(token) if token.kind == TokenKind::Quoted => {
                self.next += 1;
                Ok(token.text.clone())
            }
            _ => Err(self.expected("a name")),
        }
    }

    /// Takes a string.
    ///
    /// # Errors
    /// A syntax error when another token stands there.
    pub fn string(&mut self) -> Result<String> {
        match self.peek() {
            Some(token) if token.kind == TokenKind::Text => {
                self.next += 1;
                Ok(token.text.clone())
            }
            _ => Err(self.expected("a string")),
        }
    }

    /// Takes an integer that is not negative.
    ///
    /// # Errors
    /// A syntax error when another token stands there.
    pub fn unsigned(&mut self) -> Result<u64> {
        let number = self.peek().filter(|token| token.kind == TokenKind::Number).and_then(|t| t.text.parse().ok());
        let number = number.ok_or_else(|| self.expected("a whole number"))?;
        self.next += 1;
        Ok(number)
    }

    /// Takes the tokens up to one of these words at the outermost level of parentheses, and gives their text: an
    /// expression, to be evaluated by the host.
    ///
    /// # Errors
    /// A syntax error when there are none.
    pub fn expression(&mut self, stop: &[&str]) -> Result<&'a str> {
        let first = self.peek().ok_or_else(|| self.expected("an expression"))?;
        let (start, mut end, mut depth) = (first.span.start, first.span.start, 0usize);
        while let Some(token) = self.peek() {
            let stops = token.kind == TokenKind::Word && stop.iter().any(|word| token.text.eq_ignore_ascii_case(word));
            match token.text.as_str() {
                _ if depth == 0 && stops => break,
                "(" if token.kind == TokenKind::Symbol => depth += 1,
                ")" if token.kind == TokenKind::Symbol => depth = depth.saturating_sub(1),
                _ => {}
            }
            end = token.span.end;
            self.next += 1;
        }
        if start == end {
            return Err(self.expected("an expression"));
        }
        Ok(&self.statement.text[start..end])
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// A syntax error that shows what is.
    pub fn end(&self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }

    /// A syntax error at this place.
    pub fn expected(&self, what: impl fmt::Display) -> Error {
        let found = self.peek().map_or_else(
            || "the end of the statement".to_owned(),
            |token| format!("`{}`", &self.statement.text[token.span.clone()]),
        );
        Error::new("KDK-0100", format!("expected {what}, found {found}")).sqlstate("42601")
    }
}

/// What a statement gave.
#[derive(Default)]
pub struct Outcome {
    rows: Option<BatchReader>,
    affected: Option<u64>,
}

impl Outcome {
    /// Neither rows nor a count.
    pub fn done() -> Self {
        Self::default()
    }

    /// Rows.
    pub fn rows(reader: BatchReader) -> Self {
        Self { rows: Some(reader), ..Self::default() }
    }

    /// All rows at once.
    pub fn batch(batch: RecordBatch) -> Self {
        let schema = batch.schema();
        Self::rows(Box::new(arrow_array::RecordBatchIterator::new([Ok(batch)], schema)))
    }

    /// A number of objects or rows that changed.
    pub fn affected(count: u64) -> Self {
        Self { affected: Some(count), ..Self::default() }
    }

    pub(crate) fn into_abi(self) -> AbiStatementOutcome {
        let rows = self.rows.map(export_stream);
        AbiStatementOutcome {
            rows: rows.map_or(RNone, RSome),
            affected: ROption::from(self.affected),
            options: Default::default(),
        }
    }
}
