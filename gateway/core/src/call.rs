//! One call: the browser's leg, its media, and a far leg, built into the instance or towards SIP.
//!
//! A call is over when it is taken out of its session; so its end is told once. The browser's peer connection never
//! changes because of the far side.

use crate::sdp::{CodecKind, FarMedia, FarSdp};
use crate::sip::LegId;
use gateway_protocol::message::{
    CallSnapshot, CallState, Caller, Direction, EndReason, FailReason, HeldBy, MediaState,
};
use gateway_protocol::{CallId, RequestId};
use std::time::Instant;

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
    /// RTP of a SIP call.
    Rtp {
        /// The video codec that the far side is known to prefer.
        video: Option<CodecKind>,
    },
}

impl FarLeg {
    /// The built-in far leg that a dialled target names.
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
    /// Nothing comes from the far side although it should.
    FarSilent,
    /// The far side's first packet came.
    FarHeard,
    /// The far side sent a digit in its RTP.
    FarDigit(char),
    /// The browser sent a digit that the far side takes in no RTP.
    Digit(char),
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
    /// It is over, and the media plane still has the peer.
    End(EndReason),
    /// The far side sent a digit.
    Digit(char),
    /// A digit is for the far side, by signalling.
    SendDigit(char),
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
    /// `answer_call`; without an answer the call rings on.
    Answer(RequestId),
    /// `restart_ice`; without an answer the call goes on as it was.
    Restart(RequestId),
}

impl Owed {
    /// The request.
    #[must_use]
    pub fn request(&self) -> &RequestId {
        match self {
            Self::Start(request) | Self::Answer(request) | Self::Restart(request) => request,
        }
    }
}

/// A `hold` or `unhold` that the far side has not taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// The request.
    pub request: RequestId,
    /// Hold, or take back.
    pub hold: bool,
    /// What was described before it was offered; `None` while it waits for its turn.
    pub before: Option<Box<FarSdp>>,
    /// Offers of it that crossed one of the far side.
    pub crossed: u8,
}

/// A `transfer` or `transfer_to` whose outcome is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transferring {
    /// The request.
    pub request: RequestId,
    /// Whom the far side is to call.
    pub target: String,
    /// The call in whose place, and its leg.
    pub other: Option<(CallId, LegId)>,
    /// How far it is.
    pub stage: TransferStage,
    /// It counts as refused then.
    pub until: Instant,
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferStage {
    /// Another change is under way.
    Waiting,
    /// The far side was asked.
    Asked,
    /// It said that it will try.
    Accepted,
}

/// The SIP side of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FarCall {
    /// The leg; an outgoing call has none before its browser leg is answered.
    pub leg: Option<LegId>,
    /// Its session descriptions; there once the media plane opened ports for it.
    pub sdp: Option<FarSdp>,
    /// The caller's offer, until it is answered.
    pub offer: Option<String>,
    /// The user's hold that is under way.
    pub holding: Option<Holding>,
    /// And the one after it.
    pub next_hold: Option<Holding>,
    /// The user's transfer.
    pub transferring: Option<Transferring>,
    /// The far side of another call, which was sent here, hung up without saying how that went.
    pub sent_for: bool,
    /// The leg that takes the place of this one once it is answered.
    pub moving: Option<Moving>,
    /// The far side holds.
    pub held_by_far: bool,
    /// The far side takes digits in RTP.
    pub takes_digits: bool,
    /// What the browser was last told to send.
    pub told_codec: Option<CodecKind>,
    /// Its packets come.
    pub heard: bool,
    /// That a lost call is heard again was told.
    pub told_resumed: bool,
    /// Its dialog is that of an instance which is gone; the far side learns of this one by an offer.
    pub restored: bool,
    /// Unanswered calls end then.
    pub ring_until: Option<Instant>,
    /// An incoming call ends then unless the browser comes back.
    pub unheard_until: Option<Instant>,
}

/// The far side had us call somebody else instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// Whom it goes to.
    pub target: String,
    /// The new leg; none before it was dialled.
    pub leg: Option<LegId>,
    /// Its session descriptions.
    pub sdp: FarSdp,
    /// What they agreed on before the answer.
    pub media: Option<FarMedia>,
    /// It is given up then.
    pub until: Instant,
}

