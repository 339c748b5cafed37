//! Between the words of the media plane and those of the machine, which do not know each other.

use crate::media::{Failure, FarError, FarLeg, MediaEventKind, OfferError};
use gateway_core::{MediaChange, MediaFailure, OfferRefused};
use gateway_protocol::message::FailReason;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) fn peer(peer: gateway_core::PeerId) -> crate::media::PeerId {
    crate::media::PeerId(peer.0)
}

/// A panic over one offer costs that call alone.
pub(super) fn answer(answer: impl FnOnce() -> Result<String, OfferError>) -> Result<String, OfferRefused> {
    match catch_unwind(AssertUnwindSafe(answer)) {
        Ok(answer) => answer.map_err(|error| OfferRefused { reason: reason(&error), detail: error.to_string() }),
        Err(_) => Err(OfferRefused { reason: FailReason::Internal, detail: "the offer broke something".to_owned() }),
    }
}

fn reason(error: &OfferError) -> FailReason {
    match error {
        OfferError::TooLong(_) => FailReason::TooLarge,
        OfferError::Malformed(_) | OfferError::NoAudio | OfferError::OtherConnection => FailReason::BadSdp,
        OfferError::Full => FailReason::CallCapacity,
        OfferError::Stopped => FailReason::ServiceUnavailable,
        OfferError::Peer(..) => FailReason::Internal,
    }
}

pub(super) fn far_leg(far: gateway_core::FarLeg) -> FarLeg {
    match far {
        gateway_core::FarLeg::Echo => FarLeg::Echo,
        gateway_core::FarLeg::Tone => FarLeg::Tone,
        gateway_core::FarLeg::Rtp { video } => FarLeg::Rtp { video },
    }
}

pub(super) fn far_refused(error: &FarError) -> OfferRefused {
    OfferRefused { reason: FailReason::CallCapacity, detail: error.to_string() }
}

/// `None` for what concerns no call.
pub(super) fn change(kind: MediaEventKind) -> Option<MediaChange> {
    Some(match kind {
        MediaEventKind::Connected => MediaChange::Connected,
        MediaEventKind::Suspended => MediaChange::Suspended,
        MediaEventKind::Resumed => MediaChange::Resumed,
        MediaEventKind::PeerClosed => MediaChange::PeerClosed,
        MediaEventKind::Failed(fault) => MediaChange::Failed(match fault {
            Failure::FingerprintMismatch => MediaFailure::FingerprintMismatch,
            Failure::Timeout | Failure::ConsentLost => MediaFailure::Timeout,
            Failure::Broken => MediaFailure::Broken,
        }),
        MediaEventKind::FarSilent => MediaChange::FarSilent,
        MediaEventKind::FarDigit(digit) => MediaChange::FarDigit(digit),
        MediaEventKind::BrowserDigit(digit) => MediaChange::Digit(digit),
        MediaEventKind::FarHeard => MediaChange::FarHeard,
        MediaEventKind::FarCodec(_) => return None,
    })
}
