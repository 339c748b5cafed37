//! The calls of a session that have a SIP side: what the browser wants of it, and what it tells.
//!
//! The session speaks of legs; [`crate::sip::Agent`] makes messages of that. Session descriptions are agreed here, by
//! [`FarSdp`], and the media plane is told the outcome.

use super::Session;
use super::change::waiting_requests;
use super::recovery::{SealedCall, SealedUp};
use crate::call::{Call, FarCall, FarLeg, Owed, PeerId};
use crate::command::Command;
use crate::limits::{Limits, RING_TIME, WAIT_FOR_BROWSER};
use crate::sdp::{CodecKind, Description, FarMedia, FarSdp, SdpError};
use crate::sip::{LegEnd, LegId, Referral, Registered};
use gateway_protocol::message::{Direction, EndReason, Event, FailReason, MAX_DIGITS, Outcome, ServiceState};
use gateway_protocol::{CallId, RequestId};
use std::time::Instant;

/// What a session wants of the SIP side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FarCommand {
    /// Call `target`; owes [`Session::handle_dialled`].
    Dial {
        /// The call's peer, which names it.
        peer: PeerId,
        /// Whom.
        target: String,
        /// Our offer.
        offer: String,
    },
    /// End a leg, whatever its state.
    HangUp(LegId),
    /// Tell the caller that it rings.
    Ring(LegId),
    /// Answer an incoming leg.
    Accept(LegId, String),
    /// Decline an incoming leg with a status.
    Reject(LegId, u16),
    /// Offer a new description.
    Offer(LegId, String),
    /// Answer an offer with a description or a status.
    AnswerOffer(LegId, Result<String, u16>),
    /// Send a digit by INFO.
    Digit(LegId, char),
    /// Have the far side call a target, in place of another leg of ours if one is named.
    Transfer(LegId, String, Option<LegId>),
    /// Answer a transfer that the far side asked for.
    AnswerTransfer(LegId, u16),
    /// Tell the far side how that goes.
    TellTransfer(LegId, u16),
    /// Call somebody in place of a leg; owes [`Session::handle_moving`].
    Move {
        /// Which leg.
        leg: LegId,
        /// Whom.
        to: Referral,
        /// Our offer.
        offer: String,
    },
    /// End the far side of a call of an instance that is gone; owes [`Session::handle_hung_up`].
    HangUpSealed(Box<SealedCall>),
    /// Ask the far side of such a call whether it is there; owes [`Session::handle_restoring`].
    Restore(Box<SealedUp>),
}

/// Somebody calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ringing {
    /// The new call.
    pub call_id: CallId,
    /// Its peer in the media plane, once it is answered.
    pub peer: PeerId,
    /// Its leg.
    pub leg: LegId,
    /// Who, as a URI.
    pub from: String,
    /// Display name.
    pub name: Option<String>,
    /// The caller's offer.
    pub offer: Option<String>,
}

impl Session {
    /// Whether its user's calls arrive here; `None` where no SIP server is configured.
    #[must_use]
    pub fn registered(&self) -> Option<Registered> {
        self.registered
    }

    /// There are SIP servers, and its user is not registered yet.
    pub fn expect_registration(&mut self) {
        self.registered = Some(Registered::No("registering"));
    }

    /// Its registration changed.
    pub fn set_registered(&mut self, registered: Registered, calls: &ServiceState) {
        let before = self.calls_service(calls);
        self.registered = Some(registered);
        if registered == Registered::Yes {
            self.handle_server_back();
        }
        let service = self.calls_service(calls);
        if service != before {
            self.tell(Event::Service { service });
        }
    }

    /// The instance's `calls` service changed.
    pub fn tell_service(&mut self, calls: &ServiceState) {
        let service = self.calls_service(calls);
        self.tell(Event::Service { service });
    }

    /// The `calls` service as this user has it, given how the instance has it.
    pub(super) fn calls_service(&self, around: &ServiceState) -> ServiceState {
        let reason = match self.registered {
            _ if !around.available => return around.clone(),
            None | Some(Registered::Yes) => return around.clone(),
            Some(Registered::No(reason)) => reason,
            Some(Registered::Superseded) => "registered-elsewhere",
        };
        ServiceState { available: false, reason: Some(reason.to_owned()), ..around.clone() }
    }

