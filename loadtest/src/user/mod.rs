//! One virtual user: a pure machine that signs in, attaches, calls, and judges losses by the rules of DESIGN §3.
//!
//! It is to a real client what a test pilot is to a passenger: the same rules, one call at a time, and a count of everything
//! that went wrong. The shell (`crate::drive`) moves bytes and time; the transcripts of gateway-protocol are replayed against
//! it (`replay.rs`).

mod call;
mod entry;
mod link;
mod loss;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod replay;
mod wire;

pub use wire::{Answer, Command, LossKind, Now, OpId, Request, Settlement, SocketId, Told};

use call::{Autopsy, Call};
use entry::Entry;
use gateway_protocol::message::{DeadCall, DeadCallAction, Outcome, Request as Verb};
use gateway_protocol::{BootId, CallId, ClientId, ClientMessage, RequestId, ServerMessage, SessionId, SignedIn};
use link::{Link, LinkStep};
use rand::Rng;
use std::collections::VecDeque;
use std::time::Duration;

/// Spread of the first sign-in attempts, before a server has told its window.
const FIRST_WINDOW: Duration = Duration::from_millis(100);
/// Longest pause between two attempts, unless the server asks for more.
const LONGEST_WINDOW: Duration = Duration::from_secs(4);
/// A request without an answer for so long has failed. A balancer gives an instance 1 s to create a session.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// DESIGN §3: a probe has 700 ms, is repeated once at once, and one that timed out is no verdict.
const PROBE_TIMEOUT: Duration = Duration::from_millis(700);
/// Incoming calls that are remembered as told.
const MAX_ANNOUNCED: usize = 64;
/// From `open` to `attached`.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);

/// Who signs in, and where.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Name of an anonymous user; with a JWT only a label.
    pub user: String,
    /// The tab.
    pub client_id: ClientId,
    /// A JWT, where users need one.
    pub jwt: Option<String>,
    /// Base URLs of the balancers.
    pub bases: Vec<String>,
}

/// A session as its 201 describes it, and what came since.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    id: SessionId,
    token: String,
    instance: gateway_protocol::InstanceId,
    boot: BootId,
    heartbeat: Duration,
    capsule: String,
    epoch: String,
    seq: u32,
    resyncing: bool,
    /// Its instance takes no calls, and moves this user as soon as it has none.
    draining: bool,
}

impl Session {
    fn new(body: SignedIn) -> Self {
        Self {
            id: body.session_id,
            token: body.session_token,
            instance: body.instance_id,
            boot: body.boot_id,
            heartbeat: Duration::from_millis(body.heartbeat_ms.into()),
            capsule: body.capsule,
            epoch: String::new(),
            seq: 0,
            resyncing: false,
            draining: false,
        }
    }

    fn path(&self) -> String {
        format!("/v1/sessions/{}", self.id)
    }
}

/// A request that was sent and has no answer yet.
#[derive(Debug, Clone)]
struct Pending {
    id: RequestId,
    verb: Verb,
}

/// One virtual user. See the module.
///
/// After every `handle_*`, take all of [`VirtualUser::next_command`] and [`VirtualUser::next_told`], then wait until
/// [`VirtualUser::poll_timeout`]. Before `handle_timeout`, tell the time of the last packet by `handle_heard`.
#[derive(Debug)]
pub struct VirtualUser<R> {
    identity: Identity,
    random: R,
    base: usize,
    window: Duration,
    link: Option<Link>,
    entry: Option<Entry>,
    /// Token and capsule of the last session, for the next sign-in.
    previous: Option<(String, String)>,
    dead_calls: Vec<CallId>,
    avoid: Option<String>,
    call: Option<Call>,
    autopsy: Option<Autopsy>,
    /// Incoming calls that the application was told of, the newest last.
    announced: VecDeque<CallId>,
    pending: Vec<Pending>,
    signing_off: Option<OpId>,
    unavailable: Option<LossKind>,
    next_number: u32,
    commands: VecDeque<Command>,
    told: VecDeque<Told>,
}

impl<R: Rng> VirtualUser<R> {
    /// A user that does nothing yet. `identity.bases` must not be empty.
    pub fn new(identity: Identity, mut random: R) -> Self {
        let base = random.random_range(0..identity.bases.len().max(1));
        Self {
            identity,
            random,
            base,
            window: FIRST_WINDOW,
            link: None,
            entry: None,
            previous: None,
            dead_calls: Vec::new(),
            avoid: None,
            call: None,
            autopsy: None,
            announced: VecDeque::new(),
            pending: Vec::new(),
            signing_off: None,
            unavailable: None,
            next_number: 0,
            commands: VecDeque::new(),
            told: VecDeque::new(),
        }
    }

