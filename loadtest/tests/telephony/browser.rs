//! A browser's tab: HTTP, the session socket, and a peer with an ear for each call.

use crate::cluster::Cluster;
use crate::tone::{self, Ear};
use futures_util::{SinkExt, StreamExt};
use loadtest::peer::{Peer, PeerIdentity, PeerState, Profiles, Sound};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

/// What comes, comes within this time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Payload type of Opus in the peer's offers.
const OPUS: u8 = 111;

pub(crate) struct Browser {
    user: String,
    client_id: String,
    session: Value,
    capsule: Value,
    socket: Socket,
    pub(crate) events: VecDeque<Value>,
    requests: u32,
}

/// Both ends of a task that keeps the connection: heartbeats are answered while nobody listens.
struct Socket {
    out: mpsc::UnboundedSender<Value>,
    inbound: mpsc::UnboundedReceiver<Result<Value, Closed>>,
}

/// Code and reason; without a close frame, 1006.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed(pub(crate) u16, pub(crate) String);

/// The media of one call.
pub(crate) struct Call {
    peer: Arc<Mutex<Peer>>,
    ear: Arc<Mutex<Ear>>,
    socket: Arc<UdpSocket>,
    task: Option<JoinHandle<()>>,
}

impl Browser {
    /// Signed in, attached and registered.
    pub(crate) async fn join(cluster: &Cluster, instance: usize, user: &str) -> Self {
        let body = json!({ "user": user, "client_id": format!("tab-{user}") });
        let mut browser = Self::sign_in(cluster.public(instance), user, &body, &json!([])).await;
        browser.until_available().await;
        browser
    }

    /// The same user and tab at another instance, with its capsule, which decides about its `dead_calls`.
    pub(crate) async fn take_over(&self, cluster: &Cluster, instance: usize, dead_calls: &Value) -> Self {
        let body = json!({
            "user": self.user,
            "client_id": self.client_id,
            "capsule": self.capsule,
            "previous_token": self.session["session_token"],
        });
        let browser = Self::sign_in(cluster.public(instance), &self.user, &body, dead_calls).await;
        assert_eq!(browser.session["recovering"], true);
        browser
    }

    async fn sign_in(gateway: SocketAddr, user: &str, body: &Value, dead_calls: &Value) -> Self {
        let (session, cookies) = post(gateway, "/v1/sessions", &body.to_string()).await;
        let id = session["session_id"].as_str().expect("an id").to_owned();
        let socket = Socket::open(gateway, &format!("/v1/sessions/{id}/socket"), &cookies).await;
        let client_id = body["client_id"].as_str().expect("an id").to_owned();
        let mut browser = Self {
            user: user.to_owned(),
            client_id,
            capsule: session["capsule"].clone(),
            session,
            socket,
            events: VecDeque::new(),
            requests: 0,
        };
        let token = browser.session["session_token"].clone();
        browser.send(&json!({ "kind": "attach", "token": token, "dead_calls": dead_calls }));
        let attached = browser.next().await;
        assert_eq!(attached["kind"], "attached");
        browser.capsule = attached["capsule"].clone();
        let service = attached["snapshot"]["services"][0].clone();
        browser.events.push_back(json!({ "type": "service", "service": service }));
        browser
    }

    pub(crate) async fn until_available(&mut self) {
        loop {
            if self.event("service").await["service"]["available"] == true {
                return;
            }
        }
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.socket.out.send(message.clone()).expect("the socket is open");
    }

    /// The next message but for heartbeats and capsules.
    pub(crate) async fn next(&mut self) -> Value {
        let message = tokio::time::timeout(PATIENCE, self.take()).await.expect("a message in time");
        message.unwrap_or_else(|closed| panic!("{closed:?} instead of a message"))
    }

    async fn take(&mut self) -> Result<Value, Closed> {
        loop {
            let message = self.socket.inbound.recv().await.expect("nothing after the end")?;
            if message["event"]["type"] == "capsule" {
                self.capsule = message["event"]["capsule"].clone();
            } else {
                return Ok(message);
            }
        }
    }

    /// The connection is gone.
    pub(crate) fn is_cut(&self) -> bool {
        self.socket.inbound.is_closed()
    }

