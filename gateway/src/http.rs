//! Public HTTP: sign-in, probe, sign-off, the way to the socket, and the page.

use crate::assets::Assets;
use crate::auth::{Verifier, token};
use crate::control::{Control, Input, Overloaded};
use crate::cors::{self, Origins, Verdict};
use crate::failure::Failure;
use crate::metrics::{Metrics, Route};
use crate::socket::{self, Refused};
use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use gateway_core::{Auth, Reserve, SealRing, entry};
use gateway_protocol::{BootId, InstanceId, ProblemType, SessionId, SignIn, header as own};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Largest request body.
pub const MAX_BODY_BYTES: usize = 256 * 1024;
/// Longest `Idempotency-Key`.
const MAX_KEY_BYTES: usize = 128;
/// A body must have come within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What every public request may need.
pub struct App {
    /// The sessions.
    pub control: Control,
    /// How users prove who they are.
    pub auth: Auth,
    /// Their tokens.
    pub verifier: Verifier,
    /// Capsules and tickets.
    pub ring: SealRing,
    /// Pages that may use the service.
    pub origins: Origins,
    /// The page.
    pub assets: Assets,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Rate limit of a socket.
    pub messages_per_second: u32,
    /// On every answer.
    pub identity: [(HeaderName, HeaderValue); 2],
}

/// The headers that name this run of this instance.
#[must_use]
pub fn identity(instance: &InstanceId, boot: &BootId) -> [(HeaderName, HeaderValue); 2] {
    let value = |text: &str| HeaderValue::from_str(text).expect("an id fits a header");
    [
        (HeaderName::from_static(own::INSTANCE), value(instance.as_str())),
        (HeaderName::from_static(own::BOOT), value(boot.as_str())),
    ]
}

/// The routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/sessions", post(sign_in))
        .route("/v1/sessions/{id}", get(probe).delete(sign_off))
        .route("/v1/sessions/{id}/socket", get(open_socket))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(page)
        .layer(from_fn_with_state(app.clone(), around))
        .with_state(app)
}

type Shared = State<Arc<App>>;

/// Around every request: who may ask, and what every answer carries.
async fn around(State(app): Shared, request: Request, next: Next) -> Response {
    let route = Route::of(request.uri().path());
    let is_socket = request.headers().contains_key(header::UPGRADE);
    let verdict = app.origins.judge(request.headers());
    let listed = match verdict {
        Verdict::Listed(origin) => Some(origin.clone()),
        Verdict::Own | Verdict::Foreign => None,
    };
    let mut response = match verdict {
        // A socket's verdict is a close code.
        Verdict::Foreign if !is_socket && route != Route::Page => {
            Failure::new(ProblemType::Forbidden, "the origin is not on the allow-list").into_response()
        }
        Verdict::Own | Verdict::Listed(_) if request.method() == Method::OPTIONS && route != Route::Page => {
            (StatusCode::NO_CONTENT, cors::preflight()).into_response()
        }
        Verdict::Own | Verdict::Listed(_) | Verdict::Foreign => next.run(request).await,
    };
    let headers = response.headers_mut();
    if let Some(origin) = listed {
        cors::allow(&origin, headers);
    }
    if route != Route::Page {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    headers.extend(app.identity.clone());
    app.metrics.answered(route, response.status());
    response
}

async fn sign_in(State(app): Shared, headers: HeaderMap, body: Body) -> Result<Response, Failure> {
    let body = read(body).await?;
    let sign_in: SignIn = serde_json::from_slice(&body)
        .map_err(|error| Failure::new(ProblemType::BadRequest, format!("the body can't be read: {error}")))?;
    let idempotency_key = idempotency_key(&headers)?;
    let bearer = app.verifier.bearer(&headers);
    let identity = entry::identify(&sign_in, app.auth, bearer, &app.ring, unix_now())?;
    let request = Reserve {
        user: identity.user,
        client_id: sign_in.client_id,
        recovering: identity.recovering,
        earlier: identity.earlier,
        idempotency_key,
    };
    let answer = app.control.ask(|answer| Input::Reserve(request, answer)).await??;
    let location = format!("/v1/sessions/{}", answer.session_id);
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, "no-store".to_owned())];
    Ok((StatusCode::CREATED, headers, Json(answer)).into_response())
}

async fn read(body: Body) -> Result<Bytes, Failure> {
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_large(&error) => {
            Err(Failure::new(ProblemType::TooLarge, format!("at most {MAX_BODY_BYTES} bytes are read")))
        }
        Ok(Err(_)) => Err(Failure::new(ProblemType::BadRequest, "the body broke off")),
        Err(_) => Err(Failure::new(ProblemType::BadRequest, "the body did not come in time")),
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(own::IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=MAX_KEY_BYTES).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Failure::new(ProblemType::BadRequest, format!("Idempotency-Key has 1 to {MAX_KEY_BYTES} characters"))),
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

async fn probe(
    State(app): Shared,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let id = session_id(id)?;
    let token = token(&headers).unwrap_or_default().to_owned();
    let answer = app.control.ask(|answer| Input::Probe(id, token, answer)).await??;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

async fn sign_off(
    State(app): Shared,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let id = session_id(id)?;
    let token = token(&headers).unwrap_or_default().to_owned();
    app.control.ask(|answer| Input::SignOff(id, token, answer)).await??;
    Ok(StatusCode::NO_CONTENT)
}

fn session_id(path: Result<Path<String>, PathRejection>) -> Result<SessionId, Failure> {
    path.ok()
        .and_then(|Path(text)| SessionId::parse(text).ok())
        .ok_or_else(|| Failure::new(ProblemType::SessionUnknown, "no such session here"))
}

async fn open_socket(
    State(app): Shared,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let upgrade = upgrade.map_err(|error| Failure::new(ProblemType::BadRequest, error.body_text()))?;
    let session = match app.origins.judge(&headers) {
        Verdict::Foreign => Err(Refused::Origin),
        Verdict::Own | Verdict::Listed(_) => session_id(id).map_err(|_| Refused::NoSession),
    };
    Ok(socket::accept(upgrade, session, app.control.clone(), app.metrics.clone(), app.messages_per_second))
}

async fn page(State(app): Shared, request: Request) -> Result<Response, Failure> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Failure::new(ProblemType::NotFound, "nothing is here"));
    }
    let answer = app.assets.answer(request.uri().path(), request.headers());
    answer.ok_or_else(|| Failure::new(ProblemType::NotFound, "nothing is here"))
}

async fn method_not_allowed() -> Failure {
    Failure::new(ProblemType::MethodNotAllowed, "see the Allow header")
}

impl From<Overloaded> for Failure {
    fn from(_: Overloaded) -> Self {
        Self::overloaded()
    }
}
