//! What sealing promises, and that keys are gone when they are.

use super::*;
use proptest::prelude::*;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Instant;
use zeroize::{Zeroize, ZeroizeOnDrop};

fn key(byte: u8) -> Key {
    Key::from_slice(&[byte; 32]).unwrap()
}

proptest! {
    #[test]
    fn what_was_sealed_opens_and_nothing_else_does(
        plain in proptest::collection::vec(any::<u8>(), 0..300),
        associated in proptest::collection::vec(any::<u8>(), 0..50),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let sealed = seal(&key(1), &associated, &plain).unwrap();
        let opened = open(&key(1), &associated, &sealed).unwrap();
        prop_assert_eq!(opened.as_slice(), plain.as_slice());
        prop_assert!(open(&key(2), &associated, &sealed).is_err());
        prop_assert!(open(&key(1), &[&associated[..], b"x"].concat(), &sealed).is_err());
        let mut changed = sealed.clone();
        changed[at.index(sealed.len())] ^= 1_u8 << bit;
        prop_assert!(open(&key(1), &associated, &changed).is_err());
        prop_assert!(open(&key(1), &associated, &sealed[..at.index(sealed.len())]).is_err());
    }
}

#[test]
fn two_seals_of_one_text_have_nothing_in_common() {
    let (one, two) = (seal(&key(1), b"", b"text").unwrap(), seal(&key(1), b"", b"text").unwrap());
    assert!(one.iter().zip(&two).filter(|(a, b)| a == b).count() < 8);
}

#[test]
fn the_commitment_is_what_decides_and_comes_first() {
    let sealed = seal(&key(1), b"a", b"text").unwrap();
    let other = seal(&key(2), b"a", b"text").unwrap();
    // A ciphertext of one key with the commitment of another opens under neither.
    let mixed = [&other[..32], &sealed[32..]].concat();
    assert!(open(&key(1), b"a", &mixed).is_err() && open(&key(2), b"a", &mixed).is_err());
}

#[test]
fn purposes_and_contexts_give_keys_of_their_own() {
    let keys = [
        key(1).derive("a", b"b"),
        key(1).derive("ab", b""),
        key(1).derive("a", b"c"),
        key(2).derive("a", b"b"),
        key(1).derive("b", b"b"),
    ];
    for (at, one) in keys.iter().enumerate() {
        assert!(keys[at + 1..].iter().all(|other| one.expose() != other.expose()), "{at}");
    }
}

#[test]
fn keys_show_nothing_of_themselves() {
    assert_eq!(format!("{:?} {:#?}", key(7), [key(7)]), "[redacted] [\n    [redacted],\n]");
}

/// A type for which a trait is ambiguous when it can be compared: then this does not compile.
#[test]
fn tags_and_keys_cannot_be_compared_but_in_constant_time() {
    trait Ambiguous<A> {
        fn found() {}
    }
    struct Comparable;
    impl<T: ?Sized> Ambiguous<()> for T {}
    impl<T: ?Sized + PartialEq> Ambiguous<Comparable> for T {}
    <Tag as Ambiguous<_>>::found();
    <Key as Ambiguous<_>>::found();
    let tag = |byte| Tag::new([byte; 32]);
    assert!(tag(1).matches(&tag(1)) && !tag(1).matches(&tag(2)));
}

/// The time of a refusal does not say how much of a commitment was right: medians, because a machine has other work.
#[test]
fn a_wrong_first_byte_is_refused_as_slowly_as_a_wrong_last_one() {
    let sealed = seal(&key(1), b"", &[0; 4096]).unwrap();
    let changed = |at: usize| {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        changed
    };
    let (first, last) = (changed(0), changed(31));
    let key = key(1);
    let mut times: [Vec<u128>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..2000 {
        for (times, sealed) in times.iter_mut().zip([&first, &last]) {
            let started = Instant::now();
            assert!(open(&key, b"", std::hint::black_box(sealed)).is_err());
            times.push(started.elapsed().as_nanos());
        }
    }
    let [first, last] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2] as f64
    });
    assert!((0.8..1.25).contains(&(first / last)), "{first} ns and {last} ns");
}

#[test]
fn what_holds_keys_and_values_wipes_itself() {
    fn wipes<T: ZeroizeOnDrop>() {}
    wipes::<SecretBox<[u8; KEY_BYTES]>>();
    wipes::<Secret>();
}

/// Looks for a key in the whole memory of this process, before and after it was dropped. The needle is kept masked, so
/// that the search does not find itself.
#[test]
fn a_dropped_key_is_nowhere_in_memory() {
    const MASK: u8 = 0xa5;
    let key = Key::random().unwrap();
    let masked: Vec<u8> = key.expose().iter().map(|byte| byte ^ MASK).collect();
    assert!(count_in_memory(&masked, MASK) > 0, "the search finds what is there");
    drop(key);
    assert_eq!(count_in_memory(&masked, MASK), 0);
}

fn count_in_memory(masked: &[u8], mask: u8) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut found = 0;
    let mut buffer = vec![0; 1 << 20];
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let mut words = line.split(' ');
        let (range, permissions) = (words.next().unwrap(), words.next().unwrap());
        if !permissions.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [mut at, to] = [from, to].map(|digits| u64::from_str_radix(digits, 16).unwrap());
        while at < to {
            let length = buffer.len().min((to - at) as usize);
            // Threads of other tests may have given a mapping back meanwhile.
            let Ok(read) = memory.read_at(&mut buffer[..length], at) else { break };
            if read < masked.len() {
                break;
            }
            let windows = buffer[..read].windows(masked.len());
            found += windows.filter(|window| window.iter().zip(masked).all(|(a, b)| a ^ mask == *b)).count();
            buffer[..read].zeroize();
            if at + read as u64 >= to {
                break;
            }
            at += (read - masked.len()) as u64;
        }
    }
    found
}
