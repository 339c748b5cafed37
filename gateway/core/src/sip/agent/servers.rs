//! The SIP servers: a warm flow to each, and a heartbeat of our own, since a hung server keeps its connections.
//!
//! A server that does not answer may have another address by now: its name is looked up again until it answers. One that answers
//! keeps its address, whatever becomes of its name, and a name without addresses changes nothing.
//!
//! A connection breaks with its server. Over datagrams nobody tells that another one, which knows nobody, answers at the same
//! address: so the binding of one user after another is looked for, and when several in a row are missing all register again.

use super::{ALLOW, Agent, Due, LeaseId, LegState, Pending, Purpose, request};
use crate::sip::command::{Peer, SipCommand};
use crate::sip::message::Method;
use crate::sip::registration::Registration;
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::{Duration, Instant};

/// OPTIONS goes out this often.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// A server that said nothing for so long is down.
const SILENCE: Duration = Duration::from_millis(1_500);
/// A flow that is down is opened again after this.
const REOPEN: Duration = Duration::from_millis(500);
/// A flow that is neither up nor down after this time is asked for again.
const OPENING: Duration = Duration::from_secs(6);
/// Between two looks for the address of a server that does not answer.
const LOOK_UP: Duration = Duration::from_secs(1);
/// When a server is back, 2000 users register in a second.
const PACE: Duration = Duration::from_micros(500);
/// So many bindings that are missing in a row mean that the server has forgotten all; fewer may have reasons of their own.
const MISSING: u32 = 3;

#[derive(Debug)]
pub(super) struct Server {
    pub(super) peer: Peer,
    /// Our end of the flow, or of the last one; `None` before the first.
    pub(super) local: Option<SocketAddr>,
    is_up: bool,
    /// It answered since the flow is up.
    pub(super) alive: bool,
    heard: Instant,
    due: Instant,
    /// Since when a flow is being opened.
    opening: Option<Instant>,
    lookup: Lookup,
    /// Whose binding was looked for last.
    looked_for: LeaseId,
    /// Bindings that were missing in a row.
    missing: u32,
}

/// The search for the address of a server that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lookup {
    /// The next one may begin at this time.
    From(Instant),
    /// The shell looks.
    Asked,
}

impl Server {
    pub(super) fn new(peer: Peer, now: Instant) -> Self {
        // It was looked up just now.
        let lookup = Lookup::From(now + LOOK_UP);
        Self {
            peer,
            local: None,
            is_up: false,
            alive: false,
            heard: now,
            due: now,
            opening: None,
            lookup,
            looked_for: LeaseId(0),
            missing: 0,
        }
    }
}

/// Where to try next when nobody answers at `current`: the addresses of a name take turns (RFC 3263 §4.3). `None` if there is
/// nothing else.
fn another(current: SocketAddr, found: &[SocketAddr]) -> Option<SocketAddr> {
    let next = found.iter().position(|addr| *addr == current).map_or(0, |place| place + 1);
    found.iter().cycle().nth(next).copied().filter(|addr| *addr != current)
}

impl Agent {
    /// The server that `from` is, if it is one. Over TCP a server may call back from a port of its own; over UDP from where
    /// an operator says that it does.
    pub(super) fn server_of(&self, from: Peer) -> Option<usize> {
        let exact = self.servers.iter().position(|server| server.peer == from);
        let is_trusted = self.settings.trusted.contains(&from.addr.ip());
        let calls_back = |server: &Server| {
            let same_host = server.peer.addr.ip() == from.addr.ip();
            same_host && server.peer.transport == from.transport && (from.transport.is_reliable() || is_trusted)
        };
        exact
            .or_else(|| self.servers.iter().position(calls_back))
            .or_else(|| (is_trusted && !self.servers.is_empty()).then_some(0))
    }