    /// The next thing for the SIP side to do.
    pub fn next_far_command(&mut self) -> Option<FarCommand> {
        self.far_commands.pop_front()
    }

    pub(super) fn far(&mut self, command: FarCommand) {
        self.far_commands.push_back(command);
    }

    pub(super) fn by_leg(&self, leg: LegId) -> Option<usize> {
        self.calls.iter().position(|call| call.leg() == Some(leg))
    }

    /// Somebody calls. A browser that is not there has a moment to come back.
    pub fn handle_ringing(&mut self, ringing: Ringing, now: Instant) {
        let Ringing { call_id, peer, leg, from, name, offer } = ringing;
        let video =
            offer.as_ref().is_some_and(|offer| Description::parse(offer).is_ok_and(|offer| offer.video().is_some()));
        let attached = self.socket().is_some();
        let far = FarCall {
            leg: Some(leg),
            offer,
            ring_until: Some(now + RING_TIME),
            unheard_until: (!attached).then(|| now + WAIT_FOR_BROWSER),
            ..FarCall::default()
        };
        let call = Call { video, ..Call::incoming(call_id, from, name, peer, far) };
        let told = Event::IncomingCall { call: call.snapshot() };
        self.calls.push(call);
        self.tell(told);
        if attached {
            self.far(FarCommand::Ring(leg));
        }
    }

    /// The browser is back: it learned of ringing calls by its snapshot.
    pub(super) fn ring_again(&mut self) {
        for at in 0..self.calls.len() {
            let alerting = self.calls[at].is_alerting();
            let Some(far) = self.calls[at].far.as_mut().filter(|_| alerting) else { continue };
            if far.unheard_until.take().is_some()
                && let Some(leg) = far.leg
            {
                self.far(FarCommand::Ring(leg));
            }
        }
    }

    /// The browser has gone: ringing calls wait a moment for it.
    pub(super) fn ring_unheard(&mut self, now: Instant) {
        for call in self.calls.iter_mut().filter(|call| call.is_alerting()) {
            if let Some(far) = &mut call.far {
                far.unheard_until = Some(now + WAIT_FOR_BROWSER);
            }
        }
    }

    /// The earliest end of a call that nobody answers.
    pub(super) fn ring_timeout(&self) -> Option<Instant> {
        self.calls.iter().filter_map(ring_end).min()
    }

    pub(super) fn handle_ring_timeout(&mut self, now: Instant) {
        while let Some(at) = self.calls.iter().position(|call| ring_end(call).is_some_and(|end| end <= now)) {
            self.end_call(at, EndReason::NoAnswer, true, now);
        }
    }

    pub(super) fn answer_call(
        &mut self,
        request: &RequestId,
        id: &CallId,
        offer: String,
        limits: &Limits,
        admit: impl FnOnce() -> Result<(), FailReason>,
    ) -> Result<(), FailReason> {
        let at = self.position(id).ok_or(FailReason::NoSuchCall)?;
        let call = &mut self.calls[at];
        // One that was taken over rings on until its far side took the new description.
        let rings = call.is_alerting() && call.far.as_ref().is_some_and(|far| far.ring_until.is_some());
        if !rings || call.owed.is_some() {
            return Err(FailReason::WrongState);
        }
        if offer.len() > limits.sdp_bytes {
            return Err(FailReason::TooLarge);
        }
        admit()?;
        call.owed = Some(Owed::Answer(request.clone()));
        let peer = call.peer;
        // A browser sends the video codec that it is asked for first; a telephone may have that one alone.
        let theirs = call.far.as_ref().and_then(|far| Description::parse(far.offer.as_deref()?).ok()?.video());
        let video = theirs.and_then(|codecs| codecs.first().map(|codec| codec.kind));
        self.commands.push_back(Command::Accept { peer, offer, far: FarLeg::Rtp { video } });
        Ok(())
    }

