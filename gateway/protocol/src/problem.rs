//! Error bodies: `application/problem+json` (RFC 9457) with a stable `type`.

use serde::{Deserialize, Serialize};

/// Media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The stable name of an error; what a program decides by. HTTP status in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum ProblemType {
    /// (400) The request is malformed.
    BadRequest,
    /// (401) No valid JWT, session token or capsule proof.
    Unauthorized,
    /// (403) The origin is not on the allow-list, or a change lacks its header.
    Forbidden,
    /// (404) No such path.
    NotFound,
    /// (404) This session is unknown here, whatever the token.
    SessionUnknown,
    /// (405) The method is not served at this path.
    MethodNotAllowed,
    /// (409) That client id has a live session of another user.
    ClientIdTaken,
    /// (410) This session was closed here.
    SessionClosed,
    /// (413) The body is over the limit.
    TooLarge,
    /// (422) The `Idempotency-Key` was used for the sign-in of another user or tab.
    IdempotencyKeyReused,
    /// (429) Too many sign-ins of this user. Retry-After says when.
    RateLimited,
    /// (500) A fault of ours.
    Internal,
    /// (502) By the balancer: the request was sent and the instance died before it answered; whether it acted is unknown.
    OutcomeUnknown,
    /// (503) The instance is full. Promises that nothing happened; the balancer tries another instance.
    InstanceFull,
    /// (503) The instance drains, starts or sets up too many sessions. Promises that nothing happened; as above.
    NotActed,
    /// (503) By the balancer: no instance is free. Retry-After is spread.
    NoInstance,
    /// A type of a newer release.
    #[serde(other)]
    #[cfg_attr(test, ts(skip))]
    Unknown,
}

impl ProblemType {
    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound | Self::SessionUnknown => 404,
            Self::MethodNotAllowed => 405,
            Self::ClientIdTaken => 409,
            Self::SessionClosed => 410,
            Self::TooLarge => 413,
            Self::IdempotencyKeyReused => 422,
            Self::RateLimited => 429,
            Self::Internal | Self::Unknown => 500,
            Self::OutcomeUnknown => 502,
            Self::InstanceFull | Self::NotActed | Self::NoInstance => 503,
        }
    }

    /// True if the type promises that the request had no effect, so that any method may be sent to another instance.
    #[must_use]
    pub fn nothing_happened(self) -> bool {
        matches!(self, Self::InstanceFull | Self::NotActed)
    }
}

/// An error body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Problem {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ProblemType,
    /// One sentence for a person, the same for every problem of this type.
    pub title: String,
    /// The HTTP status, repeated.
    pub status: u16,
    /// What was wrong with this very request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub detail: Option<String>,
}

impl Problem {
    /// A problem with its status and title.
    #[must_use]
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        let title = match kind {
            ProblemType::BadRequest => "The request is malformed.",
            ProblemType::Unauthorized => "The credentials are missing, wrong or expired.",
            ProblemType::Forbidden => "This is not allowed from here.",
            ProblemType::NotFound => "There is nothing at this path.",
            ProblemType::SessionUnknown => "This session is unknown here.",
            ProblemType::MethodNotAllowed => "This path does not serve that method.",
            ProblemType::ClientIdTaken => "This client id has a live session of another user.",
            ProblemType::SessionClosed => "This session is over.",
            ProblemType::TooLarge => "The body is too large.",
            ProblemType::IdempotencyKeyReused => "This idempotency key belongs to another request.",
            ProblemType::RateLimited => "Too many requests.",
            ProblemType::Internal | ProblemType::Unknown => "Something went wrong on our side.",
            ProblemType::OutcomeUnknown => "The instance was lost before it answered.",
            ProblemType::InstanceFull => "This instance is full.",
            ProblemType::NotActed => "This instance takes no new sessions now.",
            ProblemType::NoInstance => "No instance is free.",
        };
        let detail = Some(detail.into()).filter(|text: &String| !text.is_empty());
        Self { kind, title: title.to_owned(), status: kind.status(), detail }
    }
}
