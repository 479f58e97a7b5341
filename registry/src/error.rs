//! What went wrong between a name and a verified file: one enum, each variant with its stable code and, where the user
//! can act, a way out. It refuses to decide exit codes or to print.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use semver::Version;

use crate::manifest::AbiVersion;
use crate::text::and_list;

/// The result of everything that can fail in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where in a text something is wrong; both are counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A failure of the registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {verb} `{}`: {source}", path.display())]
    Io {
        /// What was tried, such as `read`.
        verb: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A manifest breaks the rules.
    #[error("bad manifest{}: {problem}", located(file.as_deref(), *place))]
    Manifest {
        /// The file that holds it, when known.
        file: Option<PathBuf>,
        /// Where in the manifest.
        place: Option<Place>,
        /// What is wrong, as a phrase.
        problem: String,
    },
    /// A manifest claims what belongs to the host.
    #[error("the extension `{extension}` claims {claim}, which belongs to the host")]
    Reserved {
        /// Who claims.
        extension: String,
        /// The claim, with its kind, such as "the statement `SELECT`".
        claim: String,
        /// Where in the manifest.
        place: Option<Place>,
    },
    /// Something that cannot be installed from.
    #[error("`{what}` {reason}")]
    NotASource {
        /// What was given.
        what: String,
        /// Why not, as a verb phrase.
        reason: String,
    },
    /// No index knows the extension.
    #[error("no index knows the extension `{name}`")]
    NotInIndex {
        /// The name that was asked for.
        name: String,
    },
    /// The extension is known, but nothing of it can be installed yet.
    #[error("the extension `{name}` is known, but there is no release of it to install")]
    NoRelease {
        /// The name that was asked for.
        name: String,
    },
    /// No set of versions satisfies every requirement.
    #[error("no set of versions satisfies every requirement")]
    NoSolution {
        /// The chain of reasons, from what was asked for to the contradiction.
        reasons: Vec<String>,
        /// What would work, tried before it is said.
        help: Option<String>,
    },
    /// Extensions need each other in a circle, so that none could be loaded first.
    #[error("{} need each other in a circle", and_list(names))]
    Cycle {
        /// The members, each needing the next, the last needing the first.
        names: Vec<String>,
    },
    /// Two extensions claim one name.
    #[error("`{first}` and `{second}` both claim {claim}")]
    ClaimTaken {
        /// The claim, with its kind.
        claim: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// Reality differs from what was locked.
    #[error("`{name}` differs from its lock: {problem}")]
    LockMismatch {
        /// The extension.
        name: String,
        /// What differs.
        problem: String,
    },
    /// An index cannot be understood.
    #[error("the index file `{}` is damaged{}: {problem}", file.display(), line.map(|line| format!(" at line {line}")).unwrap_or_default())]
    BadIndex {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: Option<usize>,
        /// What is wrong.
        problem: String,
    },
    /// A lock file or another file with a set of extensions cannot be understood.
    #[error("the lock{} cannot be understood: {problem}", located(file.as_deref(), *place))]
    BadLock {
        /// The file, when known.
        file: Option<PathBuf>,
        /// Where in it.
        place: Option<Place>,
        /// What is wrong.
        problem: String,
    },
    /// The extension is not installed.
    #[error("the extension `{name}` is not installed")]
    NotInstalled {
        /// The extension.
        name: String,
    },
    /// A dependency is missing, disabled or of another version.
    #[error("{message}")]
    Dependency {
        /// The chain from the extension to what it lacks.
        message: String,
        /// What to do about the last link.
        help: String,
    },
    /// The extension is disabled.
    #[error("the extension `{name}` is disabled")]
    Disabled {
        /// The extension.
        name: String,
    },
    /// The extension is enabled, but its files are not in the store.
    #[error("the extension `{name}` {version} is enabled, but its files are missing here")]
    Dormant {
        /// The extension.
        name: String,
        /// The version that was enabled.
        version: Version,
    },
    /// A file changed after it was installed.
    #[error("the installed file `{}`{} was modified", path.display(), of(name.as_deref()))]
    Modified {
        /// The extension, where it is known.
        name: Option<String>,
        /// The file or directory that differs.
        path: PathBuf,
    },
    /// The file is not a plugin for this platform.
    #[error("`{}` {reason}", path.display())]
    NotAPlugin {
        /// The file.
        path: PathBuf,
        /// What it is instead, as a verb phrase.
        reason: String,
    },
    /// A library without a manifest.
    #[error("`{}` has no manifest section, so it is not a Kodiak plugin", path.display())]
    NoManifest {
        /// The file.
        path: PathBuf,
    },
    /// The plugin was built for another ABI.
    #[error("`{name}` {version} was built for plugin ABI {api}; this host accepts {major}.0 to {major}.{minor_max}")]
    Abi {
        /// The extension.
        name: String,
        /// Its version.
        version: Version,
        /// The ABI that it was built for.
        api: AbiVersion,
        /// The major that the host speaks.
        major: u16,
        /// The newest minor that the host accepts.
        minor_max: u16,
    },
    /// The extension cannot be used, for a reason that another part of the product found.
    #[error("the extension `{name}` {version} cannot be used: {reason}")]
    Unusable {
        /// The extension.
        name: String,
        /// Its version.
        version: Version,
        /// The code of the reason.
        code: &'static str,
        /// The reason.
        reason: String,
    },
}

impl Error {
    /// The stable code, such as `KDK-0412`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "KDK-0204",
                _ => "KDK-0200",
            },
            Self::Manifest { .. } => "KDK-0400",
            Self::Reserved { .. } => "KDK-0401",
            Self::NotASource { .. } => "KDK-0402",
            Self::NotInIndex { .. } | Self::NoRelease { .. } => "KDK-0403",
            Self::NoSolution { .. } => "KDK-0404",
            Self::Cycle { .. } => "KDK-0405",
            Self::ClaimTaken { .. } => "KDK-0406",
            Self::LockMismatch { .. } => "KDK-0409",
            Self::BadIndex { .. } => "KDK-0410",
            Self::BadLock { .. } => "KDK-0411",
            Self::NotInstalled { .. } => "KDK-0412",
            Self::Dependency { .. } => "KDK-0413",
            Self::Disabled { .. } => "KDK-0414",
            Self::Dormant { .. } => "KDK-0415",
            Self::Modified { .. } => "KDK-0416",
            Self::NotAPlugin { .. } => "KDK-0450",
            Self::NoManifest { .. } => "KDK-0451",
            Self::Abi { .. } => "KDK-0460",
            Self::Unusable { code, .. } => code,
        }
    }

    /// What the user can do, as a command whenever possible.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NotInIndex { name } => Some(format!("kodiak ext search {name}")),
            Self::NoRelease { .. } => Some("kodiak ext list --available".to_owned()),
            Self::NoSolution { help, .. } => help.clone(),
            Self::Cycle { names } => {
                Some(format!("one of them must not need the others: tell the authors of {}", and_list(names)))
            }
            Self::ClaimTaken { first, second, .. } => {
                Some(format!("kodiak ext uninstall {second}    (or {first}: only one of them can be enabled)"))
            }
            Self::LockMismatch { .. } => Some("kodiak ext sync".to_owned()),
            Self::NotInstalled { name } => Some(format!("kodiak ext install {name}")),
            Self::Dependency { help, .. } => Some(help.clone()),
            Self::Disabled { name } => Some(format!("kodiak ext enable {name}")),
            Self::Dormant { name, version } => Some(format!("kodiak ext install {name}@={version}")),
            Self::Modified { name, .. } => {
                Some(format!("install it again: kodiak ext install {}", name.as_deref().unwrap_or("NAME")))
            }
            Self::Abi { name, api, major, .. } => Some(if api.major > *major {
                format!("use a newer Kodiak, or an older version of `{name}`")
            } else {
                format!("install a newer version of `{name}`, or build it again")
            }),
            _ => None,
        }
    }

    /// Lines of facts that belong between message and help.
    pub fn details(&self) -> &[String] {
        match self {
            Self::NoSolution { reasons, .. } => reasons,
            _ => &[],
        }
    }

    /// Where in the text of a manifest or lock the fault is.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Manifest { place, .. } | Self::Reserved { place, .. } | Self::BadLock { place, .. } => *place,
            _ => None,
        }
    }

    pub(crate) fn io(verb: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { verb, path, source }
    }

    /// Adds the file to an error that only knew the text.
    #[must_use]
    pub(crate) fn in_file(mut self, path: &Path) -> Self {
        if let Self::Manifest { file, .. } | Self::BadLock { file, .. } = &mut self {
            file.get_or_insert_with(|| path.to_owned());
        }
        self
    }
}