    /// The server that new calls of a lease go through: the first that works and knows the user.
    pub(super) fn server_for(&self, lease: super::LeaseId) -> Option<usize> {
        let lease = self.leases.get(&lease)?;
        (0..self.servers.len()).find(|server| self.servers[*server].alive && lease.is_bound_at(*server))
    }

    /// The server that a running call's requests go through: its own, or another one while that does not work.
    pub(super) fn way_of(&self, own: usize) -> usize {
        if self.servers[own].alive { own } else { self.any_server().unwrap_or(own) }
    }

    /// Another server for what one can't have taken (RFC 3263 §4.3).
    pub(super) fn elsewhere(&self, pending: &Pending) -> Option<usize> {
        let is_cancelled = |leg| match self.legs.get(leg).map(|leg| &leg.state) {
            Some(LegState::Calling(calling)) => calling.cancelled,
            _ => false,
        };
        let is_call = match &pending.purpose {
            Purpose::Invite(leg) if is_cancelled(leg) => return None,
            Purpose::Invite(_) => true,
            Purpose::Offer(_) | Purpose::Info(_) | Purpose::Refer(_) | Purpose::Probe(_) | Purpose::Notice(_) => false,
            Purpose::Heartbeat(_) | Purpose::Register(..) | Purpose::Farewell => return None,
        };
        let lease = self.leases.get(&self.lease_of(pending.purpose)?)?;
        (0..self.servers.len())
            .filter(|server| pending.is_untaken && *server != pending.server && self.servers[*server].alive)
            .find(|server| !is_call || lease.is_bound_at(*server))
    }

    /// The same request once more, to that server.
    pub(super) fn send_again(&mut self, pending: Pending, server: usize) {
        let Pending { purpose, mut request, credentials, .. } = pending;
        let Some(lease) = self.lease_of(purpose) else { return };
        if let Purpose::Invite(leg) | Purpose::Offer(leg) = purpose
            && let Some(leg) = self.legs.get_mut(&leg)
        {
            match &mut leg.state {
                LegState::Calling(_) => leg.server = server,
                LegState::Up(up) => up.contact = self.servers[server].local,
                LegState::Alerting(_) => {}
            }
        }
        if request.headers.get("Contact").is_some()
            && let Some(contact) = self.contact_of(lease, server)
        {
            request.headers.set("Contact", contact);
        }
        self.authorize(lease, server, &mut request);
        // Once: of two servers that come and go neither is asked for ever.
        self.transmit(Pending { is_untaken: false, ..Pending::new(purpose, server, request, credentials) });
    }

    pub(super) fn any_server(&self) -> Option<usize> {
        self.servers.iter().position(|server| server.alive)
    }

    pub(super) fn settle_server(&mut self, server: usize) {
        let due = self.servers[server].due;
        self.timers.set(Due::Server(server), Some((due, "sip server")));
    }

    pub(super) fn handle_server_timeout(&mut self, index: usize, now: Instant) {
        let server = &mut self.servers[index];
        server.due = now + HEARTBEAT;
        if server.is_up {
            if server.alive && now.saturating_duration_since(server.heard) >= SILENCE {
                server.alive = false;
                self.suspend_registrations(index, "sip-server-silent");
            }
            self.beat(index);
            self.look_for_one(index);
        } else if server.opening.is_none_or(|since| now.saturating_duration_since(since) >= OPENING) {
            server.opening = Some(now);
            let peer = server.peer;
            self.commands.push_back(SipCommand::Open { peer });
        }
        self.look_up(index, now);
        self.settle_server(index);
    }

    /// Looks for a server that does not answer.
    fn look_up(&mut self, index: usize, now: Instant) {
        let server = &mut self.servers[index];
        let is_due = matches!(server.lookup, Lookup::From(at) if at <= now);
        if !server.alive && is_due {
            server.lookup = Lookup::Asked;
            self.commands.push_back(SipCommand::LookUp { server: index });
        }
    }

