//! An instance that does as it is told: it serves, is full, freezes, dies in the middle of a word, and comes back.
//!
//! It runs on a thread and runtime of its own; dropping that runtime closes every socket at once, as the kernel does for a
//! killed process.

use bytes::Bytes;
use gateway_protocol::{BootId, Health, InstanceId, InstanceState, Problem, ProblemType, problem::PROBLEM_JSON};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread::JoinHandle,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{broadcast, oneshot, watch},
};

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// What the instance does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Answers.
    Serving,
    /// Answers sign-ins with `instance-full`, while its health report knows nothing of it.
    Full,
    /// Answers sign-ins with `not-acted`.
    NotActed,
    /// Takes sign-ins and never answers them; its health is fine.
    MuteSignIns,
    /// Reads a sign-in and closes the connection without an answer.
    Hangup,
    /// Closes the connection instead of its next answer, and serves again.
    HangupOnce,
    /// Says nothing on any connection; the kernel still accepts.
    Frozen,
    /// Has another admin token than the balancer.
    #[allow(dead_code, reason = "for the tests of the operator's side")]
    RefusesChanges,
}

struct State {
    id: InstanceId,
    boot: BootId,
    mood: watch::Sender<Mood>,
    draining: AtomicBool,
    /// Clients that it was to let go, at each time.
    rebalanced: Mutex<Vec<u64>>,
    sessions: Mutex<BTreeSet<String>>,
    received: Mutex<Vec<String>>,
    connections: Mutex<usize>,
    /// Bytes for every open WebSocket.
    out: broadcast::Sender<Vec<u8>>,
    /// Bytes that came from WebSockets.
    inbox: Mutex<Vec<u8>>,
}

