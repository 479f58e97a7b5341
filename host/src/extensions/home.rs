//! Where a user's extensions live, and where new ones come from. It reads the environment and `config.toml` once, and
//! touches nothing else.

use crate::error::{Error, Result, codes};
use kodiak_registry::{Index, Store};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The user's folder: store, default set, configuration.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
    config: Config,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Directories of indexes, searched in order before the first-party one.
    #[serde(default)]
    indexes: Vec<PathBuf>,
    /// Settings of extensions: `[extensions.blob] key = "value"`.
    #[serde(default)]
    extensions: BTreeMap<String, BTreeMap<String, toml::Value>>,
}

const CONFIG_FILE: &str = "config.toml";
const DEFAULT_SET_FILE: &str = "extensions.toml";
const FIRST_PARTY: &str = "registry/index";

impl Home {
    /// The folder that `KODIAK_HOME` names, or `kodiak` in the platform's folder for data.
    ///
    /// # Errors
    /// USAGE when there is neither; CONFIGURATION problems name the file.
    pub fn find() -> Result<Self> {
        let named = std::env::var_os("KODIAK_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = named.or_else(|| dirs::data_dir().map(|data| data.join("kodiak"))).ok_or_else(|| {
            Error::new(codes::USAGE, "there is no home folder to keep extensions in")
                .help("export KODIAK_HOME=/some/folder")
        })?;
        Self::at(&path)
    }

    /// The home in this folder, which need not exist yet.
    ///
    /// # Errors
    /// When its `config.toml` cannot be read or understood.
    pub fn at(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|error| Error::io("find", path, &error))?;
        let file = path.join(CONFIG_FILE);
        let config = match std::fs::read_to_string(&file) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                Error::new(codes::SETTING, format!("`{}` cannot be understood: {}", file.display(), error.message()))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Config::default(),
            Err(error) => return Err(Error::io("read", &file, &error)),
        };
        Ok(Self { path, config })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Installed artifacts.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn store(&self) -> Result<Store> {
        Store::open(&self.path).map_err(super::from_registry)
    }

    /// The file of the set that databases without a set of their own use.
    pub fn default_set(&self) -> PathBuf {
        self.path.join(DEFAULT_SET_FILE)
    }

    /// A setting of an extension's.
    pub fn setting(&self, extension: &str, key: &str) -> Option<String> {
        let value = self.config.extensions.get(extension)?.get(key)?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    /// The indexes to install from, in order: `KODIAK_REGISTRY`, the configured ones, the first-party one of a checkout.
    ///
    /// # Errors
    /// When a named one is no index; that there is no checkout is no error.
    pub fn indexes(&self) -> Result<Vec<Index>> {
        let named = std::env::var_os("KODIAK_REGISTRY").filter(|path| !path.is_empty());
        let named: Vec<PathBuf> = named.iter().flat_map(std::env::split_paths).collect();
        let named = named.into_iter().chain(self.config.indexes.iter().cloned());
        let mut indexes: Vec<Index> =
            named.map(|path| Index::open(&path).map_err(super::from_registry)).collect::<Result<_>>()?;
        indexes.extend(first_party().and_then(|path| Index::open(&path).ok()));
        Ok(indexes)
    }
}

/// The index of the checkout that this program was built in, is run in, or lies in.
fn first_party() -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let here = std::env::current_dir().ok();
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf();
    let starts = here.into_iter().chain(program).chain([built]);
    starts.flat_map(|start| start.ancestors().map(Path::to_path_buf).collect::<Vec<_>>()).find_map(|folder| {
        let index = folder.join(FIRST_PARTY);
        index.join("index.json").is_file().then_some(index)
    })
}
