//! Reads what stands behind a statement's keywords into a [`Request`]. It refuses to repeat what it found: a value may
//! stand anywhere in a statement that is wrong, so an error says what was expected and what kind of token stands there.

use crate::code;
use crate::record::Fields;
use crate::seal::Secret;
use crate::vault::Change;
use kodiak_plugin_api::arrow_array::Array;
use kodiak_plugin_api::prelude::*;
use kodiak_plugin_api::statement::Token;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// A statement, read.
#[derive(Debug)]
pub enum Request {
    /// CREATE SECRET.
    Create { name: String, kind: String, scope: String, fields: Fields, replace: bool, keep: bool },
    /// ALTER SECRET.
    Alter { name: String, change: Change },
    /// DROP SECRET.
    Drop { name: String, if_exists: bool },
    /// ROTATE SECRET; with fields they are the new values.
    Rotate { name: String, change: Option<Change> },
    /// ROTATE KEY.
    RotateKey,
    /// ROTATE MASTER.
    RotateMaster,
    /// UNLOCK SECRETS.
    Unlock(Option<Using>),
    /// LOCK SECRETS.
    Lock,
}

/// What UNLOCK SECRETS is given.
pub enum Using {
    /// A passphrase or a recovery code.
    Passphrase(Secret),
    /// A path.
    KeyFile(PathBuf),
}

impl std::fmt::Debug for Using {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The type of a secret that is given none.
pub const GENERIC: &str = "generic";

/// Reads a statement of one of this extension's claims.
///
/// # Errors
/// A syntax error that shows nothing of the statement.
pub fn read(statement: &Statement) -> Result<Request> {
    let claim = statement.claim();
    let mut reader = Reader { statement, next: claim.split(' ').count(), parameters: 0 };
    let request = match claim {
        "CREATE SECRET" => reader.create(false),
        "CREATE OR REPLACE SECRET" => reader.create(true),
        "ALTER SECRET" => reader.alter(),
        "DROP SECRET" => {
            let if_exists = reader.accept("IF EXISTS");
            Ok(Request::Drop { name: reader.name()?, if_exists })
        }
        "ROTATE SECRET" => reader.rotate(),
        "ROTATE KEY" => Ok(Request::RotateKey),
        "ROTATE MASTER" => Ok(Request::RotateMaster),
        "UNLOCK SECRETS" => reader.unlock(),
        "LOCK SECRETS" => Ok(Request::Lock),
        other => Err(Error::message(format!("`secrets` has no statement `{other}`"))),
    }?;
    match reader.peek() {
        None => Ok(request),
        Some(_) => Err(reader.expected("the end of the statement")),
    }
}

struct Reader<'a> {
    statement: &'a Statement,
    next: usize,
    /// How many `?` there were.
    parameters: usize,
}

/// What is written behind a field's name.
enum Given {
    Value(Secret),
    Null,
}

impl<'a> Reader<'a> {
    fn create(&mut self, replace: bool) -> Result<Request> {
        let keep = self.accept("IF NOT EXISTS");
        let name = self.name()?;
        let change = self.fields()?;
        if !change.remove.is_empty() {
            return Err(syntax("a new secret has no field to remove with NULL"));
        }
        let (kind, scope) = (change.kind.unwrap_or_else(|| GENERIC.to_owned()), change.scope.unwrap_or_default());
        Ok(Request::Create { name, kind, scope, fields: change.set, replace, keep })
    }

    fn alter(&mut self) -> Result<Request> {
        let name = self.name()?;
        if !self.accept("SET") {
            return Err(self.expected("SET"));
        }
        Ok(Request::Alter { name, change: self.fields()? })
    }

    fn rotate(&mut self) -> Result<Request> {
        let name = self.name()?;
        let has_fields = self.accept("SET") || self.peek().is_some();
        let change = has_fields.then(|| self.fields()).transpose()?;
        Ok(Request::Rotate { name, change })
    }

    fn unlock(&mut self) -> Result<Request> {
        if !self.accept("USING") {
            return Ok(Request::Unlock(None));
        }
        if self.accept("PASSPHRASE") || self.accept("RECOVERY CODE") {
            return Ok(Request::Unlock(Some(Using::Passphrase(self.text()?))));
        }
        if self.accept("KEY FILE") {
            let path = self.text()?;
            let path = std::str::from_utf8(&path).map_err(|_| syntax("the path is not UTF-8"))?;
            return Ok(Request::Unlock(Some(Using::KeyFile(PathBuf::from(path)))));
        }
        Err(self.expected("PASSPHRASE, KEY FILE or RECOVERY CODE"))
    }

    /// `(TYPE t, SCOPE 's', NAME 'value', ...)`.
    fn fields(&mut self) -> Result<Change> {
        let mut change = Change::default();
        let mut seen: Vec<String> = Vec::new();
        self.expect_symbol("(")?;
        loop {
            let field = self.name()?.to_uppercase();
            if seen.contains(&field) {
                return Err(syntax("a field is given twice"));
            }
            seen.push(field.clone());
            self.accept_symbol("=");
            match field.as_str() {
                "TYPE" => change.kind = Some(self.word_or_text()?.to_lowercase()),
                "SCOPE" => change.scope = Some(self.plain()?),
                _ => match self.value()? {
                    Given::Value(value) => change.set.set(&field, value),
                    Given::Null => change.remove.push(field),
                },
            }
            if !self.accept_symbol(",") {
                break;
            }
        }
        self.expect_symbol(")")?;
        Ok(change)
    }

