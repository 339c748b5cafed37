//! `GET /health` of an instance's admin listener: what a balancer knows of it.

use crate::id::{BootId, InstanceId};
use crate::message::ServiceState;
use serde::{Deserialize, Serialize};

/// What an instance says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// Initialised, not yet asked to serve.
    Standby,
    /// Not yet able to serve, or a listener or media worker did not move in the last 500 ms.
    Starting,
    /// Serves and takes new sessions.
    Ready,
    /// Serves what it has and takes nothing new.
    Draining,
    /// A state of a newer release; treated as `starting`.
    #[serde(other)]
    Unknown,
}

/// The health report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Which instance.
    pub instance_id: InstanceId,
    /// Which run of it.
    pub boot_id: BootId,
    /// Whether it takes new sessions.
    pub state: InstanceState,
    /// Sessions it can hold.
    pub capacity: u32,
    /// Places taken, from the 201 on.
    pub used: u32,
    /// Calls it can hold.
    pub call_capacity: u32,
    /// Calls it holds.
    pub calls: u32,
    /// Attached sessions.
    pub sessions: u32,
    /// SIP registrations; 0 without SIP.
    pub registered: u32,
    /// Sessions it can set up in a second.
    pub setup_rate: u32,
    /// Hash over the settings that must agree in a cluster (auth, SRTP profiles, codecs, SIP domain).
    pub config_hash: String,
    /// Ids of the cluster keys it knows, the signing one first.
    pub key_ids: Vec<String>,
    /// Formats it reads, such as `capsule/1`.
    pub reads: Vec<String>,
    /// Formats it writes.
    pub writes: Vec<String>,
    /// Release.
    pub version: String,
    /// Each service's state.
    #[serde(default)]
    pub services: Vec<ServiceState>,
    /// Until when a drain may last at the most, from now; absent when not draining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_deadline_ms: Option<u32>,
}