    pub(super) fn reject_call(
        &mut self,
        request: &RequestId,
        id: &CallId,
        busy: bool,
        now: Instant,
    ) -> Result<(), FailReason> {
        let at = self.position(id).ok_or(FailReason::NoSuchCall)?;
        if !self.calls[at].is_alerting() {
            return Err(FailReason::WrongState);
        }
        self.decline(at, if busy { 486 } else { 603 });
        self.respond(request, Outcome::Ok { sdp: None });
        self.end_call(at, EndReason::LocalHangUp, true, now);
        Ok(())
    }

    /// The user's own refusal of a call that rings; of no other.
    pub(super) fn decline(&mut self, at: usize, status: u16) {
        let alerting = self.calls[at].is_alerting();
        if let Some(leg) = self.calls[at].far.as_mut().filter(|_| alerting).and_then(|far| far.leg.take()) {
            self.far(FarCommand::Reject(leg, status));
        }
    }

    /// The media plane answered the browser and opened ports for the SIP side: dials, or answers the caller.
    pub(super) fn far_ready(&mut self, at: usize, mut sdp: FarSdp, now: Instant) {
        let call = &mut self.calls[at];
        let (peer, target, outgoing) = (call.peer, call.target.clone(), call.direction == Direction::Outgoing);
        let Some(far) = call.far.as_mut() else { return };
        if outgoing {
            let offer = sdp.offer();
            far.sdp = Some(sdp);
            far.ring_until = Some(now + RING_TIME);
            return self.far(FarCommand::Dial { peer, target, offer });
        }
        let Some(leg) = far.leg else { return };
        far.ring_until = None;
        if let Some(restored) = far.sdp.as_mut().filter(|_| far.restored) {
            let (local, secrets) = sdp.place();
            restored.move_to(local, secrets);
            let offer = restored.reoffer();
            return self.far(FarCommand::Offer(leg, offer));
        }
        match far.offer.take() {
            None => {
                let offer = sdp.offer();
                far.sdp = Some(sdp);
                self.far(FarCommand::Accept(leg, offer));
                self.far_answered(at);
            }
            Some(offer) => match sdp.handle_offer(&offer) {
                Ok((answer, media)) => {
                    far.sdp = Some(sdp);
                    self.far(FarCommand::Accept(leg, answer));
                    self.far_answered(at);
                    self.connect_far(at, media);
                }
                Err(error) => {
                    far.leg = None;
                    self.far(FarCommand::Reject(leg, refusal(&error)));
                    self.end_call(at, EndReason::Failed, true, now);
                }
            },
        }
    }

    /// The leg of a dialled call, or why there is none.
    pub fn handle_dialled(&mut self, peer: PeerId, leg: Result<LegId, EndReason>, now: Instant) {
        let Some(at) = self.calls.iter().position(|call| call.peer == peer) else { return };
        match leg {
            Ok(leg) => {
                if let Some(far) = &mut self.calls[at].far {
                    far.leg = Some(leg);
                }
            }
            Err(reason) => self.end_call(at, reason, true, now),
        }
    }

    /// The far side rings, or says something before its answer.
    pub fn handle_progress(&mut self, leg: LegId, status: u16, sdp: Option<String>) {
        if let Some(at) = self.by_moving(leg) {
            return self.handle_moving_progress(at, status, sdp);
        }
        let Some(at) = self.by_leg(leg) else { return };
        if matches!(status, 180..=182)
            && let Some(state) = self.calls[at].rings()
        {
            let call_id = self.calls[at].id.clone();
            self.tell(Event::CallState { call_id, state, held_by: None });
        }
        if let Some(text) = sdp {
            // Early media that can't be understood costs nothing yet.
            let _ = self.take_answer(at, &text);
        }
    }

