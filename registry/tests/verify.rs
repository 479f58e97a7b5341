//! The check of a library before it is loaded: every kind of wrong file has its words, and no bytes break it.

// A test may panic.
#![allow(clippy::unwrap_used)]

mod library;

use std::fs;
use std::path::{Path, PathBuf};

use kodiak_registry::verify::{Entry, MANIFEST_MAGIC, check_abi, inspect, sha256};
use kodiak_registry::{Digest, Error, Manifest};
use library::{Library, MANIFEST, built_by_rustc};
use proptest::prelude::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join("libgeo.so");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn refusal(&self, bytes: &[u8]) -> Error {
        inspect(&self.file(bytes)).unwrap_err()
    }
}

#[test]
fn a_library_made_by_the_compiler_is_read() {
    let path = built_by_rustc();
    let found = inspect(&path).unwrap();
    assert_eq!(found.manifest, Manifest::parse(MANIFEST).unwrap());
    assert_eq!(found.entry, Entry::Rust);
    assert_eq!(found.bytes, fs::metadata(&path).unwrap().len());
}

#[test]
fn a_crafted_library_is_read_too() {
    let folder = Folder::new();
    assert_eq!(inspect(&folder.file(&Library::default().bytes())).unwrap().manifest.name(), "geo");
    let c = Library { symbol: Some("kodiak_plugin_c_v1"), ..Library::default() };
    assert_eq!(inspect(&folder.file(&c.bytes())).unwrap().entry, Entry::C);
}