/// A fake instance.
pub(crate) struct Fake {
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub(crate) fn start(id: &str) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(id, &format!("{id}-boot-1"), any, any)
    }

    /// After a kill: the same instance at the same addresses, a new process.
    pub(crate) fn restart(&mut self, boot: &str) {
        self.kill();
        *self = Self::start_at(self.state.id.as_str(), boot, self.http, self.admin);
    }

    fn start_at(id: &str, boot: &str, http: SocketAddr, admin: SocketAddr) -> Self {
        let state = Arc::new(State {
            id: InstanceId::parse(id).expect("an id"),
            boot: BootId::parse(boot).expect("an id"),
            mood: watch::Sender::new(Mood::Serving),
            draining: AtomicBool::new(false),
            rebalanced: Mutex::default(),
            sessions: Mutex::default(),
            received: Mutex::default(),
            connections: Mutex::default(),
            out: broadcast::Sender::new(16),
            inbox: Mutex::default(),
        });
        let ((stop, stopped), (told, addresses)) = (oneshot::channel(), mpsc::channel());
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (http, admin) = (listen(http).await, listen(admin).await);
                let address = |listener: &TcpListener| listener.local_addr().expect("bound");
                told.send((address(&http), address(&admin))).expect("awaited");
                tokio::spawn(accept(http, Arc::clone(&shared), true));
                tokio::spawn(accept(admin, shared, false));
                let _ = stopped.await;
            });
        });
        let (http, admin) = addresses.recv().expect("started");
        Self { http, admin, state, stop: Some(stop), thread: Some(thread) }
    }

    /// The process is gone: every socket closes, connections are refused.
    pub(crate) fn kill(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the fake does not panic");
        }
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.state.mood.send_replace(mood);
    }

    #[allow(dead_code, reason = "for the tests of the operator's side")]
    pub(crate) fn is_draining(&self) -> bool {
        self.state.draining.load(SeqCst)
    }

    /// Clients that it was to let go, at each time.
    #[allow(dead_code, reason = "for the tests of the operator's side")]
    pub(crate) fn rebalanced(&self) -> Vec<u64> {
        self.state.rebalanced.lock().expect("not poisoned").clone()
    }

    /// `METHOD path` of every public request, in order.
    pub(crate) fn received(&self) -> Vec<String> {
        self.state.received.lock().expect("not poisoned").clone()
    }

    /// How often the last word of `received` ends with this.
    pub(crate) fn count(&self, line: &str) -> usize {
        self.received().iter().filter(|each| each.starts_with(line)).count()
    }

    /// Connections to the public listener.
    pub(crate) fn connections(&self) -> usize {
        *self.state.connections.lock().expect("not poisoned")
    }

    pub(crate) fn sessions(&self) -> usize {
        self.state.sessions.lock().expect("not poisoned").len()
    }

    /// Closes every open WebSocket without a close frame.
    pub(crate) fn hang_up(&self) {
        self.say(b"");
    }

    /// Sends bytes on every open WebSocket.
    pub(crate) fn say(&self, bytes: &[u8]) {
        self.state.out.send(bytes.to_vec()).expect("a WebSocket is open");
    }

    /// WebSockets that are open.
    pub(crate) fn sockets(&self) -> usize {
        self.state.out.receiver_count()
    }

    /// What came from WebSockets.
    pub(crate) fn inbox(&self) -> Vec<u8> {
        self.state.inbox.lock().expect("not poisoned").clone()
    }

    pub(crate) fn id(&self) -> &str {
        self.state.id.as_str()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn listen(address: SocketAddr) -> TcpListener {
    TcpListener::bind(address).await.expect("a free port")
}

async fn accept(listener: TcpListener, state: Arc<State>, is_public: bool) {
    while let Ok((stream, _)) = listener.accept().await {
        if is_public {
            *state.connections.lock().expect("not poisoned") += 1;
        }
        let state = Arc::clone(&state);
        let service = hyper::service::service_fn(move |request| handle(Arc::clone(&state), request, is_public));
        let server = hyper::server::conn::http1::Builder::new();
        tokio::spawn(async move { server.serve_connection(TokioIo::new(stream), service).with_upgrades().await });
    }
}

async fn handle(
    state: Arc<State>,
    mut request: Request<Incoming>,
    is_public: bool,
) -> Result<Response<Body>, std::io::Error> {
    let mut mood = state.mood.subscribe();
    let mood = *mood.wait_for(|mood| *mood != Mood::Frozen).await.expect("the sender lives with the state");
    let mut response = if !is_public {
        private(&state, &mut request).await
    } else {
        let line = format!("{} {}", request.method(), request.uri());
        let has_key = request.headers().contains_key("idempotency-key");
        let forwarded = request.headers().get("x-forwarded-for").map_or("", |value| value.to_str().unwrap_or("?"));
        let cookies = request.headers().get(header::COOKIE).map_or("", |value| value.to_str().unwrap_or("?"));
        state
            .received
            .lock()
            .expect("not poisoned")
            .push(format!("{line} key={has_key} for={forwarded} cookie={cookies}"));
        if mood == Mood::HangupOnce {
            state.mood.send_replace(Mood::Serving);
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        serve(&state, mood, &mut request).await?
    };
    let headers = response.headers_mut();
    headers.insert("holdfast-instance", state.id.as_str().parse().expect("an id"));
    headers.insert("holdfast-boot", state.boot.as_str().parse().expect("an id"));
    Ok(response)
}

async fn serve(
    state: &Arc<State>,
    mood: Mood,
    request: &mut Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let path = request.uri().path().to_owned();
    let session = path.strip_prefix("/v1/sessions/").map(|rest| rest.split('/').next().unwrap_or(rest).to_owned());
    Ok(match (request.method(), session) {
        (&Method::POST, _) if path == "/v1/sessions" => return sign_in(state, mood, request).await,
        (&Method::GET, Some(id)) if path.ends_with("/socket") => socket(state, &id, request),
        (&Method::GET, Some(id)) if known(state, &id) => text(StatusCode::OK, "{}"),
        (&Method::DELETE, Some(id)) if known(state, &id) => {
            state.sessions.lock().expect("not poisoned").remove(&id);
            text(StatusCode::NO_CONTENT, "")
        }
        (_, Some(_)) => problem(ProblemType::SessionUnknown),
        (_, None) if path == "/mute" => std::future::pending().await,
        (_, None) if path == "/half" => half(),
        (_, None) if path == "/large" => text(StatusCode::OK, &"large ".repeat(500_000)),
        (_, None) => text(StatusCode::OK, &format!("page of {}", state.id)),
    })
}

fn known(state: &State, id: &str) -> bool {
    state.sessions.lock().expect("not poisoned").contains(id)
}

async fn sign_in(
    state: &Arc<State>,
    mood: Mood,
    request: &mut Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    let _ = request.body_mut().collect().await;
    match mood {
        Mood::Full => return Ok(problem(ProblemType::InstanceFull)),
        Mood::NotActed => return Ok(problem(ProblemType::NotActed)),
        Mood::Hangup => return Err(std::io::ErrorKind::ConnectionAborted.into()),
        Mood::MuteSignIns => drop(state.mood.subscribe().wait_for(|mood| *mood == Mood::Serving).await),
        Mood::Serving | Mood::HangupOnce | Mood::Frozen | Mood::RefusesChanges => {}
    }
    let mut sessions = state.sessions.lock().expect("not poisoned");
    let id = format!("{}-s{}", state.id, sessions.len());
    let signed_in = serde_json::json!({
        "session_id": id, "session_token": "t", "instance_id": state.id, "boot_id": state.boot, "user": "ann",
        "heartbeat_ms": 5000, "grace_ms": 60000, "reconnect_window_ms": 20, "ice_servers": [], "services": [],
        "capsule": "", "recovering": false, "alternates": [],
    });
    let mut response = text(StatusCode::CREATED, &signed_in.to_string());
    response.headers_mut().insert(header::LOCATION, format!("/v1/sessions/{id}").parse().expect("a path"));
    sessions.insert(id);
    Ok(response)
}

fn socket(state: &Arc<State>, id: &str, request: &mut Request<Incoming>) -> Response<Body> {
    let greeting = if known(state, id) { b"\x81\x02hi".as_slice() } else { b"\x88\x02\x11\x3a" };
    let (upgrade, state, mut out) = (hyper::upgrade::on(request), Arc::clone(state), state.out.subscribe());
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = TokioIo::new(upgraded);
        let _ = socket.write_all(greeting).await;
        let mut buffer = [0; 1024];
        loop {
            tokio::select! {
                said = out.recv() => match said {
                    Ok(bytes) if bytes.is_empty() => return,
                    Ok(bytes) => drop(socket.write_all(&bytes).await),
                    Err(_) => return,
                },
                read = socket.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(length) => state.inbox.lock().expect("not poisoned").extend_from_slice(&buffer[..length]),
                },
            }
        }
    });
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    response.headers_mut().insert(header::CONNECTION, "upgrade".parse().expect("a token"));
    response.headers_mut().insert(header::UPGRADE, "websocket".parse().expect("a token"));
    response
}

