//! Reads what stands behind a statement's keywords into a [`Request`]. It refuses to run anything, and to evaluate
//! expressions: those are the host's.

use crate::index::{VersionId, Versioning};
use crate::name::Pairs;
use crate::objects::{About, Precondition};
use kodiak_plugin_api::prelude::*;
use std::path::PathBuf;

/// A statement, read.
#[derive(Debug)]
pub enum Request {
    /// CREATE BUCKET.
    Create { bucket: String, versioning: Versioning, or_keep: bool },
    /// ALTER BUCKET.
    Alter { bucket: String, versioning: Versioning },
    /// DROP BUCKET.
    Drop { bucket: String, if_exists: bool, cascade: bool },
    /// PUT BLOB.
    Put { place: Place, source: Source, about: About, precondition: Precondition },
    /// GET BLOB.
    Get { place: Place, version: Option<VersionId>, range: Option<(i64, i64)>, to: Option<PathBuf> },
    /// DELETE BLOB.
    Delete { place: Place, version: Option<VersionId> },
    /// LIST BLOBS.
    List(List),
    /// COPY BLOB.
    Copy { from: Place, version: Option<VersionId>, to: Place, precondition: Precondition },
    /// TAG BLOB.
    Tag { place: Place, version: Option<VersionId>, tags: Pairs },
}

/// Bucket and key.
pub type Place = (String, String);

/// Where a put's content comes from.
#[derive(Debug)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// An expression for the host, its parameters numbered from `$1`.
    Expression { sql: String, values: Vec<Value> },
}

/// What to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    pub bucket: String,
    pub prefix: String,
    pub delimiter: String,
    pub versions: bool,
    pub limit: Option<u64>,
    pub after: Option<String>,
}

/// Reads a statement of one of this extension's claims.
///
/// # Errors
/// A syntax error that says what was expected and what stands there.
pub fn read(statement: &Statement) -> Result<Request> {
    let claim = statement.claim().replace('_', " ");
    let mut reader = Reader { statement, cursor: statement.cursor() };
    let request = match claim.as_str() {
        "CREATE BUCKET" => reader.create(),
        "ALTER BUCKET" => reader.alter(),
        "DROP BUCKET" => reader.drop(),
        "PUT BLOB" => reader.put(),
        "GET BLOB" => reader.get(),
        "DELETE BLOB" => reader.delete(),
        "LIST BLOBS" => reader.list(),
        "COPY BLOB" => reader.copy(),
        "TAG BLOB" => reader.tag(),
        other => Err(Error::message(format!("`blob` has no statement `{other}`"))),
    }?;
    reader.cursor.end()?;
    Ok(request)
}

struct Reader<'a> {
    statement: &'a Statement,
    cursor: Cursor<'a>,
}