#[test]
fn every_other_kind_of_file_is_named() {
    let folder = Folder::new();
    for (bytes, words) in [
        (&b""[..], "is empty"),
        (b"#!/bin/sh\n", "does not begin as an ELF file"),
        (b"MZ\x90\0", "is a Windows library"),
        (b"\xcf\xfa\xed\xfe\x07\0\0\x01", "is a macOS library"),
        (b"!<arch>\nfoo", "is a static library"),
        (b"\x7fELF\x02\x01\x01", "is truncated"),
    ] {
        let error = folder.refusal(bytes);
        assert_eq!(error.code(), "KDK-0450", "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = inspect(folder.0.path()).unwrap_err();
    assert!(error.to_string().contains("is a directory"), "{error}");
    assert_eq!(inspect(&folder.0.path().join("absent.so")).unwrap_err().code(), "KDK-0200");
    // This very test program is a real ELF file without a manifest.
    let program = std::env::current_exe().unwrap();
    assert!(["KDK-0450", "KDK-0451"].contains(&inspect(&program).unwrap_err().code()));
}

#[test]
fn another_platform_is_named() {
    let folder = Folder::new();
    let mut bytes = Library::default().bytes();
    bytes[18..20].copy_from_slice(&0xf3u16.to_le_bytes());
    let error = folder.refusal(&bytes);
    assert_eq!(error.code(), "KDK-0450");
    assert!(error.to_string().contains("was built for riscv; this host runs on"), "{error}");
    bytes[4] = 1;
    bytes[5] = 2;
    assert!(folder.refusal(&bytes).to_string().contains("32-bit big-endian"));
}

#[test]
fn a_library_cut_anywhere_is_refused() {
    let folder = Folder::new();
    let whole = Library::default().bytes();
    for length in 0..whole.len() {
        assert_eq!(folder.refusal(&whole[..length]).code(), "KDK-0450", "{length} of {}", whole.len());
    }
}

#[test]
fn a_plain_library_and_a_plugin_without_entry_differ() {
    let folder = Folder::new();
    let plain = Library { manifest: None, ..Library::default() };
    assert_eq!(folder.refusal(&plain.bytes()).code(), "KDK-0451");
    for symbol in [None, Some("KODIAK_PLUGIN_V2"), Some("KODIAK_PLUGIN_V1_")] {
        let error = folder.refusal(&Library { symbol, ..Library::default() }.bytes());
        assert_eq!(error.code(), "KDK-0450");
        assert!(error.to_string().contains("no entry"), "{error}");
    }
    let imported = Library { symbol_defined: false, ..Library::default() };
    assert_eq!(folder.refusal(&imported.bytes()).code(), "KDK-0450", "an undefined symbol is no entry");
}

#[test]
fn what_is_wrong_in_the_section_is_said() {
    let folder = Folder::new();
    let section = |bytes: &[u8]| Library { manifest: Some(bytes.to_vec()), ..Library::default() }.bytes();
    let whole = [MANIFEST_MAGIC, MANIFEST.as_bytes()].concat();
    assert!(inspect(&folder.file(&section(&[&whole[..], &[0; 100]].concat()))).is_ok(), "padding is allowed");
    let twice = [&whole[..], &[0], &whole[..]].concat();
    for (bytes, code, words) in [
        (MANIFEST.as_bytes().to_vec(), "KDK-0400", "does not begin with"),
        (twice, "KDK-0400", "more than one manifest"),
        ([MANIFEST_MAGIC, b"\xff"].concat(), "KDK-0400", "not UTF-8"),
        ([MANIFEST_MAGIC, b"x = 1"].concat(), "KDK-0400", "unknown field `x`"),
        ([MANIFEST_MAGIC, &[b'#'; 300_000][..]].concat(), "KDK-0400", "at most"),
        ([&whole[..], b"statements = [\"SELECT\"]"].concat(), "KDK-0401", "`SELECT`"),
    ] {
        let error = folder.refusal(&section(&bytes));
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn only_abi_versions_that_the_host_speaks_are_accepted() {
    let of = |api: &str| Manifest::parse(&MANIFEST.replace("api = \"1.0\"", &format!("api = \"{api}\""))).unwrap();
    for (api, accepted) in [("1.0", true), ("1.3", true), ("1.4", false), ("0.9", false), ("2.1", false)] {
        assert_eq!(check_abi(&of(api), 1, 3).is_ok(), accepted, "{api}");
    }
    let error = check_abi(&of("2.1"), 1, 3).unwrap_err();
    assert_eq!(error.code(), "KDK-0460");
    assert_eq!(error.to_string(), "`geo` 0.3.1 was built for plugin ABI 2.1; this host accepts 1.0 to 1.3");
}

#[test]
fn the_hash_is_of_the_file() {
    let folder = Folder::new();
    let path = folder.file(b"abc");
    assert_eq!(sha256(&path).unwrap(), Digest::of(b"abc"));
    assert_eq!(sha256(Path::new("/nowhere/x")).unwrap_err().code(), "KDK-0200");
}

/// The only errors that bytes may cause.
fn is_verdict(error: &Error) -> bool {
    ["KDK-0400", "KDK-0401", "KDK-0450", "KDK-0451"].contains(&error.code())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_change_of_a_crafted_library_breaks_the_check(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
        extension in 0usize..64,
    ) {
        let folder = Folder::new();
        let mut bytes = Library::default().bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut { bytes.truncate(length.index(bytes.len())) }
        bytes.extend(vec![0xff; extension]);
        if let Err(error) = inspect(&folder.file(&bytes)) {
            prop_assert!(is_verdict(&error), "{}", error);
        }
    }

    /// Counts, offsets and sizes at their extremes, where arithmetic would overflow.
    #[test]
    fn no_extreme_number_breaks_the_check(
        at in any::<prop::sample::Index>(),
        value in prop_oneof![Just(u64::MAX), Just(u64::MAX - 63), Just(1 << 63), Just(0), Just(u64::from(u32::MAX)), any::<u64>()],
        width in prop_oneof![Just(2usize), Just(4), Just(8)],
    ) {
        let folder = Folder::new();
        let mut bytes = Library::default().bytes();
        let at = at.index(bytes.len() - 8) / width * width;
        bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        if let Err(error) = inspect(&folder.file(&bytes)) {
            prop_assert!(is_verdict(&error), "{}", error);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_change_of_a_real_library_breaks_the_check(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..16),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let folder = Folder::new();
        let mut bytes = fs::read(built_by_rustc()).unwrap();
        let whole = bytes.len();
        // Half of the changes go to the headers at both ends, where they matter.
        for (at, byte, near_header) in changes {
            let range = if near_header { 1024 } else { bytes.len() };
            let at = at.index(range);
            let at = if near_header && byte % 2 == 0 { bytes.len() - 1 - at } else { at };
            bytes[at] = byte;
        }
        if cut { bytes.truncate(length.index(whole)) }
        match inspect(&folder.file(&bytes)) {
            Ok(_) => prop_assert!(!cut, "a library that was cut passed"),
            Err(error) => prop_assert!(is_verdict(&error), "{}", error),
        }
    }

    #[test]
    fn no_bytes_break_the_check(tail in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let folder = Folder::new();
        let mut bytes = Library::default().bytes()[..20].to_vec();
        bytes.extend(tail);
        prop_assert!(is_verdict(&folder.refusal(&bytes)));
    }
}
