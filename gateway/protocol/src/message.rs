//! The JSON text frames of the session socket, `GET /v1/sessions/{id}/socket`.
//!
//! A client sends [`ClientMessage`]s, the first of which is `attach`; the instance answers with `attached`, a snapshot that
//! is authoritative, and then sends numbered events. A client drops an event whose number it has seen, and asks for a
//! fresh snapshot (`resync`) when a number is missing.

use crate::id::{CallId, RequestId};
use serde::{Deserialize, Serialize};

/// Largest text frame an instance accepts, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// Largest SDP an instance accepts, in bytes.
pub const MAX_SDP_BYTES: usize = 64 * 1024;
/// Most digits of one `send_digits`.
pub const MAX_DIGITS: usize = 32;
/// Requests a client may have unanswered at once; the instance remembers at least four times as many answers, so that a
/// repeated request id never acts twice.
pub const MAX_OPEN_REQUESTS: usize = 64;

/// Client to instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ClientMessage {
    /// First message on every socket.
    Attach {
        /// The session token of the 201.
        token: String,
        /// Calls the client holds live on this session (after a socket loss).
        #[serde(default)]
        calls: Vec<CallId>,
        /// Calls the client judged dead with an earlier instance; the capsule acts for these and for no others.
        #[serde(default)]
        dead_calls: Vec<DeadCall>,
    },
    /// Do something; answered by one `response` with the same id.
    Request {
        /// Unique within the session. Sent again with the same id after a reattach if no answer came.
        id: RequestId,
        /// What to do.
        request: Request,
    },
    /// Answer to a `ping`.
    Pong {
        /// The ping's.
        nonce: u32,
    },
    /// Ask for a `snapshot`, because an event number is missing.
    Resync {},
    /// A kind of a newer release; ignored.
    #[serde(other)]
    #[cfg_attr(test, ts(skip))]
    Unknown,
}

/// What to do about a call that died with an earlier instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct DeadCall {
    /// Which call.
    pub call_id: CallId,
    /// What to do with its far side.
    pub action: DeadCallAction,
}

/// See [`DeadCall`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum DeadCallAction {
    /// End the far side.
    HangUp,
    /// Offer the far side a new call in place of the lost one.
    Resume,
}

/// The verb of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Request {
    /// Start a call. The answer carries the SDP answer; `call_state` events follow.
    StartCall {
        /// Chosen by the client, new within the session.
        call_id: CallId,
        /// `echo`, `tone`, or what the dial patterns allow.
        target: String,
        /// The offer, sent at once: the instance is ICE-lite and needs no candidates of the browser.
        sdp: String,
    },
    /// End a call, whatever its state. Ending an ended call is `ok`.
    HangUp {
        /// Which call.
        call_id: CallId,
    },
    /// ICE restart (RFC 8445 §9): new ufrag and password, the same DTLS and SRTP. The answer carries the SDP answer.
    RestartIce {
        /// Which call.
        call_id: CallId,
        /// The offer with new ICE credentials.
        sdp: String,
    },
    /// Answer an incoming call. The answer carries the SDP answer.
    AnswerCall {
        /// Which call.
        call_id: CallId,
        /// The offer of the browser, as in `start_call`.
        sdp: String,
    },
    /// Decline an incoming call.
    RejectCall {
        /// Which call.
        call_id: CallId,
        /// Tell the caller `busy` instead of declined.
        #[serde(default)]
        busy: bool,
    },
    /// Put the far side on hold; `ok` once it agreed. Holding a held call is `ok`.
    Hold {
        /// Which call.
        call_id: CallId,
    },
    /// Take the far side back from hold.
    Unhold {
        /// Which call.
        call_id: CallId,
    },
    /// Send digits to the far side: RFC 4733, or INFO where it has none.
    SendDigits {
        /// Which call.
        call_id: CallId,
        /// 1 to [`MAX_DIGITS`] of `0-9 A-D * #`.
        digits: String,
    },
    /// Have the far side call somebody else (RFC 3515). `ok` once it reached the target; the call ends `transferred` then.
    Transfer {
        /// Which call.
        call_id: CallId,
        /// Whom, as in `start_call`.
        target: String,
    },
    /// Connect the far sides of two calls with each other (RFC 3891). `ok` once they are; both calls end then.
    TransferTo {
        /// The call whose far side is sent.
        call_id: CallId,
        /// The call whose far side it is sent to.
        other: CallId,
    },
    /// A verb of a newer release; refused with `unknown-method`.
    #[serde(other)]
    #[cfg_attr(test, ts(skip))]
    Unknown,
}

