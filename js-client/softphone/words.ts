/**
 * The softphone's words: what the library's names mean to a person. Pure; no sentence stands anywhere else but in
 * index.html and story.ts.
 */
import type { CallEnded, ClientState, EndReason, HeldBy, HoldfastError, LossKind } from "../src/index.ts";
import type { Asked, CallStory } from "./calls.ts";

/** Who is at the other end. */
export interface Caller {
  target: string;
  name?: string | undefined;
}

/** How serious something is; also a CSS class. */
export type Level = "plain" | "ok" | "warn" | "bad";

/** The connection badge. */
export const CONNECTION: Record<ClientState, { level: Level; text: string }> = {
  "signed-out": { level: "plain", text: "Signed out" },
  "signing-in": { level: "warn", text: "Signing in …" },
  "signed-in": { level: "ok", text: "Connected" },
  reconnecting: { level: "warn", text: "Reconnecting …" },
  superseded: { level: "plain", text: "In use elsewhere" },
  unauthorized: { level: "bad", text: "Not signed in" },
  "gave-up": { level: "bad", text: "No connection" },
};

const LOST: Record<LossKind, (instance: string) => string> = {
  "signaling-lost": (instance) => `The connection to ${instance} was lost.`,
  "network-changed": () => "Your network changed.",
  "instance-lost": (instance) => `Instance ${instance} was lost.`,
  "instance-silent": (instance) => `Instance ${instance} stopped answering.`,
  "instance-draining": (instance) => `Instance ${instance} is being taken out of service.`,
  "media-lost": (instance) => `Sound from ${instance} stopped arriving.`,
  "session-superseded": () => "Another tab took over.",
  unauthorized: () => "Your sign-in is no longer valid.",
};

/** One sentence on what was lost. */
export function lost(reason: LossKind, instance: string | undefined): string {
  return LOST[reason](instance ?? "the service");
}

const ENDED: Record<EndReason, string> = {
  "local-hang-up": "You hung up.",
  "peer-closed": "This browser closed the call.",
  "remote-hang-up": "The far side hung up.",
  busy: "The line is busy.",
  rejected: "The far side declined.",
  "no-answer": "Nobody answered.",
  cancelled: "The caller hung up before you answered.",
  "not-found": "There is nobody by that name or number.",
  transferred: "You passed the call on.",
  failed: "The call could not be set up.",
  "instance-lost": "Your call ended.",
  "far-lost": "The far side was lost. Your call ended.",
  "media-lost": "No sound came through any more. Your call ended.",
  "media-timeout": "Sound could not get through between this browser and the service. Your call ended.",
  "fingerprint-mismatch": "The encryption of the call did not check out, so it was ended.",
  drained: "The instance was taken out of service. Your call ended.",
  "session-ended": "Your session ended, and with it the call.",
  "page-reloaded": "The page was reloaded. Your call ended.",
  internal: "A fault of the service ended your call.",
};

const REFUSED: Record<string, string> = {
  "not-allowed": "You are not allowed to call that.",
  "rate-limited": "Too many calls in a short time. Wait a moment.",
  "call-capacity": "All lines are in use. Try again in a moment.",
  "too-many-calls": "You are in as many calls as you may be.",
  "service-unavailable": "Calls are not possible at the moment.",
  draining: "This instance takes no new calls. Try again in a moment.",
  "instance-draining": "This instance takes no new calls. You move to another one when this call ends.",
  "not-signed-in": "You are not signed in yet.",
  "signaling-lost": "The connection is being restored. Try again in a moment.",
  "instance-silent": "The instance does not answer at the moment.",
  "media-lost": "Sound does not get through to this instance. You move to another one.",
  "sip-server-unreachable": "The telephone server cannot be reached. Calls are possible again once it is back.",
  "sip-server-silent": "The telephone server does not answer. Calls are possible again once it does.",
  "registration-refused": "The telephone server refused your name or password. Its operator can help.",
  "unknown-user": "The telephone server does not know you by this name.",
  "registration-failed": "The telephone server could not register you. It is tried again by itself.",
  "no-answer-of-the-sip-server": "The telephone server did not answer. It is asked again by itself.",
  "not-refreshed": "Your registration at the telephone server ran out. It is renewed by itself.",
  "registered-elsewhere": "Your calls arrive in another window now, which signed in later.",
  registering: "You are being registered at the telephone server …",
  "not-supported": "The echo and the tone cannot be held, passed on, or sent digits.",
  "wrong-state": "Not possible at this moment of the call.",
  "far-refused": "The far side did not agree.",
  "bad-target": "There is nobody by that name.",
  unknown: "The instance was lost before it answered.",
  webrtc: "This browser could not set up the call.",
};

