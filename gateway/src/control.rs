//! The one task that owns the sessions: everything that concerns them comes in by one bounded queue, commands go out to
//! sockets and media, and a read-only [`Load`] is left for whoever wants to know.

mod translate;

use crate::media::{MediaEvent, MediaPlane};
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use crate::sip::{SipLine, SipPort};
use arc_swap::ArcSwap;
use gateway_core::sdp::FarLocal;
use gateway_core::sip::SipEvent;
use gateway_core::{Command, FarLeg, Instance, Load, OfferRefused, PeerId, Random, Refusal, Reserve, SocketId};
use gateway_protocol::{ClientMessage, CloseCode, ServerMessage, SessionId, SessionProbe, SignedIn};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};

/// Inputs that may wait; beyond it sign-ins are refused with `not-acted` and sockets are read more slowly.
const QUEUE: usize = 8_192;
/// Inputs handled in one turn.
const BATCH: usize = 256;
/// Under endless input deadlines are judged after so many turns at the latest.
const MAX_BUSY_TURNS: u32 = 32;
/// At the end, sockets have this long to send what they owe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What can be asked of the task.
pub enum Input {
    /// Sign in.
    Reserve(Reserve, oneshot::Sender<Result<SignedIn, Refusal>>),
    /// Probe, with the session token.
    Probe(SessionId, String, oneshot::Sender<Result<SessionProbe, Refusal>>),
    /// Sign off, with the session token.
    SignOff(SessionId, String, oneshot::Sender<Result<(), Refusal>>),
    /// A socket was opened for a session.
    SocketOpened(SocketId, SessionId, mpsc::Sender<Outgoing>),
    /// A socket brought a message.
    Message(SocketId, ClientMessage),
    /// A socket is gone.
    SocketClosed(SocketId),
    /// Drain.
    Drain,
    /// Serve again.
    CancelDrain,
    /// Ask so many idle clients to go elsewhere; answers how many it asked.
    MakePlace(u32, oneshot::Sender<u32>),
    /// End after the notice.
    Leave,
}

/// What a socket is to do.
pub enum Outgoing {
    /// Send.
    Message(Box<ServerMessage>),
    /// Close, after all that was sent before.
    Close(CloseCode, &'static str),
}

/// Handle to the task.
#[derive(Clone)]
pub struct Control {
    inputs: mpsc::Sender<Input>,
    load: Arc<ArcSwap<Load>>,
    pulse: Arc<Pulse>,
    last_socket: Arc<AtomicU64>,
}

/// The control task did not answer: it is overloaded, or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the control task did not answer")]
pub struct Overloaded;

impl Control {
    /// Asks and waits for the answer.
    pub async fn ask<T>(&self, input: impl FnOnce(oneshot::Sender<T>) -> Input) -> Result<T, Overloaded> {
        let (answer, answered) = oneshot::channel();
        self.inputs.try_send(input(answer)).map_err(|_| Overloaded)?;
        answered.await.map_err(|_| Overloaded)
    }

    /// Tells, and waits while the queue is full.
    pub async fn tell(&self, input: Input) -> Result<(), Overloaded> {
        self.inputs.send(input).await.map_err(|_| Overloaded)
    }

    /// Tells from outside of any runtime; false if the queue is full or the task has ended.
    #[must_use]
    pub fn try_tell(&self, input: Input) -> bool {
        self.inputs.try_send(input).is_ok()
    }

