//! What stands behind the measured proxies: a server that looks like an instance and costs as little as can be, on a thread
//! of its own.

use bytes::Bytes;
use gateway_protocol::{BootId, Health, InstanceId, InstanceState, SessionId, SignedIn, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// One upstream; its thread ends with the process.
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) public: SocketAddr,
    pub(super) admin: SocketAddr,
}

struct Shared {
    instance: InstanceId,
    boot: BootId,
    sessions: AtomicU32,
}

impl Upstream {
    pub(super) fn start(name: &str) -> anyhow::Result<Self> {
        let (public, admin) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let addresses = (public.local_addr()?, admin.local_addr()?);
        let shared = Arc::new(Shared {
            instance: InstanceId::parse(name)?,
            boot: BootId::parse(format!("boot-{name}"))?,
            sessions: AtomicU32::new(0),
        });
        std::thread::Builder::new().name(name.to_owned()).spawn(move || serve(public, admin, &shared))?;
        Ok(Self { name: name.to_owned(), public: addresses.0, admin: addresses.1 })
    }
}

fn serve(public: TcpListener, admin: TcpListener, shared: &Arc<Shared>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::try_join!(accept(public, shared.clone()), accept(admin, shared.clone()))?;
        Ok(())
    })
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let answer = shared.answer(request);
                async { Ok::<_, Infallible>(answer) }
            });
            // A client that goes away in the middle is its own business.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

impl Shared {
    fn answer(&self, mut request: Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let mut answer = match (request.method(), path.as_str()) {
            (&Method::GET, "/health") => json(StatusCode::OK, &self.health()),
            (&Method::POST, "/v1/sessions") => self.sign_in(),
            (&Method::GET, path) if path.ends_with("/socket") => upgrade(&mut request),
            _ => Response::new(Full::new(Bytes::from_static(b"{\"state\":\"attached\"}"))),
        };
        for (name, value) in [(header::INSTANCE, self.instance.as_str()), (header::BOOT, self.boot.as_str())] {
            if let Ok(value) = value.parse() {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }

    fn health(&self) -> Health {
        Health {
            instance_id: self.instance.clone(),
            boot_id: self.boot.clone(),
            state: InstanceState::Ready,
            capacity: 100_000,
            used: self.sessions.load(Relaxed),
            call_capacity: 100_000,
            calls: 0,
            sessions: self.sessions.load(Relaxed),
            registered: 0,
            setup_rate: 100_000,
            config_hash: "bench".to_owned(),
            key_ids: Vec::new(),
            reads: Vec::new(),
            writes: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            services: Vec::new(),
            drain_deadline_ms: None,
        }
    }

    fn sign_in(&self) -> Response<Full<Bytes>> {
        let number = self.sessions.fetch_add(1, Relaxed);
        let id = format!("{}-{number}", self.instance);
        let Ok(session_id) = SessionId::parse(id.clone()) else { return Response::default() };
        let mut answer = json(
            StatusCode::CREATED,
            &SignedIn {
                session_id,
                session_token: "token".to_owned(),
                instance_id: self.instance.clone(),
                boot_id: self.boot.clone(),
                user: "bench".to_owned(),
                heartbeat_ms: 5_000,
                grace_ms: 60_000,
                reconnect_window_ms: 20,
                ice_servers: Vec::new(),
                services: Vec::new(),
                capsule: String::new(),
                recovering: false,
                alternates: Vec::new(),
            },
        );
        if let Ok(location) = format!("/v1/sessions/{id}").parse() {
            answer.headers_mut().insert("location", location);
        }
        answer
    }
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(serde_json::to_vec(body).unwrap_or_default())));
    *answer.status_mut() = status;
    answer
}

/// Accepts a WebSocket and holds it until the other side goes.
fn upgrade(request: &mut Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
    let key = request.headers().get("sec-websocket-key").map(|key| accept_key(key.as_bytes())).unwrap_or_default();
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        if let Ok(stream) = upgraded.await {
            let (mut stream, mut byte) = (TokioIo::new(stream), [0_u8; 1]);
            while matches!(tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await, Ok(1..)) {}
        }
    });
    let answer = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", key);
    answer.body(Full::default()).unwrap_or_default()
}

/// RFC 6455 §4.2.2.
fn accept_key(key: &[u8]) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(key)
}
