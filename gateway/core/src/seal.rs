//! Sealed text: what an instance gives to a client to keep, and any instance of the cluster can open again.
//!
//! `base64url(version ‖ key id ‖ nonce ‖ XChaCha20-Poly1305(plain))`; the purpose and the header are authenticated, so that
//! a text made for one purpose means nothing for another.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt;

/// The one version that is read and written.
const VERSION: u8 = 1;
const KEY_ID: std::ops::Range<usize> = 1..5;
const NONCE: std::ops::Range<usize> = 5..HEADER_BYTES;
const HEADER_BYTES: usize = 29;
/// Longest sealed text that is looked at.
pub const MAX_SEALED_BYTES: usize = 48 * 1024;

/// A 24 byte nonce; random ones don't collide in practice.
pub type Nonce = [u8; 24];

/// One key of the cluster, derived for sealing.
#[derive(Clone)]
pub struct SealKey {
    /// Stands in every text sealed with it.
    pub id: [u8; 4],
    /// Secret.
    pub key: [u8; 32],
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Why a text can't be opened. A caller ignores the text in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not of the form above.
    #[error("not a sealed text")]
    Malformed,
    /// Made by a release that this one does not know.
    #[error("version {0}, this release reads {VERSION}")]
    Version(u8),
    /// Sealed with a key that this cluster does not have.
    #[error("sealed with an unknown key")]
    UnknownKey,
    /// Changed on the way, or made for another purpose.
    #[error("tampered with, or made for another purpose")]
    Forged,
    /// Authentic, but too old.
    #[error("expired")]
    Expired,
}

/// The keys of the cluster: the first seals, all open.
#[derive(Debug, Clone)]
pub struct SealRing {
    keys: Vec<SealKey>,
}

impl SealRing {
    /// A ring of `keys`; `None` if there is none.
    #[must_use]
    pub fn new(keys: Vec<SealKey>) -> Option<Self> {
        if keys.is_empty() { None } else { Some(Self { keys }) }
    }

    /// `record` sealed for `purpose`.
    #[must_use]
    pub fn seal(&self, purpose: &str, record: &impl Serialize, nonce: Nonce) -> String {
        let key = &self.keys[0];
        let mut text = vec![VERSION];
        text.extend(key.id);
        text.extend(nonce);
        let plain = serde_json::to_vec(record).expect("a record of ours is always JSON");
        let bound = bound_to(purpose, &text);
        let sealed = cipher(key)
            .encrypt(&nonce.into(), Payload { msg: &plain, aad: &bound })
            .expect("a record is far below the cipher's 256 GiB");
        text.extend(sealed);
        URL_SAFE_NO_PAD.encode(text)
    }

    /// The record in `text`, if this cluster sealed it for `purpose`.
    pub fn open<R: DeserializeOwned>(&self, purpose: &str, text: &str) -> Result<R, OpenError> {
        if text.len() > MAX_SEALED_BYTES {
            return Err(OpenError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| OpenError::Malformed)?;
        let (header, sealed) = bytes.split_at_checked(HEADER_BYTES).ok_or(OpenError::Malformed)?;
        if header[0] != VERSION {
            return Err(OpenError::Version(header[0]));
        }
        let key = self.keys.iter().find(|key| key.id == header[KEY_ID]).ok_or(OpenError::UnknownKey)?;
        let bound = bound_to(purpose, header);
        let plain = cipher(key)
            .decrypt(header[NONCE].into(), Payload { msg: sealed, aad: &bound })
            .map_err(|_| OpenError::Forged)?;
        serde_json::from_slice(&plain).map_err(|_| OpenError::Malformed)
    }
}

fn cipher(key: &SealKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&key.key.into())
}

fn bound_to(purpose: &str, header: &[u8]) -> Vec<u8> {
    [b"holdfast ", purpose.as_bytes(), b"\0", header].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring(ids: &[u8]) -> SealRing {
        let keys = ids.iter().map(|id| SealKey { id: [*id; 4], key: [*id; 32] }).collect();
        SealRing::new(keys).expect("at least one key")
    }

    #[test]
    fn any_instance_with_the_key_opens_it_and_for_its_purpose_alone() {
        let text = ring(&[1]).seal("capsule", &"hello", [9; 24]);
        assert_eq!(ring(&[2, 1]).open("capsule", &text), Ok("hello".to_owned()));
        assert_eq!(ring(&[2, 1]).open::<String>("move", &text), Err(OpenError::Forged));
        assert_eq!(ring(&[2]).open::<String>("capsule", &text), Err(OpenError::UnknownKey));
    }

    #[test]
    fn an_unknown_version_is_named() {
        let mut bytes = URL_SAFE_NO_PAD.decode(ring(&[1]).seal("capsule", &1, [0; 24])).expect("base64");
        bytes[0] = 7;
        assert_eq!(ring(&[1]).open::<u8>("capsule", &URL_SAFE_NO_PAD.encode(bytes)), Err(OpenError::Version(7)));
    }

    proptest! {
        #[test]
        fn no_changed_byte_goes_unnoticed(at in 0_usize..60, bit in 0_u8..8) {
            let mut bytes = URL_SAFE_NO_PAD.decode(ring(&[1]).seal("capsule", &"some text", [3; 24])).expect("base64");
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(ring(&[1]).open::<String>("capsule", &URL_SAFE_NO_PAD.encode(bytes)).is_err());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            prop_assert!(ring(&[1]).open::<String>("capsule", &text).is_err());
        }
    }
}
