//! The capsule: the sealed record of a session that the client keeps, for a later sign-in on any instance.
//!
//! It never acts by itself. One that can't be opened, is too old, or is another user's is ignored.

use crate::seal::{Nonce, OpenError, SealRing};
use crate::secret::Secret;
use crate::session::SealedCall;
use crate::token::TokenHash;
use crate::user::User;
use gateway_protocol::{BootId, ClientId, InstanceId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A capsule is good this long after it was issued.
pub const LIFE: Duration = Duration::from_secs(15 * 60);
/// An attached session gets a fresh one this often.
pub const HALF_LIFE: Duration = Duration::from_secs(15 * 60 / 2);
/// Name of the format in the health report.
pub const FORMAT: &str = "capsule/1";
const PURPOSE: &str = "capsule";

/// What a capsule says. Unknown fields of a newer release are ignored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Capsule {
    /// Whose session it was.
    pub user: User,
    /// Of which tab.
    pub client_id: ClientId,
    /// On which instance.
    pub instance_id: InstanceId,
    /// In which run of it.
    pub boot_id: BootId,
    /// Who knows the token was that session's client.
    pub token: TokenHash,
    /// Counts the capsules of a session.
    pub revision: u32,
    /// Unix time in seconds after which it is ignored.
    pub expires: u64,
    /// Of its registration: Unix time in milliseconds, more or less.
    #[serde(default)]
    pub generation: u64,
    /// The user's password at the SIP server, where no file has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_password: Option<Secret>,
    /// Its calls that have a SIP side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<SealedCall>,
}

impl Capsule {
    /// The text that the client keeps.
    #[must_use]
    pub fn seal(&self, ring: &SealRing, nonce: Nonce) -> String {
        ring.seal(PURPOSE, self, nonce)
    }

    /// The capsule in `text`, unless it is forged, foreign or older than `unix_now` allows.
    pub fn open(ring: &SealRing, text: &str, unix_now: u64) -> Result<Self, OpenError> {
        let capsule: Self = ring.open(PURPOSE, text)?;
        if capsule.expires < unix_now { Err(OpenError::Expired) } else { Ok(capsule) }
    }
}