impl Reader<'_> {
    fn create(&mut self) -> Result<Request> {
        let or_keep = self.cursor.accept("IF NOT EXISTS");
        let bucket = self.bucket()?;
        let versioning = if self.cursor.accept("WITH") { self.versioning()? } else { Versioning::Off };
        Ok(Request::Create { bucket, versioning, or_keep })
    }

    fn alter(&mut self) -> Result<Request> {
        let bucket = self.bucket()?;
        if !self.cursor.accept("SET") && !self.cursor.accept("WITH") {
            return Err(self.cursor.expected("SET"));
        }
        Ok(Request::Alter { bucket, versioning: self.versioning()? })
    }

    fn drop(&mut self) -> Result<Request> {
        let if_exists = self.cursor.accept("IF EXISTS");
        let bucket = self.bucket()?;
        let cascade = self.cursor.accept("CASCADE");
        Ok(Request::Drop {
            bucket,
            if_exists,
            cascade: cascade || {
                self.cursor.accept("RESTRICT");
                false
            },
        })
    }

    /// `(versioning = on)`, the parentheses and the sign left to taste.
    fn versioning(&mut self) -> Result<Versioning> {
        let parenthesis = self.cursor.accept_symbol("(");
        self.cursor.expect("VERSIONING")?;
        self.cursor.accept_symbol("=");
        let before = self.cursor.clone();
        let word = self.text("on, off or suspended")?;
        let Some(versioning) = Versioning::from_word(&word) else {
            return Err(before.expected("on, off or suspended"));
        };
        if parenthesis {
            self.cursor.expect_symbol(")")?;
        }
        Ok(versioning)
    }

    fn put(&mut self) -> Result<Request> {
        let place = self.place()?;
        let source = if self.cursor.accept("FROM FILE") {
            Source::File(self.text("a path")?.into())
        } else if self.cursor.accept("VALUE") {
            self.expression()?
        } else {
            return Err(self.cursor.expected("FROM FILE or VALUE"));
        };
        let (mut about, mut precondition) = (About::default(), Precondition::None);
        loop {
            if self.cursor.accept("CONTENT_TYPE") || self.cursor.accept("CONTENT TYPE") {
                about.content_type = Some(self.text("a media type")?);
            } else if self.cursor.accept("METADATA") {
                about.metadata = self.pairs()?;
            } else if self.cursor.accept("TAGS") {
                about.tags = self.pairs()?;
            } else if !self.precondition(&mut precondition)? {
                return Ok(Request::Put { place, source, about, precondition });
            }
        }
    }

    fn get(&mut self) -> Result<Request> {
        let place = self.place()?;
        let (mut version, mut range, mut to) = (None, None, None);
        loop {
            if self.cursor.accept("VERSION") {
                version = Some(VersionId::parse(&self.text("a version")?));
            } else if self.cursor.accept("RANGE") {
                let offset = self.integer()?;
                self.cursor.accept_symbol(",");
                range = Some((offset, self.integer()?));
            } else if self.cursor.accept("TO FILE") {
                to = Some(self.text("a path")?.into());
            } else {
                return Ok(Request::Get { place, version, range, to });
            }
        }
    }

    fn delete(&mut self) -> Result<Request> {
        Ok(Request::Delete { place: self.place()?, version: self.version()? })
    }

    fn list(&mut self) -> Result<Request> {
        let mut list = List { bucket: self.bucket()?, ..List::default() };
        loop {
            if self.cursor.accept("PREFIX") {
                list.prefix = self.text("a prefix")?;
            } else if self.cursor.accept("DELIMITER") {
                list.delimiter = self.text("a delimiter")?;
            } else if self.cursor.accept("VERSIONS") {
                list.versions = true;
            } else if self.cursor.accept("LIMIT") {
                let before = self.cursor.clone();
                list.limit = Some(u64::try_from(self.integer()?).map_err(|_| before.expected("a whole number"))?);
            } else if self.cursor.accept("AFTER") {
                list.after = Some(self.text("a key")?);
            } else {
                return Ok(Request::List(list));
            }
        }
    }

    fn copy(&mut self) -> Result<Request> {
        let (from, version) = (self.place()?, self.version()?);
        self.cursor.expect("TO")?;
        let (to, mut precondition) = (self.place()?, Precondition::None);
        self.precondition(&mut precondition)?;
        Ok(Request::Copy { from, version, to, precondition })
    }

    fn tag(&mut self) -> Result<Request> {
        let (place, version) = (self.place()?, self.version()?);
        self.cursor.accept("SET");
        self.cursor.accept("TAGS");
        Ok(Request::Tag { place, version, tags: self.pairs()? })
    }

    fn place(&mut self) -> Result<Place> {
        Ok((self.bucket()?, self.text("a key")?))
    }

    fn version(&mut self) -> Result<Option<VersionId>> {
        let given = self.cursor.accept("VERSION");
        given.then(|| Ok(VersionId::parse(&self.text("a version")?))).transpose()
    }

    fn precondition(&mut self, precondition: &mut Precondition) -> Result<bool> {
        if self.cursor.accept("IF NOT EXISTS") {
            *precondition = Precondition::NotExists;
        } else if self.cursor.accept("IF MATCH") {
            *precondition = Precondition::Match(self.text("an ETag")?);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// `(name = 'value', ...)`; an empty list is one, too.
    fn pairs(&mut self) -> Result<Pairs> {
        let mut pairs = Pairs::new();
        self.cursor.expect_symbol("(")?;
        if self.cursor.accept_symbol(")") {
            return Ok(pairs);
        }
        loop {
            let before = self.cursor.clone();
            let name = match self.cursor.peek().map(|token| token.kind) {
                Some(TokenKind::Word | TokenKind::Quoted) => self.cursor.name()?,
                _ => self.text("a name")?,
            };
            self.cursor.expect_symbol("=")?;
            let value = match self.cursor.peek() {
                Some(token) if token.kind == TokenKind::Number => {
                    self.cursor.take();
                    token.text.clone()
                }
                _ => self.text("a value")?,
            };
            if pairs.insert(name, value).is_some() {
                return Err(before.expected("a name that was not given yet"));
            }
            if !self.cursor.accept_symbol(",") {
                self.cursor.expect_symbol(")")?;
                return Ok(pairs);
            }
        }
    }

    /// A bucket's name: a string, a parameter, a quoted name, or words that `-` and `.` join without a space.
    fn bucket(&mut self) -> Result<String> {
        let part = |token: &kodiak_plugin_api::statement::Token| match token.kind {
            TokenKind::Word | TokenKind::Number => true,
            TokenKind::Symbol => token.text == "-" || token.text == ".",
            _ => false,
        };
        let first = self.cursor.peek().filter(|token| token.kind == TokenKind::Word || token.kind == TokenKind::Number);
        let Some(first) = first else { return self.text("a bucket") };
        let mut end = first.span.start;
        while let Some(token) = self.cursor.peek().filter(|token| part(token) && token.span.start == end) {
            end = token.span.end;
            self.cursor.take();
        }
        Ok(self.statement.text()[first.span.start..end].to_lowercase())
    }

    /// A string, a parameter that is text, or a name as it is written.
    fn text(&mut self, what: &str) -> Result<String> {
        let Some(token) = self.cursor.peek() else { return Err(self.cursor.expected(what)) };
        match token.kind {
            TokenKind::Text | TokenKind::Quoted | TokenKind::Word => {
                self.cursor.take();
                Ok(token.text.clone())
            }
            TokenKind::Parameter => {
                let column = self.parameter()?;
                let text = rows(self.statement.parameters()).next().map(|row| row.text(column)).transpose()?.flatten();
                text.map(str::to_owned)
                    .ok_or_else(|| Error::new("KDK-0109", format!("{what} is NULL")).sqlstate("08P01"))
            }
            _ => Err(self.cursor.expected(what)),
        }
    }

    fn integer(&mut self) -> Result<i64> {
        if self.cursor.peek().is_some_and(|token| token.kind == TokenKind::Parameter) {
            let column = self.parameter()?;
            let found = rows(self.statement.parameters()).next().map(|row| row.integer(column)).transpose()?.flatten();
            return found.ok_or_else(|| Error::new("KDK-0109", "a number is NULL").sqlstate("08P01"));
        }
        let before = self.cursor.clone();
        i64::try_from(self.cursor.unsigned()?).map_err(|_| before.expected("a whole number"))
    }

    /// Takes a parameter and gives its column.
    fn parameter(&mut self) -> Result<usize> {
        let column = self.cursor.peek().and_then(|token| self.column(token.span.start));
        self.cursor.take();
        column.ok_or_else(|| Error::new("KDK-0109", "a parameter has no value").sqlstate("08P01"))
    }

    /// The column of the parameter at this place: `$n` says, `?` are counted.
    fn column(&self, start: usize) -> Option<usize> {
        let mut parameters = self.statement.tokens().iter().filter(|token| token.kind == TokenKind::Parameter);
        let token = parameters.clone().find(|token| token.span.start == start)?;
        let column = match token.text.strip_prefix('$') {
            Some(number) => number.parse::<usize>().ok()?.checked_sub(1)?,
            None => parameters.position(|token| token.span.start == start)?,
        };
        (column < self.statement.parameters().num_columns()).then_some(column)
    }

    /// An expression up to what a put may say behind it, with only those parameters that stand in it.
    fn expression(&mut self) -> Result<Source> {
        let start = self.cursor.peek().map_or(0, |token| token.span.start);
        let text = self.cursor.expression(&["CONTENT_TYPE", "METADATA", "TAGS", "IF"])?;
        let end = start + text.len();
        let within = |token: &&kodiak_plugin_api::statement::Token| {
            token.kind == TokenKind::Parameter && token.span.start >= start && token.span.end <= end
        };
        let (mut sql, mut values, mut copied) = (String::new(), Vec::new(), start);
        for token in self.statement.tokens().iter().filter(within) {
            let column = self.column(token.span.start);
            let column = column.ok_or_else(|| Error::new("KDK-0109", "a parameter has no value").sqlstate("08P01"))?;
            values.push(Value::Array(self.statement.parameters().column(column).clone()));
            sql.push_str(&self.statement.text()[copied..token.span.start]);
            sql.push_str(&format!("${}", values.len()));
            copied = token.span.end;
        }
        sql.push_str(&self.statement.text()[copied..end]);
        Ok(Source::Expression { sql, values })
    }
}

#[cfg(test)]
mod tests;
