// Generated from the crate gateway-protocol. Do not edit: HOLDFAST_BLESS=1 cargo test -p gateway-protocol

/**
 * One gateway instance, stable over restarts when configured (`--instance-id`).
 */
export type InstanceId = string;

/**
 * One run of one instance's process: random at each start. Pins and capsules name it, never an address.
 */
export type BootId = string;

/**
 * One signed-in session on one instance.
 */
export type SessionId = string;

/**
 * One browser tab, made by the client, kept over a reload. At most one session is attached per (user, client id).
 */
export type ClientId = string;

/**
 * One call, named by whoever starts it (the client for outgoing calls, the instance for incoming ones).
 */
export type CallId = string;

/**
 * One request of a client. A repeated id never acts twice within its session.
 */
export type RequestId = string;

/**
 * Body of `POST /v1/sessions`. The user comes from the Bearer JWT; or from `user` when the instance runs with
 * `--auth anonymous`; or from `capsule` with `previous_token`; or from `move_ticket`.
 */
export type SignIn = { 
/**
 * The tab that signs in.
 */
client_id: ClientId, 
/**
 * The user's name, 1 to 128 bytes without control characters; only read with `--auth anonymous`.
 */
user?: string, 
/**
 * The sealed record that the last instance gave out. One that can't be opened is ignored.
 */
capsule?: string, 
/**
 * The session token of the session that the capsule describes: with it no fresh JWT is needed for 15 minutes.
 */
previous_token?: string, 
/**
 * From a `move` event: signs the same user in on another instance while the old session still lives.
 */
move_ticket?: string, 
/**
 * The user's password at the SIP server, 1 to 128 bytes, where the instance has no file of passwords. It is sealed into
 * the capsule, so that it need not be sent again, and never told.
 */
sip_password?: string, };

/**
 * Body of the 201 of `POST /v1/sessions`. The place is reserved; an unattached session ends after 30 s.
 */
export type SignedIn = { 
/**
 * The session; also in `Location`.
 */
session_id: SessionId, 
/**
 * Bearer token for everything that concerns this session. Secret.
 */
session_token: string, 
/**
 * The instance that keeps the session.
 */
instance_id: InstanceId, 
/**
 * Its boot id: another one means that the session is gone.
 */
boot_id: BootId, 
/**
 * The signed-in user.
 */
user: string, 
/**
 * The server pings this often; 3 times as long without anything is loss.
 */
heartbeat_ms: number, 
/**
 * How long a detached session without live media is kept.
 */
grace_ms: number, 
/**
 * Within this time after a loss every client of the instance spreads its return.
 */
reconnect_window_ms: number, 
/**
 * For `RTCConfiguration.iceServers`; usually empty, the instance is ICE-lite.
 */
ice_servers: Array<IceServer>, 
/**
 * What works at the moment.
 */
services: Array<ServiceState>, 
/**
 * Sealed record for a later sign-in elsewhere.
 */
capsule: string, 
/**
 * True if the capsule of an earlier session was accepted.
 */
recovering: boolean, 
/**
 * Base URLs of other balancers of this service.
 */
alternates: Array<string>, };

/**
 * `RTCIceServer` of the W3C API.
 */
export type IceServer = { 
/**
 * `stun:` or `turn:` URLs.
 */
urls: Array<string>, 
/**
 * TURN user name.
 */
username?: string, 
/**
 * TURN password.
 */
credential?: string, };

/**
 * Body of the 200 of `GET /v1/sessions/{id}`: the session is alive here.
 */
export type SessionProbe = { 
/**
 * The instance that keeps the session.
 */
instance_id: InstanceId, 
/**
 * Its boot id.
 */
boot_id: BootId, 
/**
 * The session asked for.
 */
session_id: SessionId, 
/**
 * Whether a socket is attached.
 */
state: SessionState, 
/**
 * The session's calls.
 */
calls: Array<ProbedCall>, 
/**
 * As in the 201, refreshed.
 */
reconnect_window_ms: number, };

/**
 * One call in a [`SessionProbe`].
 */
export type ProbedCall = { 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * Its state.
 */
state: CallState, };

/**
 * Life of a session: `reserved → attached ⇄ detached → closed`.
 */
export type SessionState = "reserved" | "attached" | "detached";

/**
 * Client to instance.
 */
