//! The task behind a [`super::SipLine`]: owns connections and the books of transactions, and hands each message to where it
//! belongs.

use super::aging::Aging;
use super::client::{self, Acknowledged, Target, ack};
use super::convert::{request_from_wire, request_to_wire, response_from_wire, response_to_wire};
use super::flow::{Flow, FlowNote, Flows, Pipe, wire_addr};
use super::frame::Parsed;
use super::server;
use super::servers::Servers;
use super::{Counts, Inbound};
use futures_util::FutureExt;
use gateway_core::sip::{
    ClientTransaction, Peer, SendFailure, ServerTransaction, SipCommand, SipEvent, SipRequest, SipResponse, Transport,
    tag_of,
};
use rsipstack::sip::{HeadersExt, Method, Request, Response, SipMessage, StatusCodeKind};
use rsipstack::transaction::TransactionReceiver;
use rsipstack::transaction::endpoint::EndpointInnerRef;
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transport::SipConnection;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Requests from others without a final answer; more are dropped, for their senders to repeat.
const MAX_SERVER_TRANSACTIONS: usize = 16_384;
/// Of these from one peer, so that one who never sends ACK leaves the others room.
const MAX_PER_PEER: usize = 4_096;
/// Of those of one peer that begin something new; the rest is kept for calls that are there.
const MAX_NEW_PER_PEER: usize = 3_072;
/// Requests of ours without a final answer; more fail at once.
const MAX_CLIENT_TRANSACTIONS: usize = 65_536;
/// Responses of one request that wait to be sent; more are dropped.
const MAX_RESPONSES: usize = 16;
/// Requests that wait for one connection; more fail at once.
const MAX_WAITING: usize = 4_096;

/// What every transaction's task needs.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) endpoint: EndpointInnerRef,
    events: mpsc::Sender<SipEvent>,
    /// Bounded by the number of transactions.
    notes: mpsc::UnboundedSender<Note>,
    pub(super) t1: Duration,
}

impl Context {
    /// Waits while the machine is behind. After its end nobody cares.
    pub(super) async fn emit(&self, event: SipEvent) {
        let _ = self.events.send(event).await;
    }

    pub(super) fn note(&self, note: Note) {
        let _ = self.notes.send(note);
    }
}

/// What a transaction's task tells.
#[derive(Debug)]
pub(super) enum Note {
    ClientEnded(ClientTransaction),
    Acknowledged(Box<Acknowledged>),
    ServerEnded(ServerTransaction),
    /// A server's name leads there.
    Found(usize, Vec<SocketAddr>),
}

/// An ACK to a 2xx names its INVITE by these: Call-ID, the caller's tag, the number in CSeq.
type AckKey = (String, String, u32);

struct Server {
    from: Peer,
    responses: mpsc::Sender<SipResponse>,
    target: Target,
    /// Of an INVITE.
    ack_key: Option<AckKey>,
    is_accepted: bool,
}

/// An INVITE that we answered with a 2xx.
#[derive(Debug)]
struct Accepted {
    id: ServerTransaction,
    /// The To tag of the first 2xx; rsipstack waits for the ACK to that one.
    tag: String,
    is_acked: bool,
}

/// Waits for a connection.
enum Waiting {
    Request(ClientTransaction, SipRequest, Arc<Notify>),
    Send(SipRequest),
}

/// One UDP socket.
pub(super) struct Datagrams {
    pub(super) connection: SipConnection,
    pub(super) local: SocketAddr,
}

/// The ends of its channels.
pub(super) struct Ends {
    pub(super) commands: mpsc::UnboundedReceiver<SipCommand>,
    pub(super) inbound: mpsc::Receiver<Inbound>,
    pub(super) flow_notes: mpsc::UnboundedReceiver<FlowNote>,
    pub(super) events: mpsc::Sender<SipEvent>,
}

/// See the module.
pub(super) struct Line {
    context: Context,
    incoming: TransactionReceiver,
    flows: Flows,
    datagrams: Vec<Datagrams>,
    names: Servers,
    counts: Arc<Counts>,
    up: HashMap<Peer, Flow>,
    opening: HashMap<Peer, Vec<Waiting>>,
    /// The machine waits for [`SipEvent::Up`] or [`SipEvent::Down`].
    asked: HashSet<Peer>,
    /// Servers: of whom flows are kept when they break.
    kept: HashSet<Peer>,
    /// Between two connections.
    pipes: HashMap<Peer, Pipe>,
    clients: HashMap<ClientTransaction, Arc<Notify>>,
    servers: HashMap<ServerTransaction, Server>,
    /// How many of the servers are for each peer.
    load: HashMap<Peer, usize>,
    next_server: u64,
    acknowledged: Aging<TransactionKey, Acknowledged>,
    accepted: Aging<AckKey, Accepted>,
    /// Where answers to an INVITE go when its transaction has ended with a 2xx: one that comes again must go out again.
    late: Aging<ServerTransaction, Target>,
}

