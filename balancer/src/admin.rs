//! The private listener: what operators, dashboards and orchestrators ask, and how they change an instance's state.
//!
//! `GET /instances` is a list in the order of placement, ids first, then those never heard of:
//!
//! ```json
//! [{ "instance_id": "gw-1", "boot_id": "b7", "state": "up", "loss": null, "admin_state": "none", "conflicts": [],
//!    "capacity": 2000, "used": 12, "reserved": 0, "sessions": 11, "call_capacity": 500, "calls": 3, "registered": 0,
//!    "setup_rate": 200, "weight": 1.0, "placeable": true, "http": "127.0.0.1:8180", "admin": "127.0.0.1:9180",
//!    "version": "0.1.0", "config_hash": "..", "key_ids": ["0a1b2c3d"], "age_ms": 5000, "up_ms": 60000 }]
//! ```
//!
//! `state` is `joining`, `up`, `suspect`, `down` or `hold-down`; `loss` is `gone`, `silent` or null; `admin_state` is `none`,
//! `drain` or `maintenance`; `conflicts` holds `duplicate-id` or `incompatible`. An endpoint that never answered has null for
//! everything but `state`, `http`, `admin`, `conflicts` and `admin_state`. `age_ms` counts since the last change of state.
//!
//! `GET /plan` is [`balancer_core::sizing::Plan`] with `blind`, `settled` and `target`:
//!
//! ```json
//! { "instances": 3, "capacity": 6000, "used": 4140, "required": 3, "spare": 1, "survivable": 0, "left_out": 140,
//!   "sentence": "none may die; the first leaves 140 users out", "target": 1.0, "blind": false,
//!   "settled": true, "sessions": { "..": "the same eight" }, "calls": { "..": "the same eight" } }
//! ```

use crate::{
    metrics::Metrics,
    probe::{NotTaken, Unfulfilled, Wish},
    state::Shared,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Request, State as Extract},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::{get, post, put},
};
use balancer_core::{AdminState, Endpoint, Instance, Loss, State, Time, health::FULL_WEIGHT, snapshot::Flag};
use gateway_protocol::{Problem, ProblemType, header as own, problem::PROBLEM_JSON};
use serde::{Deserialize, Serialize};
use std::{io, net::IpAddr, sync::Arc, time::Duration};
use subtle::ConstantTimeEq;
use tokio::sync::{mpsc, oneshot};
use tower::limit::GlobalConcurrencyLimitLayer;

const DASHBOARD: &str = include_str!("pages/dashboard.html");
/// The view is published ten times a second; one as old as this means that the probe thread is stuck.
const STUCK: Duration = Duration::from_secs(2);

/// Requests served at once; further ones wait, so that a crowd of dashboards can't take the memory of the data path.
const MAX_REQUESTS: usize = 64;

/// What the admin listener needs.
pub struct Admin {
    /// The published view.
    pub shared: Shared,
    /// Its metrics.
    pub metrics: Arc<Metrics>,
    /// To the probe thread.
    pub wishes: mpsc::Sender<Wish>,
    /// Needed for changes, if set.
    pub token: Option<String>,
    /// True if pins made here mean nothing to another balancer or after a restart.
    pub random_key: bool,
    /// `--target`, repeated in `/plan`.
    pub target: f64,
}

/// Serves the admin listener on a thread of its own, until the process ends.
pub fn start(listener: std::net::TcpListener, admin: Admin) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
        let served = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router(admin)).await
        });
        if let Err(error) = served {
            tracing::error!(%error, "the admin listener ended");
        }
    })?;
    Ok(())
}

/// Its routes.
pub fn router(admin: Admin) -> Router {
    let admin = Arc::new(admin);
    Router::new()
        .route("/", get(dashboard))
        .route("/instances", get(instances))
        .route("/instances/{id}/state", put(change_state))
        .route("/failback", post(failback))
        .route("/plan", get(plan))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .method_not_allowed_fallback(|| async { refused(ProblemType::MethodNotAllowed, "see the Allow header") })
        .fallback(|| async { refused(ProblemType::NotFound, "nothing is here") })
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), guard))
        .layer(GlobalConcurrencyLimitLayer::new(MAX_REQUESTS))
        .with_state(admin)
}

type Shell = Extract<Arc<Admin>>;

