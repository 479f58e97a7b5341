//! Reads a library as data, before anything is loaded: is it whole, is it for this platform, what does its manifest say,
//! does it have an entry, does the host speak its ABI. It refuses to load or run anything, and reads only the tables
//! that it needs.
//!
//! A library that is cut off kills the process inside dlopen, and its constructors run there, so this check and the
//! hash come first, always.

use std::fs::{self, File};
use std::path::Path;

use object::elf;
use object::endian::Endianness;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};
use object::read::{ReadCache, ReadCacheOps, ReadRef};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};

/// The section of a library that holds its manifest.
pub const MANIFEST_SECTION: &str = ".kodiak.manifest";

/// What the section begins with; the manifest's TOML follows, then nothing but NUL.
pub const MANIFEST_MAGIC: &[u8] = b"KODIAK-MANIFEST 1\n";

const RUST_ENTRY: &str = "KODIAK_PLUGIN_V1";
const C_ENTRY: &str = "kodiak_plugin_c_v1";

/// Bytes that any one table of names or symbols may have; a real plugin stays far below.
const TABLE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const HEADERS_MAX: u32 = 0xffff;

#[cfg(target_pointer_width = "64")]
type Header = elf::FileHeader64<Endianness>;
#[cfg(target_pointer_width = "32")]
type Header = elf::FileHeader32<Endianness>;

/// What a library says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inspection {
    /// The manifest in its section.
    pub manifest: Manifest,
    /// How the host talks to it.
    pub entry: Entry,
    /// Length of the file.
    pub bytes: u64,
}

/// The symbol through which a host enters a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `KODIAK_PLUGIN_V1`, made by `export_plugin!`.
    Rust,
    /// `kodiak_plugin_c_v1`, for other languages.
    C,
}

impl Entry {
    /// The name of the symbol.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Rust => RUST_ENTRY,
            Self::C => C_ENTRY,
        }
    }
}

/// Reads the library at `path` as data.
///
/// # Errors
/// [`Error::NotAPlugin`] when it is no whole library for this platform or has no entry, [`Error::NoManifest`],
/// [`Error::Manifest`] and [`Error::Reserved`] for what the section holds, [`Error::Io`].
pub fn inspect(path: &Path) -> Result<Inspection> {
    // Opening a named pipe would wait for a writer, so the kind comes first.
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if metadata.is_dir() {
        return Err(not_a_plugin(path, "is a directory, not a plugin"));
    }
    if !metadata.is_file() {
        return Err(not_a_plugin(path, "is not a regular file"));
    }
    let file = File::open(path).map_err(Error::io("open", path))?;
    inspect_data(path, &ReadCache::new(file))
}

/// The SHA-256 of a file, read in pieces.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256(path: &Path) -> Result<Digest> {
    Digest::of_file(path)
}

/// Whether a host that speaks ABI `major`.0 to `major`.`minor_max` accepts the plugin.
///
/// # Errors
/// [`Error::Abi`] when it does not.
pub fn check_abi(manifest: &Manifest, major: u16, minor_max: u16) -> Result<()> {
    let api = manifest.extension.api;
    if api.major == major && api.minor <= minor_max {
        return Ok(());
    }
    Err(Error::Abi { name: manifest.name().to_owned(), version: manifest.version().clone(), api, major, minor_max })
}

/// The same for anything that can be read at an offset; `path` only serves the messages.
pub(crate) fn inspect_data<R: ReadCacheOps>(path: &Path, data: &ReadCache<R>) -> Result<Inspection> {
    let bytes = data.len().map_err(|()| not_a_plugin(path, "cannot be measured"))?;
    let reject = |reason: String| not_a_plugin(path, reason);
    check_platform(data, bytes).map_err(reject)?;
    let tables = Tables::read(data, bytes).map_err(reject)?;
    let Some(section) = tables.section(MANIFEST_SECTION.as_bytes()).map_err(reject)? else {
        return Err(Error::NoManifest { path: path.to_owned() });
    };
    let section = section_bytes(section, tables.endian, data, (MANIFEST_BYTES_MAX + MANIFEST_MAGIC.len()) as u64 * 2);
    let manifest = section.and_then(manifest_text).map_err(|problem| Error::Manifest {
        file: Some(path.to_owned()),
        place: None,
        problem,
    })?;
    let manifest = Manifest::parse(manifest).map_err(|error| error.in_file(path))?;
    let entry = tables.entry(data).map_err(reject)?.ok_or_else(|| {
        reject(format!("has a manifest, but no entry: it exports neither `{RUST_ENTRY}` nor `{C_ENTRY}`"))
    })?;
    Ok(Inspection { manifest, entry, bytes })
}

