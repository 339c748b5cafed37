//! Private HTTP: health, metrics, drain, balance. Changes need a header that no foreign page can send, an expected Host, and the
//! token where one is set.

use crate::auth::token;
use crate::control::Input;
use crate::failure::Failure;
use crate::health::Reporter;
use crate::metrics::Metrics;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use gateway_protocol::{ProblemType, header as own};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Largest body.
const MAX_BODY_BYTES: usize = 4 * 1024;

/// What the private listener needs.
pub struct Private {
    /// For `/health`.
    pub reporter: Reporter,
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
    /// `--admin-token-file`.
    pub token: Option<String>,
}

/// Body of `POST /drain`; an empty one starts to drain.
#[derive(Debug, Default, Deserialize)]
struct Drain {
    #[serde(default)]
    cancel: bool,
}

#[derive(Debug, Serialize)]
struct Drained {
    draining: bool,
}

/// Body of `POST /rebalance`.
#[derive(Debug, Deserialize)]
struct Rebalance {
    /// Idle clients that are to go elsewhere, at most.
    clients: u32,
}

#[derive(Debug, Serialize)]
struct Rebalanced {
    asked: u32,
}

/// The routes.
pub fn router(private: Arc<Private>, identity: [(HeaderName, HeaderValue); 2]) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/drain", post(drain))
        .route("/rebalance", post(rebalance))
        .method_not_allowed_fallback(|| async { Failure::new(ProblemType::MethodNotAllowed, "see the Allow header") })
        .fallback(|| async { Failure::new(ProblemType::NotFound, "nothing is here") })
        .layer(map_response(move |mut response: Response| {
            response.headers_mut().extend(identity.clone());
            async { response }
        }))
        .with_state(private)
}

async fn health(State(private): State<Arc<Private>>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(private.reporter.report())).into_response()
}

async fn metrics(State(private): State<Arc<Private>>) -> Response {
    let text = private.metrics.text(&private.reporter.control.load(), &private.reporter.media.stats());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

async fn drain(State(private): State<Arc<Private>>, headers: HeaderMap, body: Body) -> Result<Response, Failure> {
    private.may_change(&headers)?;
    let body = to_bytes(body, MAX_BODY_BYTES).await.map_err(bad)?;
    let Drain { cancel } = match body.is_empty() {
        true => Drain::default(),
        false => serde_json::from_slice(&body).map_err(bad)?,
    };
    let input = if cancel { Input::CancelDrain } else { Input::Drain };
    private.reporter.control.tell(input).await?;
    tracing::info!(cancel, "drain asked for");
    Ok(Json(Drained { draining: !cancel }).into_response())
}

async fn rebalance(State(private): State<Arc<Private>>, headers: HeaderMap, body: Body) -> Result<Response, Failure> {
    private.may_change(&headers)?;
    let body = to_bytes(body, MAX_BODY_BYTES).await.map_err(bad)?;
    let Rebalance { clients } = serde_json::from_slice(&body).map_err(bad)?;
    let asked = private.reporter.control.ask(|answer| Input::MakePlace(clients, answer)).await?;
    tracing::info!(clients, asked, "idle clients are asked to go elsewhere");
    Ok(Json(Rebalanced { asked }).into_response())
}

fn bad(why: impl std::fmt::Display) -> Failure {
    Failure::new(ProblemType::BadRequest, why.to_string())
}

impl Private {
    fn may_change(&self, headers: &HeaderMap) -> Result<(), Failure> {
        if headers.get(own::ADMIN).is_none_or(|value| value != "1") {
            return Err(Failure::new(ProblemType::Forbidden, "the header holdfast-admin: 1 is missing"));
        }
        if !is_expected_host(headers) {
            return Err(Failure::new(ProblemType::Forbidden, "Host must be an address or localhost"));
        }
        match &self.token {
            Some(expected) if !same(token(headers).unwrap_or_default(), expected) => {
                Err(Failure::new(ProblemType::Unauthorized, "the admin token is missing or wrong"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A page that has rebound its own name to our address sends that name.
fn is_expected_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<IpAddr>().is_ok()
}

fn same(given: &str, expected: &str) -> bool {
    given.as_bytes().ct_eq(expected.as_bytes()).into()
}
