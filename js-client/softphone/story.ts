/**
 * The softphone's view model: a pure machine that hears what the library and the page tell, and keeps what the page shows.
 * It knows no clock, DOM or network; main.ts drives it and page.ts draws it.
 */
import type {
  CallEnded,
  CallEvents,
  CallMedia,
  CallState,
  ClientEvents,
  ClientState,
  HoldfastError,
  LossKind,
  SessionInfo,
} from "../src/index.ts";
import * as words from "./words.ts";

/** Log lines kept; older ones are dropped. */
export const MAX_LOG_LINES = 200;

type Wrapped<Events, Prefix extends string> = {
  [K in keyof Events & string]: { type: `${Prefix}${K}`; detail: Events[K] };
}[keyof Events & string];

/** What the page itself knows. */
export type PageEvent =
  | { type: "page.signing-in"; user: string; withToken: boolean }
  | { type: "page.signed-in"; session: SessionInfo }
  | { type: "page.sign-in-failed"; reason: string }
  | { type: "page.dialing"; target: string; video: boolean }
  | { type: "page.not-dialed"; reason: string }
  | { type: "page.control"; preserved: boolean }
  | { type: "page.can-call"; allowed: boolean; reason?: string | undefined }
  | { type: "page.sound"; blocked: boolean }
  | { type: "page.insecure" }
  | { type: "page.dismissed" }
  | { type: "page.retry-at"; at: number };

/** Everything the machine hears: the library's events under their own names, a call's with the prefix `call.`. */
export type Told = Wrapped<ClientEvents, ""> | Wrapped<CallEvents, "call."> | PageEvent;

/** What a button in a notice does. */
export type Action = "redial" | "listen-only" | "without-video" | "retry" | "sound-on" | "take-back" | "dismiss";

/** A box above the panels. */
export interface Notice {
  level: words.Level | "info";
  title: string;
  text: string;
  actions: Action[];
  /** Shows a countdown to `Story.retryAt`. */
  countdown?: boolean;
}

/** The call that is shown. */
export interface CallStory {
  target: string;
  video: boolean;
  state: CallState;
  media: CallMedia;
  muted: boolean;
  preserved: boolean;
  /** When the far side answered; by the clock of `tell`. */
  since: number | undefined;
}

/** What was lost, from the first sign of it until its notice is closed. The library tells the parts in any order. */
interface Loss {
  /** When its first sign came. */
  at: number;
  reason: LossKind;
  instance: string | undefined;
  /** How the call ended that was lost with it. */
  call: string | undefined;
  /** How it came out; undefined while on the way back. */
  outcome: string | undefined;
}

/** One line of the log. */
export interface Line {
  at: number;
  level: words.Level;
  text: string;
}

/** All that the page shows. */
export interface Story {
  state: ClientState;
  user: string;
  instance: string | undefined;
  boot: string | undefined;
  call: CallStory | undefined;
  /** What the redial button calls. */
  last: { target: string; video: boolean } | undefined;
  /** The instance said that it takes no calls. */
  callsAway: boolean;
  canCall: { allowed: boolean; reason?: string | undefined };
  notice: Notice | undefined;
  soundBlocked: boolean;
  /** The browser gives no microphone to this address. */
  insecure: boolean;
  signInError: string;
  /** The sign-in under way gave a token. */
  withToken: boolean;
  needsToken: boolean;
  loss: Loss | undefined;
  /** When the next try to get back comes. */
  retryAt: number | undefined;
  /** Newest last. */
  log: Line[];
}

/** Before anything was told. */
export function begin(): Story {
  return {
    state: "signed-out",
    user: "",
    instance: undefined,
    boot: undefined,
    call: undefined,
    last: undefined,
    callsAway: false,
    canCall: { allowed: false },
    notice: undefined,
    soundBlocked: false,
    insecure: false,
    signInError: "",
    withToken: false,
    needsToken: false,
    loss: undefined,
    retryAt: undefined,
    log: [],
  };
}

/** Which panel is shown. */
export function screen(story: Story): "sign-in" | "dial" | "call" | "none" {
  if (story.call) {
    return "call";
  }
  if (story.state === "signed-in" || story.state === "reconnecting") {
    return "dial";
  }
  return story.state === "superseded" || (story.state === "gave-up" && story.instance) ? "none" : "sign-in";
}