    /// A name for a new socket.
    #[must_use]
    pub fn next_socket(&self) -> SocketId {
        SocketId(self.last_socket.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// How busy the instance is.
    #[must_use]
    pub fn load(&self) -> Arc<Load> {
        self.load.load_full()
    }

    /// Whether the task made a turn within `span`.
    #[must_use]
    pub fn moved_within(&self, span: Duration) -> bool {
        self.pulse.moved_within(span)
    }
}

/// The operating system's random bytes.
#[derive(Debug, Clone, Copy)]
pub struct OsRandom;

impl Random for OsRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has random bytes");
    }
}

/// The task itself; see [`create`].
pub struct Task {
    instance: Instance<OsRandom>,
    inputs: mpsc::Receiver<Input>,
    media: MediaPlane,
    media_events: mpsc::Receiver<MediaEvent>,
    sip: Option<SipLine>,
    sip_events: mpsc::Receiver<SipEvent>,
    sockets: BTreeMap<SocketId, mpsc::Sender<Outgoing>>,
    load: Arc<ArcSwap<Load>>,
    pulse: Arc<Pulse>,
    metrics: Arc<Metrics>,
    exit: watch::Sender<bool>,
    leaving: bool,
}

/// The task and its handle. [`Task::run`] sets `exit` when everything is closed.
#[must_use]
pub fn create(
    instance: Instance<OsRandom>,
    media: MediaPlane,
    media_events: mpsc::Receiver<MediaEvent>,
    sip: Option<(SipLine, mpsc::Receiver<SipEvent>)>,
    metrics: Arc<Metrics>,
    exit: watch::Sender<bool>,
) -> (Task, Control) {
    let (sender, inputs) = mpsc::channel(QUEUE);
    let load = Arc::new(ArcSwap::from_pointee(instance.load(Instant::now())));
    let pulse = Arc::new(Pulse::new());
    let control =
        Control { inputs: sender, load: load.clone(), pulse: pulse.clone(), last_socket: Arc::new(AtomicU64::new(0)) };
    let sockets = BTreeMap::new();
    // Without SIP nobody holds the sending end, and nothing is ever received.
    let (sip, sip_events) = sip.map_or_else(|| (None, mpsc::channel(1).1), |(line, events)| (Some(line), events));
    let task = Task {
        instance,
        inputs,
        media,
        media_events,
        sip,
        sip_events,
        sockets,
        load,
        pulse,
        metrics,
        exit,
        leaving: false,
    };
    (task, control)
}

impl Task {
    /// Runs until everything is closed, or `exit` is set from outside.
    pub async fn run(mut self) {
        let mut exit = self.exit.subscribe();
        let mut busy_turns = 0;
        // The flows to the SIP servers.
        self.do_commands();
        while !self.leaving && !*exit.borrow_and_update() {
            let (deadline, _) = self.instance.poll_timeout();
            tokio::select! {
                biased;
                _ = exit.changed() => break,
                Some(event) = self.media_events.recv() => self.handle_media(event),
                Some(event) = self.sip_events.recv() => self.handle_sip(event),
                Some(input) = self.inputs.recv() => self.handle(input),
                () = tokio::time::sleep_until(deadline.into()) => {}
            }
            self.handle_waiting();
            busy_turns += 1;
            // Input decides before any deadline is judged: after a freeze the answers to heartbeats may still wait here.
            if self.is_quiet() || busy_turns >= MAX_BUSY_TURNS {
                busy_turns = 0;
                self.handle_timeout();
            }
            self.publish();
        }
        self.end().await;
    }

    fn is_quiet(&self) -> bool {
        self.inputs.is_empty() && self.media_events.is_empty() && self.sip_events.is_empty()
    }

    /// Each queue gets its turn, however full the others are.
    fn handle_waiting(&mut self) {
        for _ in 0..BATCH {
            let event = self.media_events.try_recv().map(|event| self.handle_media(event));
            let sip = self.sip_events.try_recv().map(|event| self.handle_sip(event));
            let input = self.inputs.try_recv().map(|input| self.handle(input));
            if event.is_err() && sip.is_err() && input.is_err() {
                return;
            }
        }
    }

    fn handle_timeout(&mut self) {
        let now = Instant::now();
        if self.instance.poll_timeout().0 <= now {
            let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.instance.handle_wall_clock(unix, now);
            self.instance.handle_timeout(now);
            self.do_commands();
        }
    }

    fn publish(&mut self) {
        let load = self.instance.load(Instant::now());
        if *self.load.load_full() != load {
            self.load.store(Arc::new(load));
        }
        self.pulse.beat();
    }

    fn handle(&mut self, input: Input) {
        let now = Instant::now();
        match input {
            // Who asked and went away does not want the answer.
            Input::Reserve(request, answer) => {
                let reserved = self.instance.reserve(request, now);
                // A place counts from the 201 on.
                self.publish();
                drop(answer.send(reserved));
            }
            Input::Probe(id, token, answer) => drop(answer.send(self.instance.probe(&id, &token, now))),
            Input::SignOff(id, token, answer) => drop(answer.send(self.instance.sign_off(&id, &token, now))),
            Input::SocketOpened(socket, session, outbox) => {
                self.sockets.insert(socket, outbox);
                self.instance.handle_socket_opened(socket, session, now);
            }
            Input::Message(socket, message) => self.handle_message(socket, message, now),
            Input::SocketClosed(socket) => {
                self.sockets.remove(&socket);
                self.instance.handle_socket_closed(socket, now);
            }
            Input::Drain => self.instance.drain(now),
            Input::CancelDrain => self.instance.cancel_drain(now),
            Input::MakePlace(clients, answer) => drop(answer.send(self.instance.make_place(clients, now))),
            Input::Leave => self.instance.leave(now),
        }
        self.do_commands();
    }

