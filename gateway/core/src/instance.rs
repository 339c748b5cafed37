//! The whole instance as one machine: every session, every limit, the way in and the way out.
//!
//! One task of the shell owns it. After each `handle_*` (and [`Instance::reserve`] and its like) that task does what
//! [`Instance::next_command`] says; it calls [`Instance::handle_timeout`] at [`Instance::poll_timeout`], but only when no
//! input is waiting: input decides before any deadline is judged.

mod entrance;
mod exit;
mod telephony;

use crate::call::{FarLeg, MediaChange, OfferRefused, PeerId};
use crate::command::{Command, SocketId};
use crate::drain::Drain;
use crate::idempotency::RepeatableSignIns;
use crate::limits::{ATTACH_TIMEOUT, Limits, MAX_TICK_GAP, RECONNECT_WINDOW_MS, TICK, TOMBSTONES};
use crate::load::{Counts, Load};
use crate::random::Random;
use crate::rate::RateLimit;
use crate::refusal::Refusal;
use crate::sdp::FarLocal;
use crate::seal::SealRing;
use crate::session::{Attach, Leave, Session, Surroundings, Wish};
use crate::timers::Timers;
use crate::tombstones::Tombstones;
use crate::user::User;
use gateway_protocol::message::{FailReason, Request, ServiceState};
use gateway_protocol::{BootId, ClientId, ClientMessage, CloseCode, InstanceId, RequestId, SessionId, SessionProbe};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use telephony::Telephony;

pub use entrance::Reserve;
pub use telephony::SipSettings;

/// What an instance is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Which instance.
    pub instance_id: InstanceId,
    /// Which run.
    pub boot_id: BootId,
    /// Its bounds.
    pub limits: Limits,
    /// Keys for capsules and tickets.
    pub ring: SealRing,
    /// Base URLs of other balancers, for the clients.
    pub alternates: Vec<String>,
    /// How it reaches SIP; without it there are the built-in far legs alone.
    pub sip: Option<SipSettings>,
    /// From a drain's start until calls are ended.
    pub drain_deadline: Duration,
    /// From the announced end of the process until everything is closed, at least.
    pub drain_notice: Duration,
    /// How long that end waits for calls, at most.
    pub shutdown_grace: Duration,
}

/// Names a session inside the machine; cheaper than its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64);

#[derive(Debug)]
struct UserLimits {
    sign_ins: RateLimit,
    calls: RateLimit,
}

/// See the module.
#[derive(Debug)]
pub struct Instance<R> {
    settings: Settings,
    random: R,
    /// An instant and its Unix time, refreshed by [`Instance::handle_wall_clock`].
    wall: (Instant, Duration),
    seen: Instant,
    next_tick: Instant,
    sessions: BTreeMap<Key, Session>,
    by_id: BTreeMap<SessionId, Key>,
    by_client: BTreeMap<ClientId, Vec<Key>>,
    attached: BTreeMap<SocketId, Key>,
    unattached: BTreeMap<SocketId, SessionId>,
    peers: BTreeMap<PeerId, Key>,
    users: BTreeMap<User, UserLimits>,
    setups: RateLimit,
    tombstones: Tombstones,
    repeatable: RepeatableSignIns,
    timers: Timers<Key>,
    attach_timers: Timers<SocketId>,
    drain: Drain<Key>,
    around: Surroundings,
    counts: Counts,
    telephony: Option<Telephony>,
    last_key: u64,
    last_peer: u64,
    commands: VecDeque<Command>,
}

