//! Calls that change their partner: transfers that our user asks for, those that the far side asks for (RFC 3515), and calls in
//! the place of others (RFC 3891).

use super::leg::{Leg, LegState};
use super::{Agent, AgentError, LeaseId, LegId, Purpose, Referral, SipNews, dialled, is_lost};
use crate::sip::address::{NameAddr, SipUri, split_outside_quotes};
use crate::sip::command::ServerTransaction;
use crate::sip::message::{Body, Method, SipRequest, SipResponse};

/// The far side forgets a transfer after so many seconds without word of it.
const SUBSCRIBED_SECONDS: u32 = 180;

impl Agent {
    /// Asks the far side to call `target` instead (RFC 3515), in place of `replaced` where the target is in a call with us
    /// already (RFC 3891).
    pub fn transfer(&mut self, id: LegId, target: &str, replaced: Option<LegId>) -> Result<(), AgentError> {
        let refer_to = match replaced {
            None => dialled(target, &self.settings.domain)?.to_string(),
            Some(other) => self.place_of(other).ok_or(AgentError::WrongState)?,
        };
        let leg = self.legs.get_mut(&id).ok_or(AgentError::WrongState)?;
        let (lease, server) = (leg.lease, leg.server);
        let up = leg.up().ok_or(AgentError::WrongState)?;
        if !up.is_free() {
            up.wanted = true;
            return Err(AgentError::Busy);
        }
        let mut refer = up.dialog.request(Method::Refer);
        refer.headers.push("Refer-To", format!("<{refer_to}>"));
        if let Some(address) = self.address_of(lease) {
            refer.headers.push("Referred-By", format!("<{address}>"));
        }
        self.send_in_dialog(lease, server, Purpose::Refer(id), refer);
        Ok(())
    }

    /// Whom to call in our place in a call: a user of our domain by name, who may have moved by then, others at their Contact.
    fn place_of(&mut self, id: LegId) -> Option<String> {
        let dialog = &self.legs.get_mut(&id)?.up()?.dialog;
        let (call_id, to, from) = (&dialog.call_id, dialog.remote_tag(), dialog.local_tag());
        let replaces = escape(&format!("{call_id};to-tag={to};from-tag={from}"));
        let named = NameAddr::parse(&dialog.remote).ok().and_then(|remote| SipUri::parse(&remote.uri).ok());
        let ours = named.filter(|uri| uri.user.is_some() && uri.host.eq_ignore_ascii_case(&self.settings.domain));
        let target = ours.map_or_else(|| dialog.target.clone(), |uri| uri.to_string());
        Some(format!("{target}?Replaces={replaces}"))
    }

    pub(super) fn handle_refer_response(&mut self, id: LegId, status: u16) {
        // What comes of it will be told by NOTIFY.
        let status = if (200..300).contains(&status) { 100 } else { status };
        self.news.push_back(SipNews::Transfer { leg: id, status });
        if is_lost(status) {
            self.lose(id);
        }
    }

    /// How a transfer of ours goes: a status line as the body (RFC 3515 §2.4.5).
    pub(super) fn handle_notify(&mut self, id: LegId, request: &SipRequest) {
        let status = request.body.as_ref().and_then(|body| {
            let line = body.text.lines().next()?.strip_prefix("SIP/2.0 ")?;
            line.split(' ').next()?.parse::<u16>().ok()
        });
        if let Some(status) = status {
            self.news.push_back(SipNews::Transfer { leg: id, status });
        }
    }

    pub(super) fn handle_refer(&mut self, id: LegId, transaction: ServerTransaction, request: &SipRequest) {
        let mut targets = request.headers.all("Refer-To").flat_map(|value| split_outside_quotes(value, ','));
        let (Some(target), None) = (targets.next().and_then(referral), targets.next()) else {
            return self.refuse(transaction, request, 400);
        };
        let Some(up) = self.legs.get_mut(&id).and_then(Leg::up) else {
            return self.refuse(transaction, request, 403);
        };
        if up.theirs.is_some() {
            return self.refuse(transaction, request, 491);
        }
        up.theirs = Some((transaction, request.clone()));
        self.news.push_back(SipNews::TransferAsked { leg: id, to: target });
    }