/// Instance to client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ServerMessage {
    /// Answer to `attach`.
    Attached {
        /// The state of the session.
        snapshot: Snapshot,
        /// As in the 201.
        heartbeat_ms: u32,
        /// As in the 201, refreshed.
        reconnect_window_ms: u32,
        /// A fresh capsule.
        capsule: String,
    },
    /// Answer to `resync`.
    Snapshot {
        /// The state of the session.
        snapshot: Snapshot,
    },
    /// Answer to a `request`.
    Response {
        /// The request's.
        id: RequestId,
        /// How it ended.
        outcome: Outcome,
    },
    /// Something happened.
    Event {
        /// Numbering this event belongs to; random for each session.
        epoch: String,
        /// 1 higher than the event before it in this epoch.
        seq: u32,
        /// What happened.
        event: Event,
    },
    /// Heartbeat; to be answered by `pong`.
    Ping {
        /// To be repeated.
        nonce: u32,
        /// As in the 201, refreshed.
        reconnect_window_ms: u32,
    },
    /// A kind of a newer release; ignored.
    #[serde(other)]
    #[cfg_attr(test, ts(skip))]
    Unknown,
}

/// The whole state of a session; it outranks what the client believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Snapshot {
    /// Numbering of the events that follow.
    pub epoch: String,
    /// Number of the last event that this snapshot includes.
    pub seq: u32,
    /// Every live call.
    pub calls: Vec<CallSnapshot>,
    /// Calls that ended since the last socket was lost, at most 64, newest last.
    pub ended: Vec<EndedCall>,
    /// What works at the moment.
    pub services: Vec<ServiceState>,
}

/// One live call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CallSnapshot {
    /// Which call.
    pub call_id: CallId,
    /// Who started it.
    pub direction: Direction,
    /// The other side.
    pub target: String,
    /// Its state.
    pub state: CallState,
    /// Its media, as the instance sees it.
    pub media: MediaState,
    /// The display name that the far side gave itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub name: Option<String>,
    /// Which side put the other on hold, while one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub held_by: Option<HeldBy>,
    /// An incoming call offers video.
    #[serde(default, skip_serializing_if = "is_false")]
    #[cfg_attr(test, ts(optional, as = "Option<_>"))]
    pub video: bool,
    /// The lost call in whose place this one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub replaces: Option<CallId>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Who holds a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum HeldBy {
    /// This browser.
    Local,
    /// The far side.
    Remote,
    /// Both.
    Both,
}

/// One ended call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct EndedCall {
    /// Which call.
    pub call_id: CallId,
    /// Why it ended.
    pub reason: EndReason,
    /// Who called, of an incoming call that this browser never answered: it may not have known of it at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub missed: Option<Caller>,
}

/// The far side of a call that came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Caller {
    /// Its SIP address, which can be called back.
    pub target: String,
    /// The display name that it gave itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub name: Option<String>,
}

/// Who started a call, seen from the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The browser.
    Outgoing,
    /// The far side.
    Incoming,
}

/// `connecting → ringing → active ⇄ held`, until a `call_ended`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum CallState {
    /// Asked for; the far side has not answered.
    Connecting,
    /// The far side rings; of an incoming call: this side does.
    Ringing,
    /// Both sides are in.
    Active,
    /// On hold.
    Held,
}

/// Media between the browser and the instance, as the instance sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum MediaState {
    /// ICE or DTLS is not done.
    Connecting,
    /// DTLS is done and the browser is heard.
    Flowing,
    /// The browser gave no consent for 15 s (RFC 7675); nothing is sent to it.
    Suspended,
}

/// Why a call ended. It is told once per call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// This browser hung up by request.
    LocalHangUp,
    /// This browser closed its peer connection (DTLS close_notify).
    PeerClosed,
    /// The far side hung up.
    RemoteHangUp,
    /// The far side is busy.
    Busy,
    /// The far side declined.
    Rejected,
    /// Nobody answered in time.
    NoAnswer,
    /// The caller took its call back before anybody answered.
    Cancelled,
    /// There is no such user or number.
    NotFound,
    /// The far side was transferred, or took a transfer and hung up without a word of how that went.
    Transferred,
    /// The call could not be set up.
    Failed,
    /// The instance that carried it is lost.
    InstanceLost,
    /// The instance that carried the far side is lost.
    FarLost,
    /// Media stopped although the instance answers.
    MediaLost,
    /// ICE or DTLS was not done in time, or consent was lost for 30 s.
    MediaTimeout,
    /// The DTLS certificate did not match the SDP's fingerprint.
    FingerprintMismatch,
    /// The instance's drain deadline passed.
    Drained,
    /// The session ended: signed off, superseded, or not back within its grace.
    SessionEnded,
    /// The page was reloaded, its peer connection is gone.
    PageReloaded,
    /// A fault of ours.
    Internal,
    /// A reason of a newer release.
    #[serde(other)]
    #[cfg_attr(test, ts(skip))]
    Unknown,
}

