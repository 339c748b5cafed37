/**
 * The calls of the softphone's story: which are up, which one is in front, and what can be done in each. Pure; story.ts owns the
 * list and says what happened in words.
 */
import type { CallMedia, CallState, CallVerb, Direction, HeldBy } from "../src/index.ts";

/** What the person asked for in a call, and nobody answered yet. */
export type Asked = "answer" | "hold" | "unhold" | "transfer";

/** One call that is shown. */
export interface CallStory {
  id: string;
  direction: Direction;
  target: string;
  /** The caller's display name. */
  name: string | undefined;
  video: boolean;
  /** The caller offers video. */
  offersVideo: boolean;
  state: CallState;
  media: CallMedia;
  muted: boolean;
  preserved: boolean;
  heldBy: HeldBy | undefined;
  /** When the far side answered; by the clock of `tell`. */
  since: number | undefined;
  /** The lost call in whose place it came. */
  replaces: string | undefined;
  asked: Asked | undefined;
  /** Why a verb is impossible; absent when it is possible. */
  refused: Partial<Record<CallVerb, string>>;
  /** Digits that this side and the far side sent. */
  sent: string;
  heard: string;
}

/** The part of a story that this file is about. */
export interface Calls {
  calls: CallStory[];
  /** Whose panel is shown. */
  front: string | undefined;
}

/** What a new call is known by. */
export type NewCall = Pick<CallStory, "id" | "direction" | "target"> & Partial<CallStory>;

/** Digits kept for showing. */
const MAX_DIGITS = 24;

/** The call whose panel is shown. */
export function frontCall({ calls, front }: Calls): CallStory | undefined {
  return calls.find(({ id }) => id === front);
}

/** Calls that ring here and wait for an answer. */
export function ringing({ calls }: Calls): CallStory[] {
  return calls.filter((call) => isAlerting(call) && call.asked !== "answer");
}

/** Calls that are up behind the one in front. */
export function behind({ calls, front }: Calls): CallStory[] {
  return calls.filter((call) => call.id !== front && !isAlerting(call));
}

/** Somebody waits for this side's answer. */
export function isAlerting(call: CallStory): boolean {
  return call.direction === "incoming" && call.state === "ringing";
}

/** The sound that fits: somebody calls, somebody calls into a call, or the called one's phone rings. */
export function ringOf(story: Calls): "incoming" | "waiting" | "ringback" | undefined {
  if (ringing(story).length > 0) {
    return story.calls.some((call) => !isAlerting(call)) ? "waiting" : "incoming";
  }
  const shown = frontCall(story);
  return shown?.direction === "outgoing" && shown.state === "ringing" ? "ringback" : undefined;
}

/** Adds a call; one that this side started, or that answers itself, comes to the front. */
export function add(story: Calls, made: NewCall, front: boolean): void {
  const call: CallStory = {
    name: undefined,
    video: false,
    offersVideo: false,
    state: made.direction === "incoming" ? "ringing" : "connecting",
    media: "connecting",
    muted: false,
    preserved: false,
    heldBy: undefined,
    since: undefined,
    replaces: undefined,
    asked: undefined,
    refused: {},
    sent: "",
    heard: "",
    ...made,
  };
  story.calls = [...story.calls.filter(({ id }) => id !== call.id), call];
  story.front = front ? call.id : story.front;
}

/** Changes a call; returns it as it is then, undefined when it is over. */
export function change(story: Calls, id: string, changed: Partial<CallStory>): CallStory | undefined {
  story.calls = story.calls.map((call) => (call.id === id ? { ...call, ...changed } : call));
  return story.calls.find((call) => call.id === id);
}

/** Takes a call out; another one that is up comes to the front in its place. Returns what it was. */
export function remove(story: Calls, id: string): CallStory | undefined {
  const gone = story.calls.find((call) => call.id === id);
  story.calls = story.calls.filter((call) => call.id !== id);
  if (story.front === id) {
    story.front = behind({ ...story, front: undefined }).at(-1)?.id;
  }
  return gone;
}

/** The last few digits with one more. */
export function withDigit(digits: string, digit: string): string {
  return (digits + digit).slice(-MAX_DIGITS);
}
