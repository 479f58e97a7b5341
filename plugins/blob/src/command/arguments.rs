//! Arguments of `kodiak blob`.

use crate::address::{Address, Place};
use crate::code;
use crate::index::Versioning;
use crate::name::{self, Pairs};
use crate::objects::{About, Precondition};
use kodiak_plugin_api::clap;
use kodiak_plugin_api::prelude::*;

/// Buckets and objects: put, get, list, copy, verify.
#[derive(clap::Parser, Debug)]
#[command(name = "kodiak blob", bin_name = "kodiak blob", about, disable_version_flag = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(clap::Subcommand, Debug)]
pub enum Verb {
    /// Make a bucket
    Mb(Make),
    /// Remove a bucket
    Rb(Remove),
    /// Put a file, a folder or standard input
    Put(Put),
    /// Get an object or, recursively, objects
    Get(Get),
    /// Write an object to standard output
    Cat(Cat),
    /// List buckets or objects
    Ls(List),
    /// Delete objects
    Rm(Delete),
    /// Copy between objects, or from and to files
    Cp(Copy),
    /// Copy and delete the source
    Mv(Copy),
    /// Make a folder or prefix like another one, by size and content
    Sync(Sync),
    /// Show everything about one object
    Stat(Stat),
    /// List every version of objects
    Versions(Versions),
    /// Replace an object's tags
    Tag(Tag),
    /// Read every object and compare it with its checksums
    Verify(Verify),
    /// Remove payload files that nothing refers to
    Gc(Gc),
}

#[derive(clap::Args, Debug)]
pub struct Make {
    /// blob://BUCKET, or its name alone
    #[arg(value_parser = bucket)]
    pub bucket: String,
    /// on, off or suspended
    #[arg(long, value_parser = versioning, default_value = "off")]
    pub versioning: Versioning,
    /// Do nothing when it exists already
    #[arg(long)]
    pub if_not_exists: bool,
}

#[derive(clap::Args, Debug)]
pub struct Remove {
    /// blob://BUCKET, or its name alone
    #[arg(value_parser = bucket)]
    pub bucket: String,
    /// With everything in it
    #[arg(long, visible_alias = "cascade")]
    pub force: bool,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(clap::Args, Debug)]
pub struct Description {
    /// Media type
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// Metadata that stays with the object, repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub metadata: Vec<(String, String)>,
    /// Tags, repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub tag: Vec<(String, String)>,
}

#[derive(clap::Args, Debug)]
pub struct Condition {
    /// Only when there is no such object
    #[arg(long)]
    pub if_not_exists: bool,
    /// Only when the object has this ETag
    #[arg(long, value_name = "ETAG", conflicts_with = "if_not_exists")]
    pub if_match: Option<String>,
}

#[derive(clap::Args, Debug)]
pub struct Put {
    /// A file, a folder with --recursive, or - for standard input
    pub source: String,
    /// blob://BUCKET/KEY; without a key the file's name is the key
    pub address: Address,
    /// Every file below a folder
    #[arg(long, short)]
    pub recursive: bool,
    #[command(flatten)]
    pub description: Description,
    #[command(flatten)]
    pub condition: Condition,
}

#[derive(clap::Args, Debug)]
pub struct Range {
    /// The first byte
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub offset: Option<i64>,
    /// How many bytes
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub length: Option<i64>,
}

#[derive(clap::Args, Debug)]
pub struct Get {
    /// blob://BUCKET/KEY, or a prefix with --recursive
    pub address: Address,
    /// A file, a folder, or - for standard output
    pub destination: String,
    /// Every object under the prefix
    #[arg(long, short, conflicts_with_all = ["version", "offset", "length"])]
    pub recursive: bool,
    /// A version of the object
    #[arg(long)]
    pub version: Option<String>,
    #[command(flatten)]
    pub range: Range,
}

#[derive(clap::Args, Debug)]
pub struct Cat {
    /// blob://BUCKET/KEY
    pub address: Address,
    /// A version of the object
    #[arg(long)]
    pub version: Option<String>,
    #[command(flatten)]
    pub range: Range,
}

