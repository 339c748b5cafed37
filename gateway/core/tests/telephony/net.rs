//! The network in memory: hands over what one host sends to another as its sockets would, transactions included
//! (RFC 3261 §17): it gives up after 64 × T1, matches CANCEL and ACK, and acknowledges what a client got answered.

use gateway_core::sip::{
    ClientTransaction, Headers, Method, NameAddr, Peer, SendFailure, ServerTransaction, SipCommand, SipEvent,
    SipRequest, SipResponse, tag_of,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// 64 × T1.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(32);

/// A host by its place in the world.
pub(crate) type HostId = usize;

/// A request on its way through one hop.
#[derive(Debug)]
struct Hop {
    from: HostId,
    client: ClientTransaction,
    to: Option<HostId>,
    peer: Peer,
    request: SipRequest,
    since: Instant,
    provisional: bool,
    status: Option<u16>,
    acked: bool,
    cancel: Option<Instant>,
    done: bool,
}

impl Hop {
    fn is_invite(&self) -> bool {
        self.request.method == Method::Invite
    }

    /// When its client gives up, or its server misses the ACK.
    fn deadline(&self) -> Option<Instant> {
        match self.status {
            _ if self.done => None,
            Some(200..300) if self.is_invite() && !self.acked => Some(self.since + GIVE_UP),
            Some(_) => None,
            None if self.is_invite() && self.provisional => self.cancel.map(|at| at + GIVE_UP),
            None => Some(self.since + GIVE_UP),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Net {
    hosts: BTreeMap<SocketAddr, HostId>,
    /// Both ends of what a host opened.
    flows: Vec<(HostId, SocketAddr, Peer)>,
    dead: BTreeSet<HostId>,
    hops: BTreeMap<ServerTransaction, Hop>,
    by_client: BTreeMap<(HostId, ClientTransaction), ServerTransaction>,
    last: u64,
    last_port: u16,
    /// What the names of the servers mean by now.
    pub(crate) names: BTreeMap<usize, Vec<SocketAddr>>,
    pub(crate) lookups: usize,
    pub(crate) forgotten: Vec<Peer>,
    pub(crate) swallow_acks: bool,
    /// What was swallowed.
    late_acks: Vec<(Peer, SipRequest)>,
    /// Goes into the next ACK that a shell sends.
    pub(crate) ack_sdp: Option<String>,
    pub(crate) arrived: VecDeque<(HostId, SipEvent)>,
}

impl Net {
    /// `addr` is where `host` listens.
    pub(crate) fn listen(&mut self, host: HostId, addr: SocketAddr) {
        self.dead.remove(&host);
        self.hosts.insert(addr, host);
    }

    /// The host is gone; its connections are reset, as the kernel does for a dead process.
    pub(crate) fn kill(&mut self, host: HostId) {
        self.vanish(host);
        for (owner, local, peer) in std::mem::take(&mut self.flows) {
            match () {
                () if owner == host => {
                    if let Some(other) = self.hosts.get(&peer.addr).copied() {
                        self.arrived.push_back((other, SipEvent::Down { peer: Peer { addr: local, ..peer } }));
                    }
                }
                () if !self.hosts.contains_key(&peer.addr) => {
                    self.hosts.remove(&local);
                    self.arrived.push_back((owner, SipEvent::Down { peer }));
                }
                () => self.flows.push((owner, local, peer)),
            }
        }
        for hop in self.hops.values_mut().filter(|hop| hop.to == Some(host) && hop.status.is_none() && !hop.done) {
            hop.done = true;
            let failed = SipEvent::Failed { transaction: hop.client, why: SendFailure::Unreachable };
            self.arrived.push_back((hop.from, failed));
        }
    }

    /// Another process runs there.
    pub(crate) fn revive(&mut self, host: HostId) {
        self.dead.remove(&host);
        self.by_client.retain(|(owner, _), _| *owner != host);
    }

    /// Higher than whatever anybody has counted so far.
    pub(crate) fn count(&self) -> u64 {
        self.last * 1_000
    }

    /// The host is gone without a word, as with its power.
    pub(crate) fn vanish(&mut self, host: HostId) {
        self.dead.insert(host);
        self.hosts.retain(|_, owner| *owner != host);
        self.arrived.retain(|(to, _)| *to != host);
    }

    /// Does what a host's machine wants.
    pub(crate) fn act(&mut self, host: HostId, ip: IpAddr, command: SipCommand, now: Instant) {
        match command {
            SipCommand::Open { peer } => self.open(host, ip, peer),
            SipCommand::Forget { peer } => self.forgotten.push(peer),
            SipCommand::LookUp { server } => {
                self.lookups += 1;
                let addrs = self.names.get(&server).cloned().unwrap_or_default();
                self.arrived.push_back((host, SipEvent::Found { server, addrs }));
            }
            SipCommand::Request { transaction, to, request } if request.method == Method::Cancel => {
                self.foreign_cancel(host, transaction, to, &request, now);
            }
            SipCommand::Request { transaction, to, request } => {
                self.request((host, ip), transaction, to, request, now);
            }
            SipCommand::Send { to, request } => self.acknowledge(to, request),
            SipCommand::Cancel(transaction) => self.cancel(host, transaction, now),
            SipCommand::Respond { transaction, response } => self.respond(host, transaction, response, now),
        }
    }

    fn open(&mut self, host: HostId, ip: IpAddr, peer: Peer) {
        if !self.hosts.contains_key(&peer.addr) {
            return self.arrived.push_back((host, SipEvent::Down { peer }));
        }
        let local = self.flow(host, ip, peer);
        self.arrived.push_back((host, SipEvent::Up { peer, local }));
    }

    /// The host's end of its flow to a peer, which is opened if need be.
    fn flow(&mut self, host: HostId, ip: IpAddr, peer: Peer) -> SocketAddr {
        if let Some((_, local, _)) = self.flows.iter().find(|(owner, _, to)| *owner == host && *to == peer) {
            return *local;
        }
        self.last_port += 1;
        let local = SocketAddr::new(ip, 40_000 + self.last_port);
        self.hosts.insert(local, host);
        self.flows.push((host, local, peer));
        local
    }

    /// Where a host's messages to a peer come from.
    fn source(&mut self, host: HostId, ip: IpAddr, to: Peer) -> Peer {
        let listens = self.hosts.iter().find(|(addr, owner)| **owner == host && addr.port() == 5_060);
        let addr = listens.map(|(addr, _)| *addr);
        Peer { addr: addr.unwrap_or_else(|| self.flow(host, ip, to)), ..to }
    }

    fn request(
        &mut self,
        (host, ip): (HostId, IpAddr),
        client: ClientTransaction,
        to: Peer,
        request: SipRequest,
        now: Instant,
    ) {
        clean(&request.uri, &request.headers);
        self.last += 1;
        let server = ServerTransaction(self.last);
        let at = self.hosts.get(&to.addr).copied();
        let hop = Hop {
            from: host,
            client,
            to: at,
            peer: to,
            request: request.clone(),
            since: now,
            provisional: false,
            status: None,
            acked: false,
            cancel: None,
            done: at.is_none(),
        };
        let known = self.by_client.insert((host, client), server);
        assert!(known.is_none(), "{client:?} was used before");
        match at {
            None => {
                let failed = SipEvent::Failed { transaction: client, why: SendFailure::Unreachable };
                self.arrived.push_back((host, failed));
            }
            Some(at) => {
                let from = self.source(host, ip, to);
                self.arrived.push_back((at, SipEvent::Request { transaction: server, from, request }));
            }
        }
        self.hops.insert(server, hop);
    }

    fn respond(&mut self, host: HostId, server: ServerTransaction, response: SipResponse, now: Instant) {
        clean("", &response.headers);
        let Some(hop) = self.hops.get_mut(&server) else { panic!("{host} answers what nobody asked: {response:?}") };
        assert_eq!(hop.to, Some(host), "who answers was asked");
        let again = hop.is_invite() && hop.status.is_some_and(|status| (200..300).contains(&status));
        assert!(hop.status.is_none() || again, "{:?} is answered twice: {response:?}", hop.request);
        hop.provisional = true;
        if response.is_final() && hop.status.is_none() {
            hop.status = Some(response.status);
            hop.since = now;
        }
        let (from, client, done, peer) = (hop.from, hop.client, hop.done, hop.peer);
        if done || self.dead.contains(&from) {
            return;
        }
        let accepted = hop.is_invite() && response.is_success();
        let mut ack = (accepted && response.headers.all("Via").count() == 1).then(|| ack(&hop.request, &response));
        if let Some(ack) = &mut ack {
            ack.body = self.ack_sdp.take().map(gateway_core::sip::Body::sdp);
        }
        let cancel = hop.status.is_none() && hop.cancel.is_some();
        self.arrived.push_back((from, SipEvent::Response { transaction: client, response }));
        if let Some(ack) = ack {
            self.acknowledge(peer, ack);
        }
        if cancel {
            self.pass_cancel(server);
        }
        if self.hops.get(&server).is_some_and(|hop| !hop.is_invite() && hop.status.is_some()) {
            self.hops.remove(&server);
        }
    }

    fn acknowledge(&mut self, to: Peer, ack: SipRequest) {
        clean(&ack.uri, &ack.headers);
        if self.swallow_acks {
            return self.late_acks.push((to, ack));
        }
        let Some(host) = self.hosts.get(&to.addr).copied() else { return };
        let tag = |request: &SipRequest| request.headers.get("From").and_then(tag_of);
        let meant = |hop: &Hop| {
            hop.is_invite()
                && hop.to == Some(host)
                && hop.request.headers.get("Call-ID") == ack.headers.get("Call-ID")
                && hop.request.cseq() == ack.cseq()
                && tag(&hop.request) == tag(&ack)
        };
        if let Some((server, hop)) = self.hops.iter_mut().find(|(_, hop)| meant(hop)) {
            hop.acked = true;
            self.arrived.push_back((host, SipEvent::Acked { transaction: *server, request: ack }));
        }
    }

    /// What was swallowed arrives after all.
    pub(crate) fn release_acks(&mut self) {
        self.swallow_acks = false;
        for (to, ack) in std::mem::take(&mut self.late_acks) {
            self.acknowledge(to, ack);
        }
    }

    fn cancel(&mut self, host: HostId, client: ClientTransaction, now: Instant) {
        let Some(server) = self.by_client.get(&(host, client)).copied() else { return };
        let Some(hop) = self.hops.get_mut(&server).filter(|hop| hop.status.is_none() && hop.cancel.is_none()) else {
            return;
        };
        hop.cancel = Some(now);
        if hop.provisional {
            self.pass_cancel(server);
        }
    }

    fn pass_cancel(&mut self, server: ServerTransaction) {
        let hop = self.hops.get_mut(&server).expect("it is being cancelled");
        if let Some(to) = hop.to.filter(|to| !self.dead.contains(to)) {
            self.arrived.push_back((to, SipEvent::Cancelled(server)));
        }
    }

    /// A CANCEL of somebody who did not send the INVITE: matched by branch and sent-by alone (RFC 3261 §9.2).
    fn foreign_cancel(&mut self, host: HostId, client: ClientTransaction, to: Peer, cancel: &SipRequest, now: Instant) {
        clean(&cancel.uri, &cancel.headers);
        let at = self.hosts.get(&to.addr).copied();
        let via = |request: &SipRequest| request.headers.get("Via").map(via_key);
        let meant = |hop: &Hop| {
            hop.is_invite()
                && hop.to == at
                && via(&hop.request) == via(cancel)
                && hop.request.cseq() == cancel.cseq()
                && hop.request.uri == cancel.uri
        };
        let found = self.hops.iter_mut().find(|(_, hop)| meant(hop)).map(|(server, hop)| (*server, hop));
        let status = if found.is_some() { 200 } else { 481 };
        if let Some((server, hop)) = found
            && hop.status.is_none()
            && hop.cancel.is_none()
        {
            hop.cancel = Some(now);
            self.pass_cancel(server);
        }
        let response = SipResponse::to(cancel, status, "c");
        self.arrived.push_back((host, SipEvent::Response { transaction: client, response }));
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.hops.values().filter_map(Hop::deadline).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for (server, hop) in self.hops.iter_mut().filter(|(_, hop)| hop.deadline().is_some_and(|at| at <= now)) {
            hop.done = true;
            let (to, event) = match hop.status {
                Some(_) => (hop.to, SipEvent::NeverAcked(*server)),
                None => (Some(hop.from), SipEvent::Failed { transaction: hop.client, why: SendFailure::TimedOut }),
            };
            if let Some(to) = to.filter(|to| !self.dead.contains(to)) {
                self.arrived.push_back((to, event));
            }
        }
    }

    /// Requests of a host that have no final answer yet.
    pub(crate) fn open_requests(&self, host: HostId) -> usize {
        self.hops.values().filter(|hop| hop.from == host && hop.status.is_none() && !hop.done).count()
    }
}

/// No line ends within what will be one line of a message.
fn clean(uri: &str, headers: &Headers) {
    let dirty = |text: &str| text.chars().any(char::is_control);
    assert!(!dirty(uri) && !uri.contains(' '), "the Request-URI {uri:?}");
    for (name, value) in headers.iter() {
        assert!(!dirty(name) && !dirty(value), "{name}: {value:?}");
    }
}

/// Branch and sent-by of a Via.
fn via_key(via: &str) -> (String, String) {
    let sent_by = via.split([' ', ';']).nth(1).unwrap_or_default();
    let branch = via.split(';').find_map(|part| part.trim().strip_prefix("branch=")).unwrap_or_default();
    (sent_by.to_owned(), branch.to_owned())
}

/// RFC 3261 §13.2.2.4.
fn ack(invite: &SipRequest, response: &SipResponse) -> SipRequest {
    let mut headers = Headers::default();
    headers.push("Via", format!("{}-ack", invite.headers.get("Via").unwrap_or_default()));
    let mut routes = NameAddr::list(response.headers.all("Record-Route"));
    routes.reverse();
    match invite.headers.get("To").and_then(tag_of) {
        Some(_) => invite.headers.all("Route").for_each(|route| headers.push("Route", route)),
        None => routes.iter().for_each(|route| headers.push("Route", route.to_string())),
    }
    headers.push("Max-Forwards", "70");
    for (name, source) in [("From", &invite.headers), ("To", &response.headers), ("Call-ID", &invite.headers)] {
        headers.push(name, source.get(name).unwrap_or_default());
    }
    headers.push("CSeq", format!("{} ACK", invite.cseq().unwrap_or_default()));
    let contact = NameAddr::list(response.headers.all("Contact")).into_iter().next();
    let uri = contact.map_or_else(|| invite.uri.clone(), |contact| contact.uri);
    SipRequest { method: Method::Ack, uri, headers, body: None }
}
