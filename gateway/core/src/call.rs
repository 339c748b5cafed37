//! One call: the browser's leg, its media, and a far leg built into the instance.
//!
//! A call is over when it is taken out of its session; so its end is told once. The browser's peer connection never
//! changes because of the far side.

use gateway_protocol::message::{CallSnapshot, CallState, Direction, EndReason, FailReason, MediaState};
use gateway_protocol::{CallId, RequestId};

/// Names a peer of the media plane; never used twice by one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// What is at the other end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FarLeg {
    /// The caller hears and sees itself.
    Echo,
    /// A constant tone.
    Tone,
}

impl FarLeg {
    /// The far leg that a dialled target names.
    #[must_use]
    pub fn of_target(target: &str) -> Option<Self> {
        match target {
            "echo" => Some(Self::Echo),
            "tone" => Some(Self::Tone),
            _ => None,
        }
    }
}

/// What the media plane tells of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaChange {
    /// ICE, DTLS and the fingerprint are done.
    Connected,
    /// No consent for 15 s (RFC 7675); nothing is sent.
    Suspended,
    /// Heard again.
    Resumed,
    /// The browser closed its peer connection.
    PeerClosed,
    /// The plane gave the peer up.
    Failed(MediaFailure),
}

/// Why the media plane gave a peer up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaFailure {
    /// The certificate is not the one of the offer.
    FingerprintMismatch,
    /// Not connected in time, or without consent for 30 s.
    Timeout,
    /// DTLS failed, or the peer's state broke.
    Broken,
}

/// What a [`MediaChange`] means for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing to tell.
    None,
    /// Its media state is new.
    Media(MediaState),
    /// It is over, and the media plane has forgotten the peer already.
    Ended(EndReason),
}

/// The media plane did not answer an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferRefused {
    /// Why, for programs.
    pub reason: FailReason,
    /// Why, for people.
    pub detail: String,
}

/// A request whose SDP answer the media plane still owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owed {
    /// `start_call`; without an answer there is no call.
    Start(RequestId),
    /// `restart_ice`; without an answer the call goes on as it was.
    Restart(RequestId),
}

/// A live call.
///
/// | state | by |
/// |---|---|
/// | `connecting` | [`Call::outgoing`] |
/// | `active` | [`Call::answered`] |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Chosen by who started it.
    pub id: CallId,
    /// Its browser leg in the media plane.
    pub peer: PeerId,
    /// Who started it.
    pub direction: Direction,
    /// What was dialled.
    pub target: String,
    /// Its state.
    pub state: CallState,
    /// Its media.
    pub media: MediaState,
    /// The request that waits for the media plane.
    pub owed: Option<Owed>,
}

impl Call {
    /// A call that a browser started.
    #[must_use]
    pub fn outgoing(id: CallId, target: String, peer: PeerId, request: RequestId) -> Self {
        Self {
            id,
            peer,
            direction: Direction::Outgoing,
            target,
            state: CallState::Connecting,
            media: MediaState::Connecting,
            owed: Some(Owed::Start(request)),
        }
    }

    /// The far side answered; the new state, if it is one.
    pub fn answered(&mut self) -> Option<CallState> {
        match self.state {
            CallState::Connecting | CallState::Ringing => {
                self.state = CallState::Active;
                Some(self.state)
            }
            CallState::Active | CallState::Held => None,
        }
    }

    /// True while the browser is heard: such a call must never end for a signalling reason.
    #[must_use]
    pub fn media_lives(&self) -> bool {
        self.media == MediaState::Flowing
    }

    /// Takes in what the media plane tells.
    pub fn handle_media(&mut self, change: MediaChange) -> Effect {
        let media = match change {
            MediaChange::Connected | MediaChange::Resumed => MediaState::Flowing,
            MediaChange::Suspended => MediaState::Suspended,
            MediaChange::PeerClosed => return Effect::Ended(EndReason::PeerClosed),
            MediaChange::Failed(failure) => return Effect::Ended(end_reason(failure)),
        };
        if std::mem::replace(&mut self.media, media) == media { Effect::None } else { Effect::Media(media) }
    }

    /// For a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> CallSnapshot {
        CallSnapshot {
            call_id: self.id.clone(),
            direction: self.direction,
            target: self.target.clone(),
            state: self.state,
            media: self.media,
        }
    }
}

fn end_reason(failure: MediaFailure) -> EndReason {
    match failure {
        MediaFailure::FingerprintMismatch => EndReason::FingerprintMismatch,
        MediaFailure::Timeout => EndReason::MediaTimeout,
        MediaFailure::Broken => EndReason::MediaLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        let id = |text: &str| text.to_owned();
        Call::outgoing(
            CallId::parse(id("c")).expect("an id"),
            id("echo"),
            PeerId(1),
            RequestId::parse(id("r")).expect("an id"),
        )
    }

    #[test]
    fn a_change_is_told_once() {
        let mut call = call();
        assert_eq!(call.answered(), Some(CallState::Active));
        assert_eq!(call.answered(), None);
        assert_eq!(call.handle_media(MediaChange::Connected), Effect::Media(MediaState::Flowing));
        assert_eq!(call.handle_media(MediaChange::Resumed), Effect::None);
        assert!(call.media_lives());
        assert_eq!(call.handle_media(MediaChange::Suspended), Effect::Media(MediaState::Suspended));
        assert!(!call.media_lives());
    }

    #[test]
    fn each_failure_has_its_reason() {
        let reasons = [
            (MediaChange::PeerClosed, EndReason::PeerClosed),
            (MediaChange::Failed(MediaFailure::FingerprintMismatch), EndReason::FingerprintMismatch),
            (MediaChange::Failed(MediaFailure::Timeout), EndReason::MediaTimeout),
            (MediaChange::Failed(MediaFailure::Broken), EndReason::MediaLost),
        ];
        for (change, reason) in reasons {
            assert_eq!(call().handle_media(change), Effect::Ended(reason));
        }
    }
}
