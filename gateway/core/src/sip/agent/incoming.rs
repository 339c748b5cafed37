//! Calls to our user, up to our final answer.

use super::leg::{Alerting, Leg, LegState, SessionTimer, Up};
use super::outgoing::{MIN_SESSION, asked_seconds, lists, session_expires};
use super::{ALLOW, Agent, AgentError, LeaseId, LegEnd, LegId, SipNews, display_of};
use crate::sip::address::{SipUri, tag_of};
use crate::sip::command::ServerTransaction;
use crate::sip::dialog::Dialog;
use crate::sip::message::{Body, Headers, SipRequest, SipResponse};
use std::time::{Duration, Instant};

impl Agent {
    pub(super) fn handle_invite(
        &mut self,
        transaction: ServerTransaction,
        server: usize,
        request: SipRequest,
        now: Instant,
    ) {
        let lease = match self.place_for(&request, now) {
            Ok(lease) => lease,
            Err(status) => {
                self.counts.refused += u64::from(!matches!(status, 404 | 482));
                return self.refuse(transaction, &request, status);
            }
        };
        let replaced = match self.replaced_by(lease, &request) {
            Some(Err(status)) => return self.refuse(transaction, &request, status),
            Some(Ok(leg)) => Some(leg),
            None => None,
        };
        let tag = self.names.token();
        let dialog = Dialog::of_request(&request, &tag).filter(|dialog| !dialog.remote_tag().is_empty());
        let Some(dialog) = dialog.filter(|dialog| dialog.remote_cseq.is_some()) else {
            return self.refuse(transaction, &request, 400);
        };
        let (from, name) = display_of(&dialog.remote);
        let offer = request.sdp().map(str::to_owned);
        let call_id = dialog.call_id.clone();
        let state = LegState::Alerting(Alerting { transaction, invite: request, dialog });
        let leg = self.add_leg(Leg { lease, server, call_id, state });
        self.answering.insert(transaction, leg);
        self.news.push_back(match replaced {
            Some(replaced) => SipNews::Replaced { leg: replaced, by: leg, from, name, offer },
            None => SipNews::Incoming { lease, leg, from, name, offer },
        });
    }

    /// Whom an INVITE is for, or the status that refuses it.
    fn place_for(&mut self, request: &SipRequest, now: Instant) -> Result<LeaseId, u16> {
        let user = SipUri::parse(&request.uri).ok().and_then(|uri| uri.user).ok_or(404_u16)?;
        let id = *self.by_contact.get(&user).ok_or(404_u16)?;
        self.leases.get_mut(&id).ok_or(404_u16)?.invites.take(now).map_err(|_| 503_u16)?;
        match () {
            () if self.is_merged(request) => Err(482),
            () if is_too_brief(&request.headers) => Err(422),
            () if self.legs.len() >= self.settings.legs => Err(503),
            () if self.legs_of(id) >= self.settings.legs_per_lease => Err(486),
            () => Ok(id),
        }
    }

    /// The same call came another way (RFC 3261 §8.2.2.2).
    fn is_merged(&self, request: &SipRequest) -> bool {
        let caller = request.headers.get("From").and_then(tag_of);
        let legs = request.headers.get("Call-ID").and_then(|id| self.by_call_id.get(id)).into_iter().flatten();
        legs.filter_map(|id| self.legs.get(id)).any(|leg| match &leg.state {
            LegState::Alerting(Alerting { dialog, .. }) => Some(dialog.remote_tag()) == caller,
            LegState::Up(up) => Some(up.dialog.remote_tag()) == caller,
            LegState::Calling(_) => false,
        })
    }

    /// Tells the caller that it rings.
    pub fn ring(&mut self, id: LegId) {
        self.answer_alerting(id, 180, None);
    }

