//! The move ticket: with it an instance that drains, or has more than its share, sends an idle client to another one, without a
//! fresh JWT.
//!
//! Bound to user and client id, and short-lived. The old session lives on until the client signs it off.

use crate::seal::{Nonce, OpenError, SealRing};
use crate::secret::Secret;
use crate::user::User;
use gateway_protocol::{BootId, ClientId, InstanceId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A ticket is good this long; the old instance then issues another.
pub const LIFE: Duration = Duration::from_secs(30);
/// Name of the format in the health report.
pub const FORMAT: &str = "ticket/1";
const PURPOSE: &str = "move";

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Who may sign in.
    pub user: User,
    /// From which tab.
    pub client_id: ClientId,
    /// Which instance lets go of it.
    pub instance_id: InstanceId,
    /// In which run.
    pub boot_id: BootId,
    /// Unix time in seconds after which it is ignored.
    pub expires: u64,
    /// Of the registration.
    #[serde(default)]
    pub generation: u64,
    /// The user's password at the SIP server, where no file has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_password: Option<Secret>,
    /// Unix time in seconds at which its client was asked last to make place for the sake of balance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<u64>,
}

impl Ticket {
    /// The text that the client gets.
    #[must_use]
    pub fn seal(&self, ring: &SealRing, nonce: Nonce) -> String {
        ring.seal(PURPOSE, self, nonce)
    }

    /// The ticket in `text`, unless it is forged, foreign or older than `unix_now` allows.
    pub fn open(ring: &SealRing, text: &str, unix_now: u64) -> Result<Self, OpenError> {
        let ticket: Self = ring.open(PURPOSE, text)?;
        if ticket.expires < unix_now { Err(OpenError::Expired) } else { Ok(ticket) }
    }
}
