//! The shell of one virtual user: sockets, requests, peers and timers for the machine in [`crate::user`], and the script of
//! its application: sign in, call, call again after a loss.

use crate::cause;
use crate::engine::{AnyPeer, Engine};
use crate::http::{Ask, Base, Browser};
use crate::peer::{PeerCounts, PeerState};
use crate::tally::Fact;
use crate::user::{Answer, Command, Identity, Now, OpId, Request, SocketId, Told, VirtualUser};
use crate::watch::Watch;
use futures_util::{SinkExt, StreamExt};
use gateway_protocol::{CallId, ClientMessage, ServerMessage, SessionId, header};
use rand::{SeedableRng, rngs::SmallRng};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Inputs of one user that wait; a user that is slower than its network slows that down.
const MAX_INPUTS: usize = 256;
/// A connection that is not answered at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What all users of a run share.
pub struct Shared {
    /// Media.
    pub engine: Engine,
    /// Where facts go: user, what, when.
    pub facts: mpsc::UnboundedSender<(usize, Fact, Now)>,
    /// Packets of all users.
    pub packets: Packets,
    /// The run's time zero.
    pub start: Instant,
    /// True when the users must end.
    pub stop: watch::Receiver<bool>,
}

/// Packets of all users.
#[derive(Debug, Default)]
pub struct Packets {
    /// Sent by users.
    pub sent: AtomicU64,
    /// Come back to whoever sent them.
    pub returned: AtomicU64,
    /// Come to somebody else.
    pub foreign: AtomicU64,
}

impl Shared {
    pub(crate) fn now(&self) -> Now {
        self.start.elapsed()
    }

    /// The collector outlives the users.
    pub(crate) fn note(&self, user: usize, fact: Fact, at: Now) {
        let _ = self.facts.send((user, fact, at));
    }
}

/// What a user's application does.
#[derive(Debug, Clone)]
pub struct Script {
    /// Calls as soon as it is signed in, and again after a loss.
    pub target: Option<String>,
    /// Hangs up and calls again after this time.
    pub call_length: Option<Duration>,
    /// Asks after its session so often, in all.
    pub requests: u32,
    /// So many of them at once.
    pub parallel: u32,
    /// Pause between two bursts.
    pub request_interval: Duration,
    /// Idle connections kept per balancer.
    pub connections: usize,
    /// Answers calls, unless it is in one.
    pub answers: bool,
}

enum Input {
    Answer(OpId, Answer),
    Unreachable(OpId),
    Message(SocketId, ServerMessage),
    Closed(SocketId, Option<(u16, String)>),
    Peer(CallId, PeerState),
}

/// Runs one user until the run stops.
pub async fn run_user(number: usize, identity: Identity, script: Script, seed: u64, shared: Arc<Shared>) {
    let (sender, mut inputs) = mpsc::channel(MAX_INPUTS);
    let mut stop = shared.stop.clone();
    let mut shell = Shell {
        number,
        user: VirtualUser::new(identity, SmallRng::seed_from_u64(seed)),
        browser: Browser::keeping(script.connections),
        script,
        shared,
        inputs: sender,
        sockets: HashMap::new(),
        peer: None,
        last_peer: None,
        calls: 0,
        hang_up_at: None,
        watcher: None,
    };
    shell.note(Fact::Arrived);
    shell.ask_before_any_cookie();
    shell.user.sign_in(shell.shared.now());
    loop {
        shell.obey().await;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            input = inputs.recv() => if let Some(input) = input { shell.handle(input) },
            () = shell.wait() => shell.handle_timeout(),
        }
    }
    shell.leave().await;
}

/// The peer of one call.
struct Line {
    call: CallId,
    peer: AnyPeer,
    restarting: bool,
    counted: PeerCounts,
    first_noted: bool,
}

struct Shell {
    number: usize,
    user: VirtualUser<SmallRng>,
    browser: Browser,
    script: Script,
    shared: Arc<Shared>,
    inputs: mpsc::Sender<Input>,
    sockets: HashMap<SocketId, mpsc::Sender<ClientMessage>>,
    peer: Option<Line>,
    /// That of a call called lost, listened to for a while.
    last_peer: Option<Line>,
    calls: u32,
    hang_up_at: Option<Now>,
    /// Asks after the session, beside everything else.
    watcher: Option<tokio::task::JoinHandle<()>>,
}

impl Shell {
    fn note(&self, fact: Fact) {
        self.note_at(fact, self.shared.now());
    }

