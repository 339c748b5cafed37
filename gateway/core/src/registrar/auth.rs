//! Digest, from the registrar's side. Its nonces carry their own time and proof, so that none has to be kept.

use crate::random::Random;
use crate::sip::{Algorithm, Authorization, Challenge, Credentials, SipRequest};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Older nonces are answered with a new one (`stale`).
const NONCE_LIFE: Duration = Duration::from_secs(300);

/// What a request proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// It has no credentials for our realm.
    Nothing,
    /// It is of this user.
    Proved(String),
    /// Right, with a nonce that is too old or of another process.
    Stale,
    Wrong,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Auth {
    realm: String,
    credentials: BTreeMap<String, Credentials>,
    algorithm: Algorithm,
    secret: [u8; 32],
    start: Instant,
}

impl Auth {
    pub(super) fn new(
        realm: &str,
        credentials: BTreeMap<String, String>,
        algorithm: Algorithm,
        start: Instant,
        random: &mut impl Random,
    ) -> Self {
        let with_name = |(user, password): (String, String)| (user.clone(), Credentials { user, password });
        Self {
            realm: realm.to_owned(),
            credentials: credentials.into_iter().map(with_name).collect(),
            algorithm,
            secret: random.bytes(),
            start,
        }
    }

    pub(super) fn check(&self, request: &SipRequest, field: &str, now: Instant) -> Asked {
        let ours = request.headers.all(field).filter_map(Authorization::parse).find(|given| given.realm == self.realm);
        let Some(given) = ours else { return Asked::Nothing };
        let proved =
            self.credentials.get(&given.user).is_some_and(|known| given.proves(known, request.method.as_str()));
        match (proved, self.is_fresh(&given.nonce, now)) {
            (true, true) => Asked::Proved(given.user),
            (true, false) => Asked::Stale,
            (false, _) => Asked::Wrong,
        }
    }

    /// One alone: of several, phones of before RFC 8760 answer none.
    pub(super) fn challenge(&self, stale: bool, now: Instant) -> String {
        let nonce = self.nonce(now.saturating_duration_since(self.start).as_millis());
        let (realm, algorithm) = (self.realm.clone(), self.algorithm);
        Challenge { realm, nonce, algorithm, opaque: None, qop_auth: true, stale }.header()
    }

    fn nonce(&self, millis: u128) -> String {
        let proof = Sha256::new().chain_update(self.secret).chain_update(millis.to_be_bytes()).finalize();
        proof[..12].iter().fold(format!("{millis:x}-"), |text, byte| text + &format!("{byte:02x}"))
    }

    fn is_fresh(&self, nonce: &str, now: Instant) -> bool {
        let millis = nonce.split_once('-').and_then(|(millis, _)| u64::from_str_radix(millis, 16).ok());
        millis.is_some_and(|millis| {
            let age = now.saturating_duration_since(self.start).saturating_sub(Duration::from_millis(millis));
            self.nonce(millis.into()) == nonce && age <= NONCE_LIFE
        })
    }
}
