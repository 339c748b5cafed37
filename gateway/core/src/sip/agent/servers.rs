//! The SIP servers: a warm flow to each, and a heartbeat of our own, since a hung server keeps its connections.

use super::{ALLOW, Agent, Due, Pending, Purpose, request};
use crate::sip::command::{Peer, SipCommand};
use crate::sip::message::Method;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// OPTIONS goes out this often.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// A server that said nothing for so long is down.
const SILENCE: Duration = Duration::from_millis(1_500);
/// A flow that is down is opened again after this.
const REOPEN: Duration = Duration::from_millis(500);
/// When a server is back, this many users register in a second.
const RATE: u32 = 2_000;

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
    opening: bool,
}

impl Server {
    pub(super) fn new(peer: Peer, now: Instant) -> Self {
        Self { peer, local: None, is_up: false, alive: false, heard: now, due: now, opening: false }
    }
}

impl Agent {
    /// The server that `from` is, if it is one. Over TCP a server may call back from a port of its own.
    pub(super) fn server_of(&self, from: Peer) -> Option<usize> {
        let exact = self.servers.iter().position(|server| server.peer == from);
        exact.or_else(|| {
            let same_host = |server: &super::Server| server.peer.addr.ip() == from.addr.ip();
            let connection = from.transport.is_reliable();
            self.servers
                .iter()
                .position(|server| connection && server.peer.transport == from.transport && same_host(server))
        })
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

    pub(super) fn any_server(&self) -> Option<usize> {
        self.servers.iter().position(|server| server.alive)
    }

    pub(super) fn settle_server(&mut self, server: usize) {
        let due = self.servers[server].due;
        self.timers.set(Due::Server(server), Some((due, "sip server")));
    }

    pub(super) fn handle_server_timeout(&mut self, index: usize, now: Instant) {
        let server = &mut self.servers[index];
        match server.is_up {
            false if !server.opening => {
                server.opening = true;
                server.due = now + SILENCE * 4;
                let peer = server.peer;
                self.commands.push_back(SipCommand::Open { peer });
            }
            false => {
                // Neither up nor down was told in all that time: ask again.
                server.opening = false;
                server.due = now + REOPEN;
            }
            true => {
                server.due = now + HEARTBEAT;
                if server.alive && now.saturating_duration_since(server.heard) >= SILENCE {
                    server.alive = false;
                    self.suspend_registrations(index, "sip-server-silent");
                }
                self.beat(index);
            }
        }
        self.settle_server(index);
    }

    fn beat(&mut self, index: usize) {
        let uri = format!("sip:{}", self.servers[index].peer.addr);
        let (tag, call_id) = (self.names.token(), self.names.token());
        let from = format!("<sip:{}>;tag={tag}", self.settings.domain);
        let mut options = request(Method::Options, &uri, &from, &format!("<{uri}>"), &call_id, 1);
        options.headers.push("Allow", ALLOW);
        let purpose = Purpose::Heartbeat(index);
        self.transmit(Pending { purpose, server: index, request: options, credentials: None, challenged: false });
    }

    /// Something came from the server.
    pub(super) fn handle_heard(&mut self, index: usize, now: Instant) {
        let server = &mut self.servers[index];
        server.heard = now;
        if !std::mem::replace(&mut server.alive, true) {
            let pace = Duration::from_secs(1) / RATE;
            self.resume_registrations(index, pace, now);
            self.announce_contacts(index, pace, now);
        }
    }

    pub(super) fn handle_up(&mut self, peer: Peer, local: SocketAddr, now: Instant) {
        let Some(index) = self.servers.iter().position(|server| server.peer == peer) else { return };
        let server = &mut self.servers[index];
        (server.local, server.is_up, server.opening) = (Some(local), true, false);
        (server.heard, server.due) = (now, now + HEARTBEAT);
        self.beat(index);
        self.settle_server(index);
    }

    pub(super) fn handle_down(&mut self, peer: Peer, now: Instant) {
        let Some(index) = self.servers.iter().position(|server| server.peer == peer) else { return };
        let server = &mut self.servers[index];
        (server.is_up, server.opening, server.alive, server.due) = (false, false, false, now + REOPEN);
        self.suspend_registrations(index, "sip-server-unreachable");
        self.settle_server(index);
    }
}