    fn note_at(&self, fact: Fact, at: Now) {
        self.shared.note(self.number, fact, at);
    }

    async fn wait(&self) {
        let user = self.user.poll_timeout().map(|(at, _)| at);
        match user.into_iter().chain(self.hang_up_at).min() {
            Some(at) => tokio::time::sleep_until((self.shared.start + at).into()).await,
            None => std::future::pending().await,
        }
    }

    fn handle(&mut self, input: Input) {
        let now = self.shared.now();
        match input {
            Input::Answer(op, answer) => self.user.handle_answer(op, &answer, now),
            Input::Unreachable(op) => self.user.handle_unreachable(op, now),
            Input::Message(socket, message) => self.user.handle_message(socket, message, now),
            Input::Closed(socket, close) => {
                self.sockets.remove(&socket);
                let close = close.as_ref().map(|(code, reason)| (*code, reason.as_str()));
                self.user.handle_closed(socket, close, now);
            }
            Input::Peer(call, state) => self.handle_peer(&call, state, now),
        }
    }

    fn handle_peer(&mut self, call: &CallId, state: PeerState, now: Now) {
        match state {
            PeerState::Connected => self.user.handle_connected(call, now),
            PeerState::Flowing => {
                self.user.handle_heard(call, now);
                if let Some(line) = self.peer.as_mut().filter(|line| line.call == *call && !line.first_noted) {
                    line.first_noted = true;
                    let first = line.peer.counts().first_returned;
                    let at = first.map_or(now, |first| first.saturating_duration_since(self.shared.start));
                    self.note_at(Fact::FirstPacket(call.clone()), at);
                }
            }
            PeerState::Closed | PeerState::Failed => self.user.handle_peer_closed(call),
            PeerState::New | PeerState::Connecting => {}
        }
    }

    fn handle_timeout(&mut self) {
        self.listen();
        let now = self.shared.now();
        if self.hang_up_at.is_some_and(|at| at <= now) {
            self.hang_up_at = None;
            self.user.hang_up(now);
        }
        self.user.handle_timeout(now);
    }

    /// Tells the machine when packets came last, and counts them.
    fn listen(&mut self) {
        for line in self.peer.iter_mut().chain(&mut self.last_peer) {
            let counts = line.peer.counts();
            self.shared.packets.add(&line.counted, &counts);
            line.counted = counts;
            if let Some(at) = counts.last_received.filter(|_| counts.connected.is_some()) {
                self.user.handle_heard(&line.call, at.saturating_duration_since(self.shared.start));
            }
            if let Some(sent) = counts.newest_returned {
                self.user.handle_returned(&line.call, sent.saturating_duration_since(self.shared.start));
            }
        }
    }

    /// Does what the machine wants, until it wants nothing more.
    async fn obey(&mut self) {
        loop {
            while let Some(told) = self.user.next_told() {
                self.react(&told);
                self.note(Fact::Told(told));
            }
            let Some(command) = self.user.next_command() else { return };
            match command {
                Command::Request(op, request) => self.ask(op, request),
                Command::Open { socket, base, session } => self.open(socket, &base, &session),
                Command::Send(socket, message) => {
                    // A socket that takes nothing more is about to be closed.
                    let _ = self.sockets.get(&socket).map(|sender| sender.try_send(message));
                }
                Command::Close(socket) => drop(self.sockets.remove(&socket)),
                Command::Offer { call, restart } => self.offer(call, restart).await,
                Command::Accept { call, sdp } => self.accept(&call, sdp).await,
                Command::ClosePeer(call) => self.close_peer(&call).await,
            }
        }
    }

    /// The application: calls when signed in, and again when a call was lost.
    fn react(&mut self, told: &Told) {
        match told {
            Told::SignedIn { .. } => {
                self.watch_session();
                self.call();
            }
            Told::Settled { method: "hang_up", .. } | Told::ServiceAvailable => self.call(),
            Told::Ended { call, .. } => {
                self.hang_up_at = None;
                if let Some(line) = self.peer.take_if(|line| line.call == *call) {
                    self.last_peer = Some(line);
                }
                self.call();
            }
            Told::IncomingCall { call, .. } if self.script.answers => self.user.answer_call(call.clone()),
            _ => {}
        }
    }

