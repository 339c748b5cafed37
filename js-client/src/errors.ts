/**
 * Every error that the library gives to an application: one class each for sign-in, calls and the microphone, with a stable
 * numeric code and a `reason` to switch on. Made by static factories, so that code and reason always belong together. The
 * message is for logs; what a user reads is the application's to say.
 */
import type { FailReason, ProblemType } from "./protocol.gen.ts";

/** Base of all errors of the library. */
export abstract class HoldfastError<Reason extends string = string> extends Error {
  /** Stable number: 1xx signing in, 2xx calls and requests, 3xx microphone and camera. */
  readonly code: number;
  /** Stable name. */
  readonly reason: Reason;
  /** A reason's code is its place in `reasons`, counted from `base`; one that is not there gets the number after them. */
  protected constructor(base: number, reasons: readonly string[], reason: Reason, detail?: string, cause?: unknown) {
    super(detail ?? reason, { cause });
    this.reason = reason;
    this.code = base + (reasons.includes(reason) ? reasons.indexOf(reason) : reasons.length);
  }
}

const SIGN_IN_REASONS = [
  "unreachable",
  "unauthorized",
  "forbidden",
  "rejected",
  "unavailable",
  "superseded",
  "token-failed",
  "aborted",
] as const;

/** Why signing in failed; codes from 100 in this order. */
export type SignInReason = (typeof SIGN_IN_REASONS)[number];

/** Signing in failed, or signed-in life ended. */
export class SignInError extends HoldfastError<SignInReason> {
  override readonly name = "SignInError";
  private constructor(
    reason: SignInReason,
    /** The problem type the service answered with, if it answered. */
    readonly problem?: ProblemType,
    detail?: string,
    cause?: unknown,
  ) {
    super(100, SIGN_IN_REASONS, reason, detail ?? problem, cause);
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

const CALL_REASONS = ["not-signed-in", "aborted", "unknown", "webrtc"] as const;

/** Why a call or a request in a call failed; codes from 200 in this order, and 204 for whatever the instance refused. */
export type CallReason = (typeof CALL_REASONS)[number] | FailReason;

/** A call could not be made, or a request in a call did not succeed. */
export class CallError extends HoldfastError<CallReason> {
  override readonly name = "CallError";
  private constructor(reason: CallReason, detail?: string, cause?: unknown) {
    super(200, CALL_REASONS, reason, detail, cause);
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

const MEDIA_REASONS = ["denied", "absent", "in-use", "insecure-origin", "failed"] as const;

/** Why a microphone or camera can't be used; codes from 300 in this order. */
export type MediaReason = (typeof MEDIA_REASONS)[number];

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
export class MediaError extends HoldfastError<MediaReason> {
  override readonly name = "MediaError";
  private constructor(reason: MediaReason, cause?: unknown) {
    super(300, MEDIA_REASONS, reason, undefined, cause);
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
