//! Answered calls: changes of the session, digits, transfer, the session timer, the end.

use super::incoming::offered_timer;
use super::leg::{Leg, LegState};
use super::outgoing::{agreed_timer, lists};
use super::{ALLOW, Agent, AgentError, Due, LeaseId, LegEnd, LegId, Pending, Purpose, SipNews, is_lost};
use crate::sip::command::ServerTransaction;
use crate::sip::message::{Body, Method, SipRequest, SipResponse};
use std::time::{Duration, Instant};

impl Agent {
    /// Ends a leg whatever its state: BYE, CANCEL or 603. Nothing is told of it any more.
    pub fn hang_up(&mut self, id: LegId) {
        match self.legs.get_mut(&id).map(|leg| &mut leg.state) {
            None => {}
            // The leg stays until its INVITE is answered, since the answer may cross our CANCEL.
            Some(LegState::Calling(_)) => self.cancel(id),
            Some(LegState::Alerting(_)) => self.reject(id, 603),
            Some(LegState::Up(up)) => {
                let bye = up.dialog.request(Method::Bye);
                if let Some(leg) = self.remove_leg(id) {
                    self.send_in_dialog(leg.lease, leg.server, Purpose::Notice(leg.lease), bye);
                }
            }
        }
    }

    pub(super) fn send_in_dialog(&mut self, lease: LeaseId, server: usize, purpose: Purpose, mut request: SipRequest) {
        let server = self.way_of(server);
        let targets = matches!(request.method, Method::Invite | Method::Update | Method::Refer);
        if targets && let Some(contact) = self.contact_of(lease, server) {
            request.headers.push("Contact", contact);
        }
        request.headers.push("User-Agent", &self.settings.user_agent);
        let credentials = self.leases.get(&lease).and_then(|lease| lease.identity.credentials.clone());
        self.authorize(lease, server, &mut request);
        self.transmit(Pending::new(purpose, server, request, credentials));
    }

    /// Offers the far side a new description (hold, unhold). One offer at a time (RFC 3264 §4).
    pub fn offer(&mut self, id: LegId, description: String) -> Result<(), AgentError> {
        let up = self.legs.get_mut(&id).and_then(Leg::up).ok_or(AgentError::WrongState)?;
        if !up.is_free() {
            up.wanted = true;
            return Err(AgentError::Busy);
        }
        up.description = Some(description.clone());
        self.reinvite(id, Method::Invite, Some(description));
        Ok(())
    }

    fn reinvite(&mut self, id: LegId, method: Method, description: Option<String>) {
        let Some((lease, server)) = self.legs.get(&id).map(|leg| (leg.lease, leg.server)) else { return };
        let local = self.servers[self.way_of(server)].local;
        let Some(up) = self.legs.get_mut(&id).and_then(Leg::up) else { return };
        up.contact = local;
        let mut request = up.dialog.request(method);
        request.body = description.map(Body::sdp);
        request.headers.push("Allow", ALLOW);
        request.headers.push("Supported", "timer, replaces");
        if let Some(timer) = up.timer {
            let refresher = if timer.we_refresh { "uac" } else { "uas" };
            request.headers.push("Session-Expires", format!("{};refresher={refresher}", timer.interval.as_secs()));
        }
        self.send_in_dialog(lease, server, Purpose::Offer(id), request);
    }

    pub(super) fn handle_offer_response(
        &mut self,
        id: LegId,
        request: Option<SipRequest>,
        response: &SipResponse,
        now: Instant,
    ) {
        if is_lost(response.status) {
            return self.lose(id);
        }
        let Some(up) = self.legs.get_mut(&id).and_then(Leg::up) else { return };
        up.ours = None;
        if response.is_success() {
            up.dialog.refresh_target(&response.headers);
            self.changed.insert(id);
            up.timer = agreed_timer(&response.headers, now).or(up.timer.map(|timer| timer.renewed(now)));
        }
        let offered = request.is_some_and(|request| request.body.is_some());
        if offered {
            let answer = match response.is_success() {
                true => response.sdp().map(str::to_owned).ok_or(488),
                false => Err(response.status),
            };
            if answer == Err(491) {
                up.retry = Some(now + glare_pause(up.is_caller, self.names.fraction()));
            }
            self.news.push_back(SipNews::OfferAnswered { leg: id, answer });
        }
        self.settle_leg(id);
    }

    /// Our offer was not answered. A far side that `is_silent` although its server answers has gone (RFC 3261 §12.2.1.2); a
    /// server that can't be reached says nothing about it.
    pub(super) fn handle_offer_failed(&mut self, id: LegId, request: &SipRequest, is_silent: bool, now: Instant) {
        if is_silent {
            return self.lose(id);
        }
        let Some(up) = self.legs.get_mut(&id).and_then(Leg::up) else { return };
        up.ours = None;
        up.timer = up.timer.map(|timer| timer.again(now));
        if request.body.is_some() {
            self.news.push_back(SipNews::OfferAnswered { leg: id, answer: Err(503) });
        }
        self.settle_leg(id);
    }