    fn call(&mut self) {
        let Some(target) = self.script.target.clone() else { return };
        if !self.user.can_call() {
            return;
        }
        self.calls += 1;
        if let Ok(call) = CallId::parse(format!("{}-{}", self.number, self.calls)) {
            self.user.start_call(call, &target);
            self.hang_up_at = self.script.call_length.map(|length| self.shared.now() + length);
        }
    }

    async fn offer(&mut self, call: CallId, restart: bool) {
        if restart {
            let Some(line) = self.peer.as_mut().filter(|line| line.call == call) else { return };
            line.restarting = true;
            if let Ok(offer) = line.peer.restart().await {
                self.user.handle_offer(&call, offer);
            }
            return;
        }
        match self.shared.engine.open().await {
            Ok((peer, offer)) => {
                self.follow(&call, peer.state());
                let counted = PeerCounts::default();
                self.peer = Some(Line { call: call.clone(), peer, restarting: false, counted, first_noted: false });
                self.user.handle_offer(&call, offer);
            }
            Err(error) => tracing::error!(%error, "no peer"),
        }
    }

    /// Passes a peer's states on, as long as it lives.
    fn follow(&self, call: &CallId, mut state: watch::Receiver<PeerState>) {
        let (call, inputs) = (call.clone(), self.inputs.clone());
        tokio::spawn(async move {
            while state.changed().await.is_ok() {
                let now = *state.borrow_and_update();
                if inputs.send(Input::Peer(call.clone(), now)).await.is_err() {
                    return;
                }
            }
        });
    }

    async fn accept(&mut self, call: &CallId, sdp: String) {
        let Some(line) = self.peer.as_mut().filter(|line| line.call == *call) else { return };
        let restarted = std::mem::take(&mut line.restarting);
        if let Err(error) = line.peer.accept(sdp, restarted).await {
            tracing::warn!(%error, "the answer is no use");
        }
    }

    async fn close_peer(&mut self, call: &CallId) {
        self.listen();
        let line = self.peer.take_if(|line| line.call == *call).or(self.last_peer.take_if(|line| line.call == *call));
        if let Some(line) = line {
            line.peer.close().await;
        }
    }

    fn ask(&self, op: OpId, request: Request) {
        let (browser, inputs) = (self.browser.clone(), self.inputs.clone());
        let (number, shared) = (self.number, self.shared.clone());
        tokio::spawn(async move {
            let asked = shared.now();
            let answer = ask(&browser, &request).await;
            if request.method == "POST" {
                shared.note(number, sign_in_fact(asked, &answer), shared.now());
            }
            let input = match answer {
                Ok(answer) => Input::Answer(op, answer_of(&answer)),
                Err(_) => Input::Unreachable(op),
            };
            let _ = inputs.send(input).await;
        });
    }

    fn open(&mut self, socket: SocketId, base: &str, session: &SessionId) {
        let (sender, messages) = mpsc::channel(MAX_INPUTS);
        self.sockets.insert(socket, sender);
        let (browser, inputs, path) =
            (self.browser.clone(), self.inputs.clone(), format!("/v1/sessions/{session}/socket"));
        let base = Base::parse(base);
        tokio::spawn(async move {
            let opening = async { browser.open(&base.map_err(anyhow::Error::msg)?, &path).await };
            let close = match tokio::time::timeout(CONNECT_TIMEOUT, opening).await {
                Ok(Ok(stream)) => talk(stream, socket, messages, &inputs).await,
                Ok(Err(_)) | Err(_) => None,
            };
            let _ = inputs.send(Input::Closed(socket, close)).await;
        });
    }

    /// A page's first requests, in parallel with the sign-in: each may come back with another placement cookie, and none of
    /// them may lead the session astray.
    fn ask_before_any_cookie(&self) {
        let count = if self.script.requests == 0 { 0 } else { self.script.parallel };
        let bases = self.user.bases().iter().filter_map(|base| Base::parse(base).ok()).cycle();
        for base in bases.take(usize::try_from(count).unwrap_or(usize::MAX)) {
            let (number, browser, shared) = (self.number, self.browser.clone(), self.shared.clone());
            tokio::spawn(async move {
                let ask = Ask { method: "GET", path: "/".to_owned(), headers: Vec::new(), body: Vec::new() };
                let asked = shared.now();
                let fact = match tokio::time::timeout(CONNECT_TIMEOUT, browser.ask(&base, &ask)).await {
                    Ok(Ok(answer)) if answer.status().is_server_error() => {
                        Fact::RequestFailed { asked, cause: cause::of_answer(&answer) }
                    }
                    Ok(Ok(_)) => Fact::Answered,
                    Ok(Err(error)) => Fact::RequestFailed { asked, cause: cause::of_error(&error) },
                    Err(_) => Fact::RequestFailed { asked, cause: cause::TIMED_OUT.to_owned() },
                };
                shared.note(number, fact, shared.now());
            });
        }
    }

