//! What a user names when installing: a name with an optional requirement, a crate's folder, a built library.

use crate::error::{Error, Result, codes};
use crate::extensions::from_registry;
use kodiak_registry::{Manifest, verify};
use semver::VersionReq;
use std::path::{Path, PathBuf};

/// One argument of an install, understood.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A name in an index.
    Name { name: String, requirement: VersionReq },
    /// A crate to be built.
    Crate { folder: PathBuf, manifest: Box<Manifest> },
    /// A library.
    Library { file: PathBuf, manifest: Box<Manifest> },
}

impl Source {
    /// Understands an argument. What looks like a path, or is one, is a path.
    pub(super) fn parse(argument: &str) -> Result<Self> {
        let path = Path::new(argument);
        let looks_like_path =
            argument.starts_with('.') || argument.contains(std::path::MAIN_SEPARATOR) || argument.ends_with(".so");
        if path.is_dir() && path.join(kodiak_registry::manifest::FILE_NAME).is_file() {
            return Self::folder(path);
        }
        if looks_like_path || path.is_file() {
            return Self::path(path);
        }
        let (name, requirement) = argument.split_once('@').unwrap_or((argument, "*"));
        if !kodiak_registry::claims::is_extension_name(name) {
            return Err(Error::new(
                codes::NOT_A_SOURCE,
                format!("`{argument}` is neither an extension's name nor a path"),
            ));
        }
        let requirement = requirement.parse().map_err(|error| {
            Error::new(codes::NOT_A_SOURCE, format!("`{requirement}` is not a requirement on a version: {error}"))
                .help(format!("kodiak ext install {name}@^1.2"))
        })?;
        Ok(Self::Name { name: name.to_owned(), requirement })
    }

    fn path(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|error| Error::io("read", path, &error))?;
        if metadata.is_dir() {
            return Self::folder(path);
        }
        if path.extension().is_some_and(|extension| extension == "kext") {
            let text = format!("`{}` is a package; this version installs crates and libraries", path.display());
            return Err(Error::new(codes::UNSUPPORTED, text));
        }
        let inspected = verify::inspect(path).map_err(from_registry)?;
        let file = std::path::absolute(path).map_err(|error| Error::io("find", path, &error))?;
        Ok(Self::Library { file, manifest: Box::new(inspected.manifest) })
    }

    fn folder(path: &Path) -> Result<Self> {
        let file = path.join(kodiak_registry::manifest::FILE_NAME);
        if !file.is_file() || !path.join("Cargo.toml").is_file() {
            let text = format!(
                "`{}` is not the crate of an extension: it needs `Cargo.toml` and `kodiak-plugin.toml`",
                path.display()
            );
            return Err(Error::new(codes::NOT_A_SOURCE, text));
        }
        let manifest = Box::new(Manifest::read(&file).map_err(from_registry)?);
        let folder = path.canonicalize().map_err(|error| Error::io("find", path, &error))?;
        Ok(Self::Crate { folder, manifest })
    }

    /// The manifest that came with it, unless it is only a name.
    pub(super) fn manifest(&self) -> Option<&Manifest> {
        match self {
            Self::Name { .. } => None,
            Self::Crate { manifest, .. } | Self::Library { manifest, .. } => Some(manifest),
        }
    }
}
