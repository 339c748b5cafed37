/**
 * holdfast-client: browser client of the Holdfast WebRTC gateway.
 */
export type { Call } from "./call.ts";
export { GatewayClient } from "./client.ts";
export type { Emitter, ListenOptions } from "./emitter.ts";
export * from "./errors.ts";
export type * from "./events.ts";
export type { Microphone } from "./microphone.ts";
export type * from "./options.ts";
export type {
  CallId,
  DeadCallAction,
  Direction,
  EndReason,
  FailReason,
  HeldBy,
  ProblemType,
} from "./protocol.gen.ts";