fn of(name: Option<&str>) -> String {
    name.map(|name| format!(" of `{name}`")).unwrap_or_default()
}

fn located(file: Option<&Path>, place: Option<Place>) -> String {
    let file = file.map(|file| format!(" `{}`", file.display())).unwrap_or_default();
    let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
    file + &place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_carry_verb_path_and_code() {
        let error = Error::io("read", "/nowhere")(io::ErrorKind::NotFound.into());
        assert_eq!(error.code(), "KDK-0200");
        assert!(error.to_string().starts_with("cannot read `/nowhere`: "));
        assert_eq!(Error::io("write", "/full")(io::ErrorKind::StorageFull.into()).code(), "KDK-0204");
    }

    #[test]
    fn abi_message_is_the_one_of_the_design() {
        let error = Error::Abi {
            name: "geo".into(),
            version: Version::new(0, 3, 1),
            api: AbiVersion { major: 2, minor: 1 },
            major: 1,
            minor_max: 3,
        };
        assert_eq!(error.to_string(), "`geo` 0.3.1 was built for plugin ABI 2.1; this host accepts 1.0 to 1.3");
    }

    #[test]
    fn a_cycle_names_all_of_its_members() {
        let error = Error::Cycle { names: vec!["a".into(), "b".into(), "c".into()] };
        assert_eq!(error.to_string(), "`a`, `b` and `c` need each other in a circle");
    }
}