export type ClientMessage = { "kind": "attach", 
/**
 * The session token of the 201.
 */
token: string, 
/**
 * Calls the client holds live on this session (after a socket loss).
 */
calls: Array<CallId>, 
/**
 * Calls the client judged dead with an earlier instance; the capsule acts for these and for no others.
 */
dead_calls: Array<DeadCall>, } | { "kind": "request", 
/**
 * Unique within the session. Sent again with the same id after a reattach if no answer came.
 */
id: RequestId, 
/**
 * What to do.
 */
request: Request, } | { "kind": "pong", 
/**
 * The ping's.
 */
nonce: number, } | { "kind": "resync", };

/**
 * What to do about a call that died with an earlier instance.
 */
export type DeadCall = { 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * What to do with its far side.
 */
action: DeadCallAction, };

/**
 * See [`DeadCall`].
 */
export type DeadCallAction = "hang_up" | "resume";

/**
 * The verb of a request.
 */
export type Request = { "method": "start_call", 
/**
 * Chosen by the client, new within the session.
 */
call_id: CallId, 
/**
 * `echo`, `tone`, or what the dial patterns allow.
 */
target: string, 
/**
 * The offer, sent at once: the instance is ICE-lite and needs no candidates of the browser.
 */
sdp: string, } | { "method": "hang_up", 
/**
 * Which call.
 */
call_id: CallId, } | { "method": "restart_ice", 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * The offer with new ICE credentials.
 */
sdp: string, } | { "method": "answer_call", 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * The offer of the browser, as in `start_call`.
 */
sdp: string, } | { "method": "reject_call", 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * Tell the caller `busy` instead of declined.
 */
busy: boolean, } | { "method": "hold", 
/**
 * Which call.
 */
call_id: CallId, } | { "method": "unhold", 
/**
 * Which call.
 */
call_id: CallId, } | { "method": "send_digits", 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * 1 to [`MAX_DIGITS`] of `0-9 A-D * #`.
 */
digits: string, } | { "method": "transfer", 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * Whom, as in `start_call`.
 */
target: string, } | { "method": "transfer_to", 
/**
 * The call whose far side is sent.
 */
call_id: CallId, 
/**
 * The call whose far side it is sent to.
 */
other: CallId, };

/**
 * Instance to client.
 */
export type ServerMessage = { "kind": "attached", 
/**
 * The state of the session.
 */
snapshot: Snapshot, 
/**
 * As in the 201.
 */
heartbeat_ms: number, 
/**
 * As in the 201, refreshed.
 */
reconnect_window_ms: number, 
/**
 * A fresh capsule.
 */
capsule: string, } | { "kind": "snapshot", 
/**
 * The state of the session.
 */
snapshot: Snapshot, } | { "kind": "response", 
/**
 * The request's.
 */
id: RequestId, 
/**
 * How it ended.
 */
outcome: Outcome, } | { "kind": "event", 
/**
 * Numbering this event belongs to; random for each session.
 */
epoch: string, 
/**
 * 1 higher than the event before it in this epoch.
 */
seq: number, 
/**
 * What happened.
 */
event: Event, } | { "kind": "ping", 
/**
 * To be repeated.
 */
nonce: number, 
/**
 * As in the 201, refreshed.
 */
reconnect_window_ms: number, };

/**
 * The whole state of a session; it outranks what the client believed.
 */
export type Snapshot = { 
/**
 * Numbering of the events that follow.
 */
epoch: string, 
/**
 * Number of the last event that this snapshot includes.
 */
seq: number, 
/**
 * Every live call.
 */
calls: Array<CallSnapshot>, 
/**
 * Calls that ended since the last socket was lost, at most 64, newest last.
 */
ended: Array<EndedCall>, 
/**
 * What works at the moment.
 */
services: Array<ServiceState>, };

/**
 * One live call.
 */
export type CallSnapshot = { 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * Who started it.
 */
direction: Direction, 
/**
 * The other side.
 */
target: string, 
/**
 * Its state.
 */
state: CallState, 
/**
 * Its media, as the instance sees it.
 */
media: MediaState, 
/**
 * The display name that the far side gave itself.
 */
name?: string, 
/**
 * Which side put the other on hold, while one did.
 */
held_by?: HeldBy, 
/**
 * An incoming call offers video.
 */
video?: boolean, 
/**
 * The lost call in whose place this one came.
 */
replaces?: CallId, };

/**
 * One ended call.
 */
export type EndedCall = { 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * Why it ended.
 */
reason: EndReason, 
/**
 * Who called, of an incoming call that this browser never answered: it may not have known of it at all.
 */
missed?: Caller, };

/**
 * The far side of a call that came in.
 */
