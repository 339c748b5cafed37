//! Calls that change their partner: transfers that the browser asks for, those that the far side asks for, and calls in whose
//! place another one comes. The browser keeps its call and its peer connection.

use super::Session;
use super::change::waiting_requests;
use super::far::{FarCommand, far_refused, refusal};
use crate::call::{Call, FarCall, Moving, TransferStage, Transferring};
use crate::limits::RING_TIME;
use crate::sdp::{FarLocal, FarSdp};
use crate::sip::{LegEnd, LegId, Referral};
use gateway_protocol::message::{EndReason, FailReason, Outcome};
use gateway_protocol::{CallId, RequestId};
use std::time::{Duration, Instant};

/// The far side has this long to say what became of a transfer: longer than anything rings.
const TRANSFER_TIME: Duration = Duration::from_secs(RING_TIME.as_secs() + 10);

impl Session {
    pub(super) fn transfer(
        &mut self,
        request: &RequestId,
        id: &CallId,
        target: String,
        other: Option<CallId>,
        now: Instant,
    ) -> Result<(), FailReason> {
        let other = match other {
            None => None,
            Some(other) if other == *id => return Err(FailReason::WrongState),
            Some(other) => {
                let at = self.position(&other).ok_or(FailReason::NoSuchCall)?;
                let leg =
                    self.calls[at].leg().filter(|_| self.calls[at].is_answered()).ok_or(FailReason::WrongState)?;
                Some((other, leg))
            }
        };
        let at = self.position(id).ok_or(FailReason::NoSuchCall)?;
        let answered = self.calls[at].is_answered();
        let far = self.calls[at].far.as_mut().ok_or(FailReason::WrongState)?;
        if far.leg.is_none() || !answered || far.transferring.is_some() {
            return Err(FailReason::WrongState);
        }
        let (request, until) = (request.clone(), now + TRANSFER_TIME);
        far.transferring = Some(Transferring { request, target, other, stage: TransferStage::Waiting, until });
        if far.holding.is_none() {
            self.change_next(at);
        }
        Ok(())
    }

    /// How a transfer goes that this browser asked for.
    pub fn handle_transfer(&mut self, leg: LegId, status: u16, now: Instant) {
        let Some(at) = self.by_leg(leg) else { return };
        let Some(far) = &mut self.calls[at].far else { return };
        let Some(transferring) = &mut far.transferring else { return };
        if status < 200 {
            transferring.stage = TransferStage::Accepted;
            return;
        }
        let Some(Transferring { request, other, .. }) = far.transferring.take() else { return };
        if status >= 300 {
            return self.respond(&request, far_refused(status));
        }
        self.respond(&request, Outcome::Ok { sdp: None });
        self.end_call(at, EndReason::Transferred, true, now);
        if let Some(at) = other.and_then(|(other, _)| self.position(&other)) {
            self.end_call(at, EndReason::Transferred, true, now);
        }
    }

    /// The far side hangs up after it took a transfer, and never says how that went: it goes where it was sent. True if so.
    ///
    /// RFC 3515 §2.4.4 wants a word of it, and a BYE does not forbid one (RFC 5057 §4), but who is transferred leaves with
    /// the new call at the earliest (RFC 5589 §6.1). A call in whose place it was sent stays until its own far side hangs up.
    pub(super) fn leaves_transferred(&mut self, at: usize) -> bool {
        let Some(far) = &mut self.calls[at].far else { return false };
        let accepted = |one: &mut Transferring| one.stage == TransferStage::Accepted;
        let Some(Transferring { request, other, .. }) = far.transferring.take_if(accepted) else { return false };
        far.leg = None;
        self.respond(&request, Outcome::Ok { sdp: None });
        let other = other.and_then(|(other, _)| self.position(&other));
        if let Some(far) = other.and_then(|other| self.calls[other].far.as_mut()) {
            far.sent_for = true;
        }
        true
    }

    /// The far side of another call was sent to this call's: that one may hang up here before the transfer is reported.
    pub(super) fn is_sent_for(&self, at: usize) -> bool {
        let id = &self.calls[at].id;
        let mut transfers = self.calls.iter().filter_map(|call| call.far.as_ref()?.transferring.as_ref());
        self.calls[at].far.as_ref().is_some_and(|far| far.sent_for)
            || transfers.any(|one| one.other.as_ref().is_some_and(|(other, _)| other == id))
    }