    /// Waits until the socket closes; events before it are kept.
    pub(crate) async fn closed(&mut self) -> Closed {
        let closed = async {
            loop {
                match self.take().await {
                    Ok(message) => self.events.push_back(message["event"].clone()),
                    Err(closed) => return closed,
                }
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.expect("it closes")
    }

    /// Events that came and nobody waited for; they are kept.
    pub(crate) fn waiting(&mut self) -> Vec<Value> {
        while let Ok(Ok(message)) = self.socket.inbound.try_recv() {
            match message["event"]["type"] == "capsule" {
                true => self.capsule = message["event"]["capsule"].clone(),
                false => self.events.push_back(message["event"].clone()),
            }
        }
        self.events.iter().cloned().collect()
    }

    /// The instance that it is at.
    pub(crate) fn instance(&self) -> &str {
        self.session["instance_id"].as_str().expect("an id")
    }

    /// The outcome of a request; events before it are kept.
    pub(crate) async fn ask(&mut self, request: Value) -> Value {
        self.requests += 1;
        let id = format!("r{}", self.requests);
        self.send(&json!({ "kind": "request", "id": id, "request": request }));
        loop {
            let message = self.next().await;
            match message["kind"].as_str() {
                Some("response") if message["id"] == id.as_str() => return message["outcome"].clone(),
                Some("event") => self.events.push_back(message["event"].clone()),
                _ => {}
            }
        }
    }

    pub(crate) async fn done(&mut self, request: Value) -> Value {
        let outcome = self.ask(request.clone()).await;
        assert_eq!(outcome["status"], "ok", "{request}: {outcome}");
        outcome
    }

    /// The next event of a kind; others before it are passed over.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        let mut passed = Vec::new();
        let event = tokio::time::timeout(PATIENCE, self.event_whenever(kind, &mut passed)).await;
        event.unwrap_or_else(|_| panic!("no {kind} but {passed:?}"))
    }

    /// The same, however late it comes.
    pub(crate) async fn event_whenever(&mut self, kind: &str, passed: &mut Vec<Value>) -> Value {
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => match self.take().await {
                    Ok(message) => message["event"].clone(),
                    Err(closed) => panic!("{closed:?} instead of {kind} after {passed:?}"),
                },
            };
            if event["type"] == kind {
                return event;
            }
            passed.push(event);
        }
    }

    /// Waits until a call has a state.
    pub(crate) async fn state(&mut self, call: &str, state: &str) -> Value {
        loop {
            let event = self.event("call_state").await;
            if event["call_id"] == call && event["state"] == state {
                return event;
            }
        }
    }

    /// Starts a call in which a tone is said.
    pub(crate) async fn dial(&mut self, call: &str, target: &str, hertz: f64) -> Call {
        self.dial_with(call, target, Call::new(hertz, true).await).await
    }

    pub(crate) async fn dial_with(&mut self, call: &str, target: &str, mut media: Call) -> Call {
        let sdp = media.offer();
        let request = json!({ "method": "start_call", "call_id": call, "target": target, "sdp": sdp });
        let mut outcome = self.ask(request.clone()).await;
        // A SIP server that is starved of CPU counts as gone for a while.
        while outcome["reason"] == "service-unavailable" {
            self.until_available().await;
            outcome = self.ask(request.clone()).await;
        }
        assert_eq!(outcome["status"], "ok", "{request}: {outcome}");
        media.connect(&outcome);
        media
    }

    /// Answers a call that rings, with a tone.
    pub(crate) async fn answer(&mut self, call: &str, hertz: f64) -> Call {
        let mut media = Call::new(hertz, true).await;
        let sdp = media.offer();
        let outcome = self.done(json!({ "method": "answer_call", "call_id": call, "sdp": sdp })).await;
        media.connect(&outcome);
        media
    }

    pub(crate) async fn verb(&mut self, method: &str, call: &str) {
        self.done(json!({ "method": method, "call_id": call })).await;
    }
}

impl Socket {
    async fn open(gateway: SocketAddr, path: &str, cookies: &str) -> Self {
        let stream = TcpStream::connect(gateway).await.expect("it listens");
        let mut request = format!("ws://{gateway}{path}").into_client_request().expect("a request");
        request.headers_mut().insert("cookie", cookies.parse().expect("a header"));
        let (socket, _) = client_async(request, stream).await.expect("every socket is accepted");
        let (out, outbound) = mpsc::unbounded_channel();
        let (tell, inbound) = mpsc::unbounded_channel();
        tokio::spawn(keep(socket, outbound, tell));
        Self { out, inbound }
    }
}