    /// The application signs in.
    pub fn sign_in(&mut self, now: Now) {
        if self.link.is_none() && self.entry.is_none() {
            self.enter(None, now);
            self.handle_timeout(now);
        }
    }

    /// The application signs off; its call ends with it.
    pub fn sign_out(&mut self, now: Now) {
        self.entry = None;
        if let Some(link) = self.link.take() {
            self.end_call(gateway_protocol::message::EndReason::LocalHangUp, now);
            self.sign_off(&link.session);
        }
    }

    /// The application calls `target`. One call at a time; a second one is settled `failed`.
    pub fn start_call(&mut self, call: CallId, target: &str) {
        if self.call.is_some() || !self.is_attached() {
            self.told.push_back(Told::Settled { method: "start_call", call, outcome: Settlement::Failed });
            return;
        }
        self.commands.push_back(Command::Offer { call: call.clone(), restart: false });
        self.call = Some(Call::new(call, target));
    }

    /// The application answers a call that it was told of; without effect while another one is up.
    pub fn answer_call(&mut self, call: CallId) {
        if self.call.is_none() && self.is_attached() {
            self.commands.push_back(Command::Offer { call: call.clone(), restart: false });
            self.call = Some(Call::incoming(call));
        }
    }

    /// The application hangs up.
    pub fn hang_up(&mut self, now: Now) {
        let attached = self.is_attached();
        let Some(call) = &mut self.call else { return };
        if attached && !call.orphan {
            call.hanging_up = true;
            let verb = Verb::HangUp { call_id: call.id.clone() };
            self.request(verb);
        } else {
            self.end_call(gateway_protocol::message::EndReason::LocalHangUp, now);
        }
    }

