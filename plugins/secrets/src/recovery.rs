//! Recovery codes: 160 random bits for paper, in groups of four with a checksum, so that a slip of the pen is noticed
//! before anything is tried. It refuses to keep one.

use crate::seal::{self, Key, digest, random};
use kodiak_plugin_api::Result;
use zeroize::Zeroizing;

/// Crockford's alphabet: no letter that is taken for another.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const BITS_BYTES: usize = 20;
const CODE_CHARACTERS: usize = 32;
const CHECK_CHARACTERS: usize = 4;
const GROUP: usize = 4;

/// A new code, as it is written down, and its key.
///
/// # Errors
/// `CHANCE`.
pub fn make() -> Result<(Zeroizing<String>, Key)> {
    let bits = Zeroizing::new(random::<BITS_BYTES>()?);
    let mut characters = Zeroizing::new(Vec::with_capacity(CODE_CHARACTERS + CHECK_CHARACTERS));
    let mut symbols = quintets(&*bits).collect::<Vec<_>>();
    symbols.extend(quintets(&digest(&*bits)).take(CHECK_CHARACTERS));
    characters.extend(symbols.iter().map(|symbol| ALPHABET[usize::from(*symbol)]));
    let mut text = Zeroizing::new(String::with_capacity(characters.len() + characters.len() / GROUP));
    for (index, character) in characters.iter().enumerate() {
        if index > 0 && index % GROUP == 0 {
            text.push('-');
        }
        text.push(char::from(*character));
    }
    Ok((text, key(&bits)))
}

/// The key of a code as somebody typed it; none when it is no code, or one with a slip.
pub fn parse(text: &str) -> Option<Key> {
    let typed = text.chars().filter(|c| !c.is_whitespace() && *c != '-').map(|c| c.to_ascii_uppercase());
    let symbol = |typed: char| {
        let meant = match typed {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let at = ALPHABET.iter().position(|known| char::from(*known) == meant)?;
        u8::try_from(at).ok()
    };
    let symbols = Zeroizing::new(typed.map(symbol).collect::<Option<Vec<u8>>>()?);
    let (code, check) = symbols.split_at_checked(CODE_CHARACTERS)?;
    let mut bits = Zeroizing::new([0; BITS_BYTES]);
    for (index, symbol) in code.iter().enumerate() {
        for bit in 0..5 {
            let position = index * 5 + bit;
            bits[position / 8] |= (symbol >> (4 - bit) & 1) << (7 - position % 8);
        }
    }
    let expected: Vec<u8> = quintets(&digest(&*bits)).take(CHECK_CHARACTERS).collect();
    (check == expected).then(|| key(&bits))
}

fn key(bits: &[u8; BITS_BYTES]) -> Key {
    seal::derive(bits, "recovery code", b"")
}

/// Five bits at a time, the highest first.
fn quintets(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    (0..bytes.len() * 8 / 5).map(|index| {
        (0..5).fold(0, |symbol, bit| {
            let position = index * 5 + bit;
            symbol << 1 | bytes[position / 8] >> (7 - position % 8) & 1
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_and_slips_are_noticed() {
        let (code, key) = make().unwrap();
        assert_eq!((code.len(), code.matches('-').count()), (44, 8));
        let typed = code.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
        assert_eq!(parse(&typed).unwrap().expose(), key.expose());
        for at in 0..code.len() {
            let mut slipped = code.as_bytes().to_vec();
            if slipped[at] != b'-' {
                slipped[at] = if slipped[at] == b'7' { b'8' } else { b'7' };
                assert!(parse(std::str::from_utf8(&slipped).unwrap()).is_none(), "position {at}");
            }
        }
        assert!(parse("").is_none() && parse(&code[..40]).is_none() && parse("hunter2 is no code").is_none());
    }
}
