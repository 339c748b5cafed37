/**
 * holdfast-client: browser client of the Holdfast WebRTC gateway.
 */
export { Call } from "./call.ts";
export { GatewayClient, Microphone } from "./client.ts";
export { Emitter, type ListenOptions } from "./emitter.ts";
export * from "./errors.ts";
export type * from "./events.ts";
export type * from "./options.ts";
export type { CallId, Direction, EndReason, FailReason, ProblemType } from "./protocol.gen.ts";