impl Line {
    /// Runs until the handle is gone.
    pub(super) async fn run(
        endpoint: EndpointInnerRef,
        incoming: TransactionReceiver,
        flows: Flows,
        datagrams: Vec<Datagrams>,
        names: Servers,
        t1: Duration,
        mut ends: Ends,
    ) {
        let (notes, mut noted) = mpsc::unbounded_channel();
        let counts = flows.counts.clone();
        let context = Context { endpoint, events: ends.events, notes, t1 };
        let life = t1 * 64;
        let mut line = Self {
            context,
            incoming,
            flows,
            datagrams,
            names,
            counts,
            up: HashMap::new(),
            opening: HashMap::new(),
            asked: HashSet::new(),
            kept: HashSet::new(),
            pipes: HashMap::new(),
            clients: HashMap::new(),
            servers: HashMap::new(),
            load: HashMap::new(),
            next_server: 0,
            acknowledged: Aging::new(life),
            accepted: Aging::new(life),
            late: Aging::new(life),
        };
        let mut sweep = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                biased;
                Some(note) = noted.recv() => line.note(note).await,
                Some(note) = ends.flow_notes.recv() => line.flow_note(note).await,
                command = ends.commands.recv() => match command {
                    Some(command) => line.act(command).await,
                    None => return,
                },
                Some(inbound) = ends.inbound.recv() => line.receive(inbound).await,
                now = sweep.tick() => {
                    line.acknowledged.drop_old(now);
                    line.accepted.drop_old(now);
                    line.late.drop_old(now);
                }
            }
        }
    }

    async fn note(&mut self, note: Note) {
        match note {
            Note::Found(server, addrs) => {
                self.names.note_found(server, &addrs);
                self.context.emit(SipEvent::Found { server, addrs }).await;
            }
            Note::ClientEnded(id) => {
                self.clients.remove(&id);
            }
            Note::Acknowledged(acknowledged) => {
                let key = request_to_wire(&acknowledged.invite)
                    .ok()
                    .and_then(|invite| TransactionKey::from_request(&invite, TransactionRole::Client).ok());
                if let Some(key) = key {
                    self.acknowledged.insert(key, *acknowledged, Instant::now());
                }
            }
            Note::ServerEnded(id) => {
                let Some(server) = self.servers.remove(&id) else { return };
                if let Some(load) = self.load.get_mut(&server.from) {
                    *load -= 1;
                    if *load == 0 {
                        self.load.remove(&server.from);
                    }
                }
                if server.is_accepted {
                    self.late.insert(id, server.target, Instant::now());
                }
            }
        }
    }

    async fn flow_note(&mut self, note: FlowNote) {
        match note {
            FlowNote::Up(flow) => {
                let (peer, local) = (flow.peer, flow.local);
                self.up.insert(peer, flow);
                if self.asked.remove(&peer) {
                    self.names.note_reached(peer);
                    self.context.emit(SipEvent::Up { peer, local }).await;
                }
                for waiting in self.opening.remove(&peer).unwrap_or_default() {
                    self.start(waiting, peer).await;
                }
            }
            FlowNote::Failed(peer, pipe, why) => {
                self.keep(peer, pipe);
                for waiting in self.opening.remove(&peer).unwrap_or_default() {
                    self.fail(waiting).await;
                }
                if self.asked.remove(&peer) {
                    self.names.note_failed(peer, why);
                    self.context.emit(SipEvent::Down { peer }).await;
                }
            }
            FlowNote::Down(peer, id, pipe) => {
                if self.up.get(&peer).is_some_and(|flow| flow.id == id) {
                    self.up.remove(&peer);
                    self.keep(peer, Some(pipe));
                    self.context.emit(SipEvent::Down { peer }).await;
                }
            }
        }
    }

    fn keep(&mut self, peer: Peer, pipe: Option<Pipe>) {
        if let Some(pipe) = pipe.filter(|_| self.kept.contains(&peer)) {
            self.pipes.insert(peer, pipe);
        }
    }

    async fn act(&mut self, command: SipCommand) {
        match command {
            SipCommand::Open { peer } => self.open(peer).await,
            SipCommand::Forget { peer } => {
                self.asked.remove(&peer);
                self.flows.sources.forget(peer.addr);
                self.names.forget(peer);
                self.kept.remove(&peer);
                self.pipes.remove(&peer);
            }
            SipCommand::LookUp { server } => {
                let (found, context) = (self.names.look_up(server), self.context.clone());
                tokio::spawn(async move { context.note(Note::Found(server, found.await)) });
            }
            SipCommand::Request { transaction, to, request } => {
                let cancel = Arc::new(Notify::new());
                let request = Waiting::Request(transaction, request, cancel.clone());
                if self.clients.len() >= MAX_CLIENT_TRANSACTIONS {
                    return self.fail(request).await;
                }
                self.clients.insert(transaction, cancel);
                self.start(request, to).await;
            }
            SipCommand::Send { to, request } => self.start(Waiting::Send(request), to).await,
            SipCommand::Cancel(transaction) => {
                if let Some(cancel) = self.clients.get(&transaction) {
                    cancel.notify_one();
                }
            }
            SipCommand::Respond { transaction, response } => self.respond(transaction, response).await,
        }
    }

    async fn open(&mut self, peer: Peer) {
        self.flows.sources.open(peer.addr);
        let local = match peer.transport {
            Transport::Udp => self.datagrams_to(peer).map(|datagrams| seen_by(datagrams.local, peer.addr)),
            Transport::Tcp | Transport::Tls => self.up.get(&peer).map(|flow| flow.local),
        };
        match (local, peer.transport) {
            (Some(local), _) => self.context.emit(SipEvent::Up { peer, local }).await,
            (None, Transport::Udp) => self.context.emit(SipEvent::Down { peer }).await,
            (None, Transport::Tcp | Transport::Tls) => {
                self.asked.insert(peer);
                self.kept.insert(peer);
                self.connect(peer);
            }
        }
    }

    /// The requests that wait for it.
    fn connect(&mut self, peer: Peer) -> &mut Vec<Waiting> {
        self.opening.entry(peer).or_insert_with(|| {
            tokio::spawn(self.flows.clone().open(peer, self.names.host_of(peer), self.pipes.remove(&peer)));
            Vec::new()
        })
    }

    async fn start(&mut self, what: Waiting, to: Peer) {
        let Some(target) = self.target(to) else {
            if to.transport == Transport::Udp {
                return self.fail(what).await;
            }
            let waiting = self.connect(to);
            if waiting.len() >= MAX_WAITING {
                return self.fail(what).await;
            }
            return waiting.push(what);
        };
        match what {
            Waiting::Request(id, request, cancel) => {
                tokio::spawn(client::run(self.context.clone(), id, request, target, cancel));
            }
            Waiting::Send(request) => match request_to_wire(&request) {
                Ok(request) => target.send(request).await,
                Err(_) => tracing::error!("a request that can't be sent"),
            },
        }
    }

    async fn fail(&mut self, what: Waiting) {
        if let Waiting::Request(transaction, ..) = what {
            self.clients.remove(&transaction);
            self.context.emit(SipEvent::Failed { transaction, why: SendFailure::Unreachable }).await;
        }
    }

    fn target(&self, peer: Peer) -> Option<Target> {
        let (connection, tether) = match peer.transport {
            Transport::Udp => (self.datagrams_to(peer)?.connection.clone(), None),
            Transport::Tcp | Transport::Tls => {
                let flow = self.up.get(&peer)?;
                (flow.connection.clone(), Some(flow.tether.clone()))
            }
        };
        Some(Target { connection, addr: wire_addr(peer), tether })
    }

    fn datagrams_to(&self, peer: Peer) -> Option<&Datagrams> {
        // A server whose name leads nowhere yet has no port.
        let is_reached = |datagrams: &&Datagrams| datagrams.local.is_ipv4() == peer.addr.is_ipv4();
        self.datagrams.iter().find(is_reached).filter(|_| peer.addr.port() != 0)
    }

    async fn respond(&mut self, id: ServerTransaction, response: SipResponse) {
        let Some(server) = self.servers.get_mut(&id) else {
            if let (Some(target), true, Ok(wire)) =
                (self.late.get_mut(&id), response.is_success(), response_to_wire(&response))
            {
                target.send(wire).await;
            }
            return;
        };
        if let (true, Some(key), false) = (response.is_success(), &server.ack_key, server.is_accepted) {
            server.is_accepted = true;
            let tag = response.headers.get("To").and_then(tag_of).unwrap_or_default();
            self.accepted.insert(key.clone(), Accepted { id, tag, is_acked: false }, Instant::now());
        }
        if server.responses.try_send(response).is_err() {
            tracing::warn!("a response was dropped, too many wait");
        }
    }

    async fn receive(&mut self, Inbound { parsed, from, connection }: Inbound) {
        // rsipstack's transactions are foreign code over foreign bytes.
        let handled = AssertUnwindSafe(self.handle(parsed, from, connection)).catch_unwind().await;
        if handled.is_err() {
            self.counts.unreadable.fetch_add(1, Ordering::Relaxed);
            tracing::error!("a message made the transaction layer panic");
        }
    }

    async fn handle(&mut self, parsed: Parsed, from: Peer, connection: SipConnection) {
        let message = match parsed {
            Parsed::Message(message) => message,
            Parsed::Refused(request, status) => return self.refuse(&request, status, from, connection).await,
        };
        let transport = wire_addr(from).r#type.unwrap_or_default();
        let Ok(message) = SipConnection::update_msg_received(message, from.addr, transport) else {
            self.counts.unreadable.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let is_done = match &message {
            SipMessage::Request(request) if request.method == Method::Ack => self.take_ack(request).await,
            SipMessage::Request(request) => {
                self.answer_again(request, from, &connection).await || !self.has_room_for(request, from)
            }
            SipMessage::Response(response) => {
                self.take_again(response, from, &connection).await || !self.is_asked_for(response)
            }
        };
        if is_done {
            return;
        }
        let handed_over = self.context.endpoint.on_received_message(message, connection, &wire_addr(from)).await;
        if let Err(error) = handed_over {
            self.counts.unreadable.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%error, "a message can't be matched");
        }
        match self.incoming.try_recv() {
            Ok(transaction) => self.serve(transaction, from).await,
            // It is another task's to tell; what came behind it on the same connection is told after it.
            Err(_) => tokio::task::yield_now().await,
        }
    }

    /// What comes again and CANCEL always have room.
    fn has_room_for(&self, request: &Request, from: Peer) -> bool {
        let is_within_dialog = request.to_header().is_ok_and(|to| tag_of(to.value()).is_some());
        let most = if is_within_dialog { MAX_PER_PEER } else { MAX_NEW_PER_PEER };
        let is_full =
            self.servers.len() >= MAX_SERVER_TRANSACTIONS || self.load.get(&from).is_some_and(|load| *load >= most);
        if !is_full || request.method == Method::Cancel {
            return true;
        }
        let is_known =
            TransactionKey::from_request(request, TransactionRole::Server).is_ok_and(|key| self.is_known(&key));
        if !is_known {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
        }
        is_known
    }

    fn is_asked_for(&self, response: &Response) -> bool {
        let is_known =
            TransactionKey::from_response(response, TransactionRole::Client).is_ok_and(|key| self.is_known(&key));
        if !is_known {
            self.counts.unmatched.fetch_add(1, Ordering::Relaxed);
        }
        is_known
    }

    fn is_known(&self, key: &TransactionKey) -> bool {
        self.context.endpoint.transactions.contains_key(key)
            || self.context.endpoint.finished_transactions.contains_key(key)
    }

    async fn serve(&mut self, mut transaction: rsipstack::transaction::Transaction, from: Peer) {
        let target = Target {
            connection: transaction
                .connection
                .clone()
                .expect("rsipstack gives every server transaction its connection"),
            addr: wire_addr(from),
            tether: None,
        };
        transaction.destination = Some(target.addr.clone());
        let Ok(request) = request_from_wire(&transaction.original) else {
            self.counts.malformed.fetch_add(1, Ordering::Relaxed);
            let _ = transaction.reply(rsipstack::sip::StatusCode::UnsupportedMediaType).await;
            return;
        };
        let id = self.next_id();
        let (responses, queue) = mpsc::channel(MAX_RESPONSES);
        let ack_key = ack_key(&transaction.original).filter(|_| transaction.original.method == Method::Invite);
        *self.load.entry(from).or_default() += 1;
        self.servers.insert(id, Server { from, responses, target, ack_key, is_accepted: false });
        self.context.emit(SipEvent::Request { transaction: id, from, request }).await;
        tokio::spawn(server::run(self.context.clone(), id, transaction, queue));
    }

    fn next_id(&mut self) -> ServerTransaction {
        self.next_server += 1;
        ServerTransaction(self.next_server)
    }

    /// True if rsipstack, which knows one ACK per INVITE, need not see it.
    async fn take_ack(&mut self, request: &Request) -> bool {
        let tag = request.to_header().ok().and_then(|to| tag_of(to.value())).unwrap_or_default();
        let is_known =
            TransactionKey::from_request(request, TransactionRole::Server).is_ok_and(|key| self.is_known(&key));
        let accepted = ack_key(request).and_then(|key| self.accepted.get_mut(&key));
        let id = match accepted {
            Some(accepted) if !accepted.is_acked && accepted.tag == tag => {
                accepted.is_acked = true;
                return false;
            }
            Some(accepted) => accepted.id,
            None if is_known => return false,
            // Of a call that was set up before this process was there: a proxy passes it on all the same.
            None => self.next_id(),
        };
        if let Ok(request) = request_from_wire(request) {
            self.context.emit(SipEvent::Acked { transaction: id, request }).await;
        }
        true
    }

    /// A final response to an INVITE that was acknowledged comes again because the ACK was lost, or from another fork. True if
    /// that is what it is.
    async fn take_again(&mut self, response: &Response, from: Peer, connection: &SipConnection) -> bool {
        let is_final = response.status_code.kind() != StatusCodeKind::Provisional;
        let is_invite =
            response.cseq_header().and_then(|cseq| cseq.method()).is_ok_and(|method| method == Method::Invite);
        let Ok(key) = TransactionKey::from_response(response, TransactionRole::Client) else {
            return false;
        };
        if !is_final || !is_invite {
            return false;
        }
        if let Some(acknowledged) = self.acknowledged.get_mut(&key) {
            let Ok(response) = response_from_wire(response) else {
                return true;
            };
            if !response.is_success() {
                return true;
            }
            if let Ok(ack) = request_to_wire(&ack(&acknowledged.invite, &response)) {
                acknowledged.target.send(ack).await;
            }
            let tag = response.headers.get("To").and_then(tag_of);
            if tag != tag_of(&acknowledged.to) {
                self.context.emit(SipEvent::Response { transaction: acknowledged.id, response }).await;
            }
            return true;
        }
        let cached = self.context.endpoint.finished_transactions.get(&key).flatten();
        match cached {
            Some(SipMessage::Request(ack)) if ack.method == Method::Ack => {
                let target = Target { connection: connection.clone(), addr: wire_addr(from), tether: None };
                target.send(ack).await;
                true
            }
            Some(_) | None => false,
        }
    }

    /// A status without a transaction; whoever repeats the request gets it again.
    async fn refuse(&self, request: &Request, status: u16, from: Peer, connection: SipConnection) {
        self.counts.malformed.fetch_add(u64::from(status >= 400), Ordering::Relaxed);
        let without_body = Request { body: Vec::new(), ..request.clone() };
        let Ok(request) = request_from_wire(&without_body) else { return };
        let response = SipResponse::to(&request, status, "refused");
        if let Ok(response) = response_to_wire(&response) {
            Target { connection, addr: wire_addr(from), tether: None }.send(response).await;
        }
    }

    /// Answers what needs no transaction any more, where it came from; rsipstack would go by its Via. True if that was it.
    async fn answer_again(&self, request: &Request, from: Peer, connection: &SipConnection) -> bool {
        let Ok(key) = TransactionKey::from_request(request, TransactionRole::Server) else { return false };
        let is_cancel = request.method == Method::Cancel;
        let answer = match self.context.endpoint.finished_transactions.get(&key).flatten() {
            Some(_) if is_cancel => 200,
            Some(answer) => {
                let target = Target { connection: connection.clone(), addr: wire_addr(from), tether: None };
                target.send(answer).await;
                return true;
            }
            None if is_cancel && !self.context.endpoint.transactions.contains_key(&key) => 481,
            None => return false,
        };
        self.refuse(request, answer, from, connection.clone()).await;
        true
    }
}

fn ack_key(request: &Request) -> Option<AckKey> {
    let call_id = request.call_id_header().ok()?.value().to_owned();
    let tag = tag_of(request.from_header().ok()?.value())?;
    let number = request.cseq_header().ok()?.seq().ok()?;
    Some((call_id, tag, number))
}

/// A socket that is bound to any address sends from the one that the route to the peer has.
fn seen_by(local: SocketAddr, peer: SocketAddr) -> SocketAddr {
    if !local.ip().is_unspecified() {
        return local;
    }
    let ip = UdpSocket::bind((local.ip(), 0)).and_then(|socket| {
        socket.connect(peer)?;
        Ok(socket.local_addr()?.ip())
    });
    SocketAddr::new(ip.unwrap_or(IpAddr::from([127, 0, 0, 1])), local.port())
}
