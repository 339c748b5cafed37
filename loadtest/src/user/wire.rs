//! What a virtual user exchanges with its shell: commands out, answers in, and what its application is told.

use gateway_protocol::message::{CallState, EndReason};
use gateway_protocol::{BootId, CallId, ClientMessage, InstanceId, ProblemType, SessionId, SignIn};
use serde::Serialize;
use std::time::Duration;

/// Time since the start of the run.
pub type Now = Duration;

/// Names one request; its answer comes back under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpId(pub u32);

/// Names one socket of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId(pub u32);

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Owes `handle_answer` or `handle_unreachable`.
    Request(OpId, Request),
    /// Open the session's WebSocket; owes `handle_closed` once it is gone or could not be opened.
    Open {
        /// Its name from now on.
        socket: SocketId,
        /// Which balancer.
        base: String,
        /// Whose socket.
        session: SessionId,
    },
    /// Send when open; dropped when the socket is gone.
    Send(SocketId, ClientMessage),
    /// Close; nothing is owed.
    Close(SocketId),
    /// Make an SDP offer (`restart`: new ICE credentials for the call's peer); owes `handle_offer`.
    Offer {
        /// For this call.
        call: CallId,
        /// An ICE restart.
        restart: bool,
    },
    /// Apply the SDP answer; media events follow.
    Accept {
        /// For this call.
        call: CallId,
        /// The instance's answer.
        sdp: String,
    },
    /// DTLS close_notify, forget the peer.
    ClosePeer(CallId),
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Base URL of the balancer.
    pub base: String,
    /// Upper case.
    pub method: &'static str,
    /// Of the URL.
    pub path: String,
    /// Token for `authorization`.
    pub bearer: Option<String>,
    /// `idempotency-key`.
    pub idempotency_key: Option<String>,
    /// `holdfast-avoid`.
    pub avoid: Option<String>,
    /// Body of a sign-in.
    pub body: Option<SignIn>,
}

/// An HTTP answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `holdfast-pin`.
    pub pin: Option<String>,
    /// `retry-after`.
    pub retry_after: Option<Duration>,
    /// As it came.
    pub body: Vec<u8>,
}

/// Why service is unavailable (DESIGN §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// The socket is lost, the instance lives.
    SignalingLost,
    /// The user's address changed.
    NetworkChanged,
    /// The instance is dead.
    InstanceLost,
    /// The instance says nothing.
    InstanceSilent,
    /// The instance drains.
    InstanceDraining,
    /// Media does not arrive although the instance answers.
    MediaLost,
    /// A newer attach took over.
    SessionSuperseded,
    /// The credentials are refused.
    Unauthorized,
}

/// How a request of the application ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Settlement {
    /// Done.
    Ok,
    /// Not done, for certain.
    Failed,
    /// The answer is lost.
    Unknown,
}

/// What the application is told; written as in the transcripts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Told {
    /// Attached, at the first and at every new instance.
    SignedIn {
        /// Where.
        instance_id: InstanceId,
        /// Which run of it.
        boot_id: BootId,
    },
    /// Service is lost.
    ServiceUnavailable {
        /// Why.
        reason: LossKind,
    },
    /// Service is back.
    ServiceAvailable,
    /// A call changed its state.
    CallState {
        /// Which.
        call: CallId,
        /// To what.
        state: CallState,
    },
    /// Somebody calls; `from` is a URI.
    IncomingCall {
        /// The call.
        call: CallId,
        /// Who.
        from: String,
    },
    /// After a loss of signalling: these calls live on.
    CallsResynced {
        /// Which.
        kept: Vec<CallId>,
    },
    /// No packet for a while.
    MediaStalled {
        /// Of which call.
        call: CallId,
    },
    /// A call ended.
    Ended {
        /// Which.
        call: CallId,
        /// Why.
        reason: EndReason,
    },
    /// A call that ended as lost was heard again: instance and media lived. Never right.
    FalselyLost {
        /// Which.
        call: CallId,
    },
    /// A promise settled.
    Settled {
        /// `start_call` or `hang_up`.
        method: &'static str,
        /// Of which call.
        call: CallId,
        /// How.
        outcome: Settlement,
    },
    /// What became of the calls of the lost instance.
    SessionRecovered {
        /// Came back as new calls.
        recovered: Vec<CallId>,
        /// Gone.
        lost: Vec<CallId>,
        /// Nobody knows.
        unknown: Vec<CallId>,
    },
    /// Sign-in was refused for good.
    Refused {
        /// HTTP status.
        status: u16,
        /// What it is.
        #[serde(rename = "type")]
        kind: ProblemType,
    },
}
