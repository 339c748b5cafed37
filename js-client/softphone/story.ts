/**
 * The softphone's view model: a pure machine that hears what the library and the page tell, and keeps what the page shows.
 * It knows no clock, DOM or network; main.ts drives it and page.ts draws it.
 */
import type {
  CallEnded,
  CallEvents,
  CallVerb,
  ClientEvents,
  ClientState,
  HoldfastError,
  LossKind,
  SessionInfo,
} from "../src/index.ts";
import * as calls from "./calls.ts";
import * as words from "./words.ts";

/** Log lines kept; older ones are dropped. */
export const MAX_LOG_LINES = 200;

type OfClient = { [K in keyof ClientEvents]: { type: K; detail: ClientEvents[K] } }[keyof ClientEvents];
type OfCall = {
  [K in keyof CallEvents]: { type: `call.${K}`; id: string; detail: CallEvents[K] };
}[keyof CallEvents];

/** What the page itself knows. */
export type PageEvent =
  | { type: "page.signing-in"; user: string; withToken: boolean }
  | { type: "page.signed-in"; session: SessionInfo }
  | { type: "page.sign-in-failed"; reason: string }
  | { type: "page.dialing"; id: string; target: string; video: boolean }
  | { type: "page.not-dialed"; reason: string }
  | { type: "page.control"; id: string; preserved: boolean; refused: Partial<Record<CallVerb, string>> }
  | { type: "page.front"; id: string }
  | { type: "page.asked"; id: string; what: calls.Asked; video?: boolean }
  | { type: "page.settled"; id: string; what: calls.Asked | "digits"; error?: HoldfastError | undefined }
  | { type: "page.digit"; id: string; digit: string }
  | { type: "page.can-call"; allowed: boolean; reason?: string | undefined }
  | { type: "page.sound"; blocked: boolean }
  | { type: "page.insecure" }
  | { type: "page.microphone-failed"; error: HoldfastError }
  | { type: "page.dismissed" }
  | { type: "page.retry-at"; at: number };

/** Everything the machine hears: the library's events under their own names, a call's with the prefix `call.`. */
export type Told = OfClient | OfCall | PageEvent;

/** What a button in a notice does. */
export type Action =
  | "redial"
  | "call-back"
  | "listen-only"
  | "without-video"
  | "retry"
  | "sound-on"
  | "take-back"
  | "dismiss";

/** A box above the panels. */
export interface Notice {
  level: words.Level | "info";
  title: string;
  text: string;
  actions: Action[];
  /** Shows a countdown to `Story.retryAt`. */
  countdown?: boolean;
}

