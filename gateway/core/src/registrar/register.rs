//! REGISTER (RFC 3261 §10.3).

use super::auth::Asked;
use super::bindings::{Binding, NotBound};
use super::{Aor, MAX_EXPIRES, MIN_EXPIRES, Registrar, addresses};
use crate::sip::{MAX_URI_BYTES, NameAddr, Peer, ServerTransaction, SipCommand, SipRequest, SipResponse, SipUri};
use std::time::{Duration, Instant};

/// Why a REGISTER is refused as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Status(u16),
    TooBrief,
}

/// What a REGISTER wants with one contact.
struct Wish {
    contact: NameAddr,
    expires: Duration,
}

impl Registrar {
    pub(super) fn register(&mut self, id: ServerTransaction, from: Peer, request: &SipRequest, now: Instant) {
        let Some(user) = request.headers.get("To").and_then(|to| self.user_of(&NameAddr::parse(to).ok()?.uri)) else {
            return self.answer(id, request, 404);
        };
        if !self.may_register(id, &user, request, now) {
            return;
        }
        let known: Vec<String> = self.bindings.of(&user).iter().map(|binding| binding.uri.clone()).collect();
        if let Err(refused) = self.change_bindings(&user, from, request, now) {
            return self.refuse(id, request, refused);
        }
        self.counts.registrations += 1;
        let mut response = SipResponse::to(request, 200, &self.names.token());
        for binding in self.bindings.of(&user) {
            response.headers.push("Contact", contact(binding, now));
        }
        self.commands.push_back(SipCommand::Respond { transaction: id, response });
        let new: Vec<Binding> =
            self.bindings.of(&user).iter().filter(|binding| !known.contains(&binding.uri)).cloned().collect();
        self.user_came(&user, &new, now);
    }

    fn may_register(&mut self, id: ServerTransaction, user: &Aor, request: &SipRequest, now: Instant) -> bool {
        let Some(auth) = &self.auth else { return true };
        match auth.check(request, "Authorization", now) {
            Asked::Proved(name) if *name == **user => true,
            asked @ (Asked::Nothing | Asked::Stale) => {
                let challenge = auth.challenge(asked == Asked::Stale, now);
                self.challenge(id, request, 401, "WWW-Authenticate", &challenge);
                false
            }
            Asked::Proved(_) | Asked::Wrong => {
                self.answer(id, request, 403);
                false
            }
        }
    }

    fn refuse(&mut self, id: ServerTransaction, request: &SipRequest, refused: Refused) {
        match refused {
            Refused::Status(status) => self.answer(id, request, status),
            Refused::TooBrief => {
                let mut response = SipResponse::to(request, 423, &self.names.token());
                response.headers.push("Min-Expires", MIN_EXPIRES.as_secs().to_string());
                self.commands.push_back(SipCommand::Respond { transaction: id, response });
            }
        }
    }

    /// All of it or nothing: every wish is checked before the first is granted.
    fn change_bindings(&mut self, user: &Aor, from: Peer, request: &SipRequest, now: Instant) -> Result<(), Refused> {
        let header_expires = request.headers.get("Expires").map(|text| seconds(text).unwrap_or(MAX_EXPIRES));
        if request.headers.all("Contact").any(|value| value.trim() == "*") {
            return self.unbind_all(user, request, header_expires);
        }
        let wishes = wishes(request, header_expires)?;
        for wish in &wishes {
            self.check_order(user, &wish.contact.uri, request)?;
        }
        for wish in wishes {
            self.grant(user, from, request, wish, now)?;
        }
        Ok(())
    }

    fn unbind_all(&mut self, user: &Aor, request: &SipRequest, expires: Option<Duration>) -> Result<(), Refused> {
        if expires != Some(Duration::ZERO) || addresses(request.headers.all("Contact")).len() > 1 {
            return Err(Refused::Status(400));
        }
        let uris: Vec<String> = self.bindings.of(user).iter().map(|binding| binding.uri.clone()).collect();
        for uri in &uris {
            self.check_order(user, uri, request)?;
        }
        uris.iter().for_each(|uri| self.bindings.unbind(user, uri));
        Ok(())
    }

    /// §10.3 step 7: a REGISTER that was overtaken by a later one of its series must not undo it.
    fn check_order(&self, user: &Aor, uri: &str, request: &SipRequest) -> Result<(), Refused> {
        let is_overtaken = self.bindings.of(user).iter().any(|binding| {
            binding.uri == uri
                && request.headers.get("Call-ID") == Some(&binding.call_id)
                && request.cseq().is_some_and(|number| number <= binding.cseq)
        });
        if is_overtaken { Err(Refused::Status(500)) } else { Ok(()) }
    }

    fn grant(&mut self, user: &Aor, from: Peer, request: &SipRequest, wish: Wish, now: Instant) -> Result<(), Refused> {
        let Wish { contact, expires } = wish;
        let instance = contact.param("+sip.instance").map(str::to_owned);
        if expires.is_zero() {
            self.unbind_one(user, &contact.uri, instance.as_deref());
            return Ok(());
        }
        let binding = Binding {
            peer: from,
            instance,
            q: contact.param("q").map(str::to_owned),
            call_id: request.headers.get("Call-ID").unwrap_or_default().to_owned(),
            cseq: request.cseq().unwrap_or_default(),
            expires: now + expires,
            uri: contact.uri,
        };
        self.bindings.bind(user, binding).map_err(|why| match why {
            NotBound::TooManyBindings => Refused::Status(403),
            NotBound::TooManyUsers => Refused::Status(503),
        })
    }

    /// Without an instance only the very same URI ends, so that what a dead instance sends late ends nobody else's binding.
    fn unbind_one(&mut self, user: &Aor, uri: &str, instance: Option<&str>) {
        let over = self
            .bindings
            .of(user)
            .iter()
            .find(|binding| binding.uri == uri || (instance.is_some() && binding.instance.as_deref() == instance));
        if let Some(uri) = over.map(|binding| binding.uri.clone()) {
            self.bindings.unbind(user, &uri);
        }
    }
}

fn wishes(request: &SipRequest, header_expires: Option<Duration>) -> Result<Vec<Wish>, Refused> {
    let mut wishes = Vec::new();
    for contact in addresses(request.headers.all("Contact")) {
        if contact.uri.len() > MAX_URI_BYTES || SipUri::parse(&contact.uri).is_err() {
            return Err(Refused::Status(400));
        }
        let asked = contact.param("expires").map(|text| seconds(text).unwrap_or(MAX_EXPIRES)).or(header_expires);
        let expires = asked.unwrap_or(MAX_EXPIRES).min(MAX_EXPIRES);
        if !expires.is_zero() && expires < MIN_EXPIRES {
            return Err(Refused::TooBrief);
        }
        wishes.push(Wish { contact, expires });
    }
    Ok(wishes)
}

/// The parameters stay outside the brackets, the URI inside keeps its own.
fn contact(binding: &Binding, now: Instant) -> String {
    let left = binding.expires.saturating_duration_since(now);
    let mut text = format!("<{}>;expires={}", binding.uri, left.as_millis().div_ceil(1_000));
    if let Some(q) = &binding.q {
        text += &format!(";q={q}");
    }
    if let Some(instance) = &binding.instance {
        text += &format!(";+sip.instance=\"{instance}\"");
    }
    text
}

fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()))
}