/** The story after `told` happened at `at`. */
export function tell(story: Story, told: Told, at: number): Story {
  const next = { ...story };
  const say = (level: words.Level, text: string) => {
    next.log = [...next.log, { at, level, text }].slice(-MAX_LOG_LINES);
  };
  switch (told.type) {
    case "statechange":
      next.state = told.detail.state;
      break;
    case "signedin":
      signedIn(next, told.detail, say);
      break;
    case "signedout":
      signedOut(next, say);
      break;
    case "signalinglost":
      lose(next, told.detail.reason, at, say);
      break;
    case "signalingback":
      signalingBack(next, told.detail, say);
      break;
    case "instancechange":
      instanceChange(next, told.detail, say);
      break;
    case "retrying":
      retrying(next, told.detail, at, say);
      break;
    case "draining":
      draining(next, told.detail.deadlineMs, say);
      break;
    case "moved":
      moved(next, told.detail, say);
      break;
    case "superseded":
      superseded(next, say);
      break;
    case "unauthorized":
      failedSignIn(next, "unauthorized", say);
      break;
    case "gaveup":
      gaveUp(next, told.detail.error, say);
      break;
    case "callsresynced":
      if (told.detail.kept.length > 0) {
        say("ok", "Your call was kept.");
      }
      break;
    case "ended":
      callEnded(next, told.detail, at, say);
      break;
    case "redialed":
      say("plain", `Calling ${words.targetName(told.detail.call.target)} again.`);
      break;
    case "serviceunavailable":
      if (told.detail.service === "calls") {
        callsAway(next, told.detail.reason, say);
      }
      break;
    case "serviceavailable":
      if (told.detail.service === "calls" && next.callsAway) {
        say("ok", "Calls are possible again.");
        next.callsAway = false;
      }
      break;
    case "incomingcall":
    case "sessionrecovered":
    case "capabilitieschange":
      break;
    case "page.signing-in":
      Object.assign(next, { user: told.user, withToken: told.withToken, signInError: "", notice: undefined });
      break;
    case "page.signed-in":
      if (!story.instance) {
        signedIn(next, { ...told.session, gapMs: 0 }, say);
      }
      break;
    case "page.sign-in-failed":
      failedSignIn(next, told.reason, say);
      break;
    case "page.can-call":
      next.canCall = { allowed: told.allowed, reason: told.reason };
      break;
    case "page.dialing":
      dialing(next, told, say);
      break;
    case "page.not-dialed":
      next.notice = {
        level: "bad",
        title: "No call was made",
        text: words.refused(told.reason),
        actions: ["redial", "dismiss"],
      };
      break;
    case "page.sound":
      next.soundBlocked = told.blocked;
      break;
    case "page.insecure":
      next.insecure = true;
      break;
    case "page.dismissed":
      Object.assign(next, { notice: undefined, loss: undefined });
      break;
    case "page.retry-at":
      next.retryAt = told.at;
      break;
    default:
      onCall(next, told, at, say);
  }
  return next;
}

type Say = (level: words.Level, text: string) => void;

function signedIn(next: Story, detail: SessionInfo & { gapMs: number }, say: Say): void {
  const { user, instanceId, bootId, gapMs } = detail;
  Object.assign(next, {
    user,
    instance: instanceId,
    boot: bootId,
    retryAt: undefined,
    needsToken: false,
    signInError: "",
  });
  const where = `You are signed in on ${instanceId}`;
  const text = underway(next) && gapMs > 0 ? `${where} after ${words.duration(gapMs)}.` : `${where}.`;
  say("ok", text);
  cameBack(next, text);
}

function signalingBack(next: Story, detail: ClientEvents["signalingback"], say: Say): void {
  next.retryAt = undefined;
  if (detail.sameSession && underway(next)) {
    const text = `The connection is back after ${words.duration(detail.gapMs)}.`;
    say("ok", text);
    cameBack(next, text);
  }
}

/** The end of a loss, or of a wait for an instance. */
function cameBack(next: Story, outcome: string): void {
  if (next.notice?.countdown) {
    next.notice = undefined;
  }
  const loss = underway(next);
  if (loss) {
    next.loss = { ...loss, outcome };
    tellLoss(next);
  }
}

/** The loss that is not over yet. */
function underway(next: Story): Loss | undefined {
  return next.loss?.outcome === undefined ? next.loss : undefined;
}

