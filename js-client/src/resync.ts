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
    timedOut: ends.flatMap(({ callId, reason }) => (TIME_LIMITS.includes(reason) ? callId : [])),
    held: updates.flatMap(({ call_id, state }) => (state === "held" ? call_id : [])),
    arrived: snapshot.calls.flatMap(({ call_id }) => (live.includes(call_id) ? [] : call_id)),
    missed: snapshot.ended.flatMap(({ call_id, missed }) =>
      missed && !live.includes(call_id) ? { callId: call_id, ...missed } : [],
    ),
  };
  return { ends, updates, summary };
}