/// Without a length: its end is only known by the last chunk.
fn half() -> Response<Body> {
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"first half")))]);
    let endless = futures_util::StreamExt::chain(first, futures_util::stream::pending());
    Response::new(StreamBody::new(endless).boxed_unsync())
}

async fn private(state: &State, request: &mut Request<Incoming>) -> Response<Body> {
    if request.method() != Method::POST {
        return health(state);
    }
    if *state.mood.borrow() == Mood::RefusesChanges {
        return problem(ProblemType::Unauthorized);
    }
    let Ok(body) = request.body_mut().collect().await else { return problem(ProblemType::BadRequest) };
    if request.uri().path() == "/rebalance" {
        let body: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        let clients = body["clients"].as_u64().unwrap_or_default();
        state.rebalanced.lock().expect("not poisoned").push(clients);
        return text(StatusCode::OK, &format!("{{\"asked\":{clients}}}"));
    }
    let is_cancel = String::from_utf8_lossy(&body.to_bytes()).contains("\"cancel\":true");
    state.draining.store(!is_cancel, SeqCst);
    text(StatusCode::OK, "{}")
}

fn health(state: &State) -> Response<Body> {
    let sessions = state.sessions.lock().expect("not poisoned").len() as u32;
    let health = Health {
        instance_id: state.id.clone(),
        boot_id: state.boot.clone(),
        state: if state.draining.load(SeqCst) { InstanceState::Draining } else { InstanceState::Ready },
        capacity: 100,
        used: sessions,
        call_capacity: 100,
        calls: 0,
        sessions,
        registered: 0,
        setup_rate: 1000,
        config_hash: "same".to_owned(),
        key_ids: Vec::new(),
        reads: Vec::new(),
        writes: Vec::new(),
        version: "0".to_owned(),
        services: Vec::new(),
        drain_deadline_ms: None,
    };
    text(StatusCode::OK, &serde_json::to_string(&health).expect("serializable"))
}

fn problem(kind: ProblemType) -> Response<Body> {
    let problem = Problem::new(kind, "");
    let status = StatusCode::from_u16(problem.status).expect("a status");
    let mut response = text(status, &serde_json::to_string(&problem).expect("serializable"));
    response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM_JSON.parse().expect("a media type"));
    response
}

fn text(status: StatusCode, body: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes())).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}
