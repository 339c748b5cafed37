//! The HTTP half of the protocol: `POST /v1/sessions` and `GET /v1/sessions/{id}`.

use crate::id::{BootId, CallId, ClientId, InstanceId, SessionId};
use crate::message::{CallState, ServiceState};
use serde::{Deserialize, Serialize};

/// Body of `POST /v1/sessions`. The user comes from the Bearer JWT; or from `user` when the instance runs with
/// `--auth anonymous`; or from `capsule` with `previous_token`; or from `move_ticket`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SignIn {
    /// The tab that signs in.
    pub client_id: ClientId,
    /// The user's name, 1 to 128 bytes without control characters; only read with `--auth anonymous`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub user: Option<String>,
    /// The sealed record that the last instance gave out. One that can't be opened is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub capsule: Option<String>,
    /// The session token of the session that the capsule describes: with it no fresh JWT is needed for 15 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub previous_token: Option<String>,
    /// From a `move` event: signs the same user in on another instance while the old session still lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub move_ticket: Option<String>,
    /// The user's password at the SIP server, 1 to 128 bytes, where the instance has no file of passwords. It is sealed into
    /// the capsule, so that it need not be sent again, and never told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub sip_password: Option<String>,
}

/// Body of the 201 of `POST /v1/sessions`. The place is reserved; an unattached session ends after 30 s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SignedIn {
    /// The session; also in `Location`.
    pub session_id: SessionId,
    /// Bearer token for everything that concerns this session. Secret.
    pub session_token: String,
    /// The instance that keeps the session.
    pub instance_id: InstanceId,
    /// Its boot id: another one means that the session is gone.
    pub boot_id: BootId,
    /// The signed-in user.
    pub user: String,
    /// The server pings this often; 3 times as long without anything is loss.
    pub heartbeat_ms: u32,
    /// How long a detached session without live media is kept.
    pub grace_ms: u32,
    /// Within this time after a loss every client of the instance spreads its return.
    pub reconnect_window_ms: u32,
    /// For `RTCConfiguration.iceServers`; usually empty, the instance is ICE-lite.
    pub ice_servers: Vec<IceServer>,
    /// What works at the moment.
    pub services: Vec<ServiceState>,
    /// Sealed record for a later sign-in elsewhere.
    pub capsule: String,
    /// True if the capsule of an earlier session was accepted.
    pub recovering: bool,
    /// Base URLs of other balancers of this service.
    pub alternates: Vec<String>,
}

/// `RTCIceServer` of the W3C API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct IceServer {
    /// `stun:` or `turn:` URLs.
    pub urls: Vec<String>,
    /// TURN user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub username: Option<String>,
    /// TURN password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub credential: Option<String>,
}

/// Body of the 200 of `GET /v1/sessions/{id}`: the session is alive here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SessionProbe {
    /// The instance that keeps the session.
    pub instance_id: InstanceId,
    /// Its boot id.
    pub boot_id: BootId,
    /// The session asked for.
    pub session_id: SessionId,
    /// Whether a socket is attached.
    pub state: SessionState,
    /// The session's calls.
    pub calls: Vec<ProbedCall>,
    /// As in the 201, refreshed.
    pub reconnect_window_ms: u32,
}

/// One call in a [`SessionProbe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ProbedCall {
    /// Which call.
    pub call_id: CallId,
    /// Its state.
    pub state: CallState,
}

/// Life of a session: `reserved → attached ⇄ detached → closed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// Signed in, never attached.
    Reserved,
    /// A socket is attached.
    Attached,
    /// It was attached; the socket is lost.
    Detached,
}
