//! The plugins of `tests/bad-plugins`, built once by every run of the tests. It refuses to install them: tests do.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::target;

/// The library of one of the plugins, such as `good`.
///
/// # Panics
/// When they cannot be built, or when there is none of this name.
pub fn library(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let file = FOLDER.get_or_init(build).join(format!("{}{name}.so", std::env::consts::DLL_PREFIX));
    assert!(file.is_file(), "there is no plugin `{name}`");
    file
}

/// `cargo test --workspace` has built them; a single test that is run alone has not.
fn build() -> PathBuf {
    let profile = target::profile_directory();
    let name = profile.file_name().and_then(|name| name.to_str()).expect("a profile has a folder of its name");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let output = Command::new(cargo)
        .args(["build", "--offline", "--quiet", "--package", "kodiak-bad-plugins", "--examples", "--profile"])
        .arg(if name == "debug" { "dev" } else { name })
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", target::directory())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    profile.join("examples")
}
