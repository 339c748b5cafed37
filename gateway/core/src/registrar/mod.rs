//! The embedded registrar: a small in-memory SIP registrar and stateful proxy for one domain (RFC 3261 §10.3 and §16), for the
//! demo and for tests. Clusters use a real SIP server.
//!
//! What it has beyond the RFC is what a gateway cluster needs of its SIP server when an instance dies: a call to a user whose
//! binding was just lost waits for the next REGISTER, a call that rings at a replaced binding goes to the new one too, a closed
//! connection ends the bindings made over it, and the CSeq fence refuses what a dead instance sends late.
//!
//! Owes: [`Registrar::next_command`] is to be emptied after every call, [`Registrar::handle_timeout`] is called at
//! [`Registrar::poll_timeout`].

mod auth;
mod bindings;
mod fence;
mod register;
mod relay;
mod routing;
#[cfg(test)]
mod tests;

use crate::random::Random;
use crate::sip::{
    Algorithm, ClientTransaction, Method, NameAddr, Names, Peer, ServerTransaction, SipCommand, SipEvent, SipRequest,
    SipResponse, Transport, tag_of,
};
use crate::timers::Timers;
use auth::{Asked, Auth};
use bindings::{Bindings, Found};
use fence::Fence;
use relay::Relay;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A call waits for so long after its start for a user who was here a moment ago, and a contact that says nothing at all is
/// given up after it.
pub const HOLD: Duration = Duration::from_secs(6);
/// A user whose binding was lost counts as one who comes back for so long.
pub const RECENT: Duration = Duration::from_secs(90);
/// Shortest registration; a shorter one is refused with 423.
pub const MIN_EXPIRES: Duration = Duration::from_secs(10);
/// Longest registration; a longer one is cut.
pub const MAX_EXPIRES: Duration = Duration::from_secs(3_600);
/// Bindings of one user; beyond it a REGISTER is refused with 403.
pub const MAX_BINDINGS: usize = 10;
/// Users; beyond it a REGISTER is refused with 503.
pub const MAX_USERS: usize = 100_000;
/// Requests that are being passed on; beyond it 503.
pub const MAX_RELAYS: usize = 20_000;

/// An address of record: the user part, as it is written, at our domain.
type Aor = Arc<str>;

/// What it is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose registrar it is.
    pub domain: String,
    /// Where others reach it, one per transport that it serves.
    pub addresses: Vec<(Transport, SocketAddr)>,
    /// Name and password of every user; without it everybody is believed.
    pub credentials: Option<BTreeMap<String, String>>,
    /// With which hash they are proven.
    pub digest: Algorithm,
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bindings now.
    pub bindings: usize,
    /// Requests that are being passed on now.
    pub relays: usize,
    /// Calls that wait for a REGISTER now.
    pub held: usize,
    /// REGISTERs answered with 200 since the start.
    pub registrations: u64,
    /// INVITEs that were held since the start.
    pub holds: u64,
    /// Requests refused by the CSeq fence since the start.
    pub fenced: u64,
    /// Requests refused by the registrar itself since the start, for whatever reason.
    pub refusals: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Registrar {
    settings: Settings,
    names: Names,
    auth: Option<Auth>,
    bindings: Bindings,
    fence: Fence,
    relays: BTreeMap<ServerTransaction, Relay>,
    by_client: BTreeMap<ClientTransaction, ServerTransaction>,
    by_user: BTreeMap<Aor, BTreeSet<ServerTransaction>>,
    timers: Timers<ServerTransaction>,
    commands: VecDeque<SipCommand>,
    next_client: u64,
    counts: Counts,
}

impl Registrar {
    /// An empty one.
    pub fn new(settings: Settings, now: Instant, random: &mut impl Random) -> Self {
        let auth = settings
            .credentials
            .clone()
            .map(|credentials| Auth::new(&settings.domain, credentials, settings.digest, now, random));
        Self {
            names: Names::new(random),
            auth,
            settings,
            bindings: Bindings::default(),
            fence: Fence::default(),
            relays: BTreeMap::new(),
            by_client: BTreeMap::new(),
            by_user: BTreeMap::new(),
            timers: Timers::new(),
            commands: VecDeque::new(),
            next_client: 0,
            counts: Counts::default(),
        }
    }

    /// The next thing to be done.
    pub fn next_command(&mut self) -> Option<SipCommand> {
        self.commands.pop_front()
    }