/// A page of another site reaches a private listener only under a name of its own (DNS rebinding), and can't send our header
/// with a form; the token, where there is one, it does not know.
async fn guard(Extract(admin): Shell, request: Request, next: Next) -> Result<Response, Refused> {
    let has_token = admin.has_token(request.headers());
    if !has_token.unwrap_or(false) && !is_expected_host(request.headers()) {
        return Err(refused(ProblemType::Forbidden, "this Host is not expected here"));
    }
    if !request.method().is_safe() {
        if request.headers().get(own::ADMIN).is_none_or(|value| value != "1") {
            return Err(refused(ProblemType::Forbidden, "a change needs the header holdfast-admin: 1"));
        }
        if has_token == Some(false) {
            return Err(refused(ProblemType::Unauthorized, "a change needs the admin token"));
        }
    }
    Ok(next.run(request).await)
}

impl Admin {
    /// Whether the request bears the token; `None` if there is none to bear. Compares in constant time.
    fn has_token(&self, headers: &HeaderMap) -> Option<bool> {
        let token = self.token.as_ref()?;
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        Some(value.is_some_and(|value| value.as_bytes().ct_eq(token.as_bytes()).into()))
    }

    fn is_stuck(&self) -> bool {
        self.shared.clock.now().saturating_sub(self.shared.view().published) > STUCK
    }
}

/// An address or `localhost`: no name of another site.
fn is_expected_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let Ok(authority) = host.parse::<axum::http::uri::Authority>() else { return false };
    let name = authority.host();
    name.eq_ignore_ascii_case("localhost") || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

