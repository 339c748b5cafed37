//! One session: a place on this instance that a browser tab holds, with its socket, its calls and its memory of requests.
//!
//! [`crate::Instance`] owns it, decides about places and takeovers, and seals its capsules.

mod change;
mod far;
mod recovery;
mod transfer;

use crate::answers::{Answers, Known};
use crate::call::{Call, Effect, FarCall, FarLeg, MediaChange, OfferRefused, Owed, PeerId};
use crate::capsule;
use crate::command::{Command, SocketId};
use crate::limits::{GRACE, HEARTBEAT, Limits, REMEMBERED_ENDS, SILENCE, UNATTACHED};
use crate::sdp::FarSdp;
use crate::sip::Registered;
use crate::token::TokenHash;
use crate::user::User;
use gateway_protocol::message::{
    DeadCall, EndReason, EndedCall, Event, FailReason, Outcome, Request, ServiceState, Snapshot,
};
use gateway_protocol::sign_in::{ProbedCall, SessionState};
use gateway_protocol::{CallId, ClientId, CloseCode, RequestId, ServerMessage, SessionId};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub use far::{FarCommand, Ringing};
pub use recovery::{Earlier, RECOVERY_TIME, SealedCall};

/// What a request needs the instance's leave for.
#[derive(Debug, Clone, Copy)]
pub enum Wish<'a> {
    /// Start a call to this target.
    Start(&'a str),
    /// Answer an incoming call.
    Answer,
    /// Have the far side call this target.
    Transfer(&'a str),
}

/// The instance's leave: a new peer, and what a target means.
#[derive(Debug, Clone, Copy)]
pub struct Leave {
    /// Never used before.
    pub peer: PeerId,
    /// What is called.
    pub far: FarLeg,
}

/// Who a session is for.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its name.
    pub id: SessionId,
    /// Whose it is.
    pub user: User,
    /// Which tab's.
    pub client_id: ClientId,
    /// Hash of its token.
    pub token: TokenHash,
    /// Numbering of its events.
    pub epoch: String,
    /// A capsule of an earlier session was accepted.
    pub recovering: bool,
    /// What capsule or ticket told; the generation is the one that this session registers with.
    pub earlier: Earlier,
}

/// What a session tells of the instance around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Told in every heartbeat.
    pub reconnect_window_ms: u32,
    /// Told in every snapshot.
    pub services: Vec<ServiceState>,
}

/// A socket's `attach`, proven.
#[derive(Debug)]
pub struct Attach {
    /// The socket.
    pub socket: SocketId,
    /// Calls that the client still holds.
    pub calls: Vec<CallId>,
    /// Calls that the client judged dead with an earlier instance.
    pub dead_calls: Vec<DeadCall>,
    /// A fresh capsule.
    pub capsule: String,
}

/// Where a session is in its life.
///
/// | from | to | by |
/// |---|---|---|
/// | reserved, attached, detached | attached | [`Session::attach`]; an older socket is closed with 4409 |
/// | attached | detached | [`Session::detach`], or 15 s of silence |
/// | reserved | closed | 30 s |
/// | detached | closed | 60 s without live media |
/// | any | closed | [`Session::close`] |
#[derive(Debug)]
enum State {
    Reserved { until: Instant },
    Attached(Line),
    Detached { until: Instant },
    Closed,
}

/// An attached socket and its heartbeat.
#[derive(Debug)]
struct Line {
    socket: SocketId,
    heard: Instant,
    next_ping: Instant,
    capsule_due: Instant,
}

/// The last heartbeat, and what its answers proved.
#[derive(Debug)]
struct Heartbeat {
    nonce: u32,
    sent: Instant,
    /// Whatever was sent before this reached the client.
    proven_at: Instant,
    /// The process stood still; until this nonce or a later one comes back the client may be elsewhere.
    unproven: Option<u32>,
}

/// See the module and the table above.
#[derive(Debug)]
pub struct Session {
    place: Place,
    state: State,
    signed_in: Instant,
    heartbeat: Heartbeat,
    seq: u32,
    calls: Vec<Call>,
    ended: VecDeque<(Instant, EndedCall)>,
    answers: Answers,
    capsule_revision: u32,
    registered: Option<Registered>,
    recovery: recovery::Recovery,
    commands: VecDeque<Command>,
    far_commands: VecDeque<FarCommand>,
}