fn not_a_plugin(path: &Path, reason: impl Into<String>) -> Error {
    Error::NotAPlugin { path: path.to_owned(), reason: reason.into() }
}

/// The machine that this host's own code is for.
const MACHINE: Option<elf::Machine> = if cfg!(target_arch = "x86_64") {
    Some(elf::EM_X86_64)
} else if cfg!(target_arch = "aarch64") {
    Some(elf::EM_AARCH64)
} else if cfg!(target_arch = "x86") {
    Some(elf::EM_386)
} else if cfg!(target_arch = "arm") {
    Some(elf::EM_ARM)
} else if cfg!(target_arch = "riscv64") {
    Some(elf::EM_RISCV)
} else if cfg!(target_arch = "powerpc64") {
    Some(elf::EM_PPC64)
} else if cfg!(target_arch = "s390x") {
    Some(elf::EM_S390)
} else {
    None
};

fn machine_name(machine: elf::Machine) -> String {
    match machine {
        elf::EM_X86_64 => "x86_64".to_owned(),
        elf::EM_AARCH64 => "aarch64".to_owned(),
        elf::EM_386 => "x86".to_owned(),
        elf::EM_ARM => "arm".to_owned(),
        elf::EM_RISCV => "riscv".to_owned(),
        elf::EM_PPC64 => "powerpc64".to_owned(),
        elf::EM_S390 => "s390x".to_owned(),
        other => format!("machine {}", other.0),
    }
}

fn check_platform<R: ReadCacheOps>(data: &ReadCache<R>, bytes: u64) -> Result<(), String> {
    let start = data.read_bytes_at(0, bytes.min(64)).map_err(|()| "cannot be read".to_owned())?;
    let other = match start {
        [] => Some("is empty"),
        [b'M', b'Z', ..] => Some("is a Windows library or program; this host needs an ELF library"),
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => {
            Some("is a macOS library or program; this host needs an ELF library")
        }
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => Some("is a static library; a plugin is a shared one"),
        start if !start.starts_with(b"\x7fELF") => Some("is not a library: it does not begin as an ELF file"),
        _ => None,
    };
    if let Some(other) = other {
        return Err(other.to_owned());
    }
    if start.len() < size_of::<Header>() {
        return Err("is truncated: it ends inside the ELF header".to_owned());
    }
    let (class, order) = (start[4], start[5]);
    let little = if cfg!(target_endian = "little") { 1 } else { 2 };
    let width = if cfg!(target_pointer_width = "64") { 2 } else { 1 };
    // The machine stands at the same place in both classes, in the file's own byte order.
    let machine = if order == 2 {
        u16::from_be_bytes([start[18], start[19]])
    } else {
        u16::from_le_bytes([start[18], start[19]])
    };
    let machine = elf::Machine(machine);
    if class != width || order != little || MACHINE.is_some_and(|expected| expected != machine) {
        let bits = if class == 1 { "32-bit " } else { "" };
        let order = if order == 2 { "big-endian " } else { "" };
        let host = MACHINE.map_or_else(|| std::env::consts::ARCH.to_owned(), machine_name);
        return Err(format!("was built for {bits}{order}{}; this host runs on {host}", machine_name(machine)));
    }
    Ok(())
}

/// The tables of a library that is whole.
struct Tables<'data> {
    endian: Endianness,
    sections: &'data [<Header as FileHeader>::SectionHeader],
    names: &'data [u8],
}

