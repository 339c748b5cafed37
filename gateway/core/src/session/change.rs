//! What the browser wants changed in a running call, one after the other: the far side takes one offer at a time (RFC 3261
//! §14.1), and a session refresh is one too.
//!
//! | wanted | while another change is under way |
//! |---|---|
//! | hold, unhold | is done after it; of several the last |
//! | transfer | is done after it; a second one is refused |

use super::Session;
use super::far::{FarCommand, far_refused};
use crate::call::{FarCall, Holding, TransferStage};
use crate::sdp::FarSdp;
use crate::sip::LegId;
use gateway_protocol::message::{EndReason, FailReason, Outcome};
use gateway_protocol::{CallId, RequestId};
use std::time::Instant;

/// Offers of one hold that may cross offers of the far side; beyond it that one has refused.
const MAX_CROSSED: u8 = 4;

impl Session {
    pub(super) fn hold(&mut self, request: &RequestId, id: &CallId, hold: bool) -> Result<(), FailReason> {
        let at = self.position(id).ok_or(FailReason::NoSuchCall)?;
        let answered = self.calls[at].is_answered();
        let far = self.calls[at].far.as_mut().ok_or(FailReason::WrongState)?;
        let agreed = far.sdp.as_ref().is_some_and(FarSdp::is_agreed);
        if far.leg.is_none() || !answered && !agreed {
            return Err(FailReason::WrongState);
        }
        let wanted = Holding { request: request.clone(), hold, before: None, crossed: 0 };
        if far.holding.is_some() {
            if let Some(earlier) = far.next_hold.replace(wanted) {
                let detail = Some("taken back by a later request".to_owned());
                self.respond(&earlier.request, Outcome::Failed { reason: FailReason::WrongState, detail });
            }
            return Ok(());
        }
        far.holding = Some(wanted);
        self.change_next(at);
        Ok(())
    }

    /// Nothing is under way in a call: what waits for that is done.
    pub(super) fn change_next(&mut self, at: usize) {
        let Some(far) = &mut self.calls[at].far else { return };
        let Some(leg) = far.leg else { return };
        if far.holding.is_none() {
            far.holding = far.next_hold.take();
        }
        let (Some(sdp), Some(holding)) = (&mut far.sdp, &mut far.holding) else { return self.transfer_next(at) };
        // An offer of ours in a 2xx is one too; its answer comes with the ACK.
        if holding.before.is_some() || sdp.is_offering() {
            return;
        }
        if !sdp.is_agreed() {
            let waiting = waiting_requests(far);
            return self.fail_waiting(waiting);
        }
        if sdp.is_held() == holding.hold {
            let request = holding.request.clone();
            far.holding = None;
            self.respond(&request, Outcome::Ok { sdp: None });
            return self.change_next(at);
        }
        holding.before = Some(Box::new(sdp.clone()));
        let offer = sdp.hold(holding.hold);
        self.far(FarCommand::Offer(leg, offer));
    }

    fn transfer_next(&mut self, at: usize) {
        let Some(far) = &mut self.calls[at].far else { return };
        let waiting = |stage| stage == TransferStage::Waiting;
        let wanted = far.transferring.as_mut().filter(|one| waiting(one.stage));
        let (Some(leg), Some(wanted)) = (far.leg, wanted) else { return };
        wanted.stage = TransferStage::Asked;
        let (target, replaced) = (wanted.target.clone(), wanted.other.as_ref().map(|(_, leg)| *leg));
        self.far(FarCommand::Transfer(leg, target, replaced));
    }

    /// What was wanted last has to wait: another change is under way. Owes [`Session::handle_settled`].
    pub fn handle_busy(&mut self, leg: LegId, now: Instant) {
        let Some(far) = self.by_leg(leg).and_then(|at| self.calls[at].far.as_mut()) else { return };
        if let Some(before) = far.holding.as_mut().and_then(|holding| holding.before.take()) {
            far.sdp = Some(*before);
        } else if far.restored {
            self.handle_offer_answered(leg, Err(491), now);
        } else if let Some(transferring) = &mut far.transferring {
            transferring.stage = TransferStage::Waiting;
        }
    }

    /// The change that others waited for is done.
    pub fn handle_settled(&mut self, leg: LegId) {
        if let Some(at) = self.by_leg(leg) {
            self.change_next(at);
        }
    }

    /// The far side answered an offer of ours in a running call. After a 491 [`Session::handle_settled`] is owed.
    pub fn handle_offer_answered(&mut self, leg: LegId, answer: Result<String, u16>, now: Instant) {
        let Some(at) = self.by_leg(leg) else { return };
        let taken = match &answer {
            Ok(text) => self.take_answer(at, text).map_err(|_| 488),
            Err(status) => Err(*status),
        };
        if taken.is_err()
            && let Some(sdp) = self.calls[at].far.as_mut().and_then(|far| far.sdp.as_mut())
        {
            sdp.offer_refused();
        }
        if self.calls[at].far.as_mut().is_some_and(|far| std::mem::take(&mut far.restored)) {
            match taken {
                Ok(()) => self.far_answered(at),
                Err(_) => return self.end_call(at, EndReason::FarLost, true, now),
            }
        }
        self.tell_hold(at);
        let Some(far) = &mut self.calls[at].far else { return };
        // A refresh is answered too, and an offer in a 2xx, which were not made for anybody.
        let Some(holding) = far.holding.as_mut().filter(|holding| holding.before.is_some()) else {
            return self.change_next(at);
        };
        holding.before = None;
        if taken == Err(491) && holding.crossed < MAX_CROSSED {
            holding.crossed += 1;
            return;
        }
        let request = holding.request.clone();
        far.holding = None;
        self.respond(&request, taken.map_or_else(far_refused, |()| Outcome::Ok { sdp: None }));
        self.change_next(at);
    }

    /// Requests that wait for a far side which is gone.
    pub(super) fn fail_waiting(&mut self, requests: Vec<RequestId>) {
        for request in requests {
            self.respond(&request, Outcome::Failed { reason: FailReason::WrongState, detail: None });
        }
    }
}

/// Takes what waits for the far side.
pub(super) fn waiting_requests(far: &mut FarCall) -> Vec<RequestId> {
    let holds = [far.holding.take(), far.next_hold.take()].into_iter().flatten().map(|holding| holding.request);
    holds.chain(far.transferring.take().map(|transferring| transferring.request)).collect()
}
