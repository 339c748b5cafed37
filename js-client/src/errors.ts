/**
 * Every error that the library gives to an application: one class each for sign-in, calls and the microphone, with a stable
 * numeric code and a `reason` to switch on. Made by static factories, so that code and reason always belong together.
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
    message: string,
    /** The problem type the service answered with, if it answered. */
    readonly problem?: ProblemType,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = SIGN_IN_CODES[reason];
  }
  /** No balancer answered. Tell the user to check the network; `retry()` tries again. */
  static unreachable() {
    return new SignInError("unreachable", "no address of the service answered");
  }
  /** The service refused the credentials. Get new ones, then call `signIn()` again. */
  static unauthorized(problem?: ProblemType) {
    return new SignInError("unauthorized", "the service refused the credentials", problem);
  }
  /** This page's origin is not on the service's allow-list: a matter of configuration. */
  static forbidden(problem?: ProblemType) {
    return new SignInError("forbidden", "the service does not allow this origin", problem);
  }
  /** The service refused the request as malformed: a fault of the application or the library. */
  static rejected(problem?: ProblemType, detail = "the service refused the sign-in") {
    return new SignInError("rejected", detail, problem);
  }
  /** The service answers, but no instance is free. `retry()` tries again. */
  static unavailable(problem?: ProblemType) {
    return new SignInError("unavailable", "no instance is free", problem);
  }
  /** Another tab or device with the same client id took over. `signIn()` takes it back. */
  static superseded() {
    return new SignInError("superseded", "a newer sign-in of this client took over");
  }
  /** The application's `token()` failed; its error is the `cause`. */
  static tokenFailed(cause: unknown) {
    return new SignInError("token-failed", "the token provider failed", undefined, { cause });
  }
  /** `signOut()` was called meanwhile. */
  static aborted() {
    return new SignInError("aborted", "signed out");
  }
}

/** Why a call or a request in a call failed. */
export type CallReason = FailReason | "not-signed-in" | "signaling-lost" | "ended" | "aborted" | "unknown" | "webrtc";

const CALL_CODES: Partial<Record<CallReason, number>> = {
  "not-signed-in": 200,
  "signaling-lost": 201,
  ended: 202,
  aborted: 203,
  unknown: 204,
  webrtc: 205,
};

/** A call could not be made, or a request in a call did not succeed. */
export class CallError extends HoldfastError {
  override readonly name = "CallError";
  readonly code: number;
  private constructor(
    readonly reason: CallReason,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = CALL_CODES[reason] ?? 210;
  }
  /** What was asked is not allowed now; `can()` would have said so. Nothing was sent. */
  static refused(reason: CallReason, why: string = reason) {
    return new CallError(reason, `not possible now: ${why}`);
  }
  /** The instance refused: nothing happened. */
  static failed(reason: FailReason, detail?: string) {
    return new CallError(reason, detail ?? `the instance refused: ${reason}`);
  }
  /** The instance was lost after the request was sent: it may have acted or not. */
  static unknown() {
    return new CallError("unknown", "the instance was lost before it answered");
  }
  /** The `AbortSignal` fired. */
  static aborted() {
    return new CallError("aborted", "aborted");
  }
  /** The browser's WebRTC stack refused; its error is the `cause`. */
  static webrtc(cause: unknown) {
    return new CallError("webrtc", "the browser's WebRTC stack failed", { cause });
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

/** The microphone or camera can't be used. */
export class MediaError extends HoldfastError {
  override readonly name = "MediaError";
  readonly code: number;
  private constructor(
    readonly reason: MediaReason,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = MEDIA_CODES[reason];
  }
  /** Pages get microphones on https and localhost alone: serve the page over https. */
  static insecureOrigin() {
    return new MediaError("insecure-origin", "microphones are available on https and localhost only");
  }
  /** Maps what `getUserMedia` rejected with. `denied`: ask the user to allow it; `absent`: to connect one. */
  static from(cause: unknown) {
    const name = cause instanceof Error || cause instanceof DOMException ? cause.name : "";
    const [reason, message] = MEDIA_NAMES[name] ?? ["failed", "the microphone or camera failed"];
    return new MediaError(reason, message, { cause });
  }
}

const MEDIA_NAMES: Record<string, [MediaReason, string]> = {
  NotAllowedError: ["denied", "the use of the microphone or camera was denied"],
  SecurityError: ["denied", "the use of the microphone or camera was denied"],
  NotFoundError: ["absent", "there is no microphone or camera"],
  OverconstrainedError: ["absent", "the chosen microphone or camera is not there"],
  NotReadableError: ["in-use", "the microphone or camera is in use by another application"],
  AbortError: ["in-use", "the microphone or camera could not be started"],
};