    /// Parallel requests right after the 201 and on, through all balancers, each checked for the right instance.
    fn watch_session(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.abort();
        }
        let Some((session, token, boot)) = self.user.session() else { return };
        if self.script.requests == 0 {
            return;
        }
        let watch = Watch {
            number: self.number,
            browser: self.browser.clone(),
            bases: self.user.bases().iter().filter_map(|base| Base::parse(base).ok()).collect(),
            path: format!("/v1/sessions/{session}"),
            bearer: format!("Bearer {token}"),
            boot: boot.clone(),
            shared: self.shared.clone(),
        };
        self.watcher = Some(tokio::spawn(watch.run(self.script.clone())));
    }

    /// Signs off in good order.
    async fn leave(mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.abort();
        }
        self.listen();
        self.script.target = None;
        self.user.sign_out(self.shared.now());
        let mut parting = Vec::new();
        while let Some(command) = self.user.next_command() {
            match command {
                Command::Request(_, request) => parting.push(request),
                Command::ClosePeer(call) => self.close_peer(&call).await,
                _ => {}
            }
        }
        for request in parting {
            let _ = tokio::time::timeout(Duration::from_secs(1), ask(&self.browser, &request)).await;
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(watcher) = &self.watcher {
            watcher.abort();
        }
    }
}

impl Packets {
    fn add(&self, before: &PeerCounts, after: &PeerCounts) {
        self.sent.fetch_add(after.sent - before.sent, Relaxed);
        self.returned.fetch_add(after.returned - before.returned, Relaxed);
        self.foreign.fetch_add(after.foreign - before.foreign, Relaxed);
    }
}

async fn ask(browser: &Browser, request: &Request) -> anyhow::Result<http::Response<bytes::Bytes>> {
    let base = Base::parse(&request.base).map_err(anyhow::Error::msg)?;
    let mut headers: Vec<(&'static str, String)> = Vec::new();
    headers.extend(request.bearer.as_ref().map(|token| ("authorization", format!("Bearer {token}"))));
    headers.extend(request.idempotency_key.clone().map(|key| (header::IDEMPOTENCY_KEY, key)));
    headers.extend(request.avoid.clone().map(|avoid| (header::AVOID, avoid)));
    let body = match &request.body {
        Some(body) => serde_json::to_vec(body)?,
        None => Vec::new(),
    };
    browser.ask(&base, &Ask { method: request.method, path: request.path.clone(), headers, body }).await
}

fn answer_of(answer: &http::Response<bytes::Bytes>) -> Answer {
    let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Answer {
        status: answer.status().as_u16(),
        pin: text(header::PIN),
        retry_after: text("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs),
        body: answer.body().to_vec(),
    }
}

fn sign_in_fact(asked: Now, answer: &anyhow::Result<http::Response<bytes::Bytes>>) -> Fact {
    match answer {
        Ok(answer) if answer.status() == http::StatusCode::CREATED => Fact::SignInAnswered { asked },
        Ok(answer) => Fact::SignInFailed { asked, cause: cause::of_answer(answer) },
        Err(error) => Fact::SignInFailed { asked, cause: cause::of_error(error) },
    }
}

/// Moves messages both ways until the socket is gone; gives its close code and reason, if it had any.
async fn talk(
    stream: WebSocketStream<TcpStream>,
    socket: SocketId,
    mut messages: mpsc::Receiver<ClientMessage>,
    inputs: &mpsc::Sender<Input>,
) -> Option<(u16, String)> {
    let (mut sink, mut source) = stream.split();
    loop {
        tokio::select! {
            message = messages.recv() => {
                let Some(message) = message else {
                    let _ = sink.close().await;
                    return None;
                };
                let text = serde_json::to_string(&message).ok()?;
                sink.send(Message::text(text)).await.ok()?;
            }
            frame = source.next() => match frame?.ok()? {
                Message::Text(text) => {
                    let message = serde_json::from_str(&text).ok()?;
                    inputs.send(Input::Message(socket, message)).await.ok()?;
                }
                Message::Close(close) => {
                    return close.map(|close| (close.code.into(), close.reason.to_string()));
                }
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }
}
