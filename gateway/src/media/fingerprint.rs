//! Certificate fingerprints as SDP names them (RFC 8122 §5).

use sha2::{Digest, Sha256, Sha384, Sha512};
use std::fmt;

/// The hash functions accepted; SHA-1 and MD5 are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// A certificate's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint {
    hash: Hash,
    digest: Vec<u8>,
}

impl Fingerprint {
    /// The SHA-256 fingerprint of a DER certificate.
    pub(super) fn sha256(certificate: &[u8]) -> Self {
        Self { hash: Hash::Sha256, digest: Hash::Sha256.digest(certificate) }
    }

    /// Reads the value of `a=fingerprint:`; `None` for another hash function or length.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let (name, digest) = value.trim().split_once(' ')?;
        let hash = match name.to_ascii_lowercase().as_str() {
            "sha-256" => Hash::Sha256,
            "sha-384" => Hash::Sha384,
            "sha-512" => Hash::Sha512,
            _ => return None,
        };
        let digest: Vec<u8> =
            digest.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect::<Option<_>>()?;
        (digest.len() == hash.digest(b"").len()).then_some(Self { hash, digest })
    }

    /// Whether it is this certificate's.
    pub(super) fn matches(&self, certificate: &[u8]) -> bool {
        self.hash.digest(certificate) == self.digest
    }
}

impl Hash {
    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha384 => Sha384::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.hash {
            Hash::Sha256 => "sha-256",
            Hash::Sha384 => "sha-384",
            Hash::Sha512 => "sha-512",
        };
        write!(f, "{name} ")?;
        self.digest
            .iter()
            .enumerate()
            .try_for_each(|(index, byte)| write!(f, "{}{byte:02X}", if index == 0 { "" } else { ":" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_matches_only_its_certificate() {
        let fingerprint = Fingerprint::sha256(b"certificate");
        let read = Fingerprint::parse(&fingerprint.to_string()).expect("own format");
        assert_eq!(read, fingerprint);
        assert!(read.matches(b"certificate"));
        assert!(!read.matches(b"another"));
    }

    #[test]
    fn weak_cut_and_malformed_values_are_refused() {
        for value in ["sha-1 AA:BB", "sha-256 AA:BB", "sha-256", "sha-256 zz", ""] {
            assert_eq!(Fingerprint::parse(value), None, "{value}");
        }
    }
}