impl<R: Random> Instance<R> {
    /// An instance without sessions; `unix` is the wall-clock time of `now`.
    #[must_use]
    pub fn new(mut settings: Settings, mut random: R, now: Instant, unix: Duration) -> Self {
        let telephony = settings.sip.take().map(|sip| Telephony::new(sip, &mut random, now));
        let setups = RateLimit::new(settings.limits.setup_rate, Duration::from_secs(1));
        // A quarter of what an instance can set up, so that those who take the moved clients serve others as well.
        let move_pace = Duration::from_secs(4) / settings.limits.setup_rate.max(1);
        let around = Surroundings { reconnect_window_ms: *RECONNECT_WINDOW_MS.start(), services: vec![available()] };
        Self {
            settings,
            random,
            wall: (now, unix),
            seen: now,
            next_tick: now + TICK,
            sessions: BTreeMap::new(),
            by_id: BTreeMap::new(),
            by_client: BTreeMap::new(),
            attached: BTreeMap::new(),
            unattached: BTreeMap::new(),
            peers: BTreeMap::new(),
            users: BTreeMap::new(),
            setups,
            tombstones: Tombstones::new(TOMBSTONES),
            repeatable: RepeatableSignIns::default(),
            timers: Timers::new(),
            attach_timers: Timers::new(),
            drain: Drain::new(move_pace),
            around,
            counts: Counts::default(),
            telephony,
            last_key: 0,
            last_peer: 0,
            commands: VecDeque::new(),
        }
    }

    /// The wall clock may jump; tell it now and then.
    pub fn handle_wall_clock(&mut self, unix: Duration, now: Instant) {
        self.wall = (now, unix);
    }

    /// Answers a probe.
    pub fn probe(&mut self, id: &SessionId, token: &str, now: Instant) -> Result<SessionProbe, Refusal> {
        self.notice_freeze(now);
        let session = &self.sessions[&self.authorised(id, token)?];
        Ok(SessionProbe {
            instance_id: self.settings.instance_id.clone(),
            boot_id: self.settings.boot_id.clone(),
            session_id: id.clone(),
            state: session.state().ok_or(Refusal::Closed)?,
            calls: session.probed_calls(),
            reconnect_window_ms: self.around.reconnect_window_ms,
        })
    }

    /// Ends a session on its client's wish.
    pub fn sign_off(&mut self, id: &SessionId, token: &str, now: Instant) -> Result<(), Refusal> {
        self.notice_freeze(now);
        let key = self.authorised(id, token)?;
        // Its client wants its calls ended, wherever it is by now.
        self.with(key, |session, _| session.prove());
        self.end(key, CloseCode::Normal, "signed off");
        Ok(())
    }

    fn authorised(&self, id: &SessionId, token: &str) -> Result<Key, Refusal> {
        let key = self.find(id)?;
        if self.sessions[&key].place().token.proves(token) { Ok(key) } else { Err(Refusal::WrongToken) }
    }

    fn find(&self, id: &SessionId) -> Result<Key, Refusal> {
        match self.by_id.get(id) {
            Some(key) => Ok(*key),
            None if self.tombstones.contains(id) => Err(Refusal::Closed),
            None => Err(Refusal::Unknown),
        }
    }

    /// A WebSocket was opened for a session; its verdict is a close code, or comes with its `attach`.
    pub fn handle_socket_opened(&mut self, socket: SocketId, session: SessionId, now: Instant) {
        self.notice_freeze(now);
        if self.drain.has_left() {
            return self.close(socket, CloseCode::Restart, "restarting");
        }
        if self.unattached.len() >= self.settings.limits.unattached_sockets {
            return self.close(socket, CloseCode::Overloaded, "retry=1000");
        }
        self.unattached.insert(socket, session);
        self.attach_timers.set(socket, Some((now + ATTACH_TIMEOUT, "attach")));
    }

    /// A WebSocket is gone.
    pub fn handle_socket_closed(&mut self, socket: SocketId, now: Instant) {
        self.notice_freeze(now);
        self.forget_unattached(socket);
        if let Some(key) = self.attached.remove(&socket) {
            self.with(key, |session, _| {
                if session.socket() == Some(socket) {
                    session.detach(now);
                }
            });
        }
    }

    /// Ends the session of a socket that broke it.
    pub fn end_session_of(&mut self, socket: SocketId) {
        if let Some(key) = self.attached.get(&socket).copied() {
            self.end(key, CloseCode::SessionGone, "a fault of the instance");
        }
    }

    fn forget_unattached(&mut self, socket: SocketId) -> Option<SessionId> {
        self.attach_timers.set(socket, None);
        self.unattached.remove(&socket)
    }