    /// The far side answered.
    pub fn handle_far_answer(&mut self, leg: LegId, sdp: Option<String>, now: Instant) {
        if let Some(at) = self.by_moving(leg) {
            return self.handle_moving_answer(at, sdp);
        }
        let Some(at) = self.by_leg(leg) else { return };
        if let Some(far) = &mut self.calls[at].far {
            far.ring_until = None;
        }
        let agreed = match &sdp {
            Some(text) => self.take_answer(at, text).is_ok(),
            // Its answer came with a provisional response.
            None => self.calls[at].far.as_ref().and_then(|far| far.sdp.as_ref()).is_some_and(FarSdp::is_agreed),
        };
        match agreed {
            true => {
                self.far_answered(at);
                self.tell_hold(at);
                self.change_next(at);
            }
            false => self.end_call(at, EndReason::Failed, true, now),
        }
    }

    pub(super) fn take_answer(&mut self, at: usize, text: &str) -> Result<(), SdpError> {
        let Some(sdp) = self.calls[at].far.as_mut().and_then(|far| far.sdp.as_mut()) else {
            return Err(SdpError::NoOffer);
        };
        let media = sdp.handle_answer(text)?;
        self.connect_far(at, media);
        Ok(())
    }

    pub(super) fn connect_far(&mut self, at: usize, media: FarMedia) {
        let peer = self.calls[at].peer;
        if let Some(far) = &mut self.calls[at].far {
            far.held_by_far = media.held_by_far;
            far.takes_digits = media.audio.dtmf_send.is_some();
        }
        let codec = media.audio.send.kind;
        self.commands.push_back(Command::ConnectFar { peer, media: Box::new(media) });
        self.tell_codec(at, codec);
    }

    /// Opus is what browsers send unless they are told of something else.
    fn tell_codec(&mut self, at: usize, codec: CodecKind) {
        let call = &mut self.calls[at];
        let Some(far) = &mut call.far else { return };
        if far.told_codec.replace(codec).unwrap_or(CodecKind::Opus) != codec {
            let call_id = call.id.clone();
            self.tell(Event::SendCodec { call_id, codec: codec.name().to_owned() });
        }
    }

    /// Tells who the far side is.
    pub(super) fn tell_party(&mut self, at: usize) {
        let call = &self.calls[at];
        let (call_id, target, name) = (call.id.clone(), call.target.clone(), call.name.clone());
        self.tell(Event::CallParty { call_id, target, name });
    }

    /// Tells who holds the call, if that is new.
    pub(super) fn tell_hold(&mut self, at: usize) {
        let call = &mut self.calls[at];
        let Some(far) = &call.far else { return };
        let (local, remote) = (far.sdp.as_ref().is_some_and(FarSdp::is_held), far.held_by_far);
        if let Some(state) = call.holds(local, remote) {
            let (call_id, held_by) = (call.id.clone(), call.held_by);
            self.tell(Event::CallState { call_id, state, held_by });
        }
    }

    /// The far side changes the session.
    pub fn handle_far_offer(&mut self, leg: LegId, offer: Option<String>) {
        let at = self.by_leg(leg);
        let far = at.and_then(|at| self.calls[at].far.as_mut()).filter(|far| !far.restored);
        let (Some(at), Some(sdp)) = (at, far.and_then(|far| far.sdp.as_mut())) else {
            // A call that was taken over has no ports yet.
            return self.far(FarCommand::AnswerOffer(leg, Err(491)));
        };
        let answer = match offer {
            None => Ok((sdp.reoffer(), None)),
            Some(offer) => sdp.handle_offer(&offer).map(|(answer, media)| (answer, Some(media))),
        };
        match answer {
            Ok((answer, media)) => {
                self.far(FarCommand::AnswerOffer(leg, Ok(answer)));
                if let Some(media) = media {
                    self.connect_far(at, media);
                    self.tell_hold(at);
                }
            }
            Err(error) => self.far(FarCommand::AnswerOffer(leg, Err(refusal(&error)))),
        }
    }

