//! One thread of the data path, and what happens to each request on it before it is forwarded.

use super::{
    answer,
    body::{self, AnswerBody, Room},
    client_io::ClientState,
    cookies::Received,
    forward::{Checked, Forward},
    patience::Patience,
    request::{self, Wish},
    tls::Tls,
    upstream::Upstream,
};
use crate::{
    metrics::{Count, Metrics, Tally},
    state::{Shared, View},
};
use balancer_core::{Instance, admission::Admission, pin::KeyRing, retry::Budget};
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;
use rand::{RngCore, SeedableRng, rngs::SmallRng};
use std::{
    cell::RefCell,
    collections::HashMap,
    convert::Infallible,
    net::IpAddr,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio_rustls::TlsAcceptor;

/// How the data path behaves; the same on every thread.
pub struct Rules {
    /// Signs and reads pins.
    pub keys: KeyRing,
    /// Who may sign in; the probe thread tells it of losses.
    pub admission: Arc<Mutex<Admission>>,
    /// Counts; each thread gets a tally of its own.
    pub metrics: Arc<Metrics>,
    /// After this time a sign-in with an Idempotency-Key also goes to the reserved instance.
    pub create_timeout: Duration,
    /// Addresses whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Origins whose pages may read the balancer's own answers.
    pub allowed_origins: Vec<String>,
    /// HTTPS instead of HTTP.
    pub tls: Option<Arc<Tls>>,
}

/// One thread of the data path.
pub(crate) struct Worker {
    pub(crate) shared: Shared,
    pub(crate) rules: Arc<Rules>,
    pub(crate) budget: RefCell<Budget>,
    tally: Arc<Tally>,
    room: Rc<Room>,
    pub(crate) patience: RefCell<Patience>,
    random: RefCell<SmallRng>,
    /// By the serial number of the run.
    upstreams: RefCell<HashMap<u64, Rc<Upstream>>>,
}

impl Worker {
    pub(crate) fn new(shared: Shared, rules: Arc<Rules>) -> Self {
        let tally = rules.metrics.tally();
        Self {
            shared,
            rules,
            tally,
            room: Rc::default(),
            patience: RefCell::default(),
            budget: RefCell::default(),
            random: RefCell::new(SmallRng::from_os_rng()),
            upstreams: RefCell::default(),
        }
    }

    pub(crate) fn count(&self, count: Count) {
        self.tally.add(count);
    }

    pub(crate) fn tls(&self) -> Option<TlsAcceptor> {
        self.rules.tls.as_ref().map(|tls| tls.acceptor())
    }

    /// The random source of decisions.
    pub(crate) fn random(&self) -> impl FnMut() -> u64 {
        || self.random.borrow_mut().next_u64()
    }

    /// This thread's connections to an instance of `view`.
    pub(crate) fn upstream(&self, view: &View, instance: &Arc<Instance>) -> Rc<Upstream> {
        let mut upstreams = self.upstreams.borrow_mut();
        let made = || Upstream::start(Arc::clone(instance), view.link(instance).down(), self.shared.clock);
        Rc::clone(upstreams.entry(instance.serial).or_insert_with(made))
    }

    /// Forgets runs that are lost, connections that are old, and clients that are too slow.
    pub(crate) fn sweep(&self) {
        self.patience.borrow_mut().look();
        let mut upstreams = self.upstreams.borrow_mut();
        upstreams.retain(|_, upstream| !upstream.is_down());
        upstreams.values().for_each(|upstream| upstream.sweep());
    }

    pub(crate) fn is_trusted(&self, peer: IpAddr) -> bool {
        self.rules.trusted_proxies.contains(&peer)
    }

    fn allowed(&self, origin: &HeaderValue) -> bool {
        self.rules.allowed_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }
}

/// Answers one request.
pub(crate) async fn answer(
    worker: Rc<Worker>,
    client: Rc<ClientState>,
    request: http::Request<Incoming>,
) -> Result<Response<AnswerBody>, Infallible> {
    // From here on the head is borrowed: it is large, and each move would copy it.
    let (mut head, body) = request.into_parts();
    let origin = head.headers.get(header::ORIGIN).filter(|origin| worker.allowed(origin)).cloned();
    let is_upgrade = head.headers.contains_key(header::UPGRADE);
    let is_preflight =
        head.method == http::Method::OPTIONS && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match checked(&worker, &client, &mut head, body).await {
        Ok(checked) => Forward::new(&worker, &client, &head, &checked).run().await,
        Err(refusal) => {
            worker.count(Count::RequestRefused);
            answer::refused(refusal)
        }
    };
    worker.count(Count::Answered(response.status().as_u16()));
    if let Some(origin) = origin
        && !response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    {
        if is_preflight && response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response = answer::preflight();
        }
        answer::allow_origin(response.headers_mut(), origin);
    }
    if is_upgrade && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // What the client sent behind its upgrade request is no request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn checked(
    worker: &Worker,
    client: &ClientState,
    head: &mut Parts,
    body: Incoming,
) -> Result<Checked, request::Refusal> {
    let wish = request::check(head, client.next_request())?;
    let body = body::read(body, &worker.room).await?;
    let is_trusted = worker.is_trusted(client.peer);
    let is_tls = worker.rules.tls.is_some();
    let headers = &mut head.headers;
    let is_secure = is_tls || (is_trusted && request::is_forwarded_https(headers));
    let avoid = request::avoided(headers);
    request::strip_hop_by_hop(headers);
    request::strip_own(headers);
    request::say_forwarded(headers, &client.peer_value, is_trusted, if is_tls { "https" } else { "http" });
    let cookies = Received::take(headers);
    if wish == Wish::WebSocket {
        request::ask_for_websocket(headers);
    }
    Ok(Checked { body, wish, cookies, avoid, is_secure })
}