    /// What the name of a server means now.
    pub(super) fn handle_found(&mut self, index: usize, found: &[SocketAddr], now: Instant) {
        let Some(server) = self.servers.get_mut(index) else { return };
        server.lookup = Lookup::From(now + LOOK_UP);
        let Some(addr) = another(server.peer.addr, found).filter(|_| !server.alive) else { return };
        let (old, new) = (server.peer, Peer { addr, ..server.peer });
        if self.servers.iter().any(|server| server.peer == new) {
            return;
        }
        let server = &mut self.servers[index];
        (server.peer, server.is_up, server.opening, server.due) = (new, false, Some(now), now + HEARTBEAT);
        self.commands.push_back(SipCommand::Forget { peer: old });
        self.commands.push_back(SipCommand::Open { peer: new });
        self.settle_server(index);
    }

    fn beat(&mut self, index: usize) {
        // Every server serves the domain; not every one knows each address that it is reached at as its own.
        let uri = format!("sip:{}", self.settings.domain);
        let (tag, call_id) = (self.names.token(), self.names.token());
        let from = format!("<{uri}>;tag={tag}");
        let mut options = request(Method::Options, &uri, &from, &format!("<{uri}>"), &call_id, 1);
        options.headers.push("Allow", ALLOW);
        let purpose = Purpose::Heartbeat(index);
        self.transmit(Pending::new(purpose, index, options, None));
    }

    fn look_for_one(&mut self, index: usize) {
        let server = &self.servers[index];
        if server.peer.transport.is_reliable() || !server.alive {
            return;
        }
        let last = server.looked_for;
        let mut round = self.leases.range((Excluded(last), Unbounded)).chain(self.leases.range(..=last));
        let Some(next) = round.find(|(_, lease)| lease.is_settled_at(index)).map(|(id, _)| *id) else { return };
        self.servers[index].looked_for = next;
        self.with_registration(next, index, Registration::look);
    }

    pub(super) fn note_look(&mut self, index: usize, found: bool, now: Instant) {
        let server = &mut self.servers[index];
        server.missing = if found { 0 } else { server.missing + 1 };
        if server.missing >= MISSING {
            server.missing = 0;
            self.resume_registrations(index, PACE, now);
        }
    }

    /// Something came from the server.
    pub(super) fn handle_heard(&mut self, index: usize, now: Instant) {
        let server = &mut self.servers[index];
        server.heard = now;
        if !std::mem::replace(&mut server.alive, true) {
            self.resume_registrations(index, PACE, now);
            self.announce_contacts(index, PACE, now);
        }
    }

    pub(super) fn handle_up(&mut self, peer: Peer, local: SocketAddr, now: Instant) {
        let Some(index) = self.servers.iter().position(|server| server.peer == peer) else { return };
        let server = &mut self.servers[index];
        (server.local, server.is_up, server.opening) = (Some(local), true, None);
        (server.heard, server.due) = (now, now + HEARTBEAT);
        self.beat(index);
        self.settle_server(index);
    }

