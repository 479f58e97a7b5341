//! Cuts text into statements at `;`, knowing only what can hide one: strings, quoted identifiers, `$tag$` bodies and
//! comments. It neither parses nor complains: text that ends inside a string is a statement for the parser to refuse.

/// One statement of a script, without its `;`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The statement with the comments around it.
    pub text: &'a str,
    /// Where it begins in the script, in bytes.
    pub start: usize,
    /// How many bytes of the script it takes, `;` included.
    pub length: usize,
    /// Whether its `;` has been read; without it more text may still belong to the statement.
    pub complete: bool,
}

impl Piece<'_> {
    /// Whether there is nothing but white space and comments.
    pub fn is_blank(&self) -> bool {
        skip_blank(self.text) == self.text.len()
    }
}

/// The first statement of `text`; `None` when nothing is left.
pub fn first(text: &str) -> Option<Piece<'_>> {
    if text.is_empty() {
        return None;
    }
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b';' {
            return Some(Piece { text: &text[..at], start: 0, length: at + 1, complete: true });
        }
        at = after_token(text, at);
    }
    Some(Piece { text, start: 0, length: text.len(), complete: false })
}

/// Every statement of `text` that is not blank.
pub fn statements(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let piece = first(&text[rest..])?;
        let piece = Piece { start: rest, ..piece };
        rest += piece.length;
        Some(piece)
    })
    .filter(|piece| !piece.is_blank())
}

/// Bytes of white space and comments at the beginning.
pub fn skip_blank(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let next = if bytes[at].is_ascii_whitespace() { at + 1 } else { after_comment(text, at).unwrap_or(at) };
        if next == at {
            let blank = text[at..].chars().next().filter(|c| c.is_whitespace()).map_or(0, char::len_utf8);
            if blank == 0 {
                return at;
            }
            at += blank;
            continue;
        }
        at = next;
    }
    at
}

/// The leading words of a statement in upper case, at most `most`, comments skipped; a quoted or other token ends them.
pub fn leading_words(text: &str, most: usize) -> Vec<String> {
    let (mut words, mut at) = (Vec::new(), 0);
    while words.len() < most {
        at += skip_blank(&text[at..]);
        let length = text[at..].find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len() - at);
        if length == 0 {
            break;
        }
        words.push(text[at..at + length].to_uppercase());
        at += length;
    }
    words
}

/// Whether a text brings a secret, so that no message may repeat it: `CREATE [OR REPLACE] SECRET` and the like, anywhere
/// in it. What is known here holds whether any extension is installed or not.
pub fn holds_secret(text: &str) -> bool {
    const MODIFIERS: &[&str] = &["OR", "REPLACE", "TEMP", "TEMPORARY", "PERSISTENT", "GLOBAL", "LOCAL"];
    readings(text).any(|mut words| {
        let is = |word: Option<&str>, wanted: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(wanted));
        let first = words.next();
        let is_modifier = |word: &&str| MODIFIERS.iter().any(|one| word.eq_ignore_ascii_case(one));
        if is(first, "CREATE") {
            is(words.find(|word| !is_modifier(word)), "SECRET")
        } else if is(first, "ALTER") || is(first, "ROTATE") {
            is(words.next(), "SECRET")
        } else {
            is(first, "UNLOCK") && is(words.next(), "SECRETS")
        }
    })
}

/// Whether a text says one of these claims, upper case with single spaces, anywhere. Neither strings nor comments hide
/// one, around it or between its words: where a string begins is not to be known in a text that is wrong.
pub fn mentions<'a>(text: &str, claims: impl Iterator<Item = &'a str>) -> bool {
    let claims: Vec<&str> = claims.collect();
    readings(text).any(|words| {
        claims.iter().any(|claim| {
            let mut words = words.clone();
            claim.split(' ').all(|wanted| words.next().is_some_and(|word| word.eq_ignore_ascii_case(wanted)))
        })
    })
}

/// The words from each word on, once with those of comments and once without them.
fn readings(text: &str) -> impl Iterator<Item = Words<'_>> {
    let mut all = Words { rest: text, comments: true };
    std::iter::from_fn(move || {
        let word = all.next()?;
        let rest = &text[text.len() - all.rest.len() - word.len()..];
        Some([Words { rest, comments: true }, Words { rest, comments: false }])
    })
    .flatten()
}

#[derive(Clone)]
struct Words<'a> {
    rest: &'a str,
    /// Whether what stands in comments counts.
    comments: bool,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        while !self.rest.starts_with(is_word) {
            let comment = if self.comments { None } else { after_comment(self.rest, 0) };
            let skipped = comment.or_else(|| self.rest.chars().next().map(char::len_utf8))?;
            self.rest = &self.rest[skipped..];
        }
        let (word, rest) = self.rest.split_at(self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len()));
        self.rest = rest;
        Some(word)
    }
}

