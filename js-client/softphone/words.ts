/**
 * The softphone's words: what the library's names mean to a person. Pure; no sentence stands anywhere else but in
 * index.html and story.ts.
 */
import type { CallEnded, CallMedia, CallState, ClientState, EndReason, HoldfastError, LossKind } from "../src/index.ts";

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
  "far-lost": "The far side's instance was lost. Your call ended.",
  "media-lost": "No sound came through any more. Your call ended.",
  "media-timeout": "Sound could not get through between this browser and the service. Your call ended.",
  "fingerprint-mismatch": "The encryption of the call did not check out, so it was ended.",
  drained: "The instance was taken out of service. Your call ended.",
  "session-ended": "Your session ended, and with it the call.",
  "page-reloaded": "The page was reloaded. Your call ended.",
  internal: "A fault of the service ended your call.",
};

const REFUSED: Record<string, string> = {
  "bad-target": "There is nobody by that name.",
  "not-allowed": "You are not allowed to call that.",
  "rate-limited": "Too many calls in a short time. Wait a moment.",
  "call-capacity": "All lines are in use. Try again in a moment.",
  "too-many-calls": "You are in as many calls as you may be.",
  "service-unavailable": "Calls are not possible at the moment.",
  draining: "This instance takes no new calls. Try again in a moment.",
  "instance-draining": "This instance takes no new calls. You move to another one when this call ends.",
  "not-signed-in": "You are not signed in yet.",
  "signaling-lost": "The connection is being restored. Try again in a moment.",
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

/** What stands under the name of the called. */
export function callState(state: CallState, media: CallMedia, preserved: boolean): string {
  if (preserved) {
    return "Your call goes on. Only hanging up works until the connection is back.";
  }
  if (media === "stalled") {
    return "No sound is arriving …";
  }
  const words: Record<CallState, string> = {
    connecting: "Connecting …",
    ringing: "Ringing …",
    active: media === "flowing" ? "Connected" : "Connecting sound …",
    held: "On hold",
    ended: "Ended",
  };
  return words[state];
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
    ? { title: "The service can not be reached", text: `Check whether this device is online. ${keeps}` }
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

/** Names of the built-in targets; others stand for themselves. */
export function targetName(target: string): string {
  return { echo: "Echo", tone: "Tone" }[target] ?? target;
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
