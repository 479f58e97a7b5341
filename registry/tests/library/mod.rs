//! Shared libraries for tests: one crafted byte by byte, one made by the compiler. Neither is ever loaded.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use kodiak_registry::verify::MANIFEST_MAGIC;

/// The manifest inside both.
pub const MANIFEST: &str = "[extension]\nname = \"geo\"\nversion = \"0.3.1\"\napi = \"1.0\"\nsummary = \"Geometry\"\n[contributes]\nfunctions = [\"st_area\"]\n";

/// The parts of a crafted library; the default is a good plugin for this machine.
pub struct Library {
    pub manifest: Option<Vec<u8>>,
    pub symbol: Option<&'static str>,
    pub symbol_defined: bool,
}

impl Default for Library {
    fn default() -> Self {
        let manifest = [MANIFEST_MAGIC, MANIFEST.as_bytes()].concat();
        Self { manifest: Some(manifest), symbol: Some("KODIAK_PLUGIN_V1"), symbol_defined: true }
    }
}

impl Library {
    /// The smallest ELF64 shared object with these parts: header, one segment, contents, section headers at the end.
    pub fn bytes(&self) -> Vec<u8> {
        const DYNSYM: u32 = 11;
        const STRTAB: u32 = 3;
        const PROGBITS: u32 = 1;

        let symbol_name = self.symbol.map(|name| [b"\0", name.as_bytes(), b"\0"].concat());
        let dynstr = symbol_name.unwrap_or_else(|| vec![0]);
        let mut dynsym = vec![0; 24];
        if self.symbol.is_some() {
            dynsym.extend(1u32.to_le_bytes());
            dynsym.push(1 << 4 | 1); // global object
            dynsym.push(0);
            dynsym.extend(u16::from(self.symbol_defined).to_le_bytes());
            dynsym.extend(0x1000u64.to_le_bytes());
            dynsym.extend(8u64.to_le_bytes());
        }
        let mut sections = vec![(".dynstr", STRTAB, dynstr, 0), (".dynsym", DYNSYM, dynsym, 1)];
        if let Some(manifest) = &self.manifest {
            sections.push((".kodiak.manifest", PROGBITS, manifest.clone(), 0));
        }
        let mut names = vec![0];
        let mut offsets: Vec<u32> = Vec::new();
        for name in sections.iter().map(|section| section.0).chain([".shstrtab"]) {
            offsets.push(names.len() as u32);
            names.extend(name.as_bytes());
            names.push(0);
        }
        sections.push((".shstrtab", STRTAB, names, 0));

        let mut body = vec![0; 64 + 56];
        let mut headers = vec![0; 64];
        for ((_, kind, content, link), name) in sections.iter().zip(&offsets) {
            body.resize(body.len().next_multiple_of(8), 0);
            headers.extend(name.to_le_bytes());
            headers.extend(kind.to_le_bytes());
            headers.extend(0u64.to_le_bytes()); // flags
            headers.extend(0u64.to_le_bytes()); // address
            headers.extend((body.len() as u64).to_le_bytes());
            headers.extend((content.len() as u64).to_le_bytes());
            headers.extend((*link as u32).to_le_bytes());
            headers.extend(1u32.to_le_bytes()); // info
            headers.extend(8u64.to_le_bytes()); // alignment
            headers.extend(if *kind == DYNSYM { 24u64 } else { 0 }.to_le_bytes());
            body.extend(content);
        }
        body.resize(body.len().next_multiple_of(8), 0);

        let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
        let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        header.extend(3u16.to_le_bytes()); // shared object
        header.extend(machine.to_le_bytes());
        header.extend(1u32.to_le_bytes());
        header.extend(0u64.to_le_bytes()); // entry
        header.extend(64u64.to_le_bytes()); // program headers
        header.extend((body.len() as u64).to_le_bytes()); // section headers
        header.extend(0u32.to_le_bytes());
        for number in [64u16, 56, 1, 64, sections.len() as u16 + 1, sections.len() as u16] {
            header.extend(number.to_le_bytes());
        }
        header.extend(1u32.to_le_bytes()); // load
        header.extend(4u32.to_le_bytes()); // readable
        for number in [0u64, 0, 0, body.len() as u64, body.len() as u64, 0x1000] {
            header.extend(number.to_le_bytes());
        }
        body[..header.len()].copy_from_slice(&header);
        body.extend(headers);
        body
    }
}

/// A library made by rustc and its linker, once for each test program.
pub fn built_by_rustc() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("library-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let payload = [MANIFEST_MAGIC, MANIFEST.as_bytes()].concat();
            let source = format!(
                "#[used] #[unsafe(link_section = \".kodiak.manifest\")] static MANIFEST: [u8; {}] = *b\"{}\";\n\
                 #[unsafe(no_mangle)] pub static KODIAK_PLUGIN_V1: u64 = 1;\n",
                payload.len(),
                payload.escape_ascii(),
            );
            std::fs::write(folder.join("geo.rs"), source).unwrap();
            let path = folder.join("libgeo.so");
            let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
            let output = Command::new(rustc)
                .args(["--edition", "2024", "--crate-type", "cdylib", "-C", "strip=symbols", "-C", "panic=abort", "-o"])
                .arg(&path)
                .arg(folder.join("geo.rs"))
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            path
        })
        .clone()
}
