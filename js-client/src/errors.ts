/**
 * Every error that the library gives to an application: one class each for sign-in, calls and the microphone, with a stable
 * numeric code and a `reason` to switch on. The code follows from the reason. The message is for logs; what a user reads is the
 * application's to say.
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
    this.code = base + [...reasons, reason].indexOf(reason);
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

/**
 * Why signing in failed; codes from 100 in this order, and what an application does about it:
 *
 * - `unreachable`: no balancer answered. Tell the user to check the network; `retry()` tries again.
 * - `unauthorized`: the service refused the credentials. Get new ones, then call `signIn()` again.
 * - `forbidden`: this page's origin is not on the service's allow-list: a matter of configuration.
 * - `rejected`: the service refused the request as malformed: a fault of the application or the library.
 * - `unavailable`: the service answers, but no instance is free. `retry()` tries again.
 * - `superseded`: another tab or device with the same client id took over. `signIn()` takes it back.
 * - `token-failed`: the application's `token()` failed; its error is the `cause`.
 * - `aborted`: `signOut()` was called meanwhile.
 */
export type SignInReason = (typeof SIGN_IN_REASONS)[number];

/** Signing in failed, or signed-in life ended. */
export class SignInError extends HoldfastError<SignInReason> {
  override readonly name = "SignInError";
  /** @internal */
  constructor(
    reason: SignInReason,
    /** The problem type the service answered with, if it answered. */
    readonly problem?: ProblemType,
    detail?: string,
    cause?: unknown,
  ) {
    super(100, SIGN_IN_REASONS, reason, detail ?? problem, cause);
  }
}

const CALL_REASONS = ["not-signed-in", "aborted", "unknown", "webrtc"] as const;

/**
 * Why a call or a request in a call failed; codes from 200 in this order:
 *
 * - `not-signed-in`: nothing was sent; `can()` would have said so.
 * - `aborted`: the `AbortSignal` fired.
 * - `unknown`: the instance was lost after the request was sent: it may have acted or not.
 * - `webrtc`: the browser's WebRTC stack refused; its error is the `cause`.
 * - any other, code 204: the instance refused, nothing happened.
 */
export type CallReason = (typeof CALL_REASONS)[number] | FailReason;

/** A call could not be made, or a request in a call did not succeed. */
export class CallError extends HoldfastError<CallReason> {
  override readonly name = "CallError";
  /** @internal */
  constructor(reason: CallReason, detail?: string, cause?: unknown) {
    super(200, CALL_REASONS, reason, detail, cause);
  }
}

const MEDIA_REASONS = ["denied", "absent", "in-use", "insecure-origin", "failed"] as const;

/**
 * Why a microphone or camera can't be used; codes from 300 in this order:
 *
 * - `denied`: ask the user to allow it.
 * - `absent`: ask the user to connect one.
 * - `in-use`: ask the user to close the other application.
 * - `insecure-origin`: pages get microphones on https and localhost alone: serve the page over https.
 * - `failed`: anything else; the browser's error is the `cause`.
 */
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
  /** @internal `cause`: what `getUserMedia` rejected with; absent when the browser offers no devices to this origin. */
  constructor(cause?: Error) {
    super(300, MEDIA_REASONS, cause ? (MEDIA_NAMES[cause.name] ?? "failed") : "insecure-origin", undefined, cause);
  }
}