export type Caller = { 
/**
 * Its SIP address, which can be called back.
 */
target: string, 
/**
 * The display name that it gave itself.
 */
name?: string, };

/**
 * Who started a call, seen from the browser.
 */
export type Direction = "outgoing" | "incoming";

/**
 * `connecting → ringing → active ⇄ held`, until a `call_ended`.
 */
export type CallState = "connecting" | "ringing" | "active" | "held";

/**
 * Who holds a call.
 */
export type HeldBy = "local" | "remote" | "both";

/**
 * Media between the browser and the instance, as the instance sees it.
 */
export type MediaState = "connecting" | "flowing" | "suspended";

/**
 * Why a call ended. It is told once per call.
 */
export type EndReason = "local-hang-up" | "peer-closed" | "remote-hang-up" | "busy" | "rejected" | "no-answer" | "cancelled" | "not-found" | "transferred" | "failed" | "instance-lost" | "far-lost" | "media-lost" | "media-timeout" | "fingerprint-mismatch" | "drained" | "session-ended" | "page-reloaded" | "internal";

/**
 * How a request ended. A client that lost the answer for good tells its application `unknown`.
 */
export type Outcome = { "status": "ok", 
/**
 * The SDP answer, for requests that carried an offer.
 */
sdp?: string, } | { "status": "failed", 
/**
 * Why, for programs.
 */
reason: FailReason, 
/**
 * Why, for people.
 */
detail?: string, };

/**
 * Why a request was refused.
 */
export type FailReason = "no-such-call" | "call-exists" | "bad-sdp" | "too-large" | "bad-target" | "not-allowed" | "rate-limited" | "call-capacity" | "too-many-calls" | "service-unavailable" | "draining" | "wrong-state" | "far-refused" | "unknown-method" | "internal";

/**
 * What happened.
 */
export type Event = { "type": "incoming_call", 
/**
 * The call.
 */
call: CallSnapshot, } | { "type": "call_state", 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * The new state.
 */
state: CallState, 
/**
 * With `held`: by whom.
 */
held_by?: HeldBy, } | { "type": "call_party", 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * The other side.
 */
target: string, 
/**
 * The display name that it gave itself.
 */
name?: string, } | { "type": "call_resumed", 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * Milliseconds from the sign-in at this instance to now. What passed from the loss to that, the client knows.
 */
gap_ms: number, } | { "type": "digit", 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * One of `0-9 A-D * #`.
 */
digit: string, } | { "type": "send_codec", 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * As in SDP.
 */
codec: string, } | { "type": "call_media", 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * The new media state.
 */
media: MediaState, } | { "type": "call_ended", 
/**
 * Which call.
 */
call_id: CallId, 
/**
 * Why.
 */
reason: EndReason, } | { "type": "capsule", 
/**
 * Sealed.
 */
capsule: string, } | { "type": "service", 
/**
 * Its new state.
 */
service: ServiceState, } | { "type": "draining", 
/**
 * Calls still up then are ended with `drained`.
 */
deadline_ms: number, } | { "type": "move", 
/**
 * For [`crate::SignIn::move_ticket`].
 */
ticket: string, } | { "type": "session_recovered", 
/**
 * Far sides that came back as new calls.
 */
recovered: Array<CallId>, 
/**
 * Calls whose far side is gone.
 */
lost: Array<CallId>, 
/**
 * Calls of which nothing could be learned.
 */
unknown: Array<CallId>, };

/**
 * One service and whether it works.
 */
export type ServiceState = { 
/**
 * `calls`: new calls can be made.
 */
service: string, 
/**
 * Whether it works.
 */
available: boolean, 
/**
 * Why not, for programs: `draining`, `call-capacity`, ..
 */
reason?: string, };

/**
 * The stable name of an error; what a program decides by. HTTP status in brackets.
 */
export type ProblemType = "bad-request" | "unauthorized" | "forbidden" | "not-found" | "session-unknown" | "method-not-allowed" | "client-id-taken" | "session-closed" | "too-large" | "idempotency-key-reused" | "rate-limited" | "internal" | "outcome-unknown" | "instance-full" | "not-acted" | "no-instance";

/**
 * An error body.
 */
export type Problem = { 
/**
 * What it is.
 */
type: ProblemType, 
/**
 * One sentence for a person, the same for every problem of this type.
 */
title: string, 
/**
 * The HTTP status, repeated.
 */
status: number, 
/**
 * What was wrong with this very request.
 */
detail?: string, };