/// How a request ended. A client that lost the answer for good tells its application `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Outcome {
    /// Done.
    Ok {
        /// The SDP answer, for requests that carried an offer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(test, ts(optional))]
        sdp: Option<String>,
    },
    /// Not done, and nothing happened.
    Failed {
        /// Why, for programs.
        reason: FailReason,
        /// Why, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(test, ts(optional))]
        detail: Option<String>,
    },
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum FailReason {
    /// The session has no such call.
    NoSuchCall,
    /// The call id was used before in this session.
    CallExists,
    /// The SDP can't be used; the detail says what is missing.
    BadSdp,
    /// The SDP or message is over its limit.
    TooLarge,
    /// The target is not a known far leg.
    BadTarget,
    /// The user may not call this target.
    NotAllowed,
    /// Over the calls or messages per minute.
    RateLimited,
    /// The instance holds as many calls as it can.
    CallCapacity,
    /// The session holds as many calls as it may.
    TooManyCalls,
    /// A service that the request needs is unavailable.
    ServiceUnavailable,
    /// The instance drains.
    Draining,
    /// Not in this state of the call.
    WrongState,
    /// The far side, or the target it was to call, refused; the detail says what it answered.
    FarRefused,
    /// This release does not know the method.
    UnknownMethod,
    /// A fault of ours.
    Internal,
    /// A reason of a newer release.
    #[serde(other)]
    #[cfg_attr(test, ts(skip))]
    Unknown,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Somebody calls; the state is `ringing`. Answer it with `answer_call` or `reject_call`.
    IncomingCall {
        /// The call.
        call: CallSnapshot,
    },
    /// A call changed its state.
    CallState {
        /// Which call.
        call_id: CallId,
        /// The new state.
        state: CallState,
        /// With `held`: by whom.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(test, ts(optional))]
        held_by: Option<HeldBy>,
    },
    /// The far side is somebody else now: it was passed on.
    CallParty {
        /// Which call.
        call_id: CallId,
        /// The other side.
        target: String,
        /// The display name that it gave itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(test, ts(optional))]
        name: Option<String>,
    },
    /// A call that came in the place of a lost one is heard on both sides; once.
    CallResumed {
        /// Which call.
        call_id: CallId,
        /// Milliseconds from the sign-in at this instance to now. What passed from the loss to that, the client knows.
        gap_ms: u32,
    },
    /// The far side sent a digit.
    Digit {
        /// Which call.
        call_id: CallId,
        /// One of `0-9 A-D * #`.
        digit: String,
    },
    /// What the browser had better send, so that nothing need be transcoded: `PCMU`, `PCMA` or `opus`. A hint.
    SendCodec {
        /// Which call.
        call_id: CallId,
        /// As in SDP.
        codec: String,
    },
    /// A call's media changed.
    CallMedia {
        /// Which call.
        call_id: CallId,
        /// The new media state.
        media: MediaState,
    },
    /// A call ended.
    CallEnded {
        /// Which call.
        call_id: CallId,
        /// Why.
        reason: EndReason,
    },
    /// A newer capsule; replaces the one kept.
    Capsule {
        /// Sealed.
        capsule: String,
    },
    /// A service became available or unavailable.
    Service {
        /// Its new state.
        service: ServiceState,
    },
    /// The instance drains. An idle client gets `move` as well; one in a call stays until its calls end.
    Draining {
        /// Calls still up then are ended with `drained`.
        deadline_ms: u32,
    },
    /// Sign in elsewhere now with this ticket, attach there, then sign off here (make before break).
    Move {
        /// For [`crate::SignIn::move_ticket`].
        ticket: String,
    },
    /// What became of the calls that the capsule described; once, within 5 s of an attach with `recovering`.
    SessionRecovered {
        /// Far sides that came back as new calls.
        recovered: Vec<CallId>,
        /// Calls whose far side is gone.
        lost: Vec<CallId>,
        /// Calls of which nothing could be learned.
        unknown: Vec<CallId>,
    },
    /// An event of a newer release; ignored, its number counts.
    #[serde(other)]
    #[cfg_attr(test, ts(skip))]
    Unknown,
}

/// One service and whether it works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ServiceState {
    /// `calls`: new calls can be made.
    pub service: String,
    /// Whether it works.
    pub available: bool,
    /// Why not, for programs: `draining`, `call-capacity`, ..
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub reason: Option<String>,
}
