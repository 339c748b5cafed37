//! What `/health` says: who we are, how busy, and whether everything moves.

use crate::control::Control;
use crate::media::MediaPlane;
use crate::pulse::Pulse;
use gateway_core::{capsule, ticket};
use gateway_protocol::{BootId, Health, InstanceId, InstanceState};
use std::sync::Arc;
use std::time::Duration;

/// What did not move for so long does not count as alive.
const MAX_STILL: Duration = Duration::from_millis(500);

/// Everything that a report is made of.
pub struct Reporter {
    /// Which instance.
    pub instance_id: InstanceId,
    /// Which run.
    pub boot_id: BootId,
    /// `--capacity`.
    pub capacity: u32,
    /// `--call-capacity`.
    pub call_capacity: u32,
    /// `--setup-rate`.
    pub setup_rate: u32,
    /// What a cluster must share.
    pub config_hash: String,
    /// The cluster's keys.
    pub key_ids: Vec<String>,
    /// The sessions.
    pub control: Control,
    /// The media.
    pub media: MediaPlane,
    /// One per public listener.
    pub listeners: Vec<Arc<Pulse>>,
}

impl Reporter {
    /// The report of this moment.
    #[must_use]
    pub fn report(&self) -> Health {
        let load = self.control.load();
        Health {
            instance_id: self.instance_id.clone(),
            boot_id: self.boot_id.clone(),
            state: self.state(load.draining),
            capacity: self.capacity,
            used: load.used,
            call_capacity: self.call_capacity,
            calls: load.calls,
            sessions: load.sessions,
            registered: load.registered,
            setup_rate: self.setup_rate,
            config_hash: self.config_hash.clone(),
            key_ids: self.key_ids.clone(),
            reads: formats(),
            writes: formats(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            services: load.services.clone(),
            drain_deadline_ms: load.drain_deadline_ms,
        }
    }

    fn state(&self, draining: bool) -> InstanceState {
        if draining {
            InstanceState::Draining
        } else if self.everything_moves() {
            InstanceState::Ready
        } else {
            InstanceState::Starting
        }
    }

    fn everything_moves(&self) -> bool {
        self.control.moved_within(MAX_STILL)
            && self.media.moved_within(MAX_STILL)
            && self.listeners.iter().all(|listener| listener.moved_within(MAX_STILL))
    }
}

fn formats() -> Vec<String> {
    vec![capsule::FORMAT.to_owned(), ticket::FORMAT.to_owned()]
}