type Refused = (StatusCode, [(header::HeaderName, &'static str); 1], Json<Problem>);

fn refused(kind: ProblemType, detail: &str) -> Refused {
    let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], Json(Problem::new(kind, detail)))
}

async fn dashboard() -> impl IntoResponse {
    let policy = "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(DASHBOARD))
}

async fn metrics(Extract(admin): Shell) -> Result<impl IntoResponse, Refused> {
    let text = admin.metrics.render(&admin.shared);
    let text = text.map_err(|error| refused(ProblemType::Internal, &error.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text))
}

async fn livez(Extract(admin): Shell) -> (StatusCode, &'static str) {
    if admin.is_stuck() {
        (StatusCode::SERVICE_UNAVAILABLE, "the probe thread is stuck\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

async fn readyz(Extract(admin): Shell) -> (StatusCode, &'static str) {
    match not_ready(&admin) {
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
        None => (StatusCode::OK, "ok\n"),
    }
}

fn not_ready(admin: &Admin) -> Option<&'static str> {
    let view = admin.shared.view();
    let snapshot = &view.snapshot;
    if admin.is_stuck() {
        Some("the probe thread is stuck\n")
    } else if snapshot.blind {
        Some("blind: too many instances are silent at once to judge them from here\n")
    } else if !snapshot.instances.iter().any(|each| each.state.serves()) {
        Some("no instance is up\n")
    } else if admin.random_key && snapshot.instances.len() > 1 {
        Some("more than one instance needs a --cluster-key-file\n")
    } else {
        None
    }
}

async fn plan(Extract(admin): Shell) -> impl IntoResponse {
    #[derive(Serialize)]
    struct Shown {
        #[serde(flatten)]
        plan: balancer_core::sizing::Plan,
        target: f64,
        blind: bool,
        settled: bool,
    }
    let view = admin.shared.view();
    let snapshot = &view.snapshot;
    let (plan, blind, settled) = (snapshot.plan.clone(), snapshot.blind, snapshot.settled);
    Json(Shown { plan, target: admin.target, blind, settled })
}

async fn instances(Extract(admin): Shell) -> impl IntoResponse {
    let (view, now) = (admin.shared.view(), admin.shared.clock.now());
    let known = view.snapshot.instances.iter().map(|each| Shown::of(each, now));
    let unseen = view.snapshot.unseen.iter().map(|each| Shown::unseen(each.endpoint, each.state));
    Json(known.chain(unseen).collect::<Vec<_>>())
}

/// One line of `/instances`.
#[derive(Serialize)]
struct Shown {
    state: State,
    admin_state: AdminState,
    conflicts: Vec<Flag>,
    http: String,
    admin: String,
    #[serde(flatten)]
    heard: Heard,
}

/// What is only known of an instance that has answered.
#[derive(Serialize, Default)]
struct Heard {
    instance_id: Option<String>,
    boot_id: Option<String>,
    loss: Option<Loss>,
    capacity: Option<u32>,
    used: Option<u32>,
    reserved: Option<u32>,
    sessions: Option<u32>,
    call_capacity: Option<u32>,
    calls: Option<u32>,
    registered: Option<u32>,
    setup_rate: Option<u32>,
    weight: Option<f64>,
    placeable: Option<bool>,
    version: Option<String>,
    config_hash: Option<String>,
    key_ids: Option<Vec<String>>,
    age_ms: Option<u64>,
    up_ms: Option<u64>,
}

impl Shown {
    fn unseen(endpoint: Endpoint, state: State) -> Self {
        let (http, admin) = (endpoint.http.to_string(), endpoint.admin.to_string());
        Self { state, admin_state: AdminState::None, conflicts: Vec::new(), http, admin, heard: Heard::default() }
    }

    fn of(instance: &Instance, now: Time) -> Self {
        Self {
            admin_state: instance.admin_state,
            conflicts: instance.flag.into_iter().collect(),
            heard: Heard::of(instance, now),
            ..Self::unseen(instance.endpoint, instance.state)
        }
    }
}

impl Heard {
    fn of(instance: &Instance, now: Time) -> Self {
        let report = &instance.report;
        let since = |then: Time| now.saturating_sub(then).as_millis() as u64;
        Self {
            instance_id: Some(instance.run.instance.to_string()),
            boot_id: Some(instance.run.boot.to_string()),
            loss: match instance.state {
                State::Down(loss) => Some(loss),
                State::Joining | State::Up | State::Suspect | State::HoldDown => None,
            },
            capacity: Some(report.capacity),
            used: Some(report.used),
            reserved: Some(instance.taken() - report.used),
            sessions: Some(report.sessions),
            call_capacity: Some(report.call_capacity),
            calls: Some(report.calls),
            registered: Some(report.registered),
            setup_rate: Some(report.setup_rate),
            weight: Some(f64::from(instance.weight) / f64::from(FULL_WEIGHT)),
            placeable: Some(instance.placeable),
            version: Some(report.version.clone()),
            config_hash: Some(report.config_hash.clone()),
            key_ids: Some(report.key_ids.clone()),
            age_ms: Some(since(instance.since)),
            up_ms: instance.state.serves().then(|| since(instance.up_since)),
        }
    }
}

/// Body of `PUT /instances/{id}/state`.
#[derive(Deserialize)]
struct Wanted {
    state: WantedState,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum WantedState {
    Up,
    Drain,
    Maintenance,
}

/// What the body asks for, whatever its Content-Type: the JSON object, or the bare word that is quick to type.
fn wanted(body: &[u8]) -> Option<WantedState> {
    if let Ok(Wanted { state }) = serde_json::from_slice(body) {
        return Some(state);
    }
    let word = std::str::from_utf8(body).ok()?.trim().trim_matches('"');
    serde_json::from_value(word.into()).ok()
}

async fn change_state(
    Extract(admin): Shell,
    Path(instance): Path<String>,
    body: Bytes,
) -> Result<impl IntoResponse, Refused> {
    const ALLOWED: &str = "{\"state\": \"up\" | \"drain\" | \"maintenance\"} is allowed";
    let state = match wanted(&body).ok_or_else(|| refused(ProblemType::BadRequest, ALLOWED))? {
        WantedState::Up => AdminState::None,
        WantedState::Drain => AdminState::Drain,
        WantedState::Maintenance => AdminState::Maintenance,
    };
    let (reply, outcome) = oneshot::channel();
    let stuck = || refused(ProblemType::Internal, "the probe thread does not answer");
    admin.wishes.send(Wish::State { instance: instance.clone(), state, reply }).await.map_err(|_| stuck())?;
    outcome.await.map_err(|_| stuck())?.map_err(|why| unfulfilled(why, state))?;
    Ok(Json(serde_json::json!({ "instance_id": instance, "admin_state": state })))
}

/// Load comes back to returned instances, as soon as nothing is wrong, until it is even.
async fn failback(Extract(admin): Shell) -> Result<StatusCode, Refused> {
    let stuck = |_| refused(ProblemType::Internal, "the probe thread does not answer");
    admin.wishes.send(Wish::Failback).await.map_err(stuck)?;
    Ok(StatusCode::ACCEPTED)
}

/// What happened, and what holds meanwhile.
fn unfulfilled(why: Unfulfilled, wish: AdminState) -> Refused {
    let kind = match why {
        Unfulfilled::Unknown(_) => return refused(ProblemType::NotFound, &why.to_string()),
        Unfulfilled::NotTaken(NotTaken::Refused { .. }) => ProblemType::Internal,
        Unfulfilled::NotTaken(NotTaken::NoAnswer { .. }) => ProblemType::OutcomeUnknown,
    };
    let meanwhile = match wish {
        AdminState::None => "if it drains, it goes on draining",
        AdminState::Drain | AdminState::Maintenance => {
            "it is asked again, and this balancer places nothing there meanwhile"
        }
    };
    let problem = Problem { status: 502, ..Problem::new(kind, format!("{why}; {meanwhile}")) };
    (StatusCode::BAD_GATEWAY, [(header::CONTENT_TYPE, PROBLEM_JSON)], Json(problem))
}
