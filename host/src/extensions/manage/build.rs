//! Builds the crate of an extension with the user's cargo, and finds the library that came out.

use crate::error::{Error, Result, codes};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Lines of cargo's own words that an error shows.
const LINES_MAX: usize = 40;

/// Builds `folder` in release and gives its dynamic library.
///
/// # Errors
/// BUILD_FAILED with cargo's words.
pub(super) fn build(name: &str, folder: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Command::new(&cargo)
        .args(["build", "--release", "--lib", "--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| {
            Error::new(codes::BUILD_FAILED, format!("cannot start cargo to build `{name}`: {error}"))
                .help("install Rust from https://rustup.rs, or install a built library")
        })?;
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    // Both pipes are read at once, or a full one would stop cargo.
    let words = std::thread::spawn(move || {
        let mut text = Vec::new();
        stderr.as_mut().map(|pipe| pipe.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut messages = Vec::new();
    stdout.as_mut().map(|pipe| pipe.read_to_end(&mut messages));
    let status = child.wait().map_err(|error| Error::new(codes::BUILD_FAILED, format!("lost cargo: {error}")))?;
    let words = words.join().unwrap_or_default();
    if !status.success() {
        let mut error = Error::new(codes::BUILD_FAILED, format!("cargo could not build `{name}`"));
        let lines: Vec<&str> = words.lines().filter(|line| !line.trim_start().starts_with("Compiling ")).collect();
        for line in &lines[lines.len().saturating_sub(LINES_MAX)..] {
            error = error.detail(*line);
        }
        return Err(
            error.help(format!("cargo build --release --manifest-path {}", folder.join("Cargo.toml").display()))
        );
    }
    library(folder, &String::from_utf8_lossy(&messages)).ok_or_else(|| {
        Error::new(codes::BUILD_FAILED, format!("cargo built `{name}`, but no dynamic library came out"))
            .help("add `crate-type = [\"cdylib\"]` to `[lib]` in its Cargo.toml")
    })
}

/// The library among cargo's messages, one JSON object a line.
fn library(folder: &Path, messages: &str) -> Option<PathBuf> {
    let manifest = folder.join("Cargo.toml");
    let mut messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let ours = |message: &serde_json::Value| {
        message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest)
            && message["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"))
    };
    let message = messages.rfind(ours)?;
    let files = message["filenames"].as_array()?.iter().filter_map(serde_json::Value::as_str).map(PathBuf::from);
    let extension = Path::new(kodiak_registry::store::PLUGIN_FILE).extension()?.to_owned();
    files.into_iter().find(|file| file.extension() == Some(&extension))
}
