//! Why a request for or about a session is refused, and what the answer says.

use crate::idempotency::KeyReused;
use gateway_protocol::ProblemType;
use std::time::Duration;

/// Why a request for or about a session was refused. Nothing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No new sessions here.
    #[error("the instance drains")]
    Draining,
    /// It has just been let go.
    #[error("the instance has asked this client to go elsewhere")]
    LetGo,
    /// No place.
    #[error("all {0} places are taken")]
    Full(u32),
    /// Too many set-ups in this second.
    #[error("too many sign-ins at once")]
    SetupRate(Duration),
    /// A live session of another user.
    #[error("the client id belongs to a live session of another user")]
    ClientIdTaken,
    /// Its `Idempotency-Key` belongs to another sign-in.
    #[error("the Idempotency-Key was used by another user or tab")]
    KeyReused,
    /// Too many sign-ins of this user.
    #[error("too many sign-ins of this user")]
    UserRate(Duration),
    /// Never heard of, or forgotten.
    #[error("no such session here")]
    Unknown,
    /// Closed here.
    #[error("the session is over")]
    Closed,
    /// Not its token.
    #[error("not the token of this session")]
    WrongToken,
}

impl Refusal {
    /// What to answer.
    #[must_use]
    pub fn problem(self) -> ProblemType {
        match self {
            Self::Draining | Self::LetGo | Self::SetupRate(_) => ProblemType::NotActed,
            Self::Full(_) => ProblemType::InstanceFull,
            Self::ClientIdTaken => ProblemType::ClientIdTaken,
            Self::KeyReused => ProblemType::IdempotencyKeyReused,
            Self::UserRate(_) => ProblemType::RateLimited,
            Self::Unknown => ProblemType::SessionUnknown,
            Self::Closed => ProblemType::SessionClosed,
            Self::WrongToken => ProblemType::Unauthorized,
        }
    }

    /// When to try again, where trying again can help.
    #[must_use]
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::SetupRate(wait) | Self::UserRate(wait) => Some(wait),
            Self::Draining | Self::LetGo | Self::Full(_) => Some(Duration::from_secs(1)),
            Self::ClientIdTaken | Self::KeyReused | Self::Unknown | Self::Closed | Self::WrongToken => None,
        }
    }
}

impl From<KeyReused> for Refusal {
    fn from(_: KeyReused) -> Self {
        Self::KeyReused
    }
}
