//! SRTP keys carried in a description (SDES, RFC 4568).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How packets are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SrtpSuite {
    /// `AES_CM_128_HMAC_SHA1_80` (RFC 4568 §6.2.1).
    #[serde(rename = "cm")]
    AesCm128HmacSha1_80,
    /// `AEAD_AES_128_GCM` (RFC 7714 §14.2).
    #[serde(rename = "gcm")]
    AeadAes128Gcm,
}

impl SrtpSuite {
    /// In the order in which this side offers them.
    pub(super) const ALL: [Self; 2] = [Self::AeadAes128Gcm, Self::AesCm128HmacSha1_80];

    fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
        }
    }

    /// Bytes of the master salt; the master key has 16.
    fn salt_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 => 14,
            Self::AeadAes128Gcm => 12,
        }
    }
}

/// A master key of 16 bytes and its salt. A suite with a shorter salt leaves the last bytes unused.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SrtpSecret(pub [u8; 30]);

impl SrtpSecret {
    /// The master key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0[..16]
    }

    /// The master salt.
    #[must_use]
    pub fn salt(&self, suite: SrtpSuite) -> &[u8] {
        &self.0[16..16 + suite.salt_len()]
    }
}

/// Never shows the key.
impl fmt::Debug for SrtpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SrtpSecret")
    }
}

/// The keys of both directions of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SrtpKeys {
    /// How.
    pub suite: SrtpSuite,
    /// For what this side sends.
    pub local: SrtpSecret,
    /// For what the far side sends.
    pub remote: SrtpSecret,
}

/// A crypto attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Crypto {
    pub(super) tag: u32,
    pub(super) suite: SrtpSuite,
    pub(super) secret: SrtpSecret,
}

impl Crypto {
    /// Reads `1 AES_CM_128_HMAC_SHA1_80 inline:<base64>|2^31`; `None` for a suite, a key identifier (MKI) or a session
    /// parameter that is not spoken here.
    pub(super) fn read(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().filter(|tag| tag.len() <= 9)?.parse().ok()?;
        let name = words.next()?;
        let suite = SrtpSuite::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))?;
        let inline = words.next()?.strip_prefix("inline:")?;
        // A hint for the window size changes nothing; any other parameter changes the packets (RFC 4568 §6.3).
        if !words.all(|parameter| parameter.starts_with("WSH=") || parameter.starts_with('-')) {
            return None;
        }
        let mut parts = inline.split('|');
        // Some leave the padding out (RFC 4568 §6.1 can be read so): rtpengine does.
        let key = STANDARD_NO_PAD.decode(parts.next()?.trim_end_matches('=')).ok();
        let key = key.filter(|key| key.len() == 16 + suite.salt_len())?;
        if parts.any(|part| part.contains(':')) {
            return None;
        }
        let mut secret = SrtpSecret([0; 30]);
        secret.0[..key.len()].copy_from_slice(&key);
        Some(Self { tag, suite, secret })
    }

    pub(super) fn write(&self) -> String {
        let key = STANDARD.encode(&self.secret.0[..16 + self.suite.salt_len()]);
        format!("{} {} inline:{key}", self.tag, self.suite.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn a_line_is_read_and_written() {
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20");
        let crypto = Crypto::read(&line).expect("a key");
        assert_eq!((crypto.tag, crypto.suite), (1, SrtpSuite::AesCm128HmacSha1_80));
        assert_eq!(crypto.write(), format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"));
        let gcm = Crypto { tag: 7, suite: SrtpSuite::AeadAes128Gcm, secret: crypto.secret };
        let read = Crypto::read(&gcm.write()).expect("a key");
        assert_eq!(read.secret.salt(read.suite), &crypto.secret.0[16..28]);
        assert_eq!(Crypto::read(gcm.write().trim_end_matches('=')), Some(read), "as rtpengine writes it");
        assert_eq!(format!("{read:?}").matches("SrtpSecret").count(), 1);
    }

    #[test]
    fn what_would_change_the_packets_is_not_taken() {
        for line in [
            String::new(),
            "1".to_owned(),
            format!("1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"),
            "1 AES_CM_128_HMAC_SHA1_80 inline:short".to_owned(),
            format!("99999999999 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 AEAD_AES_128_GCM inline:{KEY}"),
        ] {
            assert_eq!(Crypto::read(&line), None, "{line}");
        }
        assert!(Crypto::read(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20 WSH=64")).is_some());
    }
}
