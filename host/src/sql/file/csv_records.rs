//! Cuts a CSV file into records and fields, strictly as RFC 4180 says: a quote stands only at the ends of a field, or
//! doubled within it. It knows nothing of types, and keeps for each field whether it was quoted, because an empty field
//! is NULL and a quoted empty one is not.

use std::io::Read;

use crate::error::{Error, Result, codes};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// The longest record; beyond it a quote is surely missing its twin.
const RECORD_BYTES_MAX: usize = 256 << 20;

/// Fields of many records, one after the other.
#[derive(Default)]
pub(super) struct Fields {
    text: Vec<u8>,
    ends: Vec<usize>,
    quoted: Vec<bool>,
    /// For each record its line and how many fields came before its end.
    records: Vec<(u64, usize)>,
}

impl Fields {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.quoted.clear();
        self.records.clear();
    }

    /// The line on which a record begins.
    pub(super) fn line(&self, record: usize) -> u64 {
        self.records[record].0
    }

    /// How many fields a record has.
    pub(super) fn count(&self, record: usize) -> usize {
        self.records[record].1 - self.first(record)
    }

    /// A field's bytes, and whether they were quoted.
    pub(super) fn get(&self, record: usize, field: usize) -> (&[u8], bool) {
        let at = self.first(record) + field;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        (&self.text[start..self.ends[at]], self.quoted[at])
    }

    fn first(&self, record: usize) -> usize {
        if record == 0 { 0 } else { self.records[record - 1].1 }
    }

    fn end_field(&mut self, quoted: bool) {
        self.ends.push(self.text.len());
        self.quoted.push(quoted);
    }
}

/// Reads records.
pub(super) struct Records<R> {
    input: R,
    delimiter: u8,
    quote: u8,
    buffer: Vec<u8>,
    at: usize,
    end: bool,
    line: u64,
}

impl<R: Read> Records<R> {
    pub(super) fn new(input: R, delimiter: u8, quote: u8) -> Self {
        Self { input, delimiter, quote, buffer: Vec::new(), at: 0, end: false, line: 1 }
    }

    /// Adds at most `most` records; none at the end of the file.
    pub(super) fn read(&mut self, fields: &mut Fields, most: usize) -> Result<()> {
        if self.line == 1 && self.at == 0 {
            self.fill()?;
            if self.buffer.starts_with(b"\xef\xbb\xbf") {
                self.at = 3;
            }
        }
        for _ in 0..most {
            if self.peek()?.is_none() {
                break;
            }
            let line = self.line;
            self.record(fields)?;
            fields.records.push((line, fields.ends.len()));
        }
        Ok(())
    }

