//! Calls that our user makes, up to their final answer.

use super::leg::{Calling, Leg, LegState, SessionTimer, Up};
use super::{ALLOW, Agent, AgentError, LeaseId, LegEnd, LegId, Pending, Purpose, SipNews, dialled, request};
use crate::sip::address::{NameAddr, tag_of};
use crate::sip::command::{ClientTransaction, SipCommand};
use crate::sip::dialog::Dialog;
use crate::sip::message::{Body, Headers, Method, SipRequest, SipResponse};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Early dialogs kept of one INVITE; further forks are not followed.
const MAX_FORKS: usize = 12;
/// Times that one call follows other addresses; beyond it the call has failed.
const MAX_REDIRECTS: u32 = 3;
/// The least session interval that we take (RFC 4028 §5).
pub(super) const MIN_SESSION: Duration = Duration::from_secs(90);

impl Agent {
    /// Calls `target` with an offer, there in the place of a call that `replaces` names. Who may be called is the owner's
    /// decision.
    pub fn call(
        &mut self,
        lease: LeaseId,
        target: &str,
        replaces: Option<String>,
        offer: String,
    ) -> Result<LegId, AgentError> {
        let uri = dialled(target, &self.settings.domain)?.to_string();
        let server = self.server_for(lease).ok_or(AgentError::Unavailable)?;
        let address = self.address_of(lease).ok_or(AgentError::Unavailable)?;
        let contact = self.contact_of(lease, server).ok_or(AgentError::Unavailable)?;
        let (call_id, tag) = (self.names.token(), self.names.token());
        let mut invite =
            request(Method::Invite, &uri, &format!("<{address}>;tag={tag}"), &format!("<{uri}>"), &call_id, 1);
        invite.headers.push("Contact", contact);
        invite.headers.push("Allow", ALLOW);
        invite.headers.push("Supported", "timer, replaces");
        let seconds = self.settings.session_expires.as_secs();
        invite.headers.push("Session-Expires", format!("{seconds};refresher=uac"));
        invite.headers.push("Min-SE", MIN_SESSION.as_secs().to_string());
        invite.headers.push("User-Agent", &self.settings.user_agent);
        if let Some(replaces) = replaces {
            invite.headers.push("Replaces", replaces);
        }
        invite.body = Some(Body::sdp(offer));
        let calling = Calling {
            transaction: ClientTransaction(0),
            invite: invite.clone(),
            forks: BTreeMap::new(),
            redirects: 0,
            cancelled: false,
        };
        let leg = self.add_leg(Leg { lease, server, call_id, state: LegState::Calling(calling) });
        self.send_invite(leg, invite);
        Ok(leg)
    }

    fn send_invite(&mut self, id: LegId, mut invite: SipRequest) {
        let Some(leg) = self.legs.get(&id) else { return };
        let lease = leg.lease;
        let credentials = self.leases.get(&leg.lease).and_then(|lease| lease.identity.credentials.clone());
        let (purpose, server) = (Purpose::Invite(id), leg.server);
        self.authorize(lease, server, &mut invite);
        self.transmit(Pending::new(purpose, server, invite, credentials));
    }

    /// The INVITE that is out, which a CANCEL and a takeover must repeat.
    pub(super) fn note_invite(&mut self, leg: LegId, transaction: ClientTransaction, invite: &SipRequest) {
        if let Some(LegState::Calling(calling)) = self.legs.get_mut(&leg).map(|leg| &mut leg.state) {
            calling.transaction = transaction;
            calling.invite = invite.clone();
            self.changed.insert(leg);
        }
    }

    pub(super) fn handle_invite_response(&mut self, id: LegId, response: &SipResponse, now: Instant) {
        match response.status {
            100 => {}
            101..200 => self.handle_progress(id, response),
            200..300 => self.handle_answer(id, response, now),
            300..400 => self.handle_redirect(id, response),
            422 => self.handle_interval_too_small(id, response),
            status => self.end_leg(id, LegEnd::of_status(status)),
        }
    }

    fn handle_progress(&mut self, id: LegId, response: &SipResponse) {
        let Some(LegState::Calling(calling)) = self.legs.get_mut(&id).map(|leg| &mut leg.state) else { return };
        if let Some(tag) = response.headers.get("To").and_then(tag_of)
            && calling.forks.len() < MAX_FORKS
            && let Some(fork) = Dialog::of_response(&calling.invite, response)
        {
            calling.forks.insert(tag, fork);
            self.changed.insert(id);
        }
        if !calling.cancelled {
            let (status, sdp) = (response.status, response.sdp().map(str::to_owned));
            self.news.push_back(SipNews::Progress { leg: id, status, sdp });
        }
    }