    /// Where a call's far side is received, for another far side of the same call.
    #[must_use]
    pub fn far_local(&self, leg: LegId) -> Option<FarLocal> {
        let far = self.calls[self.by_leg(leg)?].far.as_ref()?;
        Some(far.sdp.as_ref()?.place().0)
    }

    /// The far side wants somebody else called in its place. `sdp` is a new machine for that, if the user may call there.
    pub fn handle_transfer_asked(&mut self, leg: LegId, to: Referral, sdp: Option<FarSdp>, now: Instant) {
        let (Some(mut sdp), Some(far)) = (sdp, self.settled_far(leg)) else {
            return self.far(FarCommand::AnswerTransfer(leg, 603));
        };
        let offer = if far.sdp.as_ref().is_some_and(FarSdp::is_held) { sdp.hold(true) } else { sdp.offer() };
        far.moving = Some(Moving { target: to.target.clone(), leg: None, sdp, media: None, until: now + RING_TIME });
        self.far(FarCommand::AnswerTransfer(leg, 202));
        self.far(FarCommand::Move { leg, to, offer });
    }

    /// The SIP side of an answered call of which nothing is under way.
    fn settled_far(&mut self, leg: LegId) -> Option<&mut FarCall> {
        let at = self.by_leg(leg)?;
        let call = Some(&mut self.calls[at]).filter(|call| call.is_answered())?;
        let is_settled =
            |far: &&mut FarCall| far.moving.is_none() && far.holding.is_none() && far.transferring.is_none();
        call.far.as_mut().filter(is_settled)
    }

    /// The new leg, if there is one.
    pub fn handle_moving(&mut self, leg: LegId, new: Option<LegId>) {
        let far = self.by_leg(leg).and_then(|at| self.calls[at].far.as_mut());
        let Some(moving) = far.and_then(|far| far.moving.as_mut()) else { return };
        moving.leg = new;
        if new.is_none() {
            self.stop_moving(leg, 503);
        }
    }

    /// The call stays with the far side that it has.
    fn stop_moving(&mut self, leg: LegId, status: u16) {
        if let Some(far) = self.by_leg(leg).and_then(|at| self.calls[at].far.as_mut()) {
            far.moving = None;
            self.far(FarCommand::TellTransfer(leg, status));
        }
    }

    /// The call that a new leg is for.
    pub(super) fn by_moving(&self, leg: LegId) -> Option<usize> {
        let moving = |call: &Call| call.far.as_ref()?.moving.as_ref()?.leg;
        self.calls.iter().position(|call| moving(call) == Some(leg))
    }

    /// The new leg rings.
    pub(super) fn handle_moving_progress(&mut self, at: usize, status: u16, sdp: Option<String>) {
        let Some(far) = &mut self.calls[at].far else { return };
        let (Some(moving), Some(old)) = (&mut far.moving, far.leg) else { return };
        if let Some(text) = sdp {
            moving.media = moving.sdp.handle_answer(&text).ok().or(moving.media.take());
        }
        self.far(FarCommand::TellTransfer(old, status));
    }

    /// The new leg was answered: the call goes on with it.
    pub(super) fn handle_moving_answer(&mut self, at: usize, sdp: Option<String>) {
        let Some(far) = &mut self.calls[at].far else { return };
        let (Some(mut moving), Some(old)) = (far.moving.take(), far.leg) else { return };
        let media = match sdp {
            Some(text) => moving.sdp.handle_answer(&text).ok(),
            None => moving.media.take(),
        };
        match media {
            Some(media) => {
                far.sdp = Some(moving.sdp);
                far.leg = moving.leg;
                (self.calls[at].target, self.calls[at].name) = (moving.target, None);
                self.far(FarCommand::TellTransfer(old, 200));
                self.far(FarCommand::HangUp(old));
                self.tell_party(at);
                self.connect_far(at, media);
                self.tell_hold(at);
                self.change_anew(at);
            }
            None => {
                self.far(FarCommand::TellTransfer(old, 488));
                moving.leg.into_iter().for_each(|leg| self.far(FarCommand::HangUp(leg)));
            }
        }
    }