/// A live call.
///
/// | state | by |
/// |---|---|
/// | `connecting` | [`Call::outgoing`] |
/// | `ringing` | [`Call::rings`], [`Call::incoming`] |
/// | `active` | [`Call::answered`], [`Call::holds`] |
/// | `held` | [`Call::holds`] |
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
    /// Its SIP side, if it has one.
    pub far: Option<FarCall>,
    /// The far side's display name.
    pub name: Option<String>,
    /// Who holds it.
    pub held_by: Option<HeldBy>,
    /// The caller offers video.
    pub video: bool,
    /// The lost call in whose place it came.
    pub replaces: Option<CallId>,
}

impl Call {
    /// A call that a browser started.
    #[must_use]
    pub fn outgoing(id: CallId, target: String, peer: PeerId, request: RequestId) -> Self {
        let owed = Some(Owed::Start(request));
        Self { direction: Direction::Outgoing, state: CallState::Connecting, owed, ..Self::bare(id, target, peer) }
    }

    /// A call that the far side started. Its browser leg comes with the answer.
    #[must_use]
    pub fn incoming(id: CallId, from: String, name: Option<String>, peer: PeerId, far: FarCall) -> Self {
        Self { name, far: Some(far), ..Self::bare(id, from, peer) }
    }

    fn bare(id: CallId, target: String, peer: PeerId) -> Self {
        Self {
            id,
            peer,
            direction: Direction::Incoming,
            target,
            state: CallState::Ringing,
            media: MediaState::Connecting,
            owed: None,
            far: None,
            name: None,
            held_by: None,
            video: false,
            replaces: None,
        }
    }

    /// Who called, if it came in and was not answered.
    #[must_use]
    pub fn missed(&self) -> Option<Caller> {
        let rang = self.direction == Direction::Incoming && self.state == CallState::Ringing;
        rang.then(|| Caller { target: self.target.clone(), name: self.name.clone() })
    }

    /// The far side rings; the new state, if it is one.
    pub fn rings(&mut self) -> Option<CallState> {
        let rings = self.state == CallState::Connecting;
        rings.then(|| {
            self.state = CallState::Ringing;
            self.state
        })
    }

    /// True for a call that waits for the browser's answer.
    #[must_use]
    pub fn is_alerting(&self) -> bool {
        self.direction == Direction::Incoming && self.state == CallState::Ringing
    }

    /// True once both sides were in.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        matches!(self.state, CallState::Active | CallState::Held)
    }

    /// Who holds the call now; the new state, if anything changed.
    pub fn holds(&mut self, local: bool, remote: bool) -> Option<CallState> {
        let held_by = match (local, remote) {
            (true, true) => Some(HeldBy::Both),
            (true, false) => Some(HeldBy::Local),
            (false, true) => Some(HeldBy::Remote),
            (false, false) => None,
        };
        if !self.is_answered() || held_by == self.held_by {
            return None;
        }
        self.held_by = held_by;
        self.state = if held_by.is_some() { CallState::Held } else { CallState::Active };
        Some(self.state)
    }

    /// The far side's leg.
    #[must_use]
    pub fn leg(&self) -> Option<LegId> {
        self.far.as_ref()?.leg
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
            MediaChange::FarSilent => return Effect::End(EndReason::FarLost),
            MediaChange::FarHeard => {
                self.far.iter_mut().for_each(|far| far.heard = true);
                return Effect::None;
            }
            MediaChange::FarDigit(digit) => return Effect::Digit(digit),
            MediaChange::Digit(digit) => return Effect::SendDigit(digit),
        };
        if std::mem::replace(&mut self.media, media) == media { Effect::None } else { Effect::Media(media) }
    }

    /// True once, when a call in the place of a lost one is heard on both sides.
    pub fn is_resumed(&mut self) -> bool {
        let flows = self.replaces.is_some() && self.media_lives();
        let far = self.far.as_mut().filter(|far| flows && far.heard);
        far.is_some_and(|far| !std::mem::replace(&mut far.told_resumed, true))
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
            name: self.name.clone(),
            held_by: self.held_by,
            video: self.video,
            replaces: self.replaces.clone(),
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