    pub(super) fn send_digits(&mut self, request: &RequestId, id: &CallId, digits: &str) -> Result<(), FailReason> {
        let at = self.position(id).ok_or(FailReason::NoSuchCall)?;
        let known = |digit: char| digit.is_ascii_digit() || matches!(digit, '*' | '#' | 'A'..='D');
        if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.chars().all(known) {
            return Err(FailReason::BadTarget);
        }
        let peer = self.calls[at].peer;
        let far = self.calls[at].far.as_ref().ok_or(FailReason::WrongState)?;
        let (Some(leg), true) = (far.leg, far.sdp.as_ref().is_some_and(FarSdp::is_agreed)) else {
            return Err(FailReason::WrongState);
        };
        match far.takes_digits {
            true => self.commands.push_back(Command::SendDigits { peer, digits: digits.to_owned() }),
            false => digits.chars().for_each(|digit| self.far(FarCommand::Digit(leg, digit))),
        }
        self.respond(request, Outcome::Ok { sdp: None });
        Ok(())
    }

    /// A digit of the browser that the far side takes in no RTP.
    pub(super) fn signal_digit(&mut self, at: usize, digit: char) {
        if let Some(leg) = self.calls[at].leg() {
            self.far(FarCommand::Digit(leg, digit));
        }
    }

    /// The far side sent a digit.
    pub fn handle_digit(&mut self, leg: LegId, digit: char) {
        if let Some(at) = self.by_leg(leg) {
            self.tell_digit(at, digit);
        }
    }

    pub(super) fn tell_digit(&mut self, at: usize, digit: char) {
        let call_id = self.calls[at].id.clone();
        self.tell(Event::Digit { call_id, digit: digit.to_string() });
    }

    /// The far side's leg is over.
    pub fn handle_leg_ended(&mut self, leg: LegId, why: LegEnd, now: Instant) {
        self.handle_asked_ended(leg);
        if self.handle_moving_ended(leg, why) {
            return;
        }
        let Some(at) = self.by_leg(leg) else { return };
        if why == LegEnd::HungUp && self.leaves_transferred(at) {
            return self.end_call(at, EndReason::Transferred, true, now);
        }
        let reason = match why {
            LegEnd::HungUp if self.is_sent_for(at) => EndReason::Transferred,
            LegEnd::HungUp => EndReason::RemoteHangUp,
            LegEnd::FarLost => EndReason::FarLost,
            LegEnd::Cancelled => EndReason::Cancelled,
            LegEnd::Busy => EndReason::Busy,
            LegEnd::Rejected => EndReason::Rejected,
            LegEnd::NoAnswer => EndReason::NoAnswer,
            LegEnd::NotFound => EndReason::NotFound,
            LegEnd::Failed(_) => EndReason::Failed,
        };
        if let Some(far) = &mut self.calls[at].far {
            far.leg = None;
        }
        self.end_call(at, reason, true, now);
    }

    /// A call was taken out: its far side goes with it.
    pub(super) fn release_far(&mut self, call: &mut Call) {
        let alerting = call.is_alerting();
        let Some(far) = &mut call.far else { return };
        let waiting = waiting_requests(far);
        let moving = far.moving.take().and_then(|moving| moving.leg);
        let leg = far.leg.take();
        self.fail_waiting(waiting);
        match leg {
            // Nobody declined, so that the user's other phones ring on.
            Some(leg) if alerting => self.far(FarCommand::Reject(leg, 480)),
            Some(leg) => self.far(FarCommand::HangUp(leg)),
            None => {}
        }
        moving.into_iter().for_each(|leg| self.far(FarCommand::HangUp(leg)));
    }
}

/// When a call that nobody answers is over.
fn ring_end(call: &Call) -> Option<Instant> {
    let far = call.far.as_ref()?;
    [far.ring_until, far.unheard_until].into_iter().flatten().min()
}

pub(super) fn far_refused(status: u16) -> Outcome {
    Outcome::Failed { reason: FailReason::FarRefused, detail: Some(format!("the far side answered {status}")) }
}

/// 488 for what is understood and can't be had, 400 for the rest.
pub(super) fn refusal(error: &SdpError) -> u16 {
    match error {
        SdpError::NoAudio | SdpError::NoCodec | SdpError::NoCrypto | SdpError::Address => 488,
        _ => 400,
    }
}