    /// A leg has ended that was the new one of a call, or the old one of a call that has a new one. True if that is all.
    pub(super) fn handle_moving_ended(&mut self, leg: LegId, why: LegEnd) -> bool {
        if let Some(at) = self.by_moving(leg) {
            if let Some(old) = self.calls[at].leg() {
                self.stop_moving(old, status_of(why));
            }
            return true;
        }
        let far = self.by_leg(leg).and_then(|at| self.calls[at].far.as_mut());
        let Some((far, moving)) = far.and_then(|far| far.moving.take().map(|moving| (far, moving))) else {
            return false;
        };
        (far.leg, far.sdp, far.ring_until) = (moving.leg, Some(moving.sdp), Some(moving.until));
        // Asked for again once it answers.
        far.holding.iter_mut().for_each(|holding| holding.before = None);
        true
    }

    /// Somebody calls in the place of a far side. `sdp` is a new machine for that.
    pub fn handle_replaced(
        &mut self,
        leg: LegId,
        by: LegId,
        from: (String, Option<String>),
        offer: Option<String>,
        sdp: Option<FarSdp>,
    ) {
        let found = self.by_leg(leg).filter(|at| self.calls[*at].is_answered()).zip(sdp);
        let Some((at, mut sdp)) = found else { return self.far(FarCommand::Reject(by, 481)) };
        let call = &mut self.calls[at];
        let Some(far) = &mut call.far else { return };
        let held = far.sdp.as_ref().is_some_and(FarSdp::is_held);
        // An answer on hold says so as well.
        let ours = if held { sdp.hold(true) } else { sdp.offer() };
        let (answer, media) = match offer.map(|offer| sdp.handle_offer(&offer)) {
            None => (ours, None),
            Some(Ok((answer, media))) => (answer, Some(media)),
            Some(Err(error)) => return self.far(FarCommand::Reject(by, refusal(&error))),
        };
        (call.target, call.name) = from;
        (far.leg, far.sdp) = (Some(by), Some(sdp));
        let (waiting, moving) = (waiting_requests(far), far.moving.take());
        self.far(FarCommand::Accept(by, answer));
        self.far(FarCommand::HangUp(leg));
        self.tell_party(at);
        moving.and_then(|moving| moving.leg).into_iter().for_each(|leg| self.far(FarCommand::HangUp(leg)));
        self.fail_waiting(waiting);
        if let Some(media) = media {
            self.connect_far(at, media);
            self.tell_hold(at);
        }
    }

    /// What the old far side did not take is for the new one.
    fn change_anew(&mut self, at: usize) {
        if let Some(holding) = self.calls[at].far.as_mut().and_then(|far| far.holding.as_mut()) {
            holding.before = None;
        }
        self.change_next(at);
    }

    /// When something that was asked for counts as refused.
    pub(super) fn transfer_timeout(&self) -> Option<Instant> {
        let ends = |far: &FarCall| [asked_end(far), moving_end(far)].into_iter().flatten().min();
        self.calls.iter().filter_map(|call| ends(call.far.as_ref()?)).min()
    }

    pub(super) fn handle_transfer_timeout(&mut self, now: Instant) {
        let legs: Vec<LegId> = self.calls.iter().filter_map(Call::leg).collect();
        for leg in legs {
            let Some(far) = self.by_leg(leg).and_then(|at| self.calls[at].far.as_mut()) else { continue };
            let is_over = |end: Option<Instant>| end.is_some_and(|end| end <= now);
            let (asked_over, moving_over) = (is_over(asked_end(far)), is_over(moving_end(far)));
            if moving_over {
                let new = far.moving.as_ref().and_then(|moving| moving.leg);
                self.stop_moving(leg, 408);
                new.into_iter().for_each(|new| self.far(FarCommand::HangUp(new)));
            }
            if asked_over {
                self.handle_transfer(leg, 408, now);
            }
        }
    }
}

fn asked_end(far: &FarCall) -> Option<Instant> {
    far.transferring.as_ref().map(|transferring| transferring.until)
}

fn moving_end(far: &FarCall) -> Option<Instant> {
    far.moving.as_ref().map(|moving| moving.until)
}

fn status_of(why: LegEnd) -> u16 {
    match why {
        LegEnd::Busy => 486,
        LegEnd::Rejected => 603,
        LegEnd::NoAnswer | LegEnd::Cancelled => 480,
        LegEnd::NotFound => 404,
        LegEnd::Failed(status) => status,
        LegEnd::HungUp | LegEnd::FarLost => 503,
    }
}