    /// A message came. Whatever does not fit the socket's state is ignored.
    pub fn handle_message(&mut self, socket: SocketId, message: ClientMessage, now: Instant) {
        self.notice_freeze(now);
        let Some(key) = self.attached.get(&socket).copied() else { return self.handle_first(socket, message, now) };
        self.with(key, |session, _| session.handle_heard(now));
        match message {
            ClientMessage::Request { id, request } => self.handle_request(key, id, request, now),
            ClientMessage::Pong { nonce } => self.with(key, |session, _| session.handle_pong(nonce)),
            ClientMessage::Resync {} => self.with(key, Session::handle_resync),
            ClientMessage::Attach { .. } | ClientMessage::Unknown => {}
        }
    }

    fn handle_first(&mut self, socket: SocketId, message: ClientMessage, now: Instant) {
        let ClientMessage::Attach { token, calls, dead_calls } = message else { return };
        let Some(session) = self.forget_unattached(socket) else { return };
        match self.authorised(&session, &token) {
            Ok(key) => {
                self.supersede(key);
                let capsule = self.seal_capsule(key, now);
                self.counts.attaches += 1;
                self.with(key, |session, around| {
                    session.attach(Attach { socket, calls, dead_calls, capsule }, around, now);
                });
                self.attached.insert(socket, key);
                self.greet_when_draining(key, now);
            }
            Err(Refusal::WrongToken) => self.close(socket, CloseCode::Unauthorized, "not the token of this session"),
            Err(_) => self.close(socket, CloseCode::SessionGone, "no such session here"),
        }
    }

    /// Exactly one session is attached per (user, client id): the newest.
    fn supersede(&mut self, newest: Key) {
        let client_id = &self.sessions[&newest].place().client_id;
        let others = self.by_client.get(client_id).cloned().unwrap_or_default();
        for key in others.into_iter().filter(|key| *key != newest) {
            self.counts.superseded += 1;
            self.end(key, CloseCode::Superseded, "a newer session of this tab");
        }
    }

