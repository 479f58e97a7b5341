//! Bytes of records: fixed-width little-endian numbers, and byte strings behind their length, so that no two lists of
//! parts have one encoding. It refuses what is cut, too long or not used up.

use crate::code;
use kodiak_plugin_api::{Error, Result};

/// Writes a record.
#[derive(Clone, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Eight bytes, two's complement.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Bytes as they are: for parts of one fixed length.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes behind their length.
    ///
    /// # Panics
    /// For 4 GiB and more: every part of a record has a limit far below.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(u32::try_from(bytes.len()).expect("parts of records are small")).raw(bytes)
    }

    /// Text behind its length.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// What was written.
    pub fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Reads a record; `what` is named when it cannot be read.
pub struct Reader<'a> {
    rest: &'a [u8],
    what: &'a str,
}

impl<'a> Reader<'a> {
    /// From the first byte.
    pub fn new(bytes: &'a [u8], what: &'a str) -> Self {
        Self { rest: bytes, what }
    }

    /// That the record makes no sense.
    pub fn broken(&self) -> Error {
        code::TAMPERED.error(format!("{} is damaged", self.what)).help("restore the database from a copy")
    }

    /// So many bytes.
    ///
    /// # Errors
    /// `TAMPERED` when there are fewer.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8]> {
        let (part, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.broken())?;
        self.rest = rest;
        Ok(part)
    }

    /// So many bytes, as an array.
    ///
    /// # Errors
    /// `TAMPERED` when there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let part = self.raw(N)?;
        part.try_into().map_err(|_| self.broken())
    }

    /// A byte.
    ///
    /// # Errors
    /// `TAMPERED` at the end.
    pub fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes.
    ///
    /// # Errors
    /// `TAMPERED` at the end.
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    ///
    /// # Errors
    /// `TAMPERED` at the end.
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    ///
    /// # Errors
    /// `TAMPERED` at the end.
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Eight bytes, two's complement.
    ///
    /// # Errors
    /// `TAMPERED` at the end.
    pub fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// Bytes behind their length.
    ///
    /// # Errors
    /// `TAMPERED` when there are fewer.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.u32()?).map_err(|_| self.broken())?;
        self.raw(length)
    }

    /// Text behind its length.
    ///
    /// # Errors
    /// `TAMPERED` when there is less, or it is no text.
    pub fn text(&mut self) -> Result<String> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| self.broken())
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// `TAMPERED` when something is.
    pub fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.broken()) }
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hex digits in any case; none when they are not.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pair = |pair: &[u8]| {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()
    };
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(pair).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let bytes = Writer::new().u8(1).u16(2).u32(3).u64(4).i64(-5).bytes(b"six").text("sieben").finish();
        let mut reader = Reader::new(&bytes, "it");
        assert_eq!((reader.u8().unwrap(), reader.u16().unwrap(), reader.u32().unwrap()), (1, 2, 3));
        assert_eq!((reader.u64().unwrap(), reader.i64().unwrap()), (4, -5));
        assert!(reader.end().is_err());
        assert_eq!((reader.bytes().unwrap(), reader.text().unwrap().as_str()), (&b"six"[..], "sieben"));
        assert!(reader.end().is_ok() && reader.u8().is_err());
        assert!(Reader::new(&[255, 255, 255, 255, 0], "it").bytes().is_err());
    }

    #[test]
    fn parts_cannot_be_moved_across_their_border() {
        assert_ne!(Writer::new().text("a").text("bc").finish(), Writer::new().text("ab").text("c").finish());
    }

    #[test]
    fn hex_goes_there_and_back() {
        assert_eq!(unhex(&hex(&[0, 0xab, 0xff])), Some(vec![0, 0xab, 0xff]));
        assert_eq!((unhex("0"), unhex("0g"), unhex("AB")), (None, None, Some(vec![0xab])));
    }
}
