/**
 * Every error that the library gives to an application: one class each for sign-in, calls and the microphone, with a stable
 * numeric code and a `reason` to switch on. Made by static factories, so that code and reason always belong together. The
 * message is for logs; what a user reads is the application's to say.
 */
import type { FailReason, ProblemType } from "./protocol.gen.ts";

/** Base of all errors of the library. */
export abstract class HoldfastError extends Error {
  /** Stable number: 1xx signing in, 2xx calls and requests, 3xx microphone and camera. */
  abstract readonly code: number;
  /** Stable name. */
  abstract readonly reason: string;
}

/** Why signing in failed. */
export type SignInReason =
  | "unreachable"
  | "unauthorized"
  | "forbidden"
  | "rejected"
  | "unavailable"
  | "superseded"
  | "token-failed"
  | "aborted";

const SIGN_IN_CODES: Record<SignInReason, number> = {
  unreachable: 100,
  unauthorized: 101,
  forbidden: 102,
  rejected: 103,
  unavailable: 104,
  superseded: 105,
  "token-failed": 106,
  aborted: 107,
};

/** Signing in failed, or signed-in life ended. */
export class SignInError extends HoldfastError {
  override readonly name = "SignInError";
  readonly code: number;
  private constructor(
    readonly reason: SignInReason,
    /** The problem type the service answered with, if it answered. */
    readonly problem?: ProblemType,
    detail: string = problem ?? reason,
    cause?: unknown,
  ) {
    super(detail, { cause });
    this.code = SIGN_IN_CODES[reason];
  }
  /** No balancer answered. Tell the user to check the network; `retry()` tries again. */
  static unreachable() {
    return new SignInError("unreachable");
  }
  /** The service refused the credentials. Get new ones, then call `signIn()` again. */
  static unauthorized(problem?: ProblemType) {
    return new SignInError("unauthorized", problem);
  }
  /** This page's origin is not on the service's allow-list: a matter of configuration. */
  static forbidden(problem?: ProblemType) {
    return new SignInError("forbidden", problem);
  }
  /** The service refused the request as malformed: a fault of the application or the library. */
  static rejected(problem?: ProblemType, detail?: string) {
    return new SignInError("rejected", problem, detail);
  }
  /** The service answers, but no instance is free. `retry()` tries again. */
  static unavailable(problem?: ProblemType) {
    return new SignInError("unavailable", problem);
  }
  /** Another tab or device with the same client id took over. `signIn()` takes it back. */
  static superseded() {
    return new SignInError("superseded");
  }
  /** The application's `token()` failed; its error is the `cause`. */
  static tokenFailed(cause: unknown) {
    return new SignInError("token-failed", undefined, undefined, cause);
  }
  /** `signOut()` was called meanwhile. */
  static aborted() {
    return new SignInError("aborted");
  }
}

/** Why a call or a request in a call failed. */
export type CallReason = FailReason | "not-signed-in" | "ended" | "aborted" | "unknown" | "webrtc";

const CALL_CODES: Partial<Record<CallReason, number>> = {
  "not-signed-in": 200,
  ended: 201,
  aborted: 202,
  unknown: 203,
  webrtc: 204,
};
/** What the instance refused, whatever its reason. */
const REFUSED_CODE = 210;

/** A call could not be made, or a request in a call did not succeed. */
export class CallError extends HoldfastError {
  override readonly name = "CallError";
  readonly code: number;
  private constructor(
    readonly reason: CallReason,
    detail: string = reason,
    cause?: unknown,
  ) {
    super(detail, { cause });
    this.code = CALL_CODES[reason] ?? REFUSED_CODE;
  }
  /** What was asked is not allowed now; `can()` would have said so. Nothing was sent. */
  static refused(reason: CallReason, detail?: string) {
    return new CallError(reason, detail);
  }
  /** The instance refused: nothing happened. */
  static failed(reason: FailReason, detail?: string) {
    return new CallError(reason, detail);
  }
  /** The instance was lost after the request was sent: it may have acted or not. */
  static unknown() {
    return new CallError("unknown");
  }
  /** The `AbortSignal` fired. */
  static aborted() {
    return new CallError("aborted");
  }
  /** The browser's WebRTC stack refused; its error is the `cause`. */
  static webrtc(cause: unknown) {
    return new CallError("webrtc", String(cause), cause);
  }
}

/** Why a microphone or camera can't be used. */
export type MediaReason = "denied" | "absent" | "in-use" | "insecure-origin" | "failed";

const MEDIA_CODES: Record<MediaReason, number> = {
  denied: 300,
  absent: 301,
  "in-use": 302,
  "insecure-origin": 303,
  failed: 304,
};

/** What `getUserMedia` rejects with, by name. */
const MEDIA_NAMES: Record<string, MediaReason> = {
  NotAllowedError: "denied",
  SecurityError: "denied",
  NotFoundError: "absent",
  OverconstrainedError: "absent",
  NotReadableError: "in-use",
  AbortError: "in-use",
};

/** The microphone or camera can't be used. */
export class MediaError extends HoldfastError {
  override readonly name = "MediaError";
  readonly code: number;
  private constructor(
    readonly reason: MediaReason,
    cause?: unknown,
  ) {
    super(reason, { cause });
    this.code = MEDIA_CODES[reason];
  }
  /** Pages get microphones on https and localhost alone: serve the page over https. */
  static insecureOrigin() {
    return new MediaError("insecure-origin");
  }
  /** `denied`: ask the user to allow it; `absent`: to connect one; `in-use`: to close the other application. */
  static from(cause: unknown) {
    return new MediaError(MEDIA_NAMES[(cause as Error | undefined)?.name ?? ""] ?? "failed", cause);
  }
}