    fn handle_answer(&mut self, id: LegId, response: &SipResponse, now: Instant) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let LegState::Calling(calling) = &leg.state else { return };
        let Some(dialog) = Dialog::of_response(&calling.invite, response) else {
            return self.end_leg(id, LegEnd::Failed(response.status));
        };
        let description = calling.invite.sdp().map(str::to_owned);
        let cancelled = calling.cancelled;
        leg.state = LegState::Up(Box::new(Up {
            description,
            timer: agreed_timer(&response.headers, now),
            contact: self.servers[leg.server].local,
            takes_update: lists(&response.headers, "Allow", "UPDATE"),
            is_caller: true,
            ..Up::new(dialog)
        }));
        self.changed.insert(id);
        if cancelled {
            // The answer and our CANCEL crossed (RFC 3261 §9.1): the call is over for our user already.
            return self.hang_up(id);
        }
        self.news.push_back(SipNews::Answered { leg: id, sdp: response.sdp().map(str::to_owned) });
        self.settle_leg(id);
    }

    /// Other addresses to try (RFC 3261 §8.1.3.4), the one with the highest `q` first.
    fn handle_redirect(&mut self, id: LegId, response: &SipResponse) {
        let Some(LegState::Calling(calling)) = self.legs.get(&id).map(|leg| &leg.state) else { return };
        let mut contacts = NameAddr::list(response.headers.all("Contact"));
        let q = |contact: &NameAddr| contact.param("q").and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        contacts.sort_by(|one, other| q(other).total_cmp(&q(one)));
        if calling.cancelled || calling.redirects >= MAX_REDIRECTS || contacts.is_empty() {
            return self.end_leg(id, LegEnd::Failed(response.status));
        }
        let to = contacts.into_iter().take(MAX_FORKS).map(|contact| contact.uri).collect();
        self.news.push_back(SipNews::Redirected { leg: id, to });
    }

    /// Calls another address instead; with none the call has failed.
    pub fn redirect(&mut self, id: LegId, target: Option<&str>) {
        let uri = target.and_then(|target| dialled(target, &self.settings.domain).ok());
        let Some(LegState::Calling(calling)) = self.legs.get_mut(&id).map(|leg| &mut leg.state) else { return };
        let Some(uri) = uri.filter(|_| !calling.cancelled) else { return self.end_leg(id, LegEnd::Failed(302)) };
        calling.redirects += 1;
        calling.forks.clear();
        let mut invite = SipRequest { uri: uri.to_string(), ..calling.invite.clone() };
        let cseq = invite.cseq().unwrap_or(1) + 1;
        invite.headers.set("CSeq", format!("{cseq} INVITE"));
        self.send_invite(id, invite);
    }

    /// RFC 4028 §7.3.
    fn handle_interval_too_small(&mut self, id: LegId, response: &SipResponse) {
        let least = response.headers.get("Min-SE").and_then(|value| value.trim().parse::<u32>().ok());
        let Some(LegState::Calling(calling)) = self.legs.get(&id).map(|leg| &leg.state) else { return };
        let mut invite = calling.invite.clone();
        let asked = invite.headers.get("Min-SE").and_then(|value| value.parse::<u32>().ok()).unwrap_or(0);
        match least.filter(|least| *least > asked && *least <= 7_200) {
            Some(least) => {
                let cseq = invite.cseq().unwrap_or(1) + 1;
                invite.headers.set("CSeq", format!("{cseq} INVITE"));
                invite.headers.set("Session-Expires", format!("{least};refresher=uac"));
                invite.headers.set("Min-SE", least.to_string());
                self.send_invite(id, invite);
            }
            None => self.end_leg(id, LegEnd::Failed(422)),
        }
    }

    /// A 2xx for a transaction that is done: another fork answered too (RFC 3261 §13.2.2.4). It was acknowledged; now it is hung
    /// up. A repetition of the 2xx that made the call carries its tags and is nothing new.
    pub(super) fn handle_late_response(&mut self, response: &SipResponse) {
        let of_invite = response.headers.get("CSeq").is_some_and(|cseq| cseq.ends_with("INVITE"));
        let Some(mut other) = Dialog::of_late_response(response).filter(|_| of_invite && response.is_success()) else {
            return;
        };
        let legs = self.by_call_id.get(&other.call_id).into_iter().flatten();
        let known = legs.filter_map(|id| self.legs.get(id)).find_map(|leg| match &leg.state {
            LegState::Up(up) => Some((leg.lease, leg.server, up.dialog.remote_tag() == other.remote_tag())),
            LegState::Calling(_) | LegState::Alerting(_) => None,
        });
        match known {
            Some((_, _, true)) => {}
            Some((lease, server, false)) => {
                self.send_in_dialog(lease, server, Purpose::Notice(lease), other.request(Method::Bye));
            }
            None => {
                // Our user has hung up meanwhile; whoever challenges this BYE runs into the session timer.
                let request = other.request(Method::Bye);
                let server = self.any_server().unwrap_or_default();
                let purpose = Purpose::Farewell;
                self.transmit(Pending::new(purpose, server, request, None));
            }
        }
    }

    /// Takes a call back that is not answered yet.
    pub(super) fn cancel(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let lease = leg.lease;
        let LegState::Calling(calling) = &mut leg.state else { return };
        calling.cancelled = true;
        let transaction = calling.transaction;
        self.send(Some(lease), SipCommand::Cancel(transaction));
    }
}

/// The session timer that a 2xx agrees on (RFC 4028 §7.2); without one in it there is none.
pub(super) fn agreed_timer(headers: &Headers, now: Instant) -> Option<SessionTimer> {
    let (interval, refresher) = session_expires(headers)?;
    Some(SessionTimer::new(interval, refresher.as_deref() != Some("uas"), now))
}

/// Session-Expires: the interval and who refreshes.
pub(super) fn session_expires(headers: &Headers) -> Option<(Duration, Option<String>)> {
    let interval = asked_seconds(headers)?.max(MIN_SESSION);
    let mut parts = headers.get("Session-Expires")?.split(';').map(str::trim);
    let refresher = parts.find_map(|part| part.strip_prefix("refresher=").map(str::to_ascii_lowercase));
    Some((interval, refresher))
}

/// The interval in Session-Expires, as it stands there.
pub(super) fn asked_seconds(headers: &Headers) -> Option<Duration> {
    let seconds = headers.get("Session-Expires")?.split(';').next()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(u64::from(seconds)))
}

/// Whether a comma-separated header field lists a token.
pub(super) fn lists(headers: &Headers, name: &str, token: &str) -> bool {
    headers.all(name).flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}
