//! Counters of the media plane: one block per worker, written by it alone, summed by whoever asks.

use super::MediaStats;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drop {
    /// Neither STUN, DTLS, RTP nor RTCP, or too short to tell.
    Unknown,
    /// Not a well-formed STUN binding request.
    StunMalformed,
    /// A STUN user name that no peer has.
    StunUser,
    /// STUN whose MESSAGE-INTEGRITY or FINGERPRINT does not hold.
    StunIntegrity,
    /// A STUN transaction that was seen from another address.
    StunReplayed,
    /// DTLS, RTP or RTCP from an address that STUN has not checked.
    Unchecked,
    /// DTLS that broke the rules, or more of it than a handshake needs.
    Dtls,
    /// RTP or RTCP before the handshake ended.
    Early,
    /// SRTP or SRTCP that failed authentication, was replayed or is malformed.
    Srtp,
    /// RTP of a payload type that was not negotiated, or of a second source.
    Payload,
    /// A queue between workers, or the handshake queue, was full.
    Queue,
    /// The worker's outgoing buffer did not take it.
    Send,
    /// On a far port before the far side's description, or for a peer without such a leg.
    FarEarly,
    /// On a far port from another address than the one that is locked.
    FarAddress,
    /// From the locked address with another source (SSRC).
    FarSource,
    /// SRTP of the far side that failed authentication.
    FarSrtp,
    /// Of a payload type that was not agreed with the far side, or malformed.
    FarPayload,
    /// A repeated or much too late packet of the far side.
    FarLate,
    /// Video of the browser in another codec than the far side's.
    FarCodec,
}

impl Drop {
    const ALL: [(Drop, &'static str); 19] = [
        (Drop::Unknown, "unknown"),
        (Drop::StunMalformed, "stun_malformed"),
        (Drop::StunUser, "stun_user"),
        (Drop::StunIntegrity, "stun_integrity"),
        (Drop::StunReplayed, "stun_replayed"),
        (Drop::Unchecked, "unchecked"),
        (Drop::Dtls, "dtls"),
        (Drop::Early, "early"),
        (Drop::Srtp, "srtp"),
        (Drop::Payload, "payload"),
        (Drop::Queue, "queue"),
        (Drop::Send, "send"),
        (Drop::FarEarly, "far_early"),
        (Drop::FarAddress, "far_address"),
        (Drop::FarSource, "far_source"),
        (Drop::FarSrtp, "far_srtp"),
        (Drop::FarPayload, "far_payload"),
        (Drop::FarLate, "far_late"),
        (Drop::FarCodec, "far_codec"),
    ];
}

/// The counters of one worker.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) packets_in: AtomicU64,
    pub(super) packets_out: AtomicU64,
    pub(super) handshakes: AtomicU64,
    pub(super) connected: AtomicU64,
    pub(super) events_lost: AtomicU64,
    pub(super) panics: AtomicU64,
    dropped: [AtomicU64; Drop::ALL.len()],
}

impl Counters {
    pub(super) fn dropped(&self, reason: Drop) {
        bump(&self.dropped[reason as usize], 1);
    }

    /// Adds these counters to a sum; `peers` is not theirs to know.
    pub(super) fn add_to(&self, sum: &mut MediaStats) {
        sum.packets_in += self.packets_in.load(Relaxed);
        sum.packets_out += self.packets_out.load(Relaxed);
        sum.handshakes += self.handshakes.load(Relaxed);
        sum.connected += self.connected.load(Relaxed);
        sum.events_lost += self.events_lost.load(Relaxed);
        sum.panics += self.panics.load(Relaxed);
        sum.dropped.resize(Drop::ALL.len(), ("", 0));
        for (slot, (reason, label)) in sum.dropped.iter_mut().zip(Drop::ALL) {
            *slot = (label, slot.1 + self.dropped[reason as usize].load(Relaxed));
        }
    }
}

/// Adds to a counter that only this thread writes; cheaper than an atomic addition.
pub(super) fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}