    fn record(&mut self, fields: &mut Fields) -> Result<()> {
        loop {
            let quoted = self.peek()? == Some(self.quote);
            if quoted {
                self.quoted(fields)?
            } else {
                self.plain(fields)?
            }
            fields.end_field(quoted);
            match self.peek()? {
                Some(byte) if byte == self.delimiter => self.at += 1,
                Some(b'\n') => {
                    self.at += 1;
                    self.line += 1;
                    return Ok(());
                }
                Some(b'\r') => {
                    // Only `\r\n` ends a record; `plain` and `quoted` stop nowhere else.
                    self.at += 2;
                    self.line += 1;
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
    }

    fn plain(&mut self, fields: &mut Fields) -> Result<()> {
        loop {
            let rest = &self.buffer[self.at..];
            let stop = rest.iter().position(|b| *b == self.delimiter || *b == b'\n' || *b == b'\r' || *b == self.quote);
            let length = stop.unwrap_or(rest.len());
            fields.text.extend_from_slice(&rest[..length]);
            self.at += length;
            match self.peek()? {
                None => return Ok(()),
                Some(byte) if byte == self.delimiter || byte == b'\n' => return Ok(()),
                Some(byte) if byte == self.quote => {
                    return Err(self.wrong("a quote inside a field that does not begin with one"));
                }
                Some(b'\r') if self.followed_by_newline()? => return Ok(()),
                Some(b'\r') => {
                    fields.text.push(b'\r');
                    self.at += 1;
                }
                Some(_) => {}
            }
        }
    }

    fn quoted(&mut self, fields: &mut Fields) -> Result<()> {
        let (opened, start) = (self.line, fields.text.len());
        self.at += 1;
        loop {
            let rest = &self.buffer[self.at..];
            let length = rest.iter().position(|b| *b == self.quote).unwrap_or(rest.len());
            self.line += rest[..length].iter().filter(|b| **b == b'\n').count() as u64;
            fields.text.extend_from_slice(&rest[..length]);
            self.at += length;
            if fields.text.len() - start > RECORD_BYTES_MAX {
                self.line = opened;
                return Err(self.wrong("a quoted field that does not end"));
            }
            match self.peek()? {
                None => {
                    self.line = opened;
                    return Err(self.wrong("a quoted field that does not end"));
                }
                Some(byte) if byte != self.quote => continue,
                Some(_) => self.at += 1,
            }
            match self.peek()? {
                None => return Ok(()),
                Some(byte) if byte == self.quote => {
                    fields.text.push(byte);
                    self.at += 1;
                }
                Some(byte) if byte == self.delimiter || byte == b'\n' => return Ok(()),
                Some(b'\r') if self.followed_by_newline()? => return Ok(()),
                Some(_) => return Err(self.wrong("text behind a closing quote")),
            }
        }
    }

    fn followed_by_newline(&mut self) -> Result<bool> {
        if self.at + 1 >= self.buffer.len() {
            self.fill()?;
        }
        Ok(self.buffer.get(self.at + 1) == Some(&b'\n'))
    }

    fn peek(&mut self) -> Result<Option<u8>> {
        if self.at >= self.buffer.len() && !self.end {
            self.fill()?;
        }
        Ok(self.buffer.get(self.at).copied())
    }

    /// Reads another chunk behind what is left.
    fn fill(&mut self) -> Result<()> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let left = self.buffer.len();
        self.buffer.resize(left + CHUNK_BYTES, 0);
        let mut filled = left;
        while filled < self.buffer.len() {
            let read = self.input.read(&mut self.buffer[filled..]);
            match read {
                Ok(0) => {
                    self.end = true;
                    break;
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::new(codes::IO, format!("cannot read: {error}"))),
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    fn wrong(&self, what: &str) -> Error {
        Error::new(codes::FILE_FORMAT, format!("line {}: {what}", self.line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Vec<(String, bool)>>> {
        let mut fields = Fields::default();
        Records::new(text.as_bytes(), b',', b'"').read(&mut fields, usize::MAX)?;
        let field = |record, field| {
            let (bytes, quoted) = fields.get(record, field);
            (String::from_utf8_lossy(bytes).into_owned(), quoted)
        };
        Ok((0..fields.len()).map(|record| (0..fields.count(record)).map(|i| field(record, i)).collect()).collect())
    }

    fn plain(text: &str) -> (String, bool) {
        (text.to_owned(), false)
    }

    fn quoted(text: &str) -> (String, bool) {
        (text.to_owned(), true)
    }

    #[test]
    fn fields_are_cut_as_rfc_4180_says() {
        let rows = read("a,\"b,\"\"c\"\"\n\",\r\n,\"\"\n1,2,3").expect("reads");
        assert_eq!(rows[0], [plain("a"), quoted("b,\"c\"\n"), plain("")]);
        assert_eq!(rows[1], [plain(""), quoted("")]);
        assert_eq!(rows[2], [plain("1"), plain("2"), plain("3")]);
        assert_eq!(read("").expect("reads").len(), 0);
        assert_eq!(read("\u{feff}a\n").expect("reads"), [[plain("a")]]);
        assert_eq!(read("a\rb,c").expect("reads"), [[plain("a\rb"), plain("c")]]);
    }

    #[test]
    fn misplaced_quotes_are_refused_with_their_line() {
        for (text, message) in [
            ("a\nb\"c", "line 2: a quote inside a field that does not begin with one"),
            ("\"a\"b", "line 1: text behind a closing quote"),
            ("a\n\"b\nc", "line 2: a quoted field that does not end"),
        ] {
            assert_eq!(read(text).expect_err(text).message(), message);
        }
    }
}