    /// The far side has gone; if not, it learns that we have.
    pub(super) fn lose(&mut self, id: LegId) {
        if self.legs.contains_key(&id) {
            self.hang_up(id);
            self.news.push_back(SipNews::Ended { leg: id, why: LegEnd::FarLost });
        }
    }

    /// Answers a change that the far side asked for, with a description or a status.
    pub fn answer_offer(&mut self, id: LegId, answer: Result<String, u16>, now: Instant) {
        let ours = self.settings.session_expires;
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let (lease, server) = (leg.lease, leg.server);
        let Some(up) = leg.up() else { return };
        let Some((transaction, request)) = up.theirs.take() else { return };
        let status = answer.as_ref().err().copied().unwrap_or(200);
        let mut response = SipResponse::to(&request, status, &up.dialog.local_tag());
        if let Ok(description) = answer {
            up.offered_in_answer = request.sdp().is_none() && request.method == Method::Invite;
            up.timer = offered_timer(&request, ours, &mut response, now).or(up.timer);
            up.description = Some(description.clone());
            response.body = Some(Body::sdp(description));
        }
        if let Some(contact) = self.contact_of(lease, server) {
            response.headers.push("Contact", contact);
        }
        if request.method == Method::Invite && status == 200 {
            self.answering.insert(transaction, id);
        }
        self.respond(Some(lease), transaction, response);
        self.settle_leg(id);
    }

    /// Sends a digit by INFO, for a far side without telephone events.
    pub fn send_digit(&mut self, id: LegId, digit: char) -> Result<(), AgentError> {
        let leg = self.legs.get_mut(&id).ok_or(AgentError::WrongState)?;
        let (lease, server) = (leg.lease, leg.server);
        let up = leg.up().ok_or(AgentError::WrongState)?;
        let mut info = up.dialog.request(Method::Info);
        let text = format!("Signal={digit}\r\nDuration=160\r\n");
        info.body = Some(Body { content_type: "application/dtmf-relay".to_owned(), text });
        self.send_in_dialog(lease, server, Purpose::Info(id), info);
        Ok(())
    }

    pub(super) fn handle_in_dialog(&mut self, transaction: ServerTransaction, request: SipRequest, now: Instant) {
        let Some(id) = self.leg_of_dialog(&request) else {
            self.counts.unknown_dialogs += 1;
            return self.refuse(transaction, &request, 481);
        };
        let lease = self.legs[&id].lease;
        if let Some(up) = self.legs.get_mut(&id).and_then(Leg::up)
            && up.dialog.accept(&request).is_err()
        {
            return self.refuse(transaction, &request, 500);
        }
        let is_aside = matches!(request.method, Method::Info | Method::Notify | Method::Options | Method::Refer);
        if is_aside
            && let Some(up) = self.legs.get_mut(&id).and_then(Leg::up)
            && up.asides.take(now).is_err()
        {
            self.counts.refused += 1;
            return self.refuse(transaction, &request, 503);
        }
        match request.method {
            Method::Bye => {
                self.confirm(lease, transaction, &request);
                let lost = request.headers.get("Reason").is_some_and(|reason| reason.contains("instance lost"));
                self.end_leg(id, if lost { LegEnd::FarLost } else { LegEnd::HungUp });
            }
            Method::Invite | Method::Update => self.handle_change(id, transaction, request, now),
            Method::Info => self.handle_info(id, transaction, &request),
            Method::Notify => {
                self.confirm(lease, transaction, &request);
                self.handle_notify(id, &request);
            }
            Method::Refer => self.handle_refer(id, transaction, &request),
            Method::Options => self.confirm(lease, transaction, &request),
            _ => self.refuse(transaction, &request, 405),
        }
    }

    pub(super) fn confirm(&mut self, lease: LeaseId, transaction: ServerTransaction, request: &SipRequest) {
        let mut response = SipResponse::to(request, 200, "");
        if request.method == Method::Options {
            response.headers.push("Allow", ALLOW);
        }
        self.respond(Some(lease), transaction, response);
    }