/// The position after the token that begins at `at`.
pub(super) fn after_token(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    if let Some(next) = after_comment(text, at) {
        return next;
    }
    match bytes[at] {
        b'\'' => after_quoted(bytes, at, b'\'', follows_escape_prefix(bytes, at)),
        b'"' => after_quoted(bytes, at, b'"', false),
        b'$' if !follows_word(bytes, at) => after_dollar(text, at),
        _ => at + 1,
    }
}

fn after_comment(text: &str, at: usize) -> Option<usize> {
    let rest = &text.as_bytes()[at..];
    if rest.starts_with(b"--") {
        return Some(rest.iter().position(|b| *b == b'\n').map_or(text.len(), |end| at + end + 1));
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut i) = (0, 0);
    while i < rest.len() {
        if rest[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if rest[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return Some(at + i);
            }
        } else {
            i += 1;
        }
    }
    Some(text.len())
}

fn after_quoted(bytes: &[u8], at: usize, quote: u8, backslash: bool) -> usize {
    let mut i = at + 1;
    while i < bytes.len() {
        if backslash && bytes[i] == b'\\' {
            i += 2;
        } else if bytes[i] == quote {
            if bytes.get(i + 1) != Some(&quote) {
                return i + 1;
            }
            i += 2;
        } else {
            i += 1;
        }
    }
    bytes.len()
}

/// `$tag$ ... $tag$`; a lone `$`, as in `$1`, is a token of its own.
fn after_dollar(text: &str, at: usize) -> usize {
    let rest = &text[at + 1..];
    let Some(end) = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')) else { return at + 1 };
    let digit_first = rest.starts_with(|c: char| c.is_ascii_digit());
    if !rest[end..].starts_with('$') || digit_first {
        return at + 1;
    }
    let tag = &text[at..at + 1 + end + 1];
    let body = at + tag.len();
    text[body..].find(tag).map_or(text.len(), |close| body + close + tag.len())
}

/// Whether the quote at `at` opens an `E'...'` string, in which a backslash escapes.
fn follows_escape_prefix(bytes: &[u8], at: usize) -> bool {
    at > 0 && matches!(bytes[at - 1], b'e' | b'E') && !follows_word(bytes, at - 1)
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0
        && (bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'_' | b'$') || !bytes[at - 1].is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        statements(text).map(|piece| piece.text.trim()).collect()
    }

    #[test]
    fn semicolons_in_strings_bodies_and_comments_do_not_cut() {
        assert_eq!(texts("select ';'; select 2"), ["select ';'", "select 2"]);
        assert_eq!(texts("select 'it''s;';x"), ["select 'it''s;'", "x"]);
        assert_eq!(texts(r"select E'a\';b';x"), [r"select E'a\';b'", "x"]);
        assert_eq!(texts(r"select name'a\';x"), [r"select name'a\'", "x"]);
        assert_eq!(texts("select \"a;b\";x"), ["select \"a;b\"", "x"]);
        assert_eq!(texts("a -- ;\n;b /* ; /* ; */ ; */ c"), ["a -- ;", "b /* ; /* ; */ ; */ c"]);
        assert_eq!(texts("f $$ ; $$; g $x$ ; $$ ; $x$;h"), ["f $$ ; $$", "g $x$ ; $$ ; $x$", "h"]);
        assert_eq!(texts("select $1; select $2"), ["select $1", "select $2"]);
    }

    #[test]
    fn blank_pieces_are_no_statements() {
        assert_eq!(texts(";; -- nothing\n ; /* x */"), Vec::<&str>::new());
        assert_eq!(texts(""), Vec::<&str>::new());
    }

    #[test]
    fn completeness_tells_whether_more_may_come() {
        assert!(first("select 1;").is_some_and(|p| p.complete && p.length == 9));
        assert!(first("select ';").is_some_and(|p| !p.complete));
    }

    #[test]
    fn leading_words_skip_comments() {
        assert!(holds_secret("create or replace temporary secret s") && holds_secret("--x\nALTER SECRET s"));
        assert!(holds_secret("PREPARE p AS CREATE SECRET s") && holds_secret("UNLOCK SECRETS USING PASSPHRASE 'p'"));
        assert!(holds_secret("SELECT 'open; CREATE SECRET s"), "a string that is left open hides nothing");
        assert!(!holds_secret("SELECT secret FROM t") && !holds_secret("DROP SECRET s"));
        assert!(!holds_secret("CREATE TABLE secret (a INT)") && !holds_secret("ALTER TABLE secret ADD b INT"));
        assert!(mentions("EXPLAIN store /* x */ token 't'", ["STORE TOKEN"].into_iter()));
        assert!(mentions("SELECT '/*'; store -- a 'b\n /* c /* d */ */ token 't'", ["STORE TOKEN"].into_iter()));
        assert!(mentions("/* store token 't'", ["STORE TOKEN"].into_iter()) && holds_secret("create /* x */ secret s"));
        assert!(!mentions("STORE a TOKEN", ["STORE TOKEN", "PUT"].into_iter()));
        assert_eq!(leading_words("/* x */ create -- y\n secret 'n'", 5), ["CREATE", "SECRET"]);
    }
}