/// Until either end is gone.
async fn keep(
    mut socket: WebSocketStream<TcpStream>,
    mut outbound: mpsc::UnboundedReceiver<Value>,
    tell: mpsc::UnboundedSender<Result<Value, Closed>>,
) {
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            message = outbound.recv() => match message {
                Some(message) => {
                    let _ = socket.send(Message::Text(message.to_string().into())).await;
                    continue;
                }
                None => return,
            },
        };
        let told = match message {
            Some(Ok(Message::Text(text))) => Ok(serde_json::from_str::<Value>(&text).expect("JSON")),
            Some(Ok(Message::Close(Some(frame)))) => Err(Closed(frame.code.into(), frame.reason.to_string())),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            _ => Err(Closed(1006, String::new())),
        };
        if let Some(ping) = told.as_ref().ok().filter(|message| message["kind"] == "ping") {
            let pong = json!({ "kind": "pong", "nonce": ping["nonce"] });
            let _ = socket.send(Message::Text(pong.to_string().into())).await;
            continue;
        }
        let is_over = told.is_err();
        if tell.send(told).is_err() || is_over {
            return;
        }
    }
}

impl Call {
    pub(crate) async fn new(hertz: f64, g711: bool) -> Self {
        let identity = PeerIdentity::generate().expect("a certificate");
        let mut random = SmallRng::from_os_rng();
        let mut peer = Peer::new(identity, Profiles::Gcm, 1, &mut random, Instant::now());
        peer.speak(Sound::Opus(tone::opus(hertz).into()));
        peer.listen();
        if !g711 {
            peer.without_g711();
        }
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a socket"));
        let ear = Arc::new(Mutex::new(Ear::new()));
        Self { peer: Arc::new(Mutex::new(peer)), ear, socket, task: None }
    }

    /// Says the tone in PCMU from now on, as a browser does that was told what the far side takes.
    pub(crate) fn says_in_pcmu(&self, hertz: f64) {
        lock(&self.peer).speak(Sound::Pcmu(tone::pcmu(hertz).into()));
    }

    pub(crate) fn offer(&self) -> String {
        lock(&self.peer).offer()
    }

    fn connect(&mut self, outcome: &Value) {
        let answer = outcome["sdp"].as_str().expect("an answer");
        lock(&self.peer).answer(answer, Instant::now()).expect("an answer to our offer");
        let (peer, ear, socket) = (self.peer.clone(), self.ear.clone(), self.socket.clone());
        self.task = Some(tokio::spawn(drive(peer, ear, socket)));
    }

    pub(crate) fn ear(&self) -> MutexGuard<'_, Ear> {
        lock(&self.ear)
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.peer).state() == PeerState::Closed
    }

    /// Waits until the tone is heard.
    pub(crate) async fn hears(&self, hertz: f64) {
        until(&format!("{hertz} Hz"), || self.ear().hears(hertz)).await;
    }

    /// Nothing comes for half a second.
    pub(crate) async fn is_silent(&self) {
        until("silence", || {
            let mut ear = self.ear();
            let silent = ear.packets.is_empty();
            ear.clear();
            silent
        })
        .await;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Looks every half second, so that what was heard since the last look tells of that time.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(500));
    looks.tick().await;
    for _ in 0..PATIENCE.as_secs() * 2 {
        looks.tick().await;
        if is_so() {
            return;
        }
    }
    panic!("no {what}");
}

async fn drive(peer: Arc<Mutex<Peer>>, ear: Arc<Mutex<Ear>>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; 2048];
    loop {
        let (datagrams, remote, due) = {
            let mut peer = lock(&peer);
            let datagrams: Vec<_> = std::iter::from_fn(|| peer.poll_transmit()).collect();
            while let Some(packet) = peer.poll_heard() {
                lock(&ear).hear(&packet, OPUS);
            }
            (datagrams, peer.remote(), peer.poll_timeout())
        };
        if let Some(remote) = remote {
            for datagram in datagrams {
                // What can't be sent is lost.
                let _ = socket.send_to(&datagram, remote).await;
            }
        }
        let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
        tokio::select! {
            Ok((length, _)) = socket.recv_from(&mut buffer) => {
                lock(&peer).handle_datagram(&buffer[..length], Instant::now());
            }
            () = tokio::time::sleep_until(due.into()) => lock(&peer).handle_timeout(Instant::now()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("not poisoned")
}

/// The JSON body of a 201, and its cookies.
async fn post(gateway: SocketAddr, path: &str, body: &str) -> (Value, String) {
    let mut stream = TcpStream::connect(gateway).await.expect("it listens");
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let cookies = fields.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
    let cookies: Vec<_> = cookies.filter_map(|(_, cookie)| cookie.split(';').next()).collect();
    (serde_json::from_str(body).expect("JSON"), cookies.join("; "))
}
