//! The session token: a client keeps it, the instance keeps only its hash.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// SHA-256 of a session token. A token has 256 random bits, so that a plain hash can't be searched.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of `token`.
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// True if it is the hash of `token`; takes the same time for every wrong one.
    #[must_use]
    pub fn proves(&self, token: &str) -> bool {
        self.0.ct_eq(&Self::of(token).0).into()
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        URL_SAFE_NO_PAD.encode(hash.0)
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| "a token hash is base64url")?;
        Ok(Self(bytes.try_into().map_err(|_| "a token hash has 32 bytes")?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_proves_its_token_alone() {
        let hash = TokenHash::try_from(String::from(TokenHash::of("secret"))).expect("a hash");
        assert!(hash.proves("secret"));
        assert!(!hash.proves("Secret") && !hash.proves(""));
    }
}