impl<'data> Tables<'data> {
    fn read<R: ReadCacheOps>(data: &'data ReadCache<R>, bytes: u64) -> Result<Self, String> {
        let header = Header::parse(data).map_err(|_| "has a damaged ELF header".to_owned())?;
        let endian = header.endian().map_err(|_| "has a damaged ELF header".to_owned())?;
        if header.e_type(endian) != elf::ET_DYN {
            return Err("is an ELF file, but not a shared library".to_owned());
        }
        let cut = |what: &str| format!("is truncated or damaged: {what} lie beyond its end");
        let counts = [header.shnum(endian, data), header.phnum(endian, data)];
        for count in counts {
            match count {
                Ok(count) if count <= HEADERS_MAX => {}
                Ok(_) => return Err("has a damaged ELF header".to_owned()),
                Err(_) => return Err(cut("its headers")),
            }
        }
        let sections = header.section_headers(endian, data).map_err(|_| cut("its section headers"))?;
        let segments = header.program_headers(endian, data).map_err(|_| cut("its program headers"))?;
        let ends_inside = |(offset, size): (u64, u64)| offset.checked_add(size).is_some_and(|end| end <= bytes);
        if !sections.iter().filter_map(|section| section.file_range(endian)).all(ends_inside) {
            return Err(cut("sections"));
        }
        if !segments.iter().map(|segment| segment.file_range(endian)).all(ends_inside) {
            return Err(cut("segments"));
        }
        if !segments.iter().any(|segment| segment.p_type(endian) == elf::PT_LOAD) {
            return Err("is an ELF file with nothing to load".to_owned());
        }
        let names = if sections.is_empty() {
            &[][..]
        } else {
            let index = header.shstrndx(endian, data).map_err(|_| "has no names of sections".to_owned())?;
            let section = sections.get(index as usize).ok_or_else(|| cut("names of sections"))?;
            section_bytes(section, endian, data, TABLE_BYTES_MAX)?
        };
        Ok(Self { endian, sections, names })
    }

    fn section(&self, name: &[u8]) -> Result<Option<&'data <Header as FileHeader>::SectionHeader>, String> {
        let mut found = self.sections.iter().filter(|section| {
            section.file_range(self.endian).is_some() && is_name(self.names, section.sh_name(self.endian), name)
        });
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(format!("has more than one section `{}`", String::from_utf8_lossy(name))),
            (first, None) => Ok(first),
        }
    }

    fn entry<R: ReadCacheOps>(&self, data: &'data ReadCache<R>) -> Result<Option<Entry>, String> {
        let is_dynamic =
            |section: &&<Header as FileHeader>::SectionHeader| section.sh_type(self.endian) == elf::SHT_DYNSYM;
        let Some(section) = self.sections.iter().find(is_dynamic) else {
            return Ok(None);
        };
        let damaged = || "has a damaged table of symbols".to_owned();
        let (offset, size) = section.file_range(self.endian).ok_or_else(damaged)?;
        let symbol_bytes = size_of::<<Header as FileHeader>::Sym>() as u64;
        if size > TABLE_BYTES_MAX {
            return Err(damaged());
        }
        let symbols: &'data [<Header as FileHeader>::Sym] =
            data.read_slice_at(offset, (size / symbol_bytes) as usize).map_err(|()| damaged())?;
        let strings = self.sections.get(section.sh_link(self.endian) as usize).ok_or_else(damaged)?;
        // One read of all names instead of one for each symbol.
        let strings = section_bytes(strings, self.endian, data, TABLE_BYTES_MAX)?;
        let defines = |name: &str| {
            symbols.iter().any(|symbol| {
                !symbol.is_undefined(self.endian)
                    && !symbol.is_local()
                    && is_name(strings, symbol.st_name(self.endian), name.as_bytes())
            })
        };
        Ok([Entry::Rust, Entry::C].into_iter().find(|entry| defines(entry.symbol())))
    }
}

fn section_bytes<'data, R: ReadCacheOps>(
    section: &<Header as FileHeader>::SectionHeader,
    endian: Endianness,
    data: &'data ReadCache<R>,
    bytes_max: u64,
) -> Result<&'data [u8], String> {
    let (offset, size) = section.file_range(endian).unwrap_or((0, 0));
    if size > bytes_max {
        return Err(format!("has a section of {size} bytes where at most {bytes_max} are read"));
    }
    data.read_bytes_at(offset, size).map_err(|()| "cannot be read to its end".to_owned())
}

/// Whether the NUL-terminated name at `offset` of a table is `name`.
fn is_name(table: &[u8], offset: u32, name: &[u8]) -> bool {
    let rest = table.get(offset as usize..).unwrap_or_default();
    rest.starts_with(name) && rest.get(name.len()) == Some(&0)
}

fn manifest_text(section: &[u8]) -> Result<&str, String> {
    let text = section
        .strip_prefix(MANIFEST_MAGIC)
        .ok_or_else(|| format!("the section `{MANIFEST_SECTION}` does not begin with `KODIAK-MANIFEST 1`"))?;
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let (text, padding) = text.split_at(end);
    if padding.iter().any(|byte| *byte != 0) {
        return Err(format!("the section `{MANIFEST_SECTION}` holds more than one manifest"));
    }
    str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())
}