function signedOut(next: Story, say: Say): void {
  say("plain", "You signed out.");
  const { log, user, insecure } = next;
  Object.assign(next, { ...begin(), log, user, insecure });
}

/** Losses that have an event, and a line, of their own. */
const TOLD_APART = new Set<LossKind>(["session-superseded", "unauthorized"]);

/** Instances that die one after the other within this time are one story: the call that ended at its start is told on. */
const ONE_STORY_MS = 30_000;

/** The first sign of a loss. */
function lose(next: Story, reason: LossKind, at: number, say: Say): void {
  if (!TOLD_APART.has(reason)) {
    say("warn", words.lost(reason, next.instance));
  }
  const { instance, loss } = next;
  const call = loss && !next.call && at - loss.at < ONE_STORY_MS ? loss.call : undefined;
  next.loss = { at, instance, call, outcome: undefined, ...underway(next), reason };
  tellLoss(next);
}

/** Names the true reason, which is often known later than the first sign of the loss. */
function instanceChange(next: Story, detail: ClientEvents["instancechange"], say: Say): void {
  Object.assign(next, { instance: detail.instanceId, boot: detail.bootId });
  if (next.loss) {
    if (next.loss.reason !== detail.reason) {
      say("warn", words.lost(detail.reason, detail.previousInstanceId));
    }
    next.loss = { ...next.loss, reason: detail.reason, instance: detail.previousInstanceId };
    tellLoss(next);
  }
}

/** Puts all that is known of the loss into one notice. */
function tellLoss(next: Story): void {
  const loss = next.loss;
  if (!loss || (next.notice?.countdown && !loss.outcome)) {
    return;
  }
  // Of a silent instance the media itself decides, a moment later.
  const decided = loss.outcome !== undefined || loss.reason !== "instance-silent";
  const goesOn = next.call && decided && "Your call goes on.";
  const parts = [words.lost(loss.reason, loss.instance), loss.call, goesOn, loss.outcome ?? "Getting you back …"];
  const redial: Action[] = loss.call && next.last && !next.call ? ["redial"] : [];
  next.notice = {
    level: loss.outcome ? "ok" : "warn",
    title: loss.outcome ? (next.call ? "Connected again" : "You are ready again") : "One moment",
    text: parts.filter(Boolean).join(" "),
    actions: loss.outcome ? [...redial, "dismiss"] : [],
  };
}

/** Short first pauses are part of an ordinary way back; nobody needs to hear of them. */
const WORTH_TELLING_MS = 400;

function retrying(next: Story, detail: ClientEvents["retrying"], at: number, say: Say): void {
  next.retryAt = at + detail.delayMs;
  if (!next.notice?.countdown && detail.delayMs < WORTH_TELLING_MS) {
    return;
  }
  const away = words.away(detail.reason);
  if (next.notice?.title !== away.title) {
    say("warn", `${away.title}. This page keeps trying.`);
  }
  next.notice = { level: "warn", ...waiting(next, away) };
}

function gaveUp(next: Story, error: HoldfastError, say: Say): void {
  const away = words.away(error.reason);
  say("bad", `${away.title}, for a long time now.`);
  next.notice = { level: "bad", ...waiting(next, away) };
}

function waiting(next: Story, away: { title: string; text: string }): Omit<Notice, "level"> {
  const call = next.call ? "Your call goes on as long as sound arrives." : next.loss?.call;
  return { title: away.title, text: [call, away.text].filter(Boolean).join(" "), actions: ["retry"], countdown: true };
}

function draining(next: Story, deadlineMs: number, say: Say): void {
  const text = words.lost("instance-draining", next.instance);
  say("plain", text);
  if (next.call) {
    const rest = `Your call may go on for up to ${words.duration(deadlineMs)}. You move to another instance when it ends.`;
    next.notice = { level: "info", title: text, text: rest, actions: ["dismiss"] };
  }
}

function moved(next: Story, detail: ClientEvents["moved"], say: Say): void {
  const text = `You were moved from ${detail.from} to ${detail.to} without a gap.`;
  say("ok", text);
  Object.assign(next, { instance: detail.to, loss: undefined, retryAt: undefined });
  next.notice = {
    level: "ok",
    title: `Moved to ${detail.to}`,
    text: `Instance ${detail.from} is being taken out of service. ${text}`,
    actions: ["dismiss"],
  };
}

