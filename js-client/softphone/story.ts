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
} from "../src/index.ts";
import * as words from "./words.ts";

/** Log lines kept; older ones are dropped. */
export const MAX_LOG_LINES = 200;

type Wrapped<Events, Prefix extends string> = {
  [K in keyof Events & string]: { type: `${Prefix}${K}`; detail: Events[K] };
}[keyof Events & string];

/** What the page itself knows. */
export type PageEvent =
  | { type: "page.signing-in"; user: string }
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

/** What was lost, from the first sign of it until all is well again. */
interface Loss {
  reason: LossKind;
  instance: string | undefined;
  /** How the call ended that was lost with it. */
  call: string | undefined;
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
  canCall: { allowed: boolean; reason?: string | undefined };
  notice: Notice | undefined;
  soundBlocked: boolean;
  signInError: string;
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
    canCall: { allowed: false },
    notice: undefined,
    soundBlocked: false,
    signInError: "",
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
      lose(next, told.detail.reason, story.instance, say);
      break;
    case "signalingback":
      signalingBack(next, told.detail, say);
      break;
    case "instancechange":
      Object.assign(next, { instance: told.detail.instanceId, boot: told.detail.bootId });
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
      callEnded(next, told.detail, say);
      break;
    case "redialed":
      say("plain", `Calling ${words.targetName(told.detail.call.target)} again.`);
      break;
    case "serviceunavailable":
    case "serviceavailable":
      service(told.type === "serviceavailable", told.detail, say);
      break;
    case "sessionrecovered":
    case "capabilitieschange":
      break;
    case "page.signing-in":
      Object.assign(next, { user: told.user, signInError: "", notice: undefined });
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
      next.notice = { level: "bad", title: "No call was made", text: words.refused(told.reason), actions: ["redial", "dismiss"] };
      break;
    case "page.sound":
      next.soundBlocked = told.blocked;
      break;
    case "page.insecure":
      next.notice = { level: "warn", ...words.INSECURE, actions: [] };
      break;
    case "page.dismissed":
      next.notice = undefined;
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

function signedIn(next: Story, detail: ClientEvents["signedin"], say: Say): void {
  const first = !next.loss;
  Object.assign(next, { user: detail.user, instance: detail.instanceId, boot: detail.bootId, retryAt: undefined, needsToken: false });
  next.signInError = "";
  const where = `You are signed in on ${detail.instanceId}`;
  const text = first || !detail.gapMs ? `${where}.` : `${where} after ${words.duration(detail.gapMs)}.`;
  say("ok", text);
  if (first) {
    next.notice = next.notice?.title === words.INSECURE.title ? next.notice : undefined;
  } else {
    settle(next, text);
  }
}

/** The end of a loss: the notice tells all of it, and what can be done now. */
function settle(next: Story, outcome: string): void {
  const loss = next.loss;
  if (!loss) {
    return;
  }
  next.notice = {
    level: "ok",
    title: "You are ready again",
    text: [words.lost(loss.reason, loss.instance), loss.call, next.call && "Your call goes on.", outcome].filter(Boolean).join(" "),
    actions: loss.call && next.last && !next.call ? ["redial", "dismiss"] : ["dismiss"],
  };
  next.loss = undefined;
}

function signedOut(next: Story, say: Say): void {
  say("plain", "You signed out.");
  Object.assign(next, { ...begin(), log: next.log, user: next.user, needsToken: next.needsToken });
}

/** The first sign of a loss; later and graver ones replace its reason. */
function lose(next: Story, reason: LossKind, instance: string | undefined, say: Say): void {
  const text = words.lost(reason, instance);
  if (next.loss?.reason !== reason) {
    say(reason === "instance-draining" ? "plain" : "warn", text);
  }
  next.loss = { instance, call: undefined, ...next.loss, reason };
  underway(next);
}

function underway(next: Story): void {
  const loss = next.loss;
  if (!loss) {
    return;
  }
  const parts = [words.lost(loss.reason, loss.instance), loss.call, next.call && "Your call goes on.", "Getting you back …"];
  next.notice = { level: "warn", title: "One moment", text: parts.filter(Boolean).join(" "), actions: [] };
}

function signalingBack(next: Story, detail: ClientEvents["signalingback"], say: Say): void {
  next.retryAt = undefined;
  if (detail.sameSession) {
    const text = `The connection is back after ${words.duration(detail.gapMs)}.`;
    say("ok", text);
    settle(next, text);
  }
}

function retrying(next: Story, detail: ClientEvents["retrying"], at: number, say: Say): void {
  next.retryAt = at + detail.delayMs;
  if (detail.attempt < 2 && detail.delayMs < 1000) {
    return;
  }
  if (!next.notice?.countdown) {
    say("warn", "No instance answers. This page keeps trying.");
  }
  next.notice = unreachable([next.loss?.call, next.call && "Your call goes on as long as sound arrives."]);
}

function unreachable(more: (string | undefined)[]): Notice {
  const text = ["This page keeps trying and is ready again as soon as one answers.", ...more].filter(Boolean).join(" ");
  return { level: "warn", title: "No instance is up at the moment", text, actions: ["retry"], countdown: true };
}

function gaveUp(next: Story, error: HoldfastError, say: Say): void {
  say("bad", `No instance answered for a long time. ${words.signInFailed(error.reason).text}`);
  next.notice = { ...unreachable([next.loss?.call]), level: "bad" };
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
  next.notice = { level: "ok", title: `Moved to ${detail.to}`, text: `Instance ${detail.from} is being taken out of service. ${text}`, actions: ["dismiss"] };
}

function superseded(next: Story, say: Say): void {
  const text = "Another tab or window took this session over.";
  say("warn", text);
  Object.assign(next, { loss: undefined, retryAt: undefined, instance: undefined, boot: undefined });
  next.notice = { level: "info", title: "You are signed in elsewhere", text: `${text} Only one can hold it at a time.`, actions: ["take-back"] };
}

function failedSignIn(next: Story, reason: string, say: Say): void {
  const failed = words.signInFailed(reason);
  if (next.signInError === failed.text) {
    return;
  }
  say("bad", failed.text);
  Object.assign(next, { signInError: failed.text, needsToken: next.needsToken || failed.needsToken, notice: undefined, loss: undefined });
}

function dialing(next: Story, told: { target: string; video: boolean }, say: Say): void {
  const { target, video } = told;
  say("plain", `Calling ${words.targetName(target)}${video ? " with video" : ""}.`);
  next.last = { target, video };
  next.call = { target, video, state: "connecting", media: "connecting", muted: false, preserved: false, since: undefined };
  next.notice = undefined;
  next.soundBlocked = false;
}

const OF_THE_LOSS = new Set(["instance-lost", "media-lost"]);

function callEnded(next: Story, end: CallEnded, say: Say): void {
  const text = words.ended(end);
  const video = next.call?.video ?? false;
  next.call = undefined;
  next.soundBlocked = false;
  say(words.endLevel(end.reason), text);
  if (end.error && "code" in end.error && end.error.code >= 300) {
    next.notice = mediaNotice(end.error, video);
  } else if (OF_THE_LOSS.has(end.reason)) {
    next.loss = { instance: next.instance, reason: "instance-lost", ...next.loss, call: text };
    underway(next);
  } else if (words.endLevel(end.reason) === "bad") {
    next.notice = { level: "bad", title: "The call ended", text, actions: next.last ? ["redial", "dismiss"] : ["dismiss"] };
  }
}

function mediaNotice(error: HoldfastError, video: boolean): Notice {
  const actions: Action[] = ["redial", video ? "without-video" : "listen-only", "dismiss"];
  return { level: "bad", ...words.mediaProblem(error, video), actions: error.reason === "insecure-origin" ? actions.slice(1) : actions };
}

function service(available: boolean, detail: { service: string }, say: Say): void {
  if (detail.service === "calls") {
    say(available ? "ok" : "warn", available ? "Calls are possible again." : "Calls are not possible at the moment.");
  }
}

function onCall(next: Story, told: Wrapped<CallEvents, "call."> | { type: "page.control"; preserved: boolean }, at: number, say: Say): void {
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
    case "call.remotestream":
    case "call.serviceunavailable":
    case "call.serviceavailable":
    case "call.capabilitieschange":
    case "call.ended":
      break;
  }
}