    fn handle_request(&mut self, key: Key, id: RequestId, request: Request, now: Instant) {
        let refused = self.refuses_calls().map(|(reason, _)| reason);
        let user = self.sessions[&key].place().user.clone();
        self.user_limits(&user);
        let Self { sessions, users, settings, last_peer, telephony, counts, .. } = self;
        let (Some(session), Some(user)) = (sessions.get_mut(&key), users.get_mut(&user)) else { return };
        let registered = session.registered();
        let admit = |wish: Wish<'_>| {
            let built_in = match wish {
                Wish::Start(target) => FarLeg::of_target(target),
                Wish::Answer | Wish::Transfer(_) => None,
            };
            if !matches!(wish, Wish::Transfer(_)) {
                refused.map_or(Ok(()), Err)?;
            }
            let far = match (built_in, telephony) {
                (Some(far), _) => far,
                (None, Some(telephony)) => {
                    telephony.leave(wish, registered).inspect_err(|reason| counts.refused(*reason))?
                }
                (None, None) => return Err(FailReason::BadTarget),
            };
            if !matches!(wish, Wish::Answer) {
                user.calls
                    .take(now)
                    .map_err(|_| FailReason::RateLimited)
                    .inspect_err(|reason| counts.refused(*reason))?;
            }
            *last_peer += 1;
            Ok(Leave { peer: PeerId(*last_peer), far })
        };
        session.handle_request(id, request, &settings.limits, admit, now);
        self.settle(key);
        self.queue_if_idle(key, now);
    }

    /// Why no new call is taken, for a request and for the service's state.
    fn refuses_calls(&self) -> Option<(FailReason, &'static str)> {
        if self.drain.is_draining() {
            return Some((FailReason::Draining, "draining"));
        }
        let full = self.peers.len() >= self.settings.limits.calls as usize;
        full.then_some((FailReason::CallCapacity, "call-capacity"))
    }

    /// The media plane's answer to [`Command::Accept`] or [`Command::RestartIce`]; for a peer with a SIP side also the ports
    /// that it opened there.
    pub fn handle_answer(
        &mut self,
        peer: PeerId,
        answer: Result<String, OfferRefused>,
        far: Option<FarLocal>,
        now: Instant,
    ) {
        self.notice_freeze(now);
        let sdp = self.far_sdp(far);
        self.with_peer(peer, now, |session| session.handle_answer(peer, answer, sdp, now));
    }

    /// The media plane tells of a peer.
    pub fn handle_media(&mut self, peer: PeerId, change: MediaChange, now: Instant) {
        self.notice_freeze(now);
        let mut gap = None;
        self.with_peer(peer, now, |session| gap = session.handle_media(peer, change, now));
        if let Some(gap) = gap {
            self.counts.resumed += 1;
            self.counts.resumed_gap += gap;
        }
    }

    fn with_peer(&mut self, peer: PeerId, now: Instant, act: impl FnOnce(&mut Session)) {
        let Some(key) = self.peers.get(&peer).copied() else { return };
        self.with(key, |session, _| act(session));
        if !self.sessions.get(&key).is_some_and(|session| session.has_peer(peer)) {
            self.forget_peer(peer);
            self.queue_if_idle(key, now);
        }
    }

    /// True if something irreversible may be done for the session outside this instance; see [`Session::is_proven`].
    #[must_use]
    pub fn is_proven(&self, id: &SessionId) -> bool {
        self.find(id).is_ok_and(|key| self.sessions[&key].is_proven())
    }

    /// When it wants to be driven, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> (Instant, &'static str) {
        let tick = (self.next_tick, "tick");
        let sip = self.telephony.as_ref().and_then(Telephony::poll_timeout);
        [self.timers.next(), self.attach_timers.next(), self.drain.poll_timeout(), sip]
            .into_iter()
            .flatten()
            .fold(tick, |first, next| if next.0 < first.0 { next } else { first })
    }

    /// Acts on what is due. Call it only when no input is waiting.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.notice_freeze(now) {
            // What came in meanwhile has yet to be read from its sockets; deadlines wait for the next turn.
            return;
        }
        while let Some(key) = self.timers.pop_due(now) {
            self.handle_session_timeout(key, now);
        }
        while let Some(socket) = self.attach_timers.pop_due(now) {
            self.unattached.remove(&socket);
            self.close(socket, CloseCode::Timeout, "no attach");
        }
        while let Some(step) = self.drain.next_step(now) {
            self.handle_drain_step(step, now);
        }
        if let Some(telephony) = &mut self.telephony {
            telephony.handle_timeout(now);
        }
        if self.next_tick <= now {
            self.handle_tick(now);
        }
    }

    fn handle_session_timeout(&mut self, key: Key, now: Instant) {
        if self.sessions.get(&key).is_some_and(|session| session.wants_capsule(now)) {
            let capsule = self.seal_capsule(key, now);
            self.with(key, |session, _| session.give_capsule(capsule, now));
        }
        self.with(key, |session, around| session.handle_timeout(around, now));
    }

    fn handle_tick(&mut self, now: Instant) {
        self.next_tick = now + TICK;
        self.users.retain(|_, user| !(user.sign_ins.is_full(now) && user.calls.is_full(now)));
        self.refresh_window();
        self.refresh_services();
        self.leave_early(now);
    }

    fn refresh_window(&mut self) {
        let rate = u64::from(self.settings.limits.setup_rate.max(1));
        let spread = self.sessions.len() as u64 * 1_000 / rate;
        let (least, most) = RECONNECT_WINDOW_MS.into_inner();
        self.around.reconnect_window_ms = u32::try_from(spread).unwrap_or(most).clamp(least, most);
    }

    /// Looked at once a tick, so that an instance at its limit does not tell thousands of clients at every call.
    fn refresh_services(&mut self) {
        let service = self.calls_service();
        if self.around.services.first() == Some(&service) {
            return;
        }
        self.around.services = vec![service.clone()];
        for key in self.keys() {
            self.with(key, |session, _| session.tell_service(&service));
        }
    }

    fn calls_service(&self) -> ServiceState {
        match self.refuses_calls() {
            None => available(),
            Some((_, reason)) => ServiceState { available: false, reason: Some(reason.to_owned()), ..available() },
        }
    }

    /// True if the process stood still since the last look at the clock. Then no client is known to be here any more, and
    /// no deadline of that time counts.
    fn notice_freeze(&mut self, now: Instant) -> bool {
        let gap = now.saturating_duration_since(self.seen);
        self.seen = self.seen.max(now);
        if gap <= MAX_TICK_GAP {
            return false;
        }
        self.counts.freezes += 1;
        for key in self.keys() {
            self.with(key, |session, around| session.handle_freeze(gap, around, now));
        }
        for socket in self.unattached.keys() {
            self.attach_timers.set(*socket, Some((now + ATTACH_TIMEOUT, "attach")));
        }
        true
    }

    /// How busy it is.
    #[must_use]
    pub fn load(&self, now: Instant) -> Load {
        Load {
            used: self.sessions.len() as u32,
            sessions: self.attached.len() as u32,
            calls: self.peers.len() as u32,
            draining: self.drain.is_draining(),
            drain_deadline_ms: self.drain.remaining(now).map(millis),
            services: self.around.services.clone(),
            registered: self.telephony.as_ref().map_or(0, Telephony::registered),
            counts: self.counts.clone(),
            sip: self.telephony.as_ref().map(Telephony::counts).cloned().unwrap_or_default(),
        }
    }

    /// The next thing to do; take all of them after every call that changes the machine.
    pub fn next_command(&mut self) -> Option<Command> {
        loop {
            if let Some(command) = self.commands.pop_front() {
                return Some(command);
            }
            if !self.settle_news() {
                return None;
            }
        }
    }

    fn keys(&self) -> Vec<Key> {
        self.sessions.keys().copied().collect()
    }

    fn end(&mut self, key: Key, code: CloseCode, reason: &'static str) {
        self.with(key, |session, _| session.close(code, reason));
    }

    fn with(&mut self, key: Key, act: impl FnOnce(&mut Session, &Surroundings)) {
        if let Some(session) = self.sessions.get_mut(&key) {
            act(session, &self.around);
            self.settle(key);
        }
    }

    /// Takes over what a session wants done, and its deadline; buries it if it is over.
    fn settle(&mut self, key: Key) {
        self.settle_lease(key, self.seen);
        self.settle_far(key, self.seen);
        self.end_lease(key);
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let mut closed_peers = Vec::new();
        while let Some(command) = session.next_command() {
            match &command {
                Command::Accept { peer, .. } => {
                    self.peers.insert(*peer, key);
                    self.counts.calls_started += 1;
                }
                Command::ClosePeer(peer) => closed_peers.push(*peer),
                Command::Close { socket, .. } => {
                    self.attached.remove(socket);
                }
                Command::Send { .. } | Command::RestartIce { .. } | Command::Exit => {}
                Command::ConnectFar { .. } | Command::SendDigits { .. } | Command::Sip(_) => {}
            }
            self.commands.push_back(command);
        }
        self.timers.set(key, session.poll_timeout());
        let over = session.state().is_none();
        closed_peers.into_iter().for_each(|peer| self.forget_peer(peer));
        if over {
            self.bury(key);
        }
    }

    fn forget_peer(&mut self, peer: PeerId) {
        if self.peers.remove(&peer).is_some() {
            self.counts.calls_ended += 1;
        }
    }

    fn bury(&mut self, key: Key) {
        let Some(session) = self.sessions.remove(&key) else { return };
        let place = session.place();
        self.by_id.remove(&place.id);
        if let Some(keys) = self.by_client.get_mut(&place.client_id) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_client.remove(&place.client_id);
            }
        }
        self.tombstones.add(place.id.clone());
    }

    fn close(&mut self, socket: SocketId, code: CloseCode, reason: &'static str) {
        self.commands.push_back(Command::Close { socket, code, reason });
    }
}

fn available() -> ServiceState {
    ServiceState { service: "calls".to_owned(), available: true, reason: None }
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}