/** One or two sentences on why a call ended. */
export function ended(end: Pick<CallEnded, "reason" | "error">): string {
  return (end.reason === "failed" && end.error && REFUSED[end.error.reason]) || ENDED[end.reason] || "Your call ended.";
}

const NOBODYS_FAULT: EndReason[] = ["local-hang-up", "remote-hang-up", "peer-closed", "cancelled", "transferred"];

/** Whether that end was nobody's fault. */
export function endLevel(reason: EndReason): Level {
  return NOBODYS_FAULT.includes(reason) ? "plain" : "bad";
}

/** Why no call can be made now, from `client.can("call")`. */
export function refused(reason: string | undefined): string {
  return (reason && REFUSED[reason]) || "Calls are not possible at the moment.";
}

/** What stands under the name of the other side. */
export function callState(
  call: Pick<CallStory, "state" | "media" | "preserved" | "heldBy" | "asked" | "target" | "name">,
): string {
  const { state, media, preserved, heldBy, asked } = call;
  if (preserved) {
    return "Your call goes on. Only hanging up works until the connection is back.";
  }
  if (asked) {
    return ASKED[asked];
  }
  if (media === "stalled") {
    return "No sound is arriving …";
  }
  switch (state) {
    case "connecting":
      return "Connecting …";
    case "ringing":
      return "Ringing …";
    case "active":
      return media === "flowing" ? "Connected" : "Connecting sound …";
    case "held":
      return HELD[heldBy ?? "local"](callerName(call));
    case "ended":
      return "Ended";
  }
}

/** What answering does to the call in front. */
export function answerLabel(front: CallStory | undefined): string {
  if (!front || front.heldBy === "local" || front.heldBy === "both") {
    return "Answer";
  }
  const holds = front.state === "active" || front.state === "held";
  return holds && !(front.target in BUILT_IN)
    ? `Hold ${callerName(front)}, answer`
    : `End ${callerName(front)}, answer`;
}

const ASKED: Record<Asked, string> = {
  answer: "Answering …",
  hold: "Putting on hold …",
  unhold: "Taking back from hold …",
  transfer: "Passing the call on …",
};

const HELD: Record<HeldBy, (who: string) => string> = {
  local: (who) => `On hold. ${who} cannot hear you.`,
  remote: (who) => `${who} put you on hold.`,
  both: () => "On hold from both sides.",
};

/** One line on who holds now. */
export function holdChanged(who: string, before: HeldBy | undefined, now: HeldBy | undefined): string {
  const ours = (by: HeldBy | undefined) => by === "local" || by === "both";
  if (ours(before) !== ours(now)) {
    return ours(now) ? `You put ${who} on hold.` : `You took ${who} back from hold.`;
  }
  return now === undefined || now === "local" ? `${who} took you back from hold.` : `${who} put you on hold.`;
}

/** What the person asked for and did not get. */
export function verbFailed(
  what: Asked | "digits",
  error: Pick<HoldfastError, "reason" | "message">,
  call: Caller,
): { title: string; text: string } {
  const who = callerName(call);
  const titles: Record<Asked | "digits", string> = {
    answer: `${who}'s call was not answered`,
    hold: `${who} was not put on hold`,
    unhold: `${who} was not taken back from hold`,
    transfer: `${who} was not passed on`,
    digits: "The digit was not sent",
  };
  const away = error.reason === "service-unavailable" || error.reason === "wrong-state";
  const why = (away && REFUSED[error.message]) || REFUSED[error.reason] || "Try again in a moment.";
  const said = error.reason === "far-refused" && SAID.exec(error.message)?.[1];
  return { title: titles[what], text: (said && FAR_SAID[said]) || why };
}

/** How an instance tells what status the far side answered with. */
const SAID = /(\d{3})$/;
const FAR_SAID: Record<string, string> = {
  404: "There is nobody by that name.",
  480: "Nobody answers there at the moment.",
  486: "The line is busy.",
  487: "Nobody answered there.",
  488: "The far side's telephone cannot do that.",
  603: "They declined.",
};

/** One row of the list of services: what works, and if not, why. */
export interface ServiceRow {
  name: string;
  level: Level;
  text: string;
}

