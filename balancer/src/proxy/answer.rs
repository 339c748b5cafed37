//! Answers of the balancer's own: refusals, problems, and the page for a browser while no instance is up.

use super::{body::AnswerBody, request::Refusal};
use gateway_protocol::{Problem, ProblemType, header as own, problem::PROBLEM_JSON};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use std::time::Duration;

const UNAVAILABLE_PAGE: &str = include_str!("../pages/unavailable.html");
/// It loads nothing, and asks only the address it came from.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What a page of an allowed origin may send, the same as an instance says.
const METHODS: &str = "GET, POST, DELETE";
const REQUEST_HEADERS: &str = "authorization, content-type, idempotency-key, holdfast-avoid";
/// What a page of an allowed origin may read.
const EXPOSED: &str = "holdfast-instance, holdfast-boot, holdfast-pin, retry-after";

/// A refusal closes the connection: what follows on it can't be trusted to be where it seems to be.
pub(crate) fn refused(refusal: Refusal) -> Response<AnswerBody> {
    let mut response = problem(refusal.kind, refusal.detail);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A problem of the balancer's.
pub(crate) fn problem(kind: ProblemType, detail: &str) -> Response<AnswerBody> {
    let body = serde_json::to_vec(&Problem::new(kind, detail)).unwrap_or_default();
    let mut response = plain(kind.status(), PROBLEM_JSON, body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 503: nothing happened, try again then. A browser that asked for a page gets one.
pub(crate) fn unavailable(detail: &str, retry_after: Duration, wants_page: bool) -> Response<AnswerBody> {
    let mut response = if wants_page {
        let mut page = plain(503, "text/html; charset=utf-8", UNAVAILABLE_PAGE);
        page.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        page
    } else {
        problem(ProblemType::NoInstance, detail)
    };
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
    response
}

fn plain(status: u16, media_type: &'static str, body: impl Into<bytes::Bytes>) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::own(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Answers a preflight that no instance can: the request behind it then learns from its own answer when to try again.
pub(crate) fn preflight() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::own(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
    response
}

/// Lets a page of an allowed origin read an answer that no instance gave.
pub(crate) fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

/// The header that says what became of the pin.
pub(crate) const PIN: HeaderName = HeaderName::from_static(own::PIN);
