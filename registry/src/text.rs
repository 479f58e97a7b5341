//! Text from outside: read within bounds, located, and made safe to show in a message. It refuses to know what the text
//! is about.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Place, Result};

/// "`a`, `b` and `c`".
pub(crate) fn and_list<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// A word as a shell reads it: requirements have `<`, `>` and `*` in them.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "@=^~.,_-+/".contains(character);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// A parser's message as one printable phrase: outside text must not move a terminal's cursor.
pub(crate) fn phrase(message: &str) -> String {
    const CHARACTERS_MAX: usize = 400;
    let joined = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ");
    let mut out = String::with_capacity(joined.len());
    for (count, character) in joined.chars().enumerate() {
        if count == CHARACTERS_MAX {
            out.push('…');
            break;
        }
        if is_printable(character) {
            out.push(character);
        } else {
            out.extend(character.escape_unicode());
        }
    }
    out
}

/// Neither a control character nor one that reorders the text around it.
pub(crate) fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The place where a span of bytes begins.
pub(crate) fn place(text: &str, span: Range<usize>) -> Place {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let before = &text[..start];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

/// All bytes of a file, or `None` when there are more than `bytes_max`.
pub(crate) fn read_bounded(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    read_all_bounded(file, path, bytes_max)
}

/// The same for a file that is open; `path` only serves the message.
pub(crate) fn read_all_bounded(file: File, path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    Ok((bytes.len() <= bytes_max).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_from_one() {
        assert_eq!(place("äöü = 1", 7..8), Place { line: 1, column: 5 });
        assert_eq!(place("a\nbc\n", 3..4), Place { line: 2, column: 2 });
        assert_eq!(place("a\n", 99..100), Place { line: 2, column: 1 });
        assert_eq!(place("ä", 1..2), Place { line: 1, column: 1 });
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word("blob@^0.1"), "blob@^0.1");
        assert_eq!(shell_word("blob@>=1,<2"), "'blob@>=1,<2'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }

    #[test]
    fn outside_text_cannot_drive_the_terminal() {
        assert_eq!(phrase("bad \u{1b}[31m\nkey"), "bad \\u{1b}[31m, key");
        assert_eq!(phrase(&"x".repeat(5000)).chars().count(), 401);
    }
}