    /// What to do next.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// What the application is told next.
    pub fn next_told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// True while a socket is attached.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.link.as_ref().is_some_and(|link| matches!(link.step, LinkStep::Attached { .. }))
    }

    /// True if the instance takes calls, as far as it has told.
    #[must_use]
    pub fn can_call(&self) -> bool {
        self.is_attached() && self.call.is_none() && self.link.as_ref().is_some_and(|link| !link.session.draining)
    }

    /// The session of this user, its token and its instance's boot id.
    #[must_use]
    pub fn session(&self) -> Option<(&SessionId, &str, &BootId)> {
        self.link.as_ref().map(|link| (&link.session.id, link.session.token.as_str(), &link.session.boot))
    }

    /// Base URLs of all balancers it knows.
    #[must_use]
    pub fn bases(&self) -> &[String] {
        &self.identity.bases
    }

    /// The call that is up or being set up.
    #[must_use]
    pub fn call(&self) -> Option<&CallId> {
        self.call.as_ref().map(|call| &call.id)
    }

    /// The answer of a request.
    pub fn handle_answer(&mut self, op: OpId, answer: &Answer, now: Now) {
        if self.signing_off == Some(op) {
            self.signing_off = None;
        } else if self.entry.as_ref().is_some_and(|entry| entry.asked() == Some(op)) {
            self.handle_sign_in(answer, now);
        } else if self.link.as_ref().is_some_and(|link| link.asked() == Some(op)) {
            self.handle_probe(answer, now);
        }
    }

    /// A request had no answer.
    pub fn handle_unreachable(&mut self, op: OpId, now: Now) {
        if self.entry.as_ref().is_some_and(|entry| entry.asked() == Some(op)) {
            self.next_base();
            self.retry_entry(Duration::ZERO, now);
        } else if self.link.as_ref().is_some_and(|link| link.asked() == Some(op)) {
            self.next_base();
            self.retry_probe(Duration::ZERO, now);
        }
    }

    /// A message came.
    pub fn handle_message(&mut self, socket: SocketId, message: ServerMessage, now: Now) {
        if self.entry.as_ref().is_some_and(|entry| entry.socket() == Some(socket)) {
            self.handle_entry_message(message, now);
        } else if self.link.as_ref().is_some_and(|link| link.socket() == Some(socket)) {
            self.handle_link_message(message, now);
        }
    }

    /// A socket is gone, or could not be opened; `close` is its code and reason, if it had any.
    pub fn handle_closed(&mut self, socket: SocketId, close: Option<(u16, &str)>, now: Now) {
        if self.entry.as_ref().is_some_and(|entry| entry.socket() == Some(socket)) {
            self.restart_entry(now);
        } else if self.link.as_ref().is_some_and(|link| link.socket() == Some(socket)) {
            self.handle_link_closed(close, now);
        }
    }

    /// Acts on every timer that is due.
    pub fn handle_timeout(&mut self, now: Now) {
        self.entry_timeout(now);
        self.link_timeout(now);
        self.media_timeout(now);
    }

    /// When `handle_timeout` is due, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Now, &'static str)> {
        let entry = self.entry.as_ref().and_then(Entry::timeout);
        let link = self.link.as_ref().and_then(Link::timeout);
        [entry, link, self.media_deadline()].into_iter().flatten().min()
    }

    fn number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number
    }

    fn op(&mut self) -> OpId {
        OpId(self.number())
    }

    fn base(&self) -> String {
        self.identity.bases.get(self.base).cloned().unwrap_or_default()
    }

    fn next_base(&mut self) {
        self.base = (self.base + 1) % self.identity.bases.len().max(1);
    }

    /// Full jitter (DESIGN §8).
    fn jitter(&mut self, window: Duration) -> Duration {
        let ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.random.random_range(0..=ms))
    }

    /// Sends a request on the attached socket; it is pending until its answer.
    fn request(&mut self, verb: Verb) {
        let Ok(id) = RequestId::parse(format!("r{}", self.number())) else { return };
        self.pending.push(Pending { id: id.clone(), verb: verb.clone() });
        self.send(ClientMessage::Request { id, request: verb });
    }

    fn send(&mut self, message: ClientMessage) {
        if let Some(socket) = self.link.as_ref().and_then(Link::socket) {
            self.commands.push_back(Command::Send(socket, message));
        }
    }

    fn open(&mut self, session: &Session, calls: Vec<CallId>, dead: &[CallId]) -> SocketId {
        let socket = SocketId(self.number());
        self.commands.push_back(Command::Open { socket, base: self.base(), session: session.id.clone() });
        let dead_calls =
            dead.iter().map(|call| DeadCall { call_id: call.clone(), action: DeadCallAction::HangUp }).collect();
        let attach = ClientMessage::Attach { token: session.token.clone(), calls, dead_calls };
        self.commands.push_back(Command::Send(socket, attach));
        socket
    }

    fn sign_off(&mut self, session: &Session) {
        let op = self.op();
        self.signing_off = Some(op);
        let request = Request {
            base: self.base(),
            method: "DELETE",
            path: session.path(),
            bearer: Some(session.token.clone()),
            idempotency_key: None,
            avoid: None,
            body: None,
        };
        self.commands.push_back(Command::Request(op, request));
    }

    fn lost_service(&mut self, reason: LossKind) {
        if self.unavailable.replace(reason) != Some(reason) {
            self.told.push_back(Told::ServiceUnavailable { reason });
        }
    }

    fn has_service(&mut self) {
        if self.unavailable.take().is_some() {
            self.told.push_back(Told::ServiceAvailable);
        }
    }

    fn handle_response(&mut self, id: &RequestId, outcome: Outcome, now: Now) {
        let Some(index) = self.pending.iter().position(|pending| pending.id == *id) else { return };
        let verb = self.pending.remove(index).verb;
        match (verb, outcome) {
            (Verb::StartCall { call_id, .. }, Outcome::Ok { sdp }) => {
                self.commands.extend(sdp.map(|sdp| Command::Accept { call: call_id.clone(), sdp }));
                self.settle("start_call", call_id, Settlement::Ok);
            }
            (Verb::AnswerCall { call_id, .. }, Outcome::Ok { sdp }) => {
                self.commands.extend(sdp.map(|sdp| Command::Accept { call: call_id, sdp }));
            }
            (Verb::AnswerCall { call_id, .. }, Outcome::Failed { .. }) if self.call() == Some(&call_id) => {
                self.drop_call()
            }
            (Verb::StartCall { call_id, .. }, Outcome::Failed { .. }) => {
                self.settle("start_call", call_id, Settlement::Failed);
                self.drop_call();
            }
            (Verb::RestartIce { call_id, .. }, Outcome::Ok { sdp }) => {
                self.commands.extend(sdp.map(|sdp| Command::Accept { call: call_id, sdp }));
            }
            (Verb::HangUp { call_id }, _) => {
                self.settle("hang_up", call_id, Settlement::Ok);
                self.end_call(gateway_protocol::message::EndReason::LocalHangUp, now);
            }
            // A refused ICE restart changes nothing, and no other verb is ever sent.
            _ => {}
        }
    }

    fn settle(&mut self, method: &'static str, call: CallId, outcome: Settlement) {
        self.told.push_back(Told::Settled { method, call, outcome });
    }
}