impl Session {
    /// A reserved place.
    #[must_use]
    pub fn new(place: Place, now: Instant) -> Self {
        Self {
            place,
            state: State::Reserved { until: now + UNATTACHED },
            signed_in: now,
            heartbeat: Heartbeat { nonce: 0, sent: now, proven_at: now, unproven: None },
            seq: 0,
            calls: Vec::new(),
            ended: VecDeque::new(),
            answers: Answers::default(),
            capsule_revision: 0,
            registered: None,
            recovery: recovery::Recovery::default(),
            commands: VecDeque::new(),
            far_commands: VecDeque::new(),
        }
    }

    /// Who it is for.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its state for a probe; `None` once closed.
    #[must_use]
    pub fn state(&self) -> Option<SessionState> {
        match self.state {
            State::Reserved { .. } => Some(SessionState::Reserved),
            State::Attached(_) => Some(SessionState::Attached),
            State::Detached { .. } => Some(SessionState::Detached),
            State::Closed => None,
        }
    }

    /// The attached socket.
    #[must_use]
    pub fn socket(&self) -> Option<SocketId> {
        match &self.state {
            State::Attached(line) => Some(line.socket),
            State::Reserved { .. } | State::Detached { .. } | State::Closed => None,
        }
    }

    /// Attached and without a call: it can be moved.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.socket().is_some() && !self.has_calls()
    }

    /// In a call, or one rings, whether its browser is here or not.
    #[must_use]
    pub fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// False after the process stood still, until the client answered a fresh ping or attached anew. Until then nothing
    /// irreversible may be done for it outside this instance (SIP above all): it may be served elsewhere by now.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.heartbeat.unproven.is_none()
    }

    /// Its client said by other means than a heartbeat that what concerns it may be done.
    pub fn prove(&mut self) {
        self.heartbeat.unproven = None;
    }

    /// The number of the next capsule.
    pub fn next_revision(&mut self) -> u32 {
        self.capsule_revision += 1;
        self.capsule_revision
    }

    /// Its calls for a probe.
    #[must_use]
    pub fn probed_calls(&self) -> Vec<ProbedCall> {
        self.calls.iter().map(|call| ProbedCall { call_id: call.id.clone(), state: call.state }).collect()
    }

    /// True if it still has the call of this peer.
    #[must_use]
    pub fn has_peer(&self, peer: PeerId) -> bool {
        self.calls.iter().any(|call| call.peer == peer)
    }

    /// Takes a socket; an older one is closed as superseded. Calls that the client does not hold any more are ended.
    pub fn attach(&mut self, attach: Attach, around: &Surroundings, now: Instant) {
        let first = matches!(self.state, State::Reserved { .. });
        if let Some(old) = self.socket() {
            self.close_socket(old, CloseCode::Superseded, "attached anew");
            self.detach(now);
        }
        // A call that rings is the browser's as soon as it is told of it.
        self.end_calls_where(EndReason::PageReloaded, now, |call| {
            !call.is_alerting() && !attach.calls.contains(&call.id)
        });
        self.ring_again();
        self.heartbeat.unproven = None;
        self.heartbeat.proven_at = now;
        self.state = State::Attached(Line {
            socket: attach.socket,
            heard: now,
            next_ping: now + HEARTBEAT,
            capsule_due: now + capsule::HALF_LIFE,
        });
        self.send(ServerMessage::Attached {
            snapshot: self.snapshot(around),
            heartbeat_ms: HEARTBEAT.as_millis() as u32,
            reconnect_window_ms: around.reconnect_window_ms,
            capsule: attach.capsule,
        });
        if first && self.place.recovering {
            self.recover(attach.dead_calls, now);
        }
    }

    /// Its socket is lost. Ends that the client surely heard of need not be told again.
    pub fn detach(&mut self, now: Instant) {
        if self.socket().is_some() {
            self.state = State::Detached { until: now + GRACE };
            self.ring_unheard(now);
            let proven_at = self.heartbeat.proven_at;
            self.ended.retain(|(at, _)| *at >= proven_at);
        }
    }

    /// Ends it and its calls; the close code tells the client both.
    pub fn close(&mut self, code: CloseCode, reason: &'static str) {
        if let Some(socket) = self.socket() {
            self.close_socket(socket, code, reason);
        }
        self.state = State::Closed;
        for mut call in std::mem::take(&mut self.calls) {
            self.release_far(&mut call);
            self.commands.push_back(Command::ClosePeer(call.peer));
        }
    }

    /// Something came from the client.
    pub fn handle_heard(&mut self, now: Instant) {
        if let State::Attached(line) = &mut self.state {
            line.heard = now;
        }
    }

    /// An answered heartbeat.
    pub fn handle_pong(&mut self, nonce: u32) {
        if nonce == self.heartbeat.nonce {
            self.heartbeat.proven_at = self.heartbeat.sent;
        }
        // Nonces count up; a later one proves as much as the awaited one.
        if self.heartbeat.unproven.is_some_and(|awaited| nonce >= awaited && nonce <= self.heartbeat.nonce) {
            self.heartbeat.unproven = None;
        }
    }

    /// The client missed an event.
    pub fn handle_resync(&mut self, around: &Surroundings) {
        self.send(ServerMessage::Snapshot { snapshot: self.snapshot(around) });
    }

    /// A request. `admit` is asked once, when what it wants is all right from the session's side.
    pub fn handle_request(
        &mut self,
        id: RequestId,
        request: Request,
        limits: &Limits,
        admit: impl FnOnce(Wish<'_>) -> Result<Leave, FailReason>,
        now: Instant,
    ) {
        match self.answers.begin(&id) {
            Known::Answered(outcome) => self.send(ServerMessage::Response { id, outcome }),
            Known::Open => {}
            Known::New => self.act(id, request, limits, admit, now),
        }
    }

    fn act(
        &mut self,
        id: RequestId,
        request: Request,
        limits: &Limits,
        admit: impl FnOnce(Wish<'_>) -> Result<Leave, FailReason>,
        now: Instant,
    ) {
        let refused = match request {
            Request::StartCall { call_id, target, sdp } => self.start_call(&id, call_id, target, sdp, limits, admit),
            Request::RestartIce { call_id, sdp } => self.restart_ice(&id, &call_id, sdp, limits),
            Request::HangUp { call_id } => self.hang_up(&id, &call_id, now),
            Request::AnswerCall { call_id, sdp } => {
                self.answer_call(&id, &call_id, sdp, limits, || admit(Wish::Answer).map(drop))
            }
            Request::RejectCall { call_id, busy } => self.reject_call(&id, &call_id, busy, now),
            Request::Hold { call_id } => self.hold(&id, &call_id, true),
            Request::Unhold { call_id } => self.hold(&id, &call_id, false),
            Request::SendDigits { call_id, digits } => self.send_digits(&id, &call_id, &digits),
            Request::Transfer { call_id, target } => {
                admit(Wish::Transfer(&target)).and_then(|_| self.transfer(&id, &call_id, target, None, now))
            }
            Request::TransferTo { call_id, other } => self.transfer(&id, &call_id, String::new(), Some(other), now),
            Request::Unknown => Err(FailReason::UnknownMethod),
        };
        if let Err(reason) = refused {
            self.respond(&id, Outcome::Failed { reason, detail: None });
        }
    }

    fn start_call(
        &mut self,
        request: &RequestId,
        id: CallId,
        target: String,
        offer: String,
        limits: &Limits,
        admit: impl FnOnce(Wish<'_>) -> Result<Leave, FailReason>,
    ) -> Result<(), FailReason> {
        if self.position(&id).is_some() || self.has_ended(&id) {
            return Err(FailReason::CallExists);
        }
        if offer.len() > limits.sdp_bytes {
            return Err(FailReason::TooLarge);
        }
        if self.calls.len() >= limits.calls_per_session {
            return Err(FailReason::TooManyCalls);
        }
        let Leave { peer, far } = admit(Wish::Start(&target))?;
        let side = matches!(far, FarLeg::Rtp { .. }).then(FarCall::default);
        self.calls.push(Call { far: side, ..Call::outgoing(id, target, peer, request.clone()) });
        self.commands.push_back(Command::Accept { peer, offer, far });
        Ok(())
    }

    fn restart_ice(
        &mut self,
        request: &RequestId,
        id: &CallId,
        offer: String,
        limits: &Limits,
    ) -> Result<(), FailReason> {
        let call = self.position(id).map(|at| &mut self.calls[at]).ok_or(FailReason::NoSuchCall)?;
        if offer.len() > limits.sdp_bytes {
            return Err(FailReason::TooLarge);
        }
        if call.owed.is_some() {
            return Err(FailReason::WrongState);
        }
        call.owed = Some(Owed::Restart(request.clone()));
        let peer = call.peer;
        self.commands.push_back(Command::RestartIce { peer, offer });
        Ok(())
    }

    fn hang_up(&mut self, request: &RequestId, id: &CallId, now: Instant) -> Result<(), FailReason> {
        let live = self.position(id);
        if live.is_none() && !self.has_ended(id) {
            return Err(FailReason::NoSuchCall);
        }
        self.respond(request, Outcome::Ok { sdp: None });
        if let Some(at) = live {
            self.decline(at, 603);
            self.end_call(at, EndReason::LocalHangUp, true, now);
        }
        Ok(())
    }

    /// The media plane answered an offer, or said why not. `sdp` is there when it opened ports for a SIP side.
    pub fn handle_answer(
        &mut self,
        peer: PeerId,
        answer: Result<String, OfferRefused>,
        sdp: Option<FarSdp>,
        now: Instant,
    ) {
        let Some(at) = self.calls.iter().position(|call| call.peer == peer) else { return };
        let Some(owed) = self.calls[at].owed.take() else { return };
        match (owed, answer) {
            (Owed::Restart(request), Ok(text)) => self.respond(&request, Outcome::Ok { sdp: Some(text) }),
            (Owed::Start(request) | Owed::Answer(request), Ok(text)) => {
                self.respond(&request, Outcome::Ok { sdp: Some(text) });
                match sdp {
                    Some(sdp) => self.far_ready(at, sdp, now),
                    None => self.far_answered(at),
                }
            }
            (Owed::Start(request), Err(why)) => {
                self.calls.remove(at);
                self.respond(&request, why.into());
            }
            (Owed::Restart(request) | Owed::Answer(request), Err(why)) => self.respond(&request, why.into()),
        }
    }

    /// Both sides are in; echo and tone are so at once.
    fn far_answered(&mut self, at: usize) {
        let call = &mut self.calls[at];
        let call_id = call.id.clone();
        if let Some(state) = call.answered() {
            self.tell(Event::CallState { call_id, state, held_by: None });
        }
    }

    /// The media plane tells of a peer. The time since sign-in, when a lost call is heard again by that.
    pub fn handle_media(&mut self, peer: PeerId, change: MediaChange, now: Instant) -> Option<Duration> {
        let at = self.calls.iter().position(|call| call.peer == peer)?;
        let lived = self.media_lives();
        match self.calls[at].handle_media(change) {
            Effect::None => {}
            Effect::Media(media) => {
                let call_id = self.calls[at].id.clone();
                self.tell(Event::CallMedia { call_id, media });
            }
            Effect::Ended(reason) => self.end_call(at, reason, false, now),
            Effect::End(reason) => self.end_call(at, reason, true, now),
            Effect::Digit(digit) => self.tell_digit(at, digit),
            Effect::SendDigit(digit) => self.signal_digit(at, digit),
        }
        if let State::Detached { until } = &mut self.state
            && lived
        {
            // The grace counts from the last moment that media lived.
            *until = now + GRACE;
        }
        let resumed =
            self.calls.iter_mut().find_map(|call| (call.peer == peer && call.is_resumed()).then_some(call))?;
        let (call_id, gap) = (resumed.id.clone(), now.saturating_duration_since(self.signed_in));
        self.tell(Event::CallResumed { call_id, gap_ms: u32::try_from(gap.as_millis()).unwrap_or(u32::MAX) });
        Some(gap)
    }

    /// Ends every call.
    pub fn end_calls(&mut self, reason: EndReason, now: Instant) {
        self.end_calls_where(reason, now, |_| true);
    }

    fn end_calls_where(&mut self, reason: EndReason, now: Instant, which: impl Fn(&Call) -> bool) {
        while let Some(at) = self.calls.iter().position(&which) {
            self.end_call(at, reason, true, now);
        }
    }

    fn end_call(&mut self, at: usize, reason: EndReason, close_peer: bool, now: Instant) {
        let mut call = self.calls.remove(at);
        self.release_far(&mut call);
        if close_peer {
            self.commands.push_back(Command::ClosePeer(call.peer));
        }
        if let Some(owed) = call.owed.take() {
            self.respond(owed.request(), Outcome::Failed { reason: FailReason::WrongState, detail: None });
        }
        if self.ended.len() == REMEMBERED_ENDS {
            self.ended.pop_front();
        }
        let missed = call.missed().filter(|_| reason != EndReason::LocalHangUp);
        self.ended.push_back((now, EndedCall { call_id: call.id.clone(), reason, missed }));
        self.tell(Event::CallEnded { call_id: call.id, reason });
    }

    /// Sends an event with the next number; a client that is not there gets it by its next snapshot.
    pub fn tell(&mut self, event: Event) {
        self.seq += 1;
        let (epoch, seq) = (self.place.epoch.clone(), self.seq);
        self.send(ServerMessage::Event { epoch, seq, event });
    }

    /// True if a fresh capsule is due; answer it with [`Session::give_capsule`].
    #[must_use]
    pub fn wants_capsule(&self, now: Instant) -> bool {
        matches!(&self.state, State::Attached(line) if line.capsule_due <= now)
    }

    /// Hands a fresh capsule to the client.
    pub fn give_capsule(&mut self, capsule: String, now: Instant) {
        if let State::Attached(line) = &mut self.state {
            line.capsule_due = now + capsule::HALF_LIFE;
            self.tell(Event::Capsule { capsule });
        }
    }

    /// When it wants to be driven, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let of_state = match &self.state {
            State::Reserved { until } => Some((*until, "unattached")),
            State::Attached(line) => [
                (line.next_ping, "heartbeat"),
                (line.heard + SILENCE, "silence"),
                (line.capsule_due, "capsule half-life"),
            ]
            .into_iter()
            .min_by_key(|(at, _)| *at),
            State::Detached { .. } if self.media_lives() => None,
            State::Detached { until } => Some((*until, "grace")),
            State::Closed => return None,
        };
        let ringing = self.ring_timeout().map(|at| (at, "no answer"));
        let recovery = self.recovery.poll_timeout().map(|at| (at, "recovery"));
        let transfer = self.transfer_timeout().map(|at| (at, "transfer"));
        [of_state, ringing, recovery, transfer].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Acts on what is due.
    pub fn handle_timeout(&mut self, around: &Surroundings, now: Instant) {
        self.handle_ring_timeout(now);
        self.handle_recovery_timeout(now);
        self.handle_transfer_timeout(now);
        match &self.state {
            State::Reserved { until } if *until <= now => self.close(CloseCode::SessionGone, "never attached"),
            State::Detached { until } if *until <= now && !self.media_lives() => {
                self.close(CloseCode::SessionGone, "not back in time");
            }
            State::Attached(line) if line.heard + SILENCE <= now => {
                let socket = line.socket;
                self.close_socket(socket, CloseCode::Timeout, "no answer to heartbeats");
                self.detach(now);
            }
            State::Attached(line) if line.next_ping <= now => self.ping(around, now),
            State::Reserved { .. } | State::Attached(_) | State::Detached { .. } | State::Closed => {}
        }
    }

    fn ping(&mut self, around: &Surroundings, now: Instant) {
        let State::Attached(line) = &mut self.state else { return };
        line.next_ping = now + HEARTBEAT;
        self.heartbeat.nonce += 1;
        self.heartbeat.sent = now;
        let (nonce, reconnect_window_ms) = (self.heartbeat.nonce, around.reconnect_window_ms);
        self.send(ServerMessage::Ping { nonce, reconnect_window_ms });
    }

    /// The process stood still for `gap`: no deadline of that time counts, and the client must prove that it is here.
    pub fn handle_freeze(&mut self, gap: Duration, around: &Surroundings, now: Instant) {
        match &mut self.state {
            State::Reserved { until } | State::Detached { until } => *until += gap,
            State::Attached(line) => {
                line.heard = now;
                line.capsule_due += gap;
            }
            State::Closed => {}
        }
        self.heartbeat.unproven = Some(self.heartbeat.nonce + 1);
        self.ping(around, now);
    }

    /// The next thing to do; take all of them after every `handle_*`.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    fn media_lives(&self) -> bool {
        self.calls.iter().any(Call::media_lives)
    }

    fn position(&self, id: &CallId) -> Option<usize> {
        self.calls.iter().position(|call| call.id == *id)
    }

    fn has_ended(&self, id: &CallId) -> bool {
        self.ended.iter().any(|(_, ended)| ended.call_id == *id)
    }

    fn snapshot(&self, around: &Surroundings) -> Snapshot {
        Snapshot {
            epoch: self.place.epoch.clone(),
            seq: self.seq,
            calls: self.calls.iter().map(Call::snapshot).collect(),
            ended: self.ended.iter().map(|(_, ended)| ended.clone()).collect(),
            services: around.services.iter().map(|service| self.calls_service(service)).collect(),
        }
    }

    fn respond(&mut self, id: &RequestId, outcome: Outcome) {
        self.answers.finish(id, &outcome);
        self.send(ServerMessage::Response { id: id.clone(), outcome });
    }

    fn send(&mut self, message: ServerMessage) {
        if let Some(socket) = self.socket() {
            self.commands.push_back(Command::Send { socket, message: Box::new(message) });
        }
    }

    fn close_socket(&mut self, socket: SocketId, code: CloseCode, reason: &'static str) {
        self.commands.push_back(Command::Close { socket, code, reason });
    }
}

impl From<OfferRefused> for Outcome {
    fn from(refused: OfferRefused) -> Self {
        Self::Failed { reason: refused.reason, detail: Some(refused.detail) }
    }
}
