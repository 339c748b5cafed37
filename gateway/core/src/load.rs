//! How busy an instance is: the read-only picture that health and metrics are made of.

use crate::sip::SipCounts;
use gateway_protocol::message::{FailReason, ServiceState};
use std::time::Duration;

/// How busy the instance is, for health and metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// Places taken, from the 201 on.
    pub used: u32,
    /// Attached sessions.
    pub sessions: u32,
    /// Calls.
    pub calls: u32,
    /// Takes nothing new.
    pub draining: bool,
    /// How long calls may still last when draining.
    pub drain_deadline_ms: Option<u32>,
    /// What works.
    pub services: Vec<ServiceState>,
    /// Users whose SIP calls arrive here.
    pub registered: u32,
    /// What happened since the start.
    pub counts: Counts,
    /// What happened on the SIP side since the start.
    pub sip: SipCounts,
}

/// What happened since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// 201s, repeated ones not counted.
    pub sign_ins: u64,
    /// Attached sockets.
    pub attaches: u64,
    /// Sessions ended by a newer attach of the same tab.
    pub superseded: u64,
    /// Times that the process stood still.
    pub freezes: u64,
    /// Calls that came into being.
    pub calls_started: u64,
    /// Calls that ended.
    pub calls_ended: u64,
    /// Lost calls that were heard again here.
    pub resumed: u64,
    /// From sign-in to that, all of them together.
    pub resumed_gap: Duration,
    /// Targets outside the dial patterns: of calls, transfers, and of what far sides sent users to.
    pub not_allowed: u64,
    /// Targets beyond what a user may call in a minute, likewise.
    pub rate_limited: u64,
}

impl Counts {
    /// A target was refused.
    pub(crate) fn refused(&mut self, reason: FailReason) {
        match reason {
            FailReason::NotAllowed => self.not_allowed += 1,
            FailReason::RateLimited => self.rate_limited += 1,
            _ => {}
        }
    }
}
