//! WebSocket close codes (RFC 6455 §7.4) of the session socket.

use serde::{Deserialize, Serialize};

/// Why the session socket was closed. The verdict on an attach is a close code too, because a browser hides the HTTP status
/// of a failed upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
#[repr(u16)]
pub enum CloseCode {
    /// Normal closure, after a sign-off.
    Normal = 1000,
    /// The instance drains or restarts. Sign in elsewhere.
    Restart = 1012,
    /// Overloaded; the reason is `retry=<ms>`.
    Overloaded = 1013,
    /// The session token is wrong, or the user may not be here any more.
    Unauthorized = 4401,
    /// No `attach` within [`ATTACH_TIMEOUT_MS`], or no answer to heartbeats.
    Timeout = 4408,
    /// A newer attach of the same (user, client id) took over.
    Superseded = 4409,
    /// The session is unknown or over here.
    SessionGone = 4410,
    /// Put in by the balancer: the instance is lost. Reason `gone` or `silent`.
    InstanceLost = 4503,
}

/// How long a socket may stay without its first message, `attach`.
pub const ATTACH_TIMEOUT_MS: u32 = 5_000;

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code as u16
    }
}

impl TryFrom<u16> for CloseCode {
    type Error = UnknownCloseCode;
    fn try_from(code: u16) -> Result<Self, UnknownCloseCode> {
        [
            Self::Normal,
            Self::Restart,
            Self::Overloaded,
            Self::Unauthorized,
            Self::Timeout,
            Self::Superseded,
            Self::SessionGone,
            Self::InstanceLost,
        ]
        .into_iter()
        .find(|known| u16::from(*known) == code)
        .ok_or(UnknownCloseCode(code))
    }
}

/// A close code that this release does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCloseCode(pub u16);

impl std::fmt::Display for UnknownCloseCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unknown WebSocket close code {}", self.0)
    }
}

impl std::error::Error for UnknownCloseCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_survive_the_wire() {
        assert_eq!(CloseCode::try_from(4503), Ok(CloseCode::InstanceLost));
        assert_eq!(u16::from(CloseCode::Superseded), 4409);
        assert_eq!(CloseCode::try_from(1006), Err(UnknownCloseCode(1006)));
    }
}