    /// When [`Registrar::handle_timeout`] is to be called, and for what.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let expiry = self.bindings.next_end().map(|at| (at, "a binding"));
        [self.timers.next(), expiry].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Does what the time has come for.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.bindings.expire(now);
        self.fence.expire(now);
        while let Some(id) = self.timers.pop_due(now) {
            self.relay_timeout(id, now);
        }
    }

    /// Figures.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            bindings: self.bindings.len(),
            relays: self.relays.len(),
            held: self.relays.values().filter(|relay| relay.is_held()).count(),
            ..self.counts
        }
    }

    /// Takes what happened at the sockets.
    pub fn handle(&mut self, event: SipEvent, now: Instant) {
        match event {
            SipEvent::Up { .. } | SipEvent::Found { .. } | SipEvent::NeverAcked(_) => {}
            SipEvent::Down { peer } => self.bindings.drop_peer(peer, now),
            SipEvent::Request { transaction, from, request } => self.request(transaction, from, request, now),
            SipEvent::Response { transaction, response } => self.relay_response(transaction, response, now),
            SipEvent::Failed { transaction, why } => self.relay_failed(transaction, why, now),
            SipEvent::Cancelled(transaction) => self.relay_cancelled(transaction, now),
            SipEvent::Acked { request, .. } => self.acked(request, now),
        }
    }

    fn request(&mut self, id: ServerTransaction, from: Peer, mut request: SipRequest, now: Instant) {
        if let Err(status) = routing::check(&mut request) {
            return self.answer(id, &request, status);
        }
        self.pop_own_routes(&mut request);
        let is_for_us = self.is_for_us(&request.uri);
        match request.method {
            Method::Register if is_for_us => self.register(id, from, &request, now),
            Method::Options if is_for_us => self.answer(id, &request, 200),
            _ if is_in_dialog(&request) => self.in_dialog(id, from, request, now),
            _ => self.initial(id, from, request, now),
        }
    }

    fn in_dialog(&mut self, id: ServerTransaction, from: Peer, request: SipRequest, now: Instant) {
        if !self.fence.lets_pass(&request, now) {
            self.counts.fenced += 1;
            return self.answer(id, &request, 500);
        }
        match self.next_hop(&request) {
            // One side of every call is a user of ours: nobody sends strangers to strangers through us.
            Some(peer) if self.bindings.has_peer(from) || self.bindings.has_peer(peer) => {
                self.relay_to_peer(id, request, peer, now);
            }
            Some(_) => self.answer(id, &request, 403),
            None => self.answer(id, &request, 404),
        }
    }

    fn initial(&mut self, id: ServerTransaction, from: Peer, request: SipRequest, now: Instant) {
        if !self.may_call(id, from, &request, now) {
            return;
        }
        if let Some(binding) = self.bindings.by_contact(&request.uri) {
            let peer = binding.peer;
            return self.relay_to_peer(id, request, peer, now);
        }
        let Some(user) = self.user_of(&request.uri) else { return self.answer(id, &request, 404) };
        match self.bindings.find(&user, now) {
            Found::Bound => self.relay_to_user(id, request, user, now),
            Found::Recent if request.method == Method::Invite => self.hold(id, request, user, now),
            Found::Recent => self.answer(id, &request, 480),
            Found::Unknown => self.answer(id, &request, 404),
        }
    }

    /// Whoever has registered over the same flow has proved himself; others must do it for the call.
    fn may_call(&mut self, id: ServerTransaction, from: Peer, request: &SipRequest, now: Instant) -> bool {
        let Some(auth) = &self.auth else { return true };
        if self.bindings.has_peer(from) {
            return true;
        }
        match auth.check(request, "Proxy-Authorization", now) {
            Asked::Proved(_) => true,
            asked @ (Asked::Nothing | Asked::Stale) => {
                let challenge = auth.challenge(asked == Asked::Stale, now);
                self.challenge(id, request, 407, "Proxy-Authenticate", &challenge);
                false
            }
            Asked::Wrong => {
                self.answer(id, request, 403);
                false
            }
        }
    }

    fn challenge(&mut self, id: ServerTransaction, request: &SipRequest, status: u16, field: &str, challenge: &str) {
        let mut response = SipResponse::to(request, status, &self.names.token());
        response.headers.push(field, challenge);
        self.commands.push_back(SipCommand::Respond { transaction: id, response });
    }

    fn answer(&mut self, id: ServerTransaction, request: &SipRequest, status: u16) {
        let mut response = SipResponse::to(request, status, &self.names.token());
        self.counts.refusals += u64::from(status >= 400);
        match status {
            200 => response
                .headers
                .push("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, REFER, NOTIFY, INFO, MESSAGE, UPDATE"),
            420 => response.headers.push("Unsupported", request.headers.get("Proxy-Require").unwrap_or_default()),
            503 => response.headers.push("Retry-After", "5"),
            _ => {}
        }
        self.commands.push_back(SipCommand::Respond { transaction: id, response });
    }

    /// An ACK to a 2xx is no transaction's: it is passed on by itself.
    fn acked(&mut self, mut request: SipRequest, _now: Instant) {
        if routing::check(&mut request).is_err() {
            return;
        }
        self.pop_own_routes(&mut request);
        if let Some(to) = self.next_hop(&request) {
            self.push_via(&mut request, to.transport);
            self.commands.push_back(SipCommand::Send { to, request });
        }
    }
}

fn is_in_dialog(request: &SipRequest) -> bool {
    request.headers.get("To").and_then(tag_of).is_some()
}

fn addresses<'a>(values: impl Iterator<Item = &'a str>) -> Vec<NameAddr> {
    NameAddr::list(values)
}