    /// A panic over one message costs that session alone.
    fn handle_message(&mut self, socket: SocketId, message: ClientMessage, now: Instant) {
        let handled = catch_unwind(AssertUnwindSafe(|| self.instance.handle_message(socket, message, now)));
        if handled.is_err() {
            tracing::error!(?socket, "a message broke its session");
            self.instance.end_session_of(socket);
        }
    }

    fn handle_media(&mut self, event: MediaEvent) {
        if let Some(change) = translate::change(event.kind) {
            self.instance.handle_media(PeerId(event.peer.0), change, Instant::now());
            self.do_commands();
        }
    }

    fn do_commands(&mut self) {
        // Whoever hears of a change can read it in the load.
        self.publish();
        while let Some(command) = self.instance.next_command() {
            match command {
                Command::Send { socket, message } => self.send(socket, Outgoing::Message(message)),
                Command::Close { socket, code, reason } => {
                    self.metrics.closed(code);
                    self.send(socket, Outgoing::Close(code, reason));
                    self.sockets.remove(&socket);
                }
                Command::Accept { peer, offer, far } => {
                    let (answer, ports) = self.accept(translate::peer(peer), &offer, far);
                    self.instance.handle_answer(peer, answer, ports, Instant::now());
                }
                Command::RestartIce { peer, offer } => {
                    let answer = translate::answer(|| self.media.restart_ice(translate::peer(peer), &offer));
                    self.instance.handle_answer(peer, answer, None, Instant::now());
                }
                Command::ConnectFar { peer, media } => self.media.connect_far(translate::peer(peer), *media),
                Command::SendDigits { peer, digits } => self.media.send_dtmf(translate::peer(peer), &digits),
                Command::Sip(command) => {
                    if let Some(sip) = &self.sip {
                        sip.act(command);
                    }
                }
                Command::ClosePeer(peer) => self.media.close(translate::peer(peer)),
                Command::Exit => self.leaving = true,
            }
        }
    }

    /// Answers an offer; a call to SIP gets ports on that side as well, or is not answered.
    fn accept(
        &self,
        peer: crate::media::PeerId,
        offer: &str,
        far: FarLeg,
    ) -> (Result<String, OfferRefused>, Option<FarLocal>) {
        let answer = translate::answer(|| self.media.accept(peer, offer, translate::far_leg(far)));
        if !matches!(far, FarLeg::Rtp { .. }) || answer.is_err() {
            return (answer, None);
        }
        match self.media.open_far(peer, true) {
            Ok(ports) => (answer, Some(ports)),
            Err(error) => {
                self.media.close(peer);
                (Err(translate::far_refused(&error)), None)
            }
        }
    }

    fn handle_sip(&mut self, event: SipEvent) {
        self.instance.handle_sip(event, Instant::now());
        self.do_commands();
    }

    /// A socket that is too slow for its queue loses it, which closes the socket with 1013; see `socket.rs`.
    fn send(&mut self, socket: SocketId, outgoing: Outgoing) {
        let Some(outbox) = self.sockets.get(&socket) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = outbox.try_send(outgoing) {
            self.sockets.remove(&socket);
            self.metrics.closed(CloseCode::Overloaded);
            self.instance.handle_socket_closed(socket, Instant::now());
        }
    }

    /// Says goodbye to all media, lets the sockets send their last words, and ends everybody.
    async fn end(self) {
        let media = self.media.clone();
        let closing = tokio::task::spawn_blocking(move || media.shutdown());
        if self.leaving {
            let deadline = Instant::now() + LAST_WORDS;
            while self.metrics.open_sockets() > 0 && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        if let Err(error) = closing.await {
            tracing::error!(%error, "the media plane did not end well");
        }
    }
}

impl Drop for Task {
    /// However the task ends, without it there is no instance.
    fn drop(&mut self) {
        self.exit.send_replace(true);
    }
}