    fn value(&mut self) -> Result<Given> {
        const WANTED: &str = "a string, a number or a parameter";
        let token = self.peek().ok_or_else(|| self.expected(WANTED))?;
        let value = match token.kind {
            TokenKind::Text | TokenKind::Number => Zeroizing::new(token.text.clone().into_bytes()),
            TokenKind::Binary => crate::wire::unhex(&token.text)
                .map(Zeroizing::new)
                .ok_or_else(|| syntax("a binary value is not hex"))?,
            TokenKind::Parameter => return self.parameter(),
            TokenKind::Word if token.text.eq_ignore_ascii_case("null") => {
                self.next += 1;
                return Ok(Given::Null);
            }
            TokenKind::Word if ["true", "false"].iter().any(|word| token.text.eq_ignore_ascii_case(word)) => {
                Zeroizing::new(token.text.to_lowercase().into_bytes())
            }
            _ => return Err(self.expected(WANTED)),
        };
        self.next += 1;
        Ok(Given::Value(value))
    }

    fn parameter(&mut self) -> Result<Given> {
        let token = self.peek().ok_or_else(|| self.expected("a parameter"))?;
        let at = match token.text.strip_prefix('$') {
            Some(digits) => digits.parse::<usize>().ok().and_then(|number| number.checked_sub(1)),
            None => Some(self.parameters),
        };
        self.parameters += 1;
        let row = rows(self.statement.parameters()).next();
        let column = at.filter(|at| *at < self.statement.parameters().num_columns());
        let (Some(at), Some(row)) = (column, row) else {
            return Err(Error::new("KDK-0109", "a parameter of the statement was not given").sqlstate("08P01"));
        };
        self.next += 1;
        use kodiak_plugin_api::arrow_schema::DataType as Type;
        let array = self.statement.parameters().column(at);
        if array.is_null(0) || array.data_type() == &Type::Null {
            return Ok(Given::Null);
        }
        let bytes = match array.data_type() {
            Type::Utf8 | Type::Utf8View | Type::LargeUtf8 => row.text(at)?.map(|text| text.as_bytes().to_vec()),
            Type::Binary | Type::BinaryView | Type::LargeBinary => row.binary(at)?.map(<[u8]>::to_vec),
            kind if kind.is_integer() => row.integer(at)?.map(|number| number.to_string().into_bytes()),
            Type::Boolean => row.boolean(at)?.map(|value| value.to_string().into_bytes()),
            _ => return Err(code::VALUE.error("the value of a secret is text, binary or a whole number")),
        };
        Ok(bytes.map_or(Given::Null, |bytes| Given::Value(Zeroizing::new(bytes))))
    }

    fn text(&mut self) -> Result<Secret> {
        match self.value()? {
            Given::Value(value) => Ok(value),
            Given::Null => Err(syntax("NULL stands where a string should")),
        }
    }

    fn plain(&mut self) -> Result<String> {
        let bytes = self.text()?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| syntax("a scope is not UTF-8"))
    }

    fn word_or_text(&mut self) -> Result<String> {
        match self.peek() {
            Some(token) if matches!(token.kind, TokenKind::Word | TokenKind::Quoted) => {
                self.next += 1;
                Ok(token.text.clone())
            }
            _ => self.plain(),
        }
    }

    /// A word, folded to lower case, or a quoted name or string as it is.
    fn name(&mut self) -> Result<String> {
        match self.peek() {
            Some(token) if token.kind == TokenKind::Word => {
                self.next += 1;
                Ok(token.text.to_lowercase())
            }
            Some(token) if matches!(token.kind, TokenKind::Quoted | TokenKind::Text) => {
                self.next += 1;
                Ok(token.text.clone())
            }
            _ => Err(self.expected("a name")),
        }
    }

    fn peek(&self) -> Option<&'a Token> {
        self.statement.tokens().get(self.next)
    }

    fn accept(&mut self, words: &str) -> bool {
        let start = self.next;
        for word in words.split(' ') {
            let fits =
                self.peek().is_some_and(|token| token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word));
            if !fits {
                self.next = start;
                return false;
            }
            self.next += 1;
        }
        true
    }

    fn accept_symbol(&mut self, symbol: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == TokenKind::Symbol && token.text == symbol);
        self.next += usize::from(found);
        found
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<()> {
        if self.accept_symbol(symbol) { Ok(()) } else { Err(self.expected(&format!("`{symbol}`"))) }
    }

    fn expected(&self, what: &str) -> Error {
        let found = match self.peek().map(|token| token.kind) {
            None => "the end of the statement",
            Some(TokenKind::Word) => "a word",
            Some(TokenKind::Quoted) => "a quoted name",
            Some(TokenKind::Text) => "a string",
            Some(TokenKind::Number) => "a number",
            Some(TokenKind::Symbol) => "a symbol",
            Some(TokenKind::Parameter) => "a parameter",
            Some(TokenKind::Binary) => "a binary string",
        };
        syntax(&format!("expected {what}, found {found}"))
    }
}

fn syntax(text: &str) -> Error {
    Error::new("KDK-0100", text).sqlstate("42601")
}

#[cfg(test)]
mod tests;