/** What works at the moment, before a call as well as in one. */
export function services(
  state: ClientState,
  canCall: { allowed: boolean; reason?: string | undefined },
  call: CallStory | undefined,
): ServiceRow[] {
  const connected = state === "signed-in";
  const rows: ServiceRow[] = [
    { name: "Connection", level: connected ? "ok" : "warn", text: connected ? "Up" : "Being restored …" },
  ];
  const away = connected ? refused(canCall.reason) : "As soon as the connection is back.";
  rows.push({ name: "New calls", level: canCall.allowed ? "ok" : "warn", text: canCall.allowed ? "Possible" : away });
  if (call) {
    const flowing = call.media === "flowing";
    const none = call.media === "stalled" ? "None is arriving" : "Connecting …";
    rows.push({ name: "Sound", level: flowing ? "ok" : "warn", text: flowing ? "Arriving" : none });
  }
  return rows;
}

/** Why signing in failed, in words, and whether a token is what is missing. */
export function signInFailed(reason: string, withToken: boolean): { text: string; needsToken: boolean } {
  const words: Record<string, string> = {
    unauthorized: withToken ? "This token is not valid, or has expired." : "This service asks for an access token.",
    "token-failed": "This service asks for an access token.",
    forbidden: "This service does not allow sign-ins from this address. Its operator can add it with --allowed-origin.",
    rejected: "The service did not accept this name. Try another one.",
  };
  return {
    text: words[reason] ?? "Signing in did not work.",
    needsToken: reason === "unauthorized" || reason === "token-failed",
  };
}

/** Nothing serves at the moment: said while the page keeps trying. */
export function away(reason: string): { title: string; text: string } {
  const keeps = "This page keeps trying and is ready again by itself.";
  return reason === "unreachable"
    ? { title: "The service cannot be reached", text: `Check whether this device is online. ${keeps}` }
    : { title: "No instance is up at the moment", text: keeps };
}

/** What a person can do when microphone or camera can't be used. */
export function mediaProblem(error: Pick<HoldfastError, "reason">, video: boolean): { title: string; text: string } {
  const device = video ? "microphone or camera" : "microphone";
  switch (error.reason) {
    case "denied":
      return {
        title: `The ${device} is blocked`,
        text: "Allow it for this page: open the site settings beside the address, set it to Allow, then call again.",
      };
    case "absent":
      return {
        title: `No ${device} was found`,
        text: "Connect one and make sure that it is switched on in the system's sound settings, then call again.",
      };
    case "in-use":
      return {
        title: `The ${device} is in use`,
        text: "Another program holds it. Close that program or its call, then call again.",
      };
    case "insecure-origin":
      return { title: "No microphone at this address", text: "You can still listen." };
    default:
      return { title: `The ${device} did not start`, text: "Unplug it and plug it in again, then call again." };
  }
}

/** Said as soon as the page is open, since no call with a microphone can work. */
export const INSECURE = {
  title: "This address is not secure",
  text: "Browsers give the microphone to https addresses and to the machine itself only. Open this page as https, or on that machine as localhost.",
};

/** Names of the built-in targets; of an address the part before the @. */
export function targetName(target: string): string {
  return { echo: "Echo", tone: "Tone" }[target] ?? /^(?:sips?:)?([^@;]+)/.exec(target)?.[1] ?? target;
}

/** An address as a person writes it; empty where the name says it all. */
export function address(target: string): string {
  const plain = target.replace(/^sips?:/, "").replace(/;.*$/, "");
  return plain === targetName(target) || target in BUILT_IN ? "" : plain;
}

const BUILT_IN: Record<string, true> = { echo: true, tone: true };

/** Who is at the other end. */
export function callerName({ target, name }: Caller): string {
  return name?.trim() || targetName(target);
}

/** One or two letters for a face. */
export function initials(name: string): string {
  const parts = name.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const letters = parts.length > 1 ? `${parts[0]?.[0]}${parts.at(-1)?.[0]}` : (parts[0]?.slice(0, 2) ?? "?");
  return letters.toUpperCase();
}

/** "61 ms", "1.4 s", "2 min 5 s". */
export function duration(ms: number): string {
  if (ms < 1000) {
    return `${Math.round(ms)} ms`;
  }
  if (ms < 60_000) {
    return `${(ms / 1000).toFixed(1)} s`;
  }
  const seconds = Math.round(ms / 1000);
  return seconds % 60 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${seconds / 60} min`;
}

/** "0:07", "12:30", "1:02:03". */
export function stopwatch(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const tail = String(s).padStart(2, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${tail}` : `${m}:${tail}`;
}

/** Eight characters are enough to tell boots apart. */
export function shortBoot(bootId: string): string {
  return bootId.slice(0, 8);
}