    pub(super) fn handle_down(&mut self, peer: Peer, now: Instant) {
        let Some(index) = self.servers.iter().position(|server| server.peer == peer) else { return };
        let server = &mut self.servers[index];
        (server.is_up, server.opening, server.alive, server.due) = (false, None, false, now + REOPEN);
        self.suspend_registrations(index, "sip-server-unreachable");
        self.look_up(index, now);
        self.settle_server(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::test_clock;
    use crate::sip::agent::{AgentSettings, Identity, SipNews};
    use crate::sip::command::{SipEvent, Transport};
    use crate::sip::message::{SipRequest, SipResponse};
    use crate::user::User;
    use gateway_protocol::ClientId;
    use std::collections::BTreeMap;

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 5_060))
    }

    /// A server over UDP and what it knows, played by the test.
    struct World {
        agent: Agent,
        now: Instant,
        /// Contacts by address of record.
        bindings: BTreeMap<String, String>,
        registers: Vec<Instant>,
    }

    impl World {
        fn with(users: u64) -> Self {
            let server = Peer { transport: Transport::Udp, addr: addr(1) };
            let settings = AgentSettings {
                servers: vec![server],
                trusted: Vec::new(),
                domain: "example.org".into(),
                realm: "example.org".into(),
                session_expires: Duration::from_secs(180),
                legs: 10,
                legs_per_lease: 2,
                user_agent: "test".into(),
            };
            let now = test_clock();
            let mut agent = Agent::new(settings, &mut |bytes: &mut [u8]| bytes.fill(7), now);
            agent.handle(SipEvent::Up { peer: server, local: addr(2) }, now);
            let mut world = Self { agent, now, bindings: BTreeMap::new(), registers: Vec::new() };
            for user in 1..=users {
                let identity = Identity {
                    user: User::parse(&format!("user-{user}")).expect("a name"),
                    client_id: ClientId::parse(format!("tab-{user}")).expect("an id"),
                    credentials: None,
                    generation: 1,
                };
                world.agent.attach(LeaseId(user), identity, false, now);
            }
            world.pass(Duration::from_secs(1));
            world
        }

        fn pass(&mut self, span: Duration) {
            let until = self.now + span;
            loop {
                while let Some(command) = self.agent.next_command() {
                    if let SipCommand::Request { transaction, request, .. } = command {
                        let response = self.answer(&request);
                        self.agent.handle(SipEvent::Response { transaction, response }, self.now);
                    }
                }
                match self.agent.poll_timeout() {
                    Some((due, _)) if due <= until => self.now = self.now.max(due),
                    _ => break,
                }
                self.agent.handle_timeout(self.now);
            }
            self.now = until;
        }

        fn answer(&mut self, request: &SipRequest) -> SipResponse {
            let mut response = SipResponse::to(request, 200, "server");
            if request.method == Method::Register {
                let user = request.headers.get("To").expect("whose").to_owned();
                if let Some(contact) = request.headers.get("Contact") {
                    self.registers.push(self.now);
                    self.bindings.insert(user.clone(), contact.to_owned());
                }
                self.bindings.get(&user).into_iter().for_each(|contact| response.headers.push("Contact", contact));
            } else {
                assert_eq!((&request.method, request.uri.as_str()), (&Method::Options, "sip:example.org"));
            }
            response
        }

        fn told(&mut self) -> Vec<SipNews> {
            std::iter::from_fn(|| self.agent.next_news()).collect()
        }
    }

    #[test]
    fn users_that_a_server_forgot_register_again_and_are_told_nothing() {
        let mut world = World::with(50);
        assert_eq!((world.registers.len(), world.agent.registered()), (50, 50));
        world.told();
        world.bindings.clear();
        world.pass(Duration::from_secs(3));
        assert_eq!(world.bindings.len(), 50);
        assert_eq!(world.told(), []);
        let paced = &world.registers[world.registers.len() - 50..];
        assert_eq!(paced[49] - paced[0], PACE * 49);
    }

    #[test]
    fn a_binding_that_is_missing_alone_is_that_users_own_matter() {
        let mut world = World::with(50);
        world.bindings.pop_first();
        world.pass(Duration::from_secs(30));
        assert_eq!((world.bindings.len(), world.registers.len()), (50, 51));
    }

    #[test]
    fn the_addresses_of_a_name_take_turns() {
        assert_eq!(another(addr(1), &[addr(2)]), Some(addr(2)));
        assert_eq!(another(addr(1), &[addr(1), addr(2)]), Some(addr(2)));
        assert_eq!(another(addr(2), &[addr(1), addr(2)]), Some(addr(1)));
        assert_eq!(another(addr(3), &[addr(1), addr(2)]), Some(addr(1)));
    }

    #[test]
    fn a_name_that_says_nothing_new_changes_nothing() {
        assert_eq!(another(addr(1), &[]), None);
        assert_eq!(another(addr(1), &[addr(1)]), None);
    }
}
