/**
 * holdfast-client: browser client of the Holdfast WebRTC gateway.
 */
export { Call } from "./call.ts";
export { GatewayClient } from "./client.ts";
export { Emitter, type ListenOptions } from "./emitter.ts";
export * from "./errors.ts";
export type * from "./events.ts";
export { Microphone } from "./microphone.ts";
export type * from "./options.ts";
export type { CallId, Direction, EndReason, FailReason, ProblemType } from "./protocol.gen.ts";
