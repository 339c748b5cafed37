//! The settings that all instances of a cluster must share, as one short hash in the health report.

use crate::entry::Auth;
use sha2::{Digest, Sha256};

/// What must agree. The cluster keys are reported apart, by their ids, because they rotate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedSettings<'a> {
    /// How users prove who they are.
    pub auth: Auth,
    /// The JWT key file's bytes; empty without one.
    pub jwt_keys: &'a [u8],
    /// SRTP profiles in order of preference.
    pub srtp_profiles: &'a [&'a str],
    /// Codecs in order of preference.
    pub codecs: &'a [&'a str],
    /// The SIP domain, if any.
    pub sip_domain: Option<&'a str>,
}

impl SharedSettings<'_> {
    /// 16 hexadecimal digits, equal if and (in practice) only if the settings are.
    #[must_use]
    pub fn hash(&self) -> String {
        let auth = match self.auth {
            Auth::Jwt => "jwt",
            Auth::Anonymous => "anonymous",
        };
        let mut hasher = Sha256::new();
        let (profiles, codecs) = (self.srtp_profiles.join(","), self.codecs.join(","));
        let domain = self.sip_domain.unwrap_or_default();
        for part in [auth.as_bytes(), self.jwt_keys, profiles.as_bytes(), codecs.as_bytes(), domain.as_bytes()] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        hasher.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_counts_and_none_runs_into_the_next() {
        let base = SharedSettings {
            auth: Auth::Jwt,
            jwt_keys: b"k",
            srtp_profiles: &["gcm"],
            codecs: &["opus"],
            sip_domain: None,
        };
        let others = [
            SharedSettings { auth: Auth::Anonymous, ..base.clone() },
            SharedSettings { jwt_keys: b"kg", srtp_profiles: &["cm"], ..base.clone() },
            SharedSettings { codecs: &["opus", "pcmu"], ..base.clone() },
            SharedSettings { sip_domain: Some("example.org"), ..base.clone() },
        ];
        assert!(others.iter().all(|other| other.hash() != base.hash()));
        assert_eq!(base.hash(), base.clone().hash());
        assert_eq!(base.hash().len(), 16);
    }
}
