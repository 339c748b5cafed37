//! The cluster key file: what lets any balancer read any pin and any instance open any capsule.
//!
//! One base64 line of 32 bytes or more each; blank lines and lines that start with `#` are skipped. The first key signs,
//! all verify. Rotate: append everywhere, then move first, then remove.

use base64::{Engine, engine::general_purpose::STANDARD};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use std::{fmt, path::Path};

/// Fewest bytes of a key.
pub const MIN_KEY_BYTES: usize = 32;
/// Most keys in a file: a rotation needs two.
pub const MAX_KEYS: usize = 16;

/// Names a key without telling it; stands in every value made with it.
pub type KeyId = [u8; 4];

/// A key for one use, derived by HKDF-SHA256 (RFC 5869) with the use as its label.
#[derive(Clone)]
pub struct DerivedKey {
    /// Of the line that it is derived from.
    pub id: KeyId,
    /// 32 secret bytes.
    pub key: [u8; 32],
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DerivedKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a key file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It can't be read.
    #[error("can't be read")]
    Read(#[from] std::io::Error),
    /// A line is not base64.
    #[error("line {0}: not base64")]
    NotBase64(usize),
    /// A key is too short.
    #[error("line {line}: {got} bytes, a key has at least {MIN_KEY_BYTES}")]
    TooShort {
        /// Counted from 1.
        line: usize,
        /// Bytes found.
        got: usize,
    },
    /// No or too many keys.
    #[error("{0} keys, 1 to {MAX_KEYS} are allowed")]
    Count(usize),
}

/// The keys of a cluster.
pub struct ClusterKeys {
    keys: Vec<Vec<u8>>,
    random: bool,
}

impl ClusterKeys {
    /// From a key file.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        Self::parse(&std::fs::read_to_string(path)?)
    }

    /// From the text of a key file.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = STANDARD.decode(line).map_err(|_| KeyFileError::NotBase64(line_number))?;
            if key.len() < MIN_KEY_BYTES {
                return Err(KeyFileError::TooShort { line: line_number, got: key.len() });
            }
            keys.push(key);
        }
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(KeyFileError::Count(keys.len()));
        }
        Ok(Self { keys, random: false })
    }

    /// One random key, known to this process alone: pins and capsules made with it mean nothing elsewhere.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut key = vec![0; MIN_KEY_BYTES];
        getrandom::fill(&mut key)?;
        Ok(Self { keys: vec![key], random: true })
    }

    /// True if no file was given.
    #[must_use]
    pub fn is_random(&self) -> bool {
        self.random
    }

    /// The ids in hexadecimal, the signing one first: `key_ids` of the health report.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.keys.iter().map(|key| key_id(key).iter().map(|byte| format!("{byte:02x}")).collect()).collect()
    }

    /// The keys for one use (`label`: `cookie`, `capsule`), the signing one first.
    #[must_use]
    pub fn derive(&self, label: &str) -> Vec<DerivedKey> {
        self.keys.iter().map(|secret| DerivedKey { id: key_id(secret), key: expand(secret, label) }).collect()
    }
}

fn key_id(secret: &[u8]) -> KeyId {
    let digest = Sha256::digest([b"holdfast key id".as_slice(), secret].concat());
    [digest[0], digest[1], digest[2], digest[3]]
}

fn expand(secret: &[u8], label: &str) -> [u8; 32] {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(Some(b"holdfast"), secret)
        .expand(label.as_bytes(), &mut key)
        .expect("32 bytes are within HKDF-SHA256's 8160");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const B: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    #[test]
    fn uses_and_keys_are_kept_apart() {
        let keys = ClusterKeys::parse(&format!("# rotated in spring\n{A}\n\n{B}\n")).expect("valid");
        let (cookie, capsule) = (keys.derive("cookie"), keys.derive("capsule"));
        assert_eq!(cookie.len(), 2);
        assert_eq!(cookie[0].id, capsule[0].id);
        assert_ne!(cookie[0].key, capsule[0].key);
        assert_ne!(cookie[0].key, cookie[1].key);
        let swapped = ClusterKeys::parse(&format!("{B}\n{A}")).expect("valid");
        assert_eq!(swapped.derive("cookie")[1].key, cookie[0].key);
        assert_eq!(swapped.ids()[0], keys.ids()[1]);
    }

    #[test]
    fn a_wrong_file_names_its_line() {
        assert!(matches!(ClusterKeys::parse(""), Err(KeyFileError::Count(0))));
        assert!(matches!(ClusterKeys::parse("\n%%%"), Err(KeyFileError::NotBase64(2))));
        assert!(matches!(ClusterKeys::parse("AAAA"), Err(KeyFileError::TooShort { line: 1, got: 3 })));
    }
}
