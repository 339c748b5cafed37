/**
 * What an application hands to `new GatewayClient(..)`, with its defaults, and what of the browser can be replaced in tests.
 */
import type { Call } from "./call.ts";
import type { DeadCallAction } from "./protocol.gen.ts";

/** Time, injectable. */
export interface Clock {
  /** Milliseconds, monotonic. */
  now(): number;
  /** Calls `run` after `ms`; returns what cancels it. */
  after(ms: number, run: () => void): () => void;
}

/**
 * Asked once for each call lost with its instance. `hang_up`: the far side is hung up. `resume`: the next instance offers it a
 * new call, which comes as `incomingcall` with `replaces` and answers itself.
 */
export type OnCallLost = (call: Call) => DeadCallAction;

/** Options of a client. */
export interface ClientOptions {
  /** Base URLs of the balancers, the preferred first. Default: the page's origin. */
  urls?: string[];
  /** A fresh JWT; asked for at a first sign-in and when one was refused. */
  token?: () => Promise<string>;
  /** The user's name at a service that runs with `--auth anonymous`. */
  user?: string;
  /**
   * The user's password at the SIP server, or who asks for it, where the service keeps none. Sent at a first sign-in, and sealed
   * from then on.
   */
  sipPassword?: string | (() => Promise<string>);
  /** Names this tab; default: random, kept over a reload, never shared by two tabs. */
  clientId?: string;
  /** Keeps the session over a reload; `null`: nothing is kept. Default: `sessionStorage`. */
  storage?: Storage | null;
  /** Beside what the service tells. */
  rtc?: RTCConfiguration;
  /** Calls the target of an own call lost with its instance again, once, as a new call. Default: false. */
  redial?: boolean;
  /** What happens to the far side of a call lost with its instance; the call itself has ended. Default: `hang_up`. */
  onCallLost?: OnCallLost;
  /** Tries to get back this long without any success, then `gaveup`. Default: 300 000. */
  giveUpAfterMs?: number;
  clock?: Clock;
  /** Uniform in [0, 1). */
  random?: () => number;
  fetch?: typeof fetch;
  WebSocket?: typeof WebSocket;
  RTCPeerConnection?: typeof RTCPeerConnection;
  mediaDevices?: Pick<MediaDevices, "getUserMedia">;
}

/** Options of one call. */
export interface CallOptions {
  /** Send the microphone. Default: true. With false the call listens only. */
  audio?: boolean;
  /** Send the camera and receive video. Default: false. */
  video?: boolean;
  /** Tracks to send instead of microphone and camera; the application keeps owning them. */
  stream?: MediaStream;
  /** Start muted. Default: false. */
  muted?: boolean;
  /** Hangs up when it aborts. */
  signal?: AbortSignal;
  /** Overrides the client's. */
  onCallLost?: OnCallLost;
}
