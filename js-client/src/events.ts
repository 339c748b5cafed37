/**
 * What the library tells an application, and the words it uses for it.
 */
import type { Call } from "./call.ts";
import type { HoldfastError, SignInError } from "./errors.ts";
import type { CallId, EndReason, HeldBy, CallState as WireCallState } from "./protocol.gen.ts";

/** What was lost, never mixed: each kind has its own way back. */
export type LossKind =
  | "signaling-lost"
  | "network-changed"
  | "instance-lost"
  | "instance-silent"
  | "instance-draining"
  | "media-lost"
  | "session-superseded"
  | "unauthorized";

/** Life of a client. `reconnecting`: signed in before, on the way back. */
export type ClientState =
  | "signed-out"
  | "signing-in"
  | "signed-in"
  | "reconnecting"
  | "superseded"
  | "unauthorized"
  | "gave-up";

/** Where a client is signed in. */
export interface SessionInfo {
  user: string;
  sessionId: string;
  instanceId: string;
  bootId: string;
  /** Base URL of the balancer in use. */
  url: string;
}

/** Answer to `can(..)`. */
export interface Capability {
  allowed: boolean;
  /** Why not, for programs; undefined when allowed. */
  reason?: string | undefined;
}

/** @internal */
export function capability(reason: string | undefined): Capability {
  return { allowed: !reason, reason };
}

/** Verbs of a client. */
export type ClientVerb = "call";
/** Verbs of a call. `digits`: `sendDigits`; `transfer`: `transferTo` as well. */
export type CallVerb = "hang-up" | "mute" | "answer" | "reject" | "hold" | "unhold" | "transfer" | "digits";

/** A service went away or came back; told on edges only, in order. `calls` and `signaling` of a client, `control` and `media` of a call. */
export interface ServiceUnavailable {
  service: string;
  reason: string;
}

/** See {@link ServiceUnavailable}. */
export interface ServiceAvailable {
  service: string;
}

/** How a request settled. `failed`: nothing happened; `unknown`: its instance was lost, it may have acted or not. */
export type RequestOutcome = "ok" | "failed" | "unknown";

/** Somebody calls. */
export interface IncomingCall {
  /** Rings until `call.answer()`, `call.reject()` or its `ended`. */
  call: Call;
  /** The lost call in whose place it comes. The one that it replaces has ended. */
  replaces?: CallId | undefined;
  /** The application wished for it (`onCallLost`): it answers itself, and need not ring. */
  answering: boolean;
}

/** How a call ended; told once per call. */
export interface CallEnded {
  callId: CallId;
  /** Absent for a call of the page before a reload. */
  call?: Call;
  reason: EndReason;
  /** Why, for people. */
  detail?: string | undefined;
  /** What went wrong, when the call never came to be. */
  error?: HoldfastError | undefined;
}

/** Somebody called while nobody could be told. */
export interface MissedCall {
  callId: CallId;
  /** Can be called back. */
  target: string;
  /** The caller's display name. */
  name?: string | undefined;
}

/** What a resync found about the calls that the client had. */
export interface CallsResynced {
  /** Go on as before. */
  kept: CallId[];
  /** Ended meanwhile (each has told its `ended`). */
  ended: CallId[];
  /** Of the ended ones, those that ran into a time limit. */
  timedOut: CallId[];
  /** Of the kept ones, those on hold. */
  held: CallId[];
  /** New ones that the client did not know. */
  arrived: CallId[];
  /** Those that came and ended without ever ringing here. */
  missed: MissedCall[];
}

/** Events of a {@link GatewayClient}. */
export interface ClientEvents {
  statechange: { state: ClientState; previous: ClientState };
  /** A session is attached: first sign-in, or signed in again. */
  signedin: SessionInfo & {
    /** The instance opened the capsule of an earlier session. */
    recovering: boolean;
    /** Since the loss that led to this, 0 at a first sign-in. */
    gapMs: number;
  };
  signedout: Record<string, never>;
  /** Another instance serves now. */
  instancechange: SessionInfo & { previousInstanceId: string; reason: LossKind };
  /** The socket is lost; what was lost exactly follows from the events after it. */
  signalinglost: { reason: LossKind };
  /** Attached again. `sameSession`: calls were kept. */
  signalingback: { gapMs: number; sameSession: boolean };
  /** A try to get back did not work, the next one comes in `delayMs`. */
  retrying: { attempt: number; delayMs: number; reason: string };
  serviceunavailable: ServiceUnavailable;
  serviceavailable: ServiceAvailable;
  capabilitieschange: Record<string, never>;
  callsresynced: CallsResynced;
  /** Somebody calls, or called while signalling was lost and still waits. */
  incomingcall: IncomingCall;
  /**
   * What became of the far sides of the calls lost with an instance. All those calls have ended. `recovered`: new calls, told
   * as `incomingcall` with `replaces`; `lost`: lost calls whose far side is hung up or gone; `unknown`: nothing could be learned.
   */
  sessionrecovered: { recovered: CallId[]; lost: CallId[]; unknown: CallId[] };
  /** Every call's end, those of the page before a reload too. */
  ended: CallEnded;
  /** Redial replaced a lost call by a new one. */
  redialed: { call: Call; replaces: CallId };
  /** The instance drains: calls still up after `deadlineMs` are ended. */
  draining: { deadlineMs: number };
  /** Moved to another instance without a gap. */
  moved: { from: string; to: string };
  /** Another tab or device with the same client id took over. `signIn()` takes it back. */
  superseded: Record<string, never>;
  /** Credentials refused. `signIn()` tries again with a new token. */
  unauthorized: { error: SignInError };
  /** No more tries. `retry()` starts anew. */
  gaveup: { error: SignInError };
}

/** State of a call. */
export type CallState = WireCallState | "ended";

/** Media between browser and instance, seen from the browser. */
export type CallMedia = "connecting" | "flowing" | "stalled" | "ended";

/** Events of a {@link Call}. */
export interface CallEvents {
  statechange: { state: CallState; previous: CallState };
  mediachange: { media: CallMedia; previous: CallMedia };
  mutechange: { muted: boolean };
  /** Who holds the call: this browser (`local`), the far side, both, or nobody. */
  holdchange: { heldBy: HeldBy | undefined };
  /** The far side is somebody else now: it was transferred, or its name became known. */
  partychange: { target: string; name: string | undefined };
  /** The far side sent a digit, one of `0-9 A-D * #`. */
  digit: { digit: string };
  /** Both sides of a call in the place of a lost one were heard, `gapMs` after this instance had signed the user in. */
  resumed: { gapMs: number };
  /** The far side's tracks are there; play them. */
  remotestream: { stream: MediaStream };
  /** No packet for `sinceMs`, although the call goes on. */
  mediastalled: { sinceMs: number };
  mediaresumed: { gapMs: number };
  serviceunavailable: ServiceUnavailable;
  serviceavailable: ServiceAvailable;
  /** What `can` answers may be another thing now. */
  capabilitieschange: Record<string, never>;
  /** Once per call. */
  ended: CallEnded;
}
