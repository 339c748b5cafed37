//! One instance on a test bench: time is stepped, offers are answered, and what sockets and media got is kept.

use gateway_core::instance::Settings;
use gateway_core::session::Earlier;
use gateway_core::{
    Command, Instance, Limits, MediaChange, OfferRefused, PeerId, Refusal, Reserve, SealKey, SealRing, SocketId, User,
};
use gateway_protocol::message::{Event, FailReason, Outcome, Request};
use gateway_protocol::{ClientMessage, CloseCode, ServerMessage, SignedIn};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An offer that the media plane of the bench refuses.
pub(crate) const BAD_OFFER: &str = "bad";

type Random = Box<dyn FnMut(&mut [u8])>;

pub(crate) struct Bench {
    pub(crate) instance: Instance<Random>,
    pub(crate) now: Instant,
    pub(crate) sent: BTreeMap<SocketId, Vec<ServerMessage>>,
    pub(crate) closed: BTreeMap<SocketId, CloseCode>,
    /// Peers that the media plane has.
    pub(crate) peers: Vec<PeerId>,
    pub(crate) exited: bool,
    last_socket: u64,
    last_request: u64,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::limited(Limits::default())
    }

    #[allow(clippy::disallowed_methods, reason = "one instant to count from")]
    pub(crate) fn limited(limits: Limits) -> Self {
        let now = Instant::now();
        let settings = Settings {
            instance_id: "gw".parse().expect("an id"),
            boot_id: "boot".parse().expect("an id"),
            limits,
            ring: SealRing::new(vec![SealKey { id: [1; 4], key: [7; 32] }]).expect("one key"),
            alternates: Vec::new(),
            sip: None,
            drain_deadline: Duration::from_secs(600),
            drain_notice: Duration::from_secs(1),
            shutdown_grace: Duration::from_secs(60),
        };
        Self {
            instance: Instance::new(settings, counting(), now, Duration::from_secs(1_800_000_000)),
            now,
            sent: BTreeMap::new(),
            closed: BTreeMap::new(),
            peers: Vec::new(),
            exited: false,
            last_socket: 0,
            last_request: 0,
        }
    }

    pub(crate) fn reserve(&mut self, user: &str, client: &str) -> Result<SignedIn, Refusal> {
        self.reserve_after(user, client, Earlier::default())
    }

    /// With what a ticket told.
    pub(crate) fn reserve_after(&mut self, user: &str, client: &str, earlier: Earlier) -> Result<SignedIn, Refusal> {
        let request = Reserve {
            user: User::parse(user).expect("a name"),
            client_id: client.parse().expect("an id"),
            recovering: false,
            earlier,
            idempotency_key: None,
        };
        let reserved = self.instance.reserve(request, self.now);
        self.pump();
        reserved
    }

    pub(crate) fn open(&mut self, session: &SignedIn) -> SocketId {
        self.last_socket += 1;
        let socket = SocketId(self.last_socket);
        self.instance.handle_socket_opened(socket, session.session_id.clone(), self.now);
        self.pump();
        socket
    }

    pub(crate) fn attach(&mut self, session: &SignedIn, calls: &[&str]) -> SocketId {
        let socket = self.open(session);
        let calls = calls.iter().map(|call| call.parse().expect("an id")).collect();
        let token = session.session_token.clone();
        self.message(socket, ClientMessage::Attach { token, calls, dead_calls: Vec::new() });
        socket
    }

    /// Signed in and attached.
    pub(crate) fn join(&mut self, user: &str, client: &str) -> (SignedIn, SocketId) {
        let session = self.reserve(user, client).expect("there is a place");
        let socket = self.attach(&session, &[]);
        (session, socket)
    }

    pub(crate) fn message(&mut self, socket: SocketId, message: ClientMessage) {
        self.instance.handle_message(socket, message, self.now);
        self.pump();
    }

    pub(crate) fn cut(&mut self, socket: SocketId) {
        self.instance.handle_socket_closed(socket, self.now);
        self.pump();
    }

    /// Makes a request with a fresh id, and takes its answer.
    pub(crate) fn ask(&mut self, socket: SocketId, request: Request) -> Option<Outcome> {
        self.last_request += 1;
        let id = format!("r{}", self.last_request).parse().expect("an id");
        self.message(socket, ClientMessage::Request { id, request });
        self.outcomes(socket).pop()
    }

    pub(crate) fn call(&mut self, socket: SocketId, call: &str) -> Option<Outcome> {
        let request =
            Request::StartCall { call_id: call.parse().expect("an id"), target: "echo".to_owned(), sdp: String::new() };
        self.ask(socket, request)
    }

    pub(crate) fn media(&mut self, peer: PeerId, change: MediaChange) {
        if matches!(change, MediaChange::PeerClosed | MediaChange::Failed(_)) {
            self.peers.retain(|known| *known != peer);
        }
        self.instance.handle_media(peer, change, self.now);
        self.pump();
    }

    /// Steps to every timer on the way.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.pump();
        let until = self.now + span;
        while self.instance.poll_timeout().0 <= until {
            self.now = self.instance.poll_timeout().0;
            self.tick();
        }
        self.now = until;
    }

    /// The process stands still, and wakes up with nothing in its queues.
    pub(crate) fn freeze(&mut self, span: Duration) {
        self.now += span;
        self.tick();
    }

    fn tick(&mut self) {
        self.instance.handle_timeout(self.now);
        self.pump();
    }

    pub(crate) fn answer_pings(&mut self, socket: SocketId) {
        let nonces: Vec<u32> = self.take(socket).into_iter().filter_map(nonce).collect();
        nonces.into_iter().for_each(|nonce| self.message(socket, ClientMessage::Pong { nonce }));
    }

    /// [`Bench::pass`] with a client that answers each heartbeat.
    pub(crate) fn pass_alive(&mut self, span: Duration, socket: SocketId) {
        let until = self.now + span;
        while self.now < until {
            self.pass(Duration::from_secs(1).min(until - self.now));
            self.answer_pings(socket);
        }
    }

    /// What a socket got since the last look.
    pub(crate) fn take(&mut self, socket: SocketId) -> Vec<ServerMessage> {
        self.sent.remove(&socket).unwrap_or_default()
    }

    pub(crate) fn events(&mut self, socket: SocketId) -> Vec<Event> {
        self.take(socket)
            .into_iter()
            .filter_map(|message| match message {
                ServerMessage::Event { event, .. } => Some(event),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn outcomes(&mut self, socket: SocketId) -> Vec<Outcome> {
        let sent = self.sent.get(&socket).map(Vec::as_slice).unwrap_or_default();
        sent.iter()
            .filter_map(|message| match message {
                ServerMessage::Response { outcome, .. } => Some(outcome.clone()),
                _ => None,
            })
            .collect()
    }

    fn pump(&mut self) {
        while let Some(command) = self.instance.next_command() {
            match command {
                Command::Send { socket, message } => {
                    assert!(!self.closed.contains_key(&socket), "{message:?} after the close");
                    self.sent.entry(socket).or_default().push(*message);
                }
                Command::Close { socket, code, .. } => assert_eq!(self.closed.insert(socket, code), None),
                Command::Accept { peer, offer, .. } => self.answer(peer, &offer),
                Command::RestartIce { peer, .. } => {
                    self.instance.handle_answer(peer, Ok(String::new()), None, self.now)
                }
                Command::ClosePeer(peer) => {
                    let known = self.peers.iter().position(|known| *known == peer).expect("the peer is known");
                    self.peers.remove(known);
                }
                Command::Exit => self.exited = true,
                Command::ConnectFar { .. } | Command::SendDigits { .. } | Command::Sip(_) => {}
            }
        }
    }

    fn answer(&mut self, peer: PeerId, offer: &str) {
        let answer = if offer == BAD_OFFER {
            Err(OfferRefused { reason: FailReason::BadSdp, detail: "bad".to_owned() })
        } else {
            self.peers.push(peer);
            Ok("answer".to_owned())
        };
        self.instance.handle_answer(peer, answer, None, self.now);
    }
}

fn nonce(message: ServerMessage) -> Option<u32> {
    match message {
        ServerMessage::Ping { nonce, .. } => Some(nonce),
        _ => None,
    }
}

/// Bytes that differ each time and are the same in every run.
fn counting() -> Random {
    let mut counter = 0_u64;
    Box::new(move |bytes: &mut [u8]| {
        counter += 1;
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = counter.to_be_bytes()[7 - index % 8] ^ (index / 8) as u8;
        }
    })
}