    /// Answers a far side that wants its call transferred: 202, after which [`Agent::tell_transfer`] is owed, or a status that
    /// declines.
    pub fn answer_transfer(&mut self, id: LegId, status: u16) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let lease = leg.lease;
        let Some((transaction, request)) = leg.up().and_then(|up| up.theirs.take()) else { return };
        let response = SipResponse::to(&request, status, "");
        self.respond(Some(lease), transaction, response);
        if status == 202 {
            self.tell_transfer(id, 100);
        }
        self.settle_leg(id);
    }

    /// Tells the far side how the call goes that it wanted (RFC 3515 §2.4.4); a final status ends that.
    pub fn tell_transfer(&mut self, id: LegId, status: u16) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let (lease, server) = (leg.lease, leg.server);
        let Some(up) = leg.up() else { return };
        let mut notify = up.dialog.request(Method::Notify);
        notify.headers.push("Event", "refer");
        let state = match status {
            ..200 => format!("active;expires={SUBSCRIBED_SECONDS}"),
            _ => "terminated;reason=noresource".to_owned(),
        };
        notify.headers.push("Subscription-State", state);
        let text = format!("SIP/2.0 {status} {}\r\n", SipResponse::to(&notify, status, "").reason);
        notify.body = Some(Body { content_type: "message/sipfrag;version=2.0".to_owned(), text });
        self.send_in_dialog(lease, server, Purpose::Notice(lease), notify);
    }

    /// The answered call of this lease that an INVITE wants to take the place in, if it wants that (RFC 3891 §3).
    pub(super) fn replaced_by(&self, lease: LeaseId, invite: &SipRequest) -> Option<Result<LegId, u16>> {
        let value = invite.headers.get("Replaces")?;
        let mut parts = value.split(';').map(str::trim);
        let call_id = parts.next().unwrap_or_default();
        let params: Vec<_> = parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
        let param = |name| params.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let tags = (param("to-tag"), param("from-tag"));
        let mut legs = self.by_call_id.get(call_id).into_iter().flatten();
        let found = legs.find(|id| match &self.legs[id].state {
            LegState::Up(up) => {
                let (local, remote) = (up.dialog.local_tag(), up.dialog.remote_tag());
                self.legs[id].lease == lease && tags == (Some(&*local), Some(&*remote))
            }
            LegState::Calling(_) | LegState::Alerting(_) => false,
        });
        Some(match (found, param("early-only")) {
            (None, _) => Err(481),
            (Some(_), Some(_)) => Err(486),
            (Some(id), None) => Ok(*id),
        })
    }
}

/// A Refer-To value; of the header fields in its URI only Replaces is taken.
fn referral(value: &str) -> Option<Referral> {
    let uri = NameAddr::parse(value).ok()?.uri;
    let (target, fields) = uri.split_once('?').unwrap_or((&uri, ""));
    let target = SipUri::parse(target).ok().filter(|uri| uri.user.is_some())?.to_string();
    let mut fields = fields.split('&').filter_map(|field| field.split_once('='));
    let replaces = match fields.find(|(name, _)| name.eq_ignore_ascii_case("replaces")) {
        Some((_, value)) => Some(unescape(value)?),
        None => None,
    };
    Some(Referral { target, replaces })
}

/// A header value within a URI (RFC 3261 §25.1, hvalue), with more escaped than need be.
fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// `None` for what can't stand in a header field.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_referral_names_a_user_and_maybe_a_call() {
        let plain = referral("\"Carol\" <sip:carol@example.org;transport=tcp>").expect("a referral");
        assert_eq!((plain.target.as_str(), plain.replaces), ("sip:carol@example.org;transport=tcp", None));
        let call = format!("<sip:carol@example.org?Replaces={}&Require=replaces>", escape("a@b;to-tag=1;from-tag=2"));
        assert_eq!(referral(&call).and_then(|one| one.replaces).as_deref(), Some("a@b;to-tag=1;from-tag=2"));
    }

    #[test]
    fn what_could_become_a_header_field_is_none() {
        for value in [
            "<sip:carol@example.org?Replaces=a%0d%0aX%3a1>",
            "<sip:carol@example.org?Replaces=a%0>",
            "<sip:example.org>",
            "<tel:+4930>",
            "<http://example.org>",
            "",
        ] {
            assert_eq!(referral(value), None, "{value}");
        }
    }
}