    fn handle_change(&mut self, id: LegId, transaction: ServerTransaction, request: SipRequest, now: Instant) {
        let ours = self.settings.session_expires;
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let (lease, server) = (leg.lease, leg.server);
        let Some(up) = leg.up() else { return self.refuse(transaction, &request, 491) };
        // Glare (RFC 3261 §14.2), and one change at a time.
        if up.ours.is_some() || up.theirs.is_some() {
            let status = if up.ours.is_some() { 491 } else { 500 };
            return self.refuse(transaction, &request, status);
        }
        if up.changes.take(now).is_err() {
            self.counts.refused += 1;
            return self.refuse(transaction, &request, 500);
        }
        up.dialog.refresh_target(&request.headers);
        self.changed.insert(id);
        up.takes_update |= lists(&request.headers, "Allow", "UPDATE");
        if request.method == Method::Update && request.body.is_none() {
            // A refresh that changes nothing (RFC 4028 §9).
            let mut response = SipResponse::to(&request, 200, "");
            up.timer = offered_timer(&request, ours, &mut response, now).or(up.timer);
            if let Some(contact) = self.contact_of(lease, server) {
                response.headers.push("Contact", contact);
            }
            self.respond(Some(lease), transaction, response);
            return self.settle_leg(id);
        }
        let offer = request.sdp().map(str::to_owned);
        up.theirs = Some((transaction, request));
        self.news.push_back(SipNews::Offered { leg: id, offer });
    }

    fn handle_info(&mut self, id: LegId, transaction: ServerTransaction, request: &SipRequest) {
        let lease = self.legs[&id].lease;
        match request.body.as_ref().map(|body| (body, body.content_type.to_ascii_lowercase())) {
            None => self.confirm(lease, transaction, request),
            Some((body, kind)) if kind.starts_with("application/dtmf") => {
                let digit = digit_of(&body.text);
                self.confirm(lease, transaction, request);
                if let Some(digit) = digit {
                    self.news.push_back(SipNews::Digit { leg: id, digit });
                }
            }
            Some(_) => self.refuse(transaction, request, 415),
        }
    }

    /// A server is back: far sides learn where our calls are reached now, `pace` apart.
    pub(super) fn announce_contacts(&mut self, server: usize, pace: Duration, now: Instant) {
        let local = self.servers[server].local;
        let mut at = now;
        let mut moved = Vec::new();
        for (id, leg) in self.legs.iter_mut().filter(|(_, leg)| leg.server == server) {
            if let Some(up) = leg.up().filter(|up| up.contact.is_some() && up.contact != local) {
                up.announce = Some(at);
                at += pace;
                moved.push(*id);
            }
        }
        moved.into_iter().for_each(|id| self.settle_leg(id));
    }

    pub(super) fn settle_leg(&mut self, id: LegId) {
        let mut up = self.legs.get_mut(&id).and_then(Leg::up);
        if let Some(up) = &mut up
            && up.is_free()
            && std::mem::take(&mut up.wanted)
        {
            self.news.push_back(SipNews::Settled { leg: id });
        }
        let due = up.and_then(|up| up.due());
        self.timers.set(Due::Leg(id), due.map(|due| (due, "session timer")));
    }

    pub(super) fn handle_leg_timeout(&mut self, id: LegId, now: Instant) {
        let Some(up) = self.legs.get_mut(&id).and_then(Leg::up) else { return };
        if up.timer.is_some_and(|timer| timer.until <= now) {
            // Nobody refreshed: the far side has gone (RFC 4028 §10).
            return self.lose(id);
        }
        let is_free = up.is_free();
        let mut refresh = false;
        if up.retry.take_if(|at| *at <= now).is_some() {
            up.wanted = true;
        }
        if up.announce.is_some_and(|at| at <= now) {
            refresh = true;
            up.announce = (!is_free).then(|| now + Duration::from_secs(1));
        }
        if let Some(timer) = up.timer.filter(|timer| timer.due <= now) {
            refresh = true;
            up.timer = Some(timer.again(now));
        }
        if is_free && refresh {
            let (method, description) = match up.takes_update {
                true => (Method::Update, None),
                false => (Method::Invite, up.description.clone()),
            };
            self.reinvite(id, method, description);
        }
        self.settle_leg(id);
    }
}

/// How long an offer waits that crossed one of the far side (RFC 3261 §14.1): who began the call waits longer.
fn glare_pause(is_caller: bool, fraction: f64) -> Duration {
    let (least, most) = if is_caller { (2_100.0, 4_000.0) } else { (0.0, 2_000.0) };
    let units = (least + (most - least) * fraction) / 10.0;
    Duration::from_millis(10 * units as u64)
}

/// `Signal=5` (application/dtmf-relay) or the digit alone (application/dtmf).
fn digit_of(text: &str) -> Option<char> {
    let signal = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        name.trim().eq_ignore_ascii_case("signal").then_some(value)
    });
    let digit = signal.unwrap_or(text).trim().chars().next()?.to_ascii_uppercase();
    digit.is_ascii_digit().then_some(digit).or(matches!(digit, '*' | '#' | 'A'..='D').then_some(digit))
}
