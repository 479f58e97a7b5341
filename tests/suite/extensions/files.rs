//! Files that are no plugins, or were: none is opened by the operating system, every one is refused with the reason.

use std::fs;

use super::{Sane, Scene};
use kodiak_tests::Run;
use kodiak_tests::plugins::library;

impl Scene {
    /// Installs a library of these bytes.
    fn install_bytes(&self, bytes: &[u8]) -> Run {
        self.sandbox.write("libodd.so", bytes);
        self.run(["ext", "install", "./libodd.so", "--yes"])
    }

    /// Nothing came of it: no set, no package, and everything works.
    fn is_untouched(&self) {
        assert!(self.list().is_empty());
        assert!(self.packages().is_empty());
        self.survives();
    }
}

/// The good plugin with `old` replaced by `new`, wherever it stands.
fn good_with(old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len(), "nothing may move");
    let mut bytes = fs::read(library("good")).unwrap();
    let places: Vec<usize> = (0..bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    assert!(!places.is_empty(), "the plugin no longer holds {:?}", String::from_utf8_lossy(old));
    for at in places {
        bytes[at..at + new.len()].copy_from_slice(new);
    }
    bytes
}

/// The good plugin with some bytes of its ELF header replaced.
fn good_with_header(at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = fs::read(library("good")).unwrap();
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

#[test]
fn what_is_no_library_is_refused() {
    let scene = Scene::new(&[]);
    let cases: [(&[u8], &str); 5] = [
        (b"", "is empty"),
        (b"#!/bin/sh\necho gotcha\n", "is not a library"),
        (b"MZ\x90\0 and so on", "is a Windows library or program"),
        (b"\xcf\xfa\xed\xfe and so on", "is a macOS library or program"),
        (b"!<arch>\n", "is a static library"),
    ];
    for (bytes, words) in cases {
        scene.install_bytes(bytes).refused("KDK-0450", 1, &[words, "libodd.so"]);
    }
    scene.is_untouched();
}

#[test]
fn a_truncated_library_is_refused_at_every_length() {
    let scene = Scene::new(&[]);
    let whole = fs::read(library("good")).unwrap();
    let end = whole.len();
    for length in [1, 4, 63, 64, 100, 4096, end / 4, end / 2, end - 65_536, end - 4096, end - 64, end - 1] {
        scene.install_bytes(&whole[..length]).refused("KDK-0450", 1, &["libodd.so"]);
    }
    scene.is_untouched();
    // The measure of this test: all of it is accepted.
    let run = scene.install_bytes(&whole);
    assert_eq!(run.code, Some(0), "{run}");
}

#[test]
fn a_plain_library_has_no_manifest() {
    let scene = Scene::new(&[]);
    let run = scene.try_install(&[], &["plain_library"]);
    run.refused("KDK-0451", 1, &["has no manifest section", "not a Kodiak plugin"]);
    scene.is_untouched();
}

#[test]
fn a_library_for_another_machine_is_refused_by_its_name() {
    let scene = Scene::new(&[]);
    let (number, name) = if cfg!(target_arch = "aarch64") { (62u16, "x86_64") } else { (183, "aarch64") };
    let run = scene.install_bytes(&good_with_header(18, &number.to_le_bytes()));
    run.refused("KDK-0450", 1, &[&format!("was built for {name}"), "this host runs on"]);
    scene.install_bytes(&good_with_header(4, &[1])).refused("KDK-0450", 1, &["32-bit"]);
    scene.install_bytes(&good_with_header(5, &[2])).refused("KDK-0450", 1, &["big-endian"]);
    scene.install_bytes(&good_with_header(16, &[2])).refused("KDK-0450", 1, &["not a shared library"]);
    scene.is_untouched();
}

#[test]
fn a_plugin_for_another_major_of_the_abi_is_refused_with_both_versions() {
    let scene = Scene::new(&[]);
    let run = scene.try_install(&[], &["other_abi"]);
    run.refused("KDK-0460", 1, &["`other-abi` 0.1.0 was built for plugin ABI 2.0; this host accepts 1.0 to 1."]);
    scene.is_untouched();
}

#[test]
fn a_plugin_without_its_entry_is_refused() {
    let scene = Scene::new(&[]);
    let run = scene.install_bytes(&good_with(b"KODIAK_PLUGIN_V1\0", b"KODIAK_PLUGIN_VX\0"));
    run.refused("KDK-0450", 1, &["has a manifest, but no entry"]);
    scene.is_untouched();
}

#[test]
fn a_damaged_manifest_is_refused() {
    let scene = Scene::new(&[]);
    scene.install_bytes(&good_with(b"KODIAK-MANIFEST 1\n[", b"KODIAK-MANIFEST 9\n[")).refused(
        "KDK-0400",
        1,
        &["KODIAK-MANIFEST 1"],
    );
    let name = good_with(b"\nname = \"good\"", b"\nname = \"Good\"");
    scene.install_bytes(&name).refused("KDK-0400", 1, &["libodd.so", "a name has 1 to 32 of a-z"]);
    let syntax = good_with(b"\nname = \"good\"", b"\nname = \"good'");
    scene.install_bytes(&syntax).refused("KDK-0400", 1, &["libodd.so"]);
    let unknown = good_with(b"\nsummary = ", b"\nsummery = ");
    scene.install_bytes(&unknown).refused("KDK-0400", 1, &["summery"]);
    let version = good_with(b"\nversion = \"0.1.0\"\napi", b"\nversion = \"0.1.x\"\napi");
    scene.install_bytes(&version).refused("KDK-0400", 1, &["version"]);
    scene.is_untouched();
}

#[test]
fn a_header_that_is_none_is_refused_when_the_plugin_is_first_used() {
    let scene = Scene::new(&[]);
    let run = scene.install_bytes(&good_with(b"abi stable library for Rust", b"abi stable library for Rost"));
    assert_eq!(run.code, Some(0), "nothing of it is loaded yet: {run}");
    let mut talk = scene.talk();
    for _ in 0..2 {
        let message = talk.refused("SELECT good_add(1, 2)", "KDK-0450");
        assert!(message.contains("`good` has no usable header"), "{message}");
    }
    talk.finish();
    scene.run(["good", "World"]).refused("KDK-0450", 3, &["no usable header"]);
    scene.survives();
}

#[test]
fn what_is_not_there_or_is_a_folder_is_refused() {
    let scene = Scene::new(&[]);
    scene.run(["ext", "install", "./nowhere.so"]).refused("KDK-0200", 1, &["nowhere.so"]);
    scene.sandbox.write("empty/nothing.txt", "");
    scene.run(["ext", "install", "./empty"]).refused("KDK-0402", 1, &["Cargo.toml", "kodiak-plugin.toml"]);
    scene.run(["ext", "install", "No_Such_Name"]).refused("KDK-0402", 1, &["`No_Such_Name` is neither"]);
    scene.run(["ext", "install", "good@^one"]).refused("KDK-0402", 1, &["`^one` is not a requirement"]);
    scene.run(["ext", "install", "nobody-knows-it"]).refused("KDK-0403", 1, &["nobody-knows-it"]);
    scene.is_untouched();
}
