//! Every error answer: `application/problem+json` (RFC 9457).

use axum::response::{IntoResponse, Response};
use gateway_core::{EntryError, Refusal};
use gateway_protocol::problem::PROBLEM_JSON;
use gateway_protocol::{Problem, ProblemType};
use http::{HeaderValue, StatusCode, header};
use std::time::Duration;

/// A refused request.
#[derive(Debug)]
pub struct Failure {
    problem: Problem,
    retry_after: Option<Duration>,
}

impl Failure {
    /// A failure of this type; the detail is for a person.
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        Self { problem: Problem::new(kind, detail), retry_after: None }
    }

    /// Nothing happened, and another instance may do better.
    pub fn overloaded() -> Self {
        let failure = Self::new(ProblemType::NotActed, "the instance is overloaded");
        Self { retry_after: Some(Duration::from_secs(1)), ..failure }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> ProblemType {
        self.problem.kind
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let failure = Self::new(refusal.problem(), refusal.to_string());
        Self { retry_after: refusal.retry_after(), ..failure }
    }
}

impl From<EntryError> for Failure {
    fn from(error: EntryError) -> Self {
        Self::new(error.problem(), error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self.problem).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs_f64().ceil().max(1.0) as u64));
        }
        response
    }
}