function superseded(next: Story, say: Say): void {
  const text = "Another tab or window took this session over.";
  say("warn", text);
  Object.assign(next, { loss: undefined, retryAt: undefined, instance: undefined, boot: undefined });
  next.notice = {
    level: "info",
    title: "You are signed in elsewhere",
    text: `${text} Only one can hold it at a time.`,
    actions: ["take-back"],
  };
}

function failedSignIn(next: Story, reason: string, say: Say): void {
  const failed = words.signInFailed(reason, next.withToken);
  if (next.signInError === failed.text) {
    return;
  }
  say("bad", failed.text);
  Object.assign(next, {
    signInError: failed.text,
    needsToken: next.needsToken || failed.needsToken,
    notice: undefined,
    loss: undefined,
  });
}

function dialing(next: Story, told: { target: string; video: boolean }, say: Say): void {
  const { target, video } = told;
  say("plain", `Calling ${words.targetName(target)}${video ? " with video" : ""}.`);
  next.last = { target, video };
  next.call = {
    target,
    video,
    state: "connecting",
    media: "connecting",
    muted: false,
    preserved: false,
    since: undefined,
  };
  Object.assign(next, { notice: undefined, loss: undefined, soundBlocked: false });
}

/** Codes of errors of microphone and camera start here. */
const MEDIA_ERRORS = 300;
const OF_THE_LOSS = new Set(["instance-lost", "media-lost"]);

function callEnded(next: Story, end: CallEnded, at: number, say: Say): void {
  const text = words.ended(end);
  const video = next.call?.video ?? false;
  next.call = undefined;
  next.soundBlocked = false;
  const device = end.error && end.error.code >= MEDIA_ERRORS ? mediaNotice(end.error, video) : undefined;
  say(words.endLevel(end.reason), device ? `No call was made: ${device.title.toLowerCase()}.` : text);
  if (device) {
    next.notice = device;
  } else if (OF_THE_LOSS.has(end.reason)) {
    const reason = end.reason === "media-lost" ? "media-lost" : "instance-lost";
    next.loss = {
      at,
      instance: next.instance,
      outcome: undefined,
      ...(next.loss ?? { reason }),
      call: words.ended({ reason: "instance-lost" }),
    };
    tellLoss(next);
  } else if (words.endLevel(end.reason) === "bad") {
    next.notice = {
      level: "bad",
      title: "The call ended",
      text,
      actions: next.last ? ["redial", "dismiss"] : ["dismiss"],
    };
  }
}

function mediaNotice(error: HoldfastError, video: boolean): Notice {
  const insecure = error.reason === "insecure-origin";
  return {
    level: "bad",
    ...words.mediaProblem(error, video),
    actions: insecure ? ["listen-only", "dismiss"] : ["redial", video ? "without-video" : "listen-only", "dismiss"],
  };
}

const EXPLAINED = new Set(["draining", "instance-draining"]);

/** Told only when nothing else explains it: an instance that can't take calls, neither a loss nor a drain. */
function callsAway(next: Story, reason: string, say: Say): void {
  if (next.state === "signed-in" && !underway(next) && !EXPLAINED.has(reason)) {
    say("warn", "Calls are not possible at the moment.");
    next.callsAway = true;
  }
}

function onCall(
  next: Story,
  told: Wrapped<CallEvents, "call."> | { type: "page.control"; preserved: boolean },
  at: number,
  say: Say,
): void {
  if (!next.call) {
    return;
  }
  const call = { ...next.call };
  next.call = call;
  switch (told.type) {
    case "page.control":
      call.preserved = told.preserved;
      break;
    case "call.statechange":
      call.state = told.detail.state;
      if (call.state === "active" && call.since === undefined) {
        call.since = at;
        say("ok", `Connected to ${words.targetName(call.target)}.`);
      }
      break;
    case "call.mediachange":
      call.media = told.detail.media;
      break;
    case "call.mutechange":
      call.muted = told.detail.muted;
      say("plain", call.muted ? "You muted your microphone." : "Your microphone is on again.");
      break;
    case "call.mediastalled":
      say("warn", "No sound is arriving any more.");
      break;
    case "call.mediaresumed":
      say("ok", `Sound is back after ${words.duration(told.detail.gapMs)}.`);
      break;
    case "call.holdchange":
    case "call.digit":
    case "call.remotestream":
    case "call.serviceunavailable":
    case "call.serviceavailable":
    case "call.capabilitieschange":
    case "call.ended":
      break;
  }
}
