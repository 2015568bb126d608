//! What is in a checkpoint: one entry for each directory, file and link, with a checksum over each
//! file and one over the manifest itself.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Name of the file.
pub(super) const FILE: &str = "manifest.json";

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A directory.
    Directory,
    /// A file with its size in bytes and its checksum (blake3, hex; empty until it is known).
    File { bytes: u64, blake3: String },
    /// A symbolic link and what it says, encoded as paths are.
    Link { target: String },
}

/// One directory, file or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Which of the state paths.
    pub(super) root: usize,
    /// Path below it, encoded; empty = the state path itself.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Last change of the content: seconds and ns since 1970.
    pub(super) modified: (i64, i64),
}

/// A checkpoint's list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// `guard.checkpoint/1`.
    pub(super) schema: String,
    /// When it was made: RFC 3339.
    pub(super) time: String,
    /// How long the agent stood still, seconds.
    pub(super) frozen_seconds: f64,
    /// The state paths; those that were not there have no entry.
    pub(super) roots: Vec<PathBuf>,
    /// Directories before what is in them.
    pub(super) entries: Vec<Entry>,
    /// What was left out, and why, one line each.
    pub(super) skipped: Vec<String>,
}

impl Manifest {
    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.entries
            .iter()
            .map(|entry| if let Kind::File { bytes, .. } = entry.kind { bytes } else { 0 })
            .sum()
    }

    /// Its text: a line with the checksum of the rest, then JSON.
    pub(super) fn to_text(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_string(self)?;
        Ok(format!("{}\n{json}\n", blake3::hash(json.as_bytes()).to_hex()))
    }

    /// Reads it back.
    pub(super) fn from_text(text: &str) -> Result<Self, String> {
        let (sum, json) = text.split_once('\n').ok_or("its manifest is cut off")?;
        let json = json.strip_suffix('\n').ok_or("its manifest is cut off")?;
        if blake3::hash(json.as_bytes()).to_hex().as_str() != sum {
            return Err("the checksum of its manifest is wrong".into());
        }
        let manifest: Self =
            serde_json::from_str(json).map_err(|e| format!("its manifest: {e}"))?;
        for entry in &manifest.entries {
            let path = decode(&entry.path).ok_or("a path of its manifest cannot be read")?;
            let plain = path.components().all(|c| matches!(c, std::path::Component::Normal(_)));
            if !plain || entry.root >= manifest.roots.len() {
                return Err(format!("its manifest has an entry outside: {}", entry.path));
            }
        }
        Ok(manifest)
    }
}

/// A path as text, whatever bytes it has.
pub(super) fn encode(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        if byte.is_ascii_graphic() && *byte != b'%' {
            text.push(char::from(*byte));
        } else if write!(text, "%{byte:02X}").is_err() {
            // A String takes everything.
        }
    }
    text
}

/// Back.
pub(super) fn decode(text: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        if *first == b'%' {
            let hex = std::str::from_utf8(more.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &more[2..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}
