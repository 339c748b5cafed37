/**
 * Compares the calls that a client believes in with an instance's snapshot, which outranks it. Pure.
 */
import type { CallsResynced } from "./events.ts";
import type { CallId, CallSnapshot, EndReason, Snapshot } from "./protocol.gen.ts";

/** What follows from a snapshot. */
export interface Resync {
  /** Calls to end, with why. */
  ends: { callId: CallId; reason: EndReason }[];
  /** Calls to bring up to date. */
  updates: CallSnapshot[];
  /** What the application is told. */
  summary: CallsResynced;
}

const TIME_LIMITS: readonly EndReason[] = ["no-answer", "media-timeout"];

/** `live`: calls of this session that did not end here. `asked`: whether the instance may not know its start yet. */
export function compare(live: CallId[], asked: (callId: CallId) => boolean, snapshot: Snapshot): Resync {
  const known = new Map(snapshot.calls.map((call) => [call.call_id, call]));
  const over = new Map(snapshot.ended.map((call) => [call.call_id, call.reason]));
  const ends = live
    .filter((callId) => !known.has(callId) && (over.has(callId) || !asked(callId)))
    .map((callId) => ({ callId, reason: over.get(callId) ?? ("session-ended" as const) }));
  const updates = live.flatMap((callId) => known.get(callId) ?? []);
  const summary: CallsResynced = {
    kept: updates.map((call) => call.call_id),
    ended: ends.map((end) => end.callId),
    timedOut: ends.filter((end) => TIME_LIMITS.includes(end.reason)).map((end) => end.callId),
    held: updates.filter((call) => call.state === "held").map((call) => call.call_id),
    arrived: snapshot.calls.filter((call) => !live.includes(call.call_id)).map((call) => call.call_id),
  };
  return { ends, updates, summary };
}