/** What was lost, from the first sign of it until its notice is closed. The library tells the parts in any order. */
interface Loss {
  /** When its first sign came. */
  at: number;
  reason: LossKind;
  instance: string | undefined;
  /** How the call ended that was lost with it. */
  call: string | undefined;
  /** How its far side came back, in a new call. */
  back: string | undefined;
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
export interface Story extends calls.Calls {
  state: ClientState;
  user: string;
  instance: string | undefined;
  boot: string | undefined;
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
    calls: [],
    front: undefined,
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
  if (calls.frontCall(story)) {
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
      for (const caller of told.detail.missed) {
        missed(next, caller, "no-answer", say);
      }
      break;
    case "ended":
      callEnded(next, told.detail, at, say);
      break;
    case "redialed": {
      const { id, target } = told.detail.call;
      calls.add(next, { id, direction: "outgoing", target }, true);
      say("plain", `Calling ${words.targetName(target)} again.`);
      break;
    }
    case "incomingcall":
      incoming(next, told.detail, say);
      break;
    case "serviceunavailable":
      if (told.detail.service === "calls") {
        callsAway(next, told.detail.reason, say);
      }
      break;
    case "page.front":
      next.front = told.id;
      break;
    case "page.asked":
      asked(next, told);
      break;
    case "page.settled":
      settled(next, told, say);
      break;
    case "page.digit":
      onDigit(next, told.id, "sent", told.digit);
      break;
    case "page.control":
      calls.change(next, told.id, { preserved: told.preserved, refused: told.refused });
      break;
    case "serviceavailable":
      if (told.detail.service === "calls" && next.callsAway) {
        say("ok", "Calls are possible again.");
        next.callsAway = false;
      }
      break;
    case "sessionrecovered":
      if (told.detail.unknown.length > 0) {
        say("warn", "What became of the far side of a lost call is not known.");
      }
      break;
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
    case "page.microphone-failed":
      next.notice = { level: "warn", ...words.mediaProblem(told.error, false), actions: ["dismiss"] };
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
  const call = loss && !kept(next) && at - loss.at < ONE_STORY_MS ? loss.call : undefined;
  next.loss = { at, instance, call, back: undefined, outcome: undefined, ...underway(next), reason };
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

/** A call is up that was there before the loss. */
function kept(next: Story): boolean {
  return next.calls.some((call) => !calls.isAlerting(call) && call.replaces === undefined);
}

/** Puts all that is known of the loss into one notice. */
function tellLoss(next: Story): void {
  const loss = next.loss;
  if (!loss || (next.notice?.countdown && !loss.outcome)) {
    return;
  }
  // Of a silent instance the media itself decides, a moment later.
  const decided = loss.outcome !== undefined || loss.reason !== "instance-silent";
  const goesOn = kept(next) && decided && "Your call goes on.";
  const lost = words.lost(loss.reason, loss.instance);
  const parts = [lost, loss.call, goesOn, loss.outcome ?? "Getting you back …", loss.back];
  const redial: Action[] = loss.call && next.last && next.calls.length === 0 ? ["redial"] : [];
  next.notice = {
    level: loss.outcome ? "ok" : "warn",
    title: loss.outcome ? (kept(next) ? "Connected again" : "You are ready again") : "One moment",
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
  const call = kept(next) ? "Your call goes on as long as sound arrives." : next.loss?.call;
  return { title: away.title, text: [call, away.text].filter(Boolean).join(" "), actions: ["retry"], countdown: true };
}

function draining(next: Story, deadlineMs: number, say: Say): void {
  const text = words.lost("instance-draining", next.instance);
  say("plain", text);
  if (next.calls.length > 0) {
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

function dialing(next: Story, told: Extract<PageEvent, { type: "page.dialing" }>, say: Say): void {
  const { id, target, video } = told;
  say("plain", `Calling ${words.targetName(target)}${video ? " with video" : ""}.`);
  next.last = { target, video };
  calls.add(next, { id, direction: "outgoing", target, video }, true);
  Object.assign(next, { notice: undefined, loss: undefined, soundBlocked: false });
}

/** Codes of errors of microphone and camera start here. */
const MEDIA_ERRORS = 300;
const OF_THE_LOSS = new Set(["instance-lost", "media-lost"]);

/** Somebody calls, or the far side of a lost call comes back in a new one. */
function incoming(next: Story, { call, replaces, answering }: ClientEvents["incomingcall"], say: Say): void {
  const { id, target, name, offersVideo } = call;
  const asked = answering ? "answer" : undefined;
  const video = answering && (next.last?.video ?? false);
  calls.add(next, { id, direction: "incoming", target, name, offersVideo, replaces, asked, video }, answering);
  const who = words.callerName({ target, name });
  say("plain", answering ? `${who} comes back in a new call.` : `${who} is calling.`);
}

/** Nobody here took the call; the caller gave up, or could not be heard of any more. */
const MISSED = new Set(["cancelled", "no-answer", "far-lost", "instance-lost", "session-ended"]);

function missed(next: Story, call: words.Caller, reason: string, say: Say): void {
  const who = words.callerName(call);
  say("warn", `You missed a call from ${who}.`);
  next.last = { target: call.target, video: false };
  if (next.calls.length === 0 && !underway(next)) {
    next.loss = undefined;
    const text = reason === "cancelled" ? `${who} hung up before you answered.` : `${who} could not get through.`;
    next.notice = { level: "info", title: "Missed call", text, actions: ["call-back", "dismiss"] };
  }
}

function callEnded(next: Story, end: CallEnded, at: number, say: Say): void {
  const call = calls.remove(next, end.callId);
  if (call && calls.isAlerting(call) && MISSED.has(end.reason)) {
    return missed(next, call, end.reason, say);
  }
  if (call && next.calls.length === 0) {
    next.last = { target: call.target, video: call.video };
  }
  const declined = call && calls.isAlerting(call) && end.reason === "local-hang-up";
  const text = declined ? `You declined ${words.callerName(call)}'s call.` : words.ended(end);
  const video = call?.video ?? false;
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
      back: undefined,
      outcome: undefined,
      ...(next.loss ?? { reason }),
      call: next.loss?.call ? "Your calls ended." : words.ended({ reason: "instance-lost" }),
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
    say("warn", words.refused(reason));
    next.callsAway = true;
  }
}

/** The person asked for something in a call. */
function asked(next: Story, { id, what, video }: Extract<PageEvent, { type: "page.asked" }>): void {
  calls.change(next, id, { asked: what, ...(video !== undefined && { video }) });
  if (what === "answer") {
    Object.assign(next, { front: id, notice: undefined, loss: undefined, soundBlocked: false });
  }
}

/** How that went. */
function settled(next: Story, { id, what, error }: Extract<PageEvent, { type: "page.settled" }>, say: Say): void {
  const call = calls.change(next, id, { asked: undefined });
  if (!call || !error) {
    return;
  }
  if (what === "answer") {
    next.front = next.front === id ? calls.behind({ ...next, front: undefined }).at(-1)?.id : next.front;
  }
  const device = error.code >= MEDIA_ERRORS;
  const problem = device ? words.mediaProblem(error, call.video) : words.verbFailed(what, error, call);
  say("warn", `${problem.title}.`);
  next.notice = { level: "warn", ...problem, actions: device ? ["listen-only", "dismiss"] : ["dismiss"] };
}

function onDigit(next: Story, id: string, side: "sent" | "heard", digit: string): void {
  const call = next.calls.find((own) => own.id === id);
  if (call) {
    calls.change(next, id, { [side]: calls.withDigit(call[side], digit) });
  }
}

function connected(next: Story, call: calls.CallStory, at: number, say: Say): void {
  const who = words.callerName(call);
  say("ok", `Connected to ${who}.`);
  if (call.replaces !== undefined && next.loss) {
    const gap = words.duration(at - next.loss.at);
    const back = `${who} is back in a new call, ${gap} after the loss.`;
    next.loss = { ...next.loss, back: [next.loss.back, back].filter(Boolean).join(" ") };
    tellLoss(next);
  }
}

function onCall(next: Story, told: OfCall, at: number, say: Say): void {
  const call = next.calls.find(({ id }) => id === told.id);
  if (!call) {
    return;
  }
  const { id } = call;
  switch (told.type) {
    case "call.statechange": {
      const { state } = told.detail;
      if (state === "ended") {
        // `ended` follows, and wants to know how it was until then.
        break;
      }
      const first = state === "active" && call.since === undefined;
      const changed = calls.change(next, id, { state, ...(first && { since: at, asked: undefined }) });
      if (first && changed) {
        connected(next, changed, at, say);
      }
      break;
    }
    case "call.holdchange": {
      const { heldBy } = told.detail;
      calls.change(next, id, { heldBy });
      say("plain", words.holdChanged(words.callerName(call), call.heldBy, heldBy));
      break;
    }
    case "call.partychange": {
      const party = { target: told.detail.target, name: told.detail.name };
      calls.change(next, id, party);
      say("plain", `You talk to ${words.callerName(party)} now.`);
      break;
    }
    case "call.digit":
      onDigit(next, id, "heard", told.detail.digit);
      break;
    case "call.mediachange":
      calls.change(next, id, { media: told.detail.media });
      break;
    case "call.mutechange": {
      const { muted } = told.detail;
      calls.change(next, id, { muted });
      say("plain", muted ? "You muted your microphone." : "Your microphone is on again.");
      break;
    }
    case "call.mediastalled":
      say("warn", "No sound is arriving any more.");
      break;
    case "call.mediaresumed":
      say("ok", `Sound is back after ${words.duration(told.detail.gapMs)}.`);
      break;
    case "call.resumed":
    case "call.remotestream":
    case "call.serviceunavailable":
    case "call.serviceavailable":
    case "call.capabilitieschange":
    case "call.ended":
      break;
  }
}