    /// Answers a call with a description: the answer to its offer, or our offer if it had none.
    pub fn accept(&mut self, id: LegId, description: String, now: Instant) -> Result<(), AgentError> {
        let Some(leg) = self.legs.get(&id) else { return Err(AgentError::WrongState) };
        let LegState::Alerting(Alerting { transaction, invite, dialog }) = &leg.state else {
            return Err(AgentError::WrongState);
        };
        let (transaction, invite, dialog) = (*transaction, invite.clone(), dialog.clone());
        let contact = self.contact_of(leg.lease, leg.server).ok_or(AgentError::Unavailable)?;
        let mut response = SipResponse::to(&invite, 200, &dialog.local_tag());
        response.headers.push("Contact", contact);
        response.headers.push("Allow", ALLOW);
        response.headers.push("Supported", "timer, replaces");
        response.body = Some(Body::sdp(description.clone()));
        let timer = offered_timer(&invite, self.settings.session_expires, &mut response, now);
        let lease = leg.lease;
        let up = Up {
            description: Some(description),
            timer,
            contact: self.servers[leg.server].local,
            takes_update: lists(&invite.headers, "Allow", "UPDATE"),
            offered_in_answer: invite.sdp().is_none(),
            ..Up::new(dialog)
        };
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.state = LegState::Up(Box::new(up));
        }
        self.changed.insert(id);
        self.respond(Some(lease), transaction, response);
        self.settle_leg(id);
        Ok(())
    }

    /// Declines a call. One that was taken over is answered already and gets a BYE.
    pub fn reject(&mut self, id: LegId, status: u16) {
        if !self.is_alerting(id) {
            return self.hang_up(id);
        }
        self.answer_alerting(id, status, None);
        self.remove_leg(id);
    }

    fn answer_alerting(&mut self, id: LegId, status: u16, body: Option<Body>) {
        let Some(leg) = self.legs.get(&id) else { return };
        let LegState::Alerting(Alerting { transaction, invite, dialog }) = &leg.state else { return };
        let (transaction, lease) = (*transaction, leg.lease);
        let mut response = SipResponse::to(invite, status, &dialog.local_tag());
        if status < 200
            && let Some(contact) = self.contact_of(lease, leg.server)
        {
            response.headers.push("Contact", contact);
        }
        response.body = body;
        self.respond(Some(lease), transaction, response);
    }

    pub(super) fn handle_cancelled(&mut self, transaction: ServerTransaction) {
        let Some(id) = self.answering.get(&transaction).copied() else { return };
        if self.is_alerting(id) {
            self.answer_alerting(id, 487, None);
            self.end_leg(id, LegEnd::Cancelled);
        }
    }

    pub(super) fn handle_acked(&mut self, transaction: ServerTransaction, request: &SipRequest) {
        let Some(id) = self.answering.remove(&transaction) else { return };
        let Some(up) = self.legs.get_mut(&id).and_then(Leg::up) else { return };
        if std::mem::take(&mut up.offered_in_answer) {
            let answer = request.sdp().map(str::to_owned).ok_or(488);
            self.news.push_back(SipNews::OfferAnswered { leg: id, answer });
        }
    }

    /// The caller never heard our answer, or has gone (RFC 3261 §13.3.1.4).
    pub(super) fn handle_never_acked(&mut self, transaction: ServerTransaction) {
        if let Some(id) = self.answering.remove(&transaction) {
            self.hang_up(id);
            self.news.push_back(SipNews::Ended { leg: id, why: LegEnd::FarLost });
        }
    }
}

/// Fewer seconds than we take, of a caller who can be told so (RFC 4028 §9).
fn is_too_brief(headers: &Headers) -> bool {
    asked_seconds(headers).is_some_and(|asked| asked < MIN_SESSION) && lists(headers, "Supported", "timer")
}

/// The session timer of a call that we answer (RFC 4028 §9): we refresh, unless the caller claims it.
pub(super) fn offered_timer(
    request: &SipRequest,
    ours: Duration,
    response: &mut SipResponse,
    now: Instant,
) -> Option<SessionTimer> {
    let asked = session_expires(&request.headers);
    if !lists(&request.headers, "Supported", "timer") {
        return None;
    }
    let interval = asked.as_ref().map_or(ours, |(interval, _)| (*interval).min(ours)).max(MIN_SESSION);
    let caller_refreshes = asked.is_some_and(|(_, refresher)| refresher.as_deref() == Some("uac"));
    let refresher = if caller_refreshes { "uac" } else { "uas" };
    response.headers.push("Session-Expires", format!("{};refresher={refresher}", interval.as_secs()));
    response.headers.push("Require", "timer");
    Some(SessionTimer::new(interval, !caller_refreshes, now))
}