#[derive(clap::Args, Debug)]
pub struct List {
    /// blob://BUCKET/PREFIX; without it, buckets are listed
    pub address: Option<Address>,
    /// Every object under the prefix, not only up to the next `/`
    #[arg(long, short)]
    pub recursive: bool,
    /// Every version
    #[arg(long)]
    pub versions: bool,
    /// At most so many lines
    #[arg(long)]
    pub limit: Option<u64>,
    /// Only what sorts behind this key
    #[arg(long, value_name = "KEY")]
    pub after: Option<String>,
}

#[derive(clap::Args, Debug)]
pub struct Delete {
    /// blob://BUCKET/KEY, or a prefix with --recursive
    pub address: Address,
    /// Every object under the prefix
    #[arg(long, short, conflicts_with = "version")]
    pub recursive: bool,
    /// This version, for good
    #[arg(long)]
    pub version: Option<String>,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(clap::Args, Debug)]
pub struct Copy {
    /// blob://BUCKET/KEY, a file, or -
    pub from: Place,
    /// blob://BUCKET/KEY, a file, or -
    pub to: Place,
    /// Everything under the prefix or folder
    #[arg(long, short)]
    pub recursive: bool,
    #[command(flatten)]
    pub condition: Condition,
}

#[derive(clap::Args, Debug)]
pub struct Sync {
    /// A folder or blob://BUCKET/PREFIX
    pub from: Place,
    /// A folder or blob://BUCKET/PREFIX
    pub to: Place,
    /// Delete what the source does not have
    #[arg(long)]
    pub delete: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(clap::Args, Debug)]
pub struct Stat {
    /// blob://BUCKET/KEY
    pub address: Address,
    /// A version of the object
    #[arg(long)]
    pub version: Option<String>,
}

#[derive(clap::Args, Debug)]
pub struct Versions {
    /// blob://BUCKET/KEY or a prefix
    pub address: Address,
}

#[derive(clap::Args, Debug)]
pub struct Tag {
    /// blob://BUCKET/KEY
    pub address: Address,
    /// The new tags; none removes all
    #[arg(value_name = "NAME=VALUE", value_parser = pair)]
    pub tags: Vec<(String, String)>,
    /// A version of the object
    #[arg(long)]
    pub version: Option<String>,
}

#[derive(clap::Args, Debug)]
pub struct Verify {
    /// blob://BUCKET/PREFIX; without it, everything
    pub address: Option<Address>,
}

#[derive(clap::Args, Debug)]
pub struct Gc {
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
}

impl Description {
    /// What is said about a new object.
    pub fn about(&self) -> Result<About> {
        Ok(About { content_type: self.content_type.clone(), metadata: pairs(&self.metadata)?, tags: pairs(&self.tag)? })
    }
}

impl Condition {
    /// When a put may happen.
    pub fn precondition(&self) -> Precondition {
        match (&self.if_match, self.if_not_exists) {
            (Some(etag), _) => Precondition::Match(etag.clone()),
            (None, true) => Precondition::NotExists,
            (None, false) => Precondition::None,
        }
    }
}

/// Names with values, each given once.
///
/// # Errors
/// `LIMIT` for a name that is given twice.
pub fn pairs(given: &[(String, String)]) -> Result<Pairs> {
    let mut pairs = Pairs::new();
    for (name, value) in given {
        if pairs.insert(name.clone(), value.clone()).is_some() {
            return Err(code::LIMIT.error(format!("`{name}` is given twice")));
        }
    }
    Ok(pairs)
}

fn bucket(text: &str) -> Result<String> {
    if text.starts_with("blob://") {
        return text.parse::<Address>()?.only_bucket().map(str::to_owned);
    }
    name::check_bucket(text).map(|()| text.to_owned())
}

fn versioning(text: &str) -> Result<Versioning> {
    Versioning::from_word(text).ok_or_else(|| Error::message("on, off or suspended"))
}

fn pair(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').ok_or_else(|| Error::message("written NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[test]
    fn arguments_hold_together() {
        Arguments::command().debug_assert();
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        let Verb::Put(put) = parse("blob put - blob://raw/../k --tag a=b=c --if-match x").unwrap().verb else {
            panic!()
        };
        assert_eq!((put.source.as_str(), put.address.key.as_str()), ("-", "../k"));
        assert_eq!(put.description.about().unwrap().tags["a"], "b=c");
        assert_eq!(put.condition.precondition(), Precondition::Match("x".into()));
        for wrong in [
            "blob put a s3://b/k",
            "blob get blob://B/k -",
            "blob put a blob://b/k --tag x",
            "blob mb blob://b/k",
            "blob",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
