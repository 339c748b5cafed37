/**
 * The way in and every way back: decides what to do at a sign-in and after each kind of loss. Pure: time and random numbers
 * come from outside, and it never touches a socket. `client.ts` drives it.
 *
 * What the driver owes it: after every `handle*`/`start`/`stop`, carry out all `takeCommands()`; call `handleTimeout` when
 * `pollTimeout()` is due; answer `sign-in` by `handleSignedIn` or `handleSignInFailed`, `probe` by `handleProbe`, `open` by
 * `handleAttached` or `handleClosed`, `resync` by `handleResynced`, and `weigh` by `handleMedia`. Answers carry the number of what they answer; one that is
 * out of date is ignored here, so that nobody has to cancel anything.
 *
 * ```text
 * idle ──start──> signing-in ──> opening ──> attached ──loss──> waiting ──> probing ──alive──> opening (same session)
 *   ^                 ^                         │                  ^           └─gone─> waiting ──> signing-in
 *   └──stop── any     └───── waiting <──────────┴── silent ──> weighing ──alive──> probing the others for 5 s
 * ```
 *
 * Wherever an instance is said to be gone while calls are up, `doubting` comes first: one other balancer is asked.
 */
import { retryDelay } from "./delay.ts";
import { SignInError } from "./errors.ts";
import type { ClientEvents, LossKind } from "./events.ts";
import { ALIVE_MS } from "./liveness.ts";
import type { ProblemType, ServerMessage, SignedIn, Snapshot } from "./protocol.gen.ts";
import { judgeClose, judgeProbe, type ProbeAnswer, type Verdict } from "./verdict.ts";

/** A session as the service told it, refreshed by every attach. Kept over a reload. */
export interface Session extends SignedIn {
  /** Base URL of the balancer that was used last. */
  url: string;
}

/** What an instance says at an attach. */
export type AttachedMessage = Omit<Extract<ServerMessage, { kind: "attached" }>, "kind">;

/** Proof that signs the same user in again without a fresh token. */
export type Proof = Pick<Session, "capsule" | "session_token">;

/** How a sign-in failed. `token`: the application's provider did. */
export type SignInFailure =
  | { kind: "network" | "timeout" }
  | {
      kind: "status";
      status: number;
      problem: ProblemType | undefined;
      detail: string | undefined;
      retryAfterMs: number;
    }
  | { kind: "token"; error: unknown };

/** Why a sign-in elsewhere is asked for beside an attached session: the instance's ticket, or its media that did not come. */
interface MoveReason {
  ticket?: string | undefined;
  avoid?: string | undefined;
}

/** What the driver carries out. */
export type Command =
  | ({ do: "sign-in"; ask: number; url: string; key: number; proof: Proof | undefined } & MoveReason)
  | { do: "probe"; ask: number; url: string; session: Session; limitMs: number | undefined }
  | { do: "open"; link: number; session: Session }
  | { do: "resync" }
  | { do: "close"; link: number }
  | { do: "sign-off"; session: Session }
  | { do: "weigh" }
  | { tell: "signaling-lost"; kind: LossKind }
  | { tell: "session-lost"; kind: LossKind; calls: "end" | "keep" }
  | {
      tell: "attached";
      session: Session;
      snapshot: Snapshot;
      same: boolean;
      gapMs: number;
      /** The session before, when it is another one. */
      left: Session | undefined;
      kind: LossKind | undefined;
    }
  /** By the word of the socket in use, so that the network is the same as well. */
  | { tell: "instance-alive" }
  | ({ tell: "retrying" } & ClientEvents["retrying"])
  | { tell: "stopped"; error: SignInError };

type Phase =
  | { at: "idle" }
  | { at: "waiting"; until: number; next: "sign-in" | "probe" }
  | { at: "signing-in"; ask: number }
  | { at: "probing"; ask: number; url: string; repeated: boolean }
  /** `spread`: a wait has spread the return of this client already. */
  | { at: "doubting"; ask: number; url: string; spread: boolean }
  | { at: "opening"; link: number; until: number }
  | { at: "attached"; link: number; until: number }
  | { at: "weighing"; until: number };

/** A sign-in elsewhere beside an attached session: make before break. */
interface Move {
  why: MoveReason;
  tries: number;
  ask?: number;
  link?: number;
  session?: Session;
  /** When its current step is over time, or a waiting one begins. */
  until: number;
}

/** Asks about the instance of an attached session, by a probe and on the socket at once. */
interface Verify {
  ask: number;
  repeated: boolean;
  /** The probe said that the instance is alive; the socket has this long to answer as well, then it is replaced. */
  until?: number;
}

/** An open socket must be attached within this time. */
const OPEN_MS = 2_000;
/** Before calls end because one balancer can't reach their instance, another one has this long to say that it can. */
const DOUBT_MS = 150;
/** Media decides about a silent instance within this time. */
const WEIGH_MS = ALIVE_MS;
/** A packet this young came after the silence that a balancer noticed, so it speaks for the instance. */
const FRESH_MS = 300;
/** While media lives, other balancers are tried this long before signing in elsewhere. */
const PRESERVE_MS = 5_000;
/** Pause between two rounds over the balancers while a silent instance's media lives. */
const PRESERVE_PAUSE_MS = 250;
/** Retries spread over this time until the service has told its own. */
const DEFAULT_WINDOW_MS = 500;
/** A move that failed this often waits for the instance to ask again; one away from dead media is not given up. */
const MOVE_TRIES = 5;
/** A move's sign-in and attach have this long per step. */
const MOVE_STEP_MS = 5_000;
/** Balancers known at once; more are ignored. */
const MAX_URLS = 16;
/** A loss sooner than this after an attach is an early one. */
const STABLE_MS = 1_000;
/** After this many early losses in a row the next one continues the retries before it, so that nothing loops fast. */
const MAX_EARLY = 3;
/** A socket that has not answered this long after a probe did is taken for dead: the network changed under it. */
const LINK_ANSWER_MS = 250;
/** What a verdict on an instance in use means. */
const LOST: Partial<Record<Verdict, LossKind>> = { gone: "instance-lost", silent: "instance-silent" };
/** Missed heartbeats that mean loss. */
const HEARTBEATS = 3;

/** See the file's head. */
export class Reconnect {
  #phase: Phase = { at: "idle" };
  readonly #commands: Command[] = [];
  readonly #urls: string[];
  readonly #giveUpAfterMs: number;
  readonly #random: () => number;
  #cursor = 0;
  #counter = 0;
  #session: Session | undefined;
  /** The session that was attached last, until another one is. */
  #left: Session | undefined;
  #proof: Proof | undefined;
  #move: Move | undefined;
  #verify: Verify | undefined;
  #round: string[] = [];
  /** Longest Retry-After of this round of probes. */
  #floorMs = 0;
  /** What waits is not tried before, however impatient the user is. */
  #notBefore = 0;
  #loss: { kind: LossKind; since: number } | undefined;
  #preserveUntil: number | undefined;
  #windowMs = DEFAULT_WINDOW_MS;
  #attempt = 0;
  #attachedAt = 0;
  /** Losses in a row that came early. */
  #early = 0;
  #failingSince: number | undefined;
  #tried = 0;
  /** Another balancer was asked about this loss. */
  #doubted = false;
  #key = 0;
  #wasAttached = false;
  /** Calls are up: nothing moves the session away from its instance by choice. */
  occupied = false;

  constructor(options: { urls: string[]; giveUpAfterMs: number; random: () => number }) {
    this.#urls = [];
    this.#giveUpAfterMs = options.giveUpAfterMs;
    this.#random = options.random;
    this.#learn(options.urls);
  }

  /** True while attached. */
  get attached(): boolean {
    return this.#phase.at === "attached";
  }

  /** The session in use or being looked for. */
  get session(): Session | undefined {
    return this.#session;
  }

  /** The link that carries messages. */
  get link(): number | undefined {
    return this.#phase.at === "attached" ? this.#phase.link : undefined;
  }

  /** True while the answer to "does media flow" decides something. */
  get weighing(): boolean {
    return this.#phase.at === "weighing" || this.#preserveUntil !== undefined;
  }

  /** True while media was lost and another instance is being signed in to. */
  get avoiding(): boolean {
    return this.#move?.why.avoid !== undefined;
  }

  /** True from `start` until stopped. */
  get running(): boolean {
    return this.#phase.at !== "idle";
  }

  takeCommands(): Command[] {
    return this.#commands.splice(0);
  }

  /** The next moment for `handleTimeout`; undefined when none is. */
  pollTimeout(): number | undefined {
    const phase = "until" in this.#phase ? this.#phase.until : undefined;
    const due = [phase, this.#preserveUntil, this.#verify?.until, this.#move?.until].filter((at) => at !== undefined);
    return due.length > 0 ? Math.min(...due) : undefined;
  }

  /** Signs in, or looks for `kept`, the session of the page before a reload. No effect while running. */
  start(now: number, kept?: Session): void {
    if (this.running) {
      return;
    }
    this.#resetTries();
    this.#attempt = 0;
    if (!kept) {
      return this.#signIn();
    }
    this.#session = kept;
    this.#wasAttached = true;
    this.#windowMs = kept.reconnect_window_ms;
    this.#loss = { kind: "signaling-lost", since: now };
    this.#learn([kept.url, ...kept.alternates]);
    this.#cursor = this.#urls.indexOf(kept.url);
    this.#startRound(now);
  }

  /** Signs off. */
  stop(): void {
    this.#dropMove();
    this.#closeLink();
    if (this.#session) {
      this.#commands.push({ do: "sign-off", session: this.#session });
    }
    this.#forget();
  }

  /** The network may be back, or the user is impatient: what waits is tried now. */
  kick(now: number): void {
    if (this.#phase.at === "waiting") {
      this.#phase.until = Math.max(now, this.#notBefore);
      this.handleTimeout(now);
    } else {
      this.handleSuspicion();
    }
  }

  handleTimeout(now: number): void {
    if (this.#preserveUntil !== undefined && now >= this.#preserveUntil) {
      this.#closeLink();
      return this.#gone("instance-silent", now, "keep");
    }
    if (this.#verify?.until !== undefined && now >= this.#verify.until) {
      this.#replaceLink(now);
    }
    if (this.#move && now >= this.#move.until) {
      this.#moveTimedOut(this.#move, now);
    }
    const phase = this.#phase;
    if (phase.at === "waiting" && now >= phase.until) {
      this.#floorMs = 0;
      return phase.next === "sign-in" ? this.#signIn() : this.#startRound(now);
    }
    if (phase.at === "weighing" && now >= phase.until) {
      return this.#gone("instance-silent", now);
    }
    if ("link" in phase && now >= phase.until) {
      this.#closeLink();
      this.#lost("signaling-lost", now);
    }
  }

  handleSignedIn(ask: number, session: Session, now: number): void {
    this.#learn(session.alternates);
    if (this.#phase.at === "signing-in" && this.#phase.ask === ask) {
      this.#session = session;
      this.#windowMs = session.reconnect_window_ms;
      this.#key = 0;
      this.#wasAttached = false;
      return this.#open(session.url, now);
    }
    const move = this.#move;
    if (move && move.ask === ask) {
      move.session = session;
      move.link = ++this.#counter;
      move.until = now + MOVE_STEP_MS;
      this.#commands.push({ do: "open", link: move.link, session });
      return;
    }
    this.#commands.push({ do: "sign-off", session });
  }

  handleSignInFailed(ask: number, failure: SignInFailure, now: number): void {
    if (this.#move?.ask === ask) {
      return this.#moveFailed(now);
    }
    if (this.#phase.at !== "signing-in" || this.#phase.ask !== ask) {
      return;
    }
    if (failure.kind === "token") {
      const error = new SignInError("token-failed", undefined, undefined, failure.error);
      return this.#loss ? this.#wait("sign-in", 0, now, error) : this.#stopWith(error);
    }
    this.#cursor++;
    if (failure.kind === "status") {
      return this.#signInRefused(failure, now);
    }
    if (++this.#tried % this.#urls.length !== 0) {
      return this.#signIn();
    }
    this.#wait("sign-in", 0, now, new SignInError("unreachable"));
  }

  handleAttached(link: number, told: AttachedMessage, now: number): void {
    if (this.#move?.link === link) {
      return this.#moveAttached(link, this.#move, told, now);
    }
    if (this.#phase.at === "opening" && this.#phase.link === link && this.#session) {
      this.#becomeAttached(link, this.#session, told, now, this.#loss?.kind);
    }
  }

  /** Any message came. */
  handleHeard(link: number, now: number): void {
    if (this.#phase.at === "attached" && this.#phase.link === link && this.#session) {
      this.#phase.until = now + HEARTBEATS * this.#session.heartbeat_ms;
    }
  }

  /** The service's reconnect window, refreshed. */
  handleWindow(windowMs: number): void {
    this.#windowMs = windowMs;
  }

  handleCapsule(capsule: string): void {
    if (this.#session) {
      this.#session = { ...this.#session, capsule };
    }
  }

  handleClosed(link: number, code: number, reason: string, now: number): void {
    if (this.#move?.link === link) {
      return this.#moveFailed(now);
    }
    const phase = this.#phase;
    if ("link" in phase && phase.link === link) {
      const verdict = judgeClose(code, reason);
      this.#lost(verdict.kind, now, verdict.retryAfterMs);
    }
  }

  handleProbe(ask: number, answer: ProbeAnswer, now: number): void {
    if (this.#verify?.ask === ask) {
      return this.#verified(this.#verify, answer, now);
    }
    const phase = this.#phase;
    if (!("url" in phase) || phase.ask !== ask) {
      return;
    }
    const verdict = judgeProbe(answer, this.#session?.boot_id);
    if (phase.at === "doubting" && verdict !== "alive") {
      return this.#gone("instance-lost", now);
    }
    if (phase.at === "probing" && answer.kind === "timeout" && !phase.repeated) {
      return this.#probe(phase.url, true);
    }
    switch (verdict) {
      case "alive":
        this.#cursor = this.#urls.indexOf(phase.url);
        return this.#open(phase.url, now);
      case "gone":
        return this.#lost("instance-lost", now);
      case "silent":
        return this.#preserveUntil === undefined ? this.#weigh(now) : this.#probeNext(now);
      case "unauthorized":
        return this.#stopWith(new SignInError("unauthorized"));
      default:
        this.#floorMs = Math.max(this.#floorMs, (answer.kind === "status" && answer.retryAfterMs) || 0);
        return this.#probeNext(now);
    }
  }

  /** The media's answer while `weighing`: the age of the newest packet on any call, undefined without one. */
  handleMedia(ageMs: number | undefined, now: number): void {
    if (this.weighing && (ageMs === undefined || ageMs > ALIVE_MS)) {
      return this.#gone("instance-silent", now);
    }
    if (this.#phase.at === "weighing" && ageMs !== undefined && ageMs <= FRESH_MS) {
      this.#preserveUntil ??= now + PRESERVE_MS;
      this.#cursor++;
      this.#phase = { at: "waiting", until: now + this.#delay(), next: "probe" };
    }
  }

  /** Packets stopped or the network may have changed: asks whether instance and network are still the same. */
  handleSuspicion(): void {
    if (this.attached && !this.#verify) {
      this.#commands.push({ do: "resync" });
      this.#verifyAgain(false);
    }
  }

  /** The socket in use answered. */
  handleResynced(): void {
    if (this.#verify) {
      this.#verify = undefined;
      this.#commands.push({ tell: "instance-alive" });
    }
  }

  /** UDP is dead while the instance answers: signs in elsewhere. */
  handleMediaLost(now: number): void {
    if (this.attached && this.#session && !this.#move) {
      this.#moveSoon({ avoid: `${this.#session.instance_id}.${this.#session.boot_id}` }, 0, now);
    }
  }

  /** The instance asks the client to sign in elsewhere. */
  handleMove(ticket: string, now: number): void {
    if (this.attached && !this.#move && !this.occupied) {
      this.#moveSoon({ ticket }, 0, now);
    }
  }

  #delay(attempt = 0, floorMs = 0): number {
    return retryDelay(attempt, this.#windowMs, floorMs, this.#random);
  }

  #learn(urls: string[]): void {
    for (const url of urls) {
      const base = url.replace(/\/+$/, "");
      if (!this.#urls.includes(base) && this.#urls.length < MAX_URLS) {
        this.#urls.push(base);
      }
    }
  }

  #url(): string {
    return this.#urls[this.#cursor % this.#urls.length] ?? "";
  }

  #signIn(): void {
    const ask = ++this.#counter;
    this.#key ||= ask;
    this.#phase = { at: "signing-in", ask };
    this.#commands.push({ do: "sign-in", ask, url: this.#url(), key: this.#key, proof: this.#proof });
  }

  #signInRefused(failure: SignInFailure & { kind: "status" }, now: number): void {
    const { status, problem, detail } = failure;
    if (status !== 502) {
      this.#key = 0;
    }
    if (status === 429 || status >= 500) {
      return this.#wait("sign-in", failure.retryAfterMs, now, new SignInError("unavailable", problem));
    }
    if (status === 401 && this.#proof) {
      // A refused proof leaves a fresh token to try.
      this.#proof = undefined;
      return this.#signIn();
    }
    const reason = ({ 401: "unauthorized", 403: "forbidden" } as const)[status] ?? "rejected";
    this.#stopWith(new SignInError(reason, problem, detail));
  }

  #open(url: string, now: number): void {
    if (this.#session) {
      this.#session = { ...this.#session, url };
      const link = ++this.#counter;
      this.#phase = { at: "opening", link, until: now + OPEN_MS };
      this.#commands.push({ do: "open", link, session: this.#session });
    }
  }

  #becomeAttached(
    link: number,
    session: Session,
    told: AttachedMessage,
    now: number,
    kind: LossKind | undefined,
  ): void {
    const same = this.#wasAttached;
    const left = same ? undefined : this.#left;
    const { heartbeat_ms, reconnect_window_ms, capsule, snapshot } = told;
    this.#session = { ...session, heartbeat_ms, reconnect_window_ms, capsule };
    this.#windowMs = reconnect_window_ms;
    this.#left = this.#session;
    this.#wasAttached = true;
    this.#proof = undefined;
    this.#phase = { at: "attached", link, until: now + HEARTBEATS * heartbeat_ms };
    this.#attachedAt = now;
    this.#resetTries();
    const gapMs = this.#loss ? now - this.#loss.since : 0;
    this.#loss = undefined;
    this.#commands.push({ tell: "attached", session: this.#session, snapshot, same, gapMs, left, kind });
  }

  #resetTries(): void {
    this.#failingSince = undefined;
    this.#tried = 0;
    this.#floorMs = 0;
    this.#doubted = false;
    this.#preserveUntil = undefined;
  }

  #lost(kind: LossKind, now: number, floorMs = 0): void {
    this.#dropMove();
    this.#verify = undefined;
    if (kind === "instance-lost" && this.#doubt(now)) {
      return;
    }
    this.#noteLoss(kind, now);
    switch (kind) {
      case "instance-lost":
      case "instance-draining":
        return this.#gone(kind, now);
      case "instance-silent":
        return this.#weigh(now);
      case "session-superseded":
        return this.#stopWith(new SignInError("superseded"));
      case "unauthorized":
        return this.#stopWith(new SignInError("unauthorized"));
      default:
        // Signalling alone.
        return this.#wait("probe", floorMs, now, new SignInError("unreachable"));
    }
  }

  #noteLoss(kind: LossKind, now: number): void {
    if (this.#loss) {
      this.#loss.kind = kind;
    } else {
      this.#loss = { kind, since: now };
      this.#early = now - this.#attachedAt < STABLE_MS ? this.#early + 1 : 0;
      if (this.#early <= MAX_EARLY) {
        this.#attempt = 0;
      }
      this.#commands.push({ tell: "signaling-lost", kind });
    }
  }

  /** Asks another balancer, once for a loss, before calls end on the word of this one. False when there is none to ask. */
  #doubt(now: number): boolean {
    const said = this.#phase.at === "probing" ? this.#phase.url : this.#session?.url;
    const url = this.#urls.find((known) => known !== said);
    if (!this.occupied || this.#doubted || url === undefined) {
      return false;
    }
    this.#doubted = true;
    this.#noteLoss("signaling-lost", now);
    const spread = this.#phase.at === "probing";
    this.#phase = { at: "doubting", ask: this.#sendProbe(url, DOUBT_MS), url, spread };
    return true;
  }

  #weigh(now: number): void {
    this.#phase = { at: "weighing", until: now + WEIGH_MS };
    this.#commands.push({ do: "weigh" });
  }

  /** The session is gone for this client: its calls end, unless their media lives without it. */
  #gone(kind: LossKind, now: number, calls: "end" | "keep" = "end"): void {
    this.#preserveUntil = undefined;
    this.#loss = { kind, since: this.#loss?.since ?? now };
    if (this.#session) {
      this.#proof = this.#session;
      this.#session = undefined;
      this.#key = 0;
    }
    this.#wasAttached = false;
    this.#commands.push({ tell: "session-lost", kind, calls });
    // Who had to wait before a probe has spread its return already.
    const spread = this.#phase.at === "probing" || (this.#phase.at === "doubting" && this.#phase.spread);
    return spread ? this.#signIn() : this.#wait("sign-in", 0, now, new SignInError("unavailable"));
  }

  #wait(next: "sign-in" | "probe", floorMs: number, now: number, error: SignInError): void {
    this.#failingSince ??= now;
    if (now - this.#failingSince >= this.#giveUpAfterMs) {
      return this.#stopWith(error);
    }
    const delayMs = this.#delay(this.#attempt, floorMs);
    this.#notBefore = now + floorMs;
    if (this.#attempt++ > 0) {
      this.#commands.push({ tell: "retrying", attempt: this.#attempt, delayMs, reason: error.reason });
    }
    this.#phase = { at: "waiting", until: now + delayMs, next };
  }

  #startRound(now: number): void {
    const at = this.#cursor % this.#urls.length;
    this.#round = [...this.#urls.slice(at), ...this.#urls.slice(0, at)];
    this.#probeNext(now);
  }

  #probeNext(now: number): void {
    const url = this.#round.shift();
    if (url !== undefined) {
      return this.#probe(url, false);
    }
    if (this.#preserveUntil === undefined) {
      return this.#wait("probe", this.#floorMs, now, new SignInError("unreachable"));
    }
    this.#phase = { at: "waiting", until: now + PRESERVE_PAUSE_MS, next: "probe" };
  }

  #probe(url: string, repeated: boolean): void {
    this.#phase = { at: "probing", ask: this.#sendProbe(url), url, repeated };
  }

  #verifyAgain(repeated: boolean): void {
    this.#verify = { ask: this.#sendProbe(), repeated };
  }

  /** Asks about the session in use, at its own balancer unless said otherwise. Returns the number of the answer. */
  #sendProbe(url?: string, limitMs?: number): number {
    const session = this.#session;
    const ask = ++this.#counter;
    if (session) {
      this.#commands.push({ do: "probe", ask, url: url ?? session.url, session, limitMs });
    }
    return ask;
  }

  #verified(verify: Verify, answer: ProbeAnswer, now: number): void {
    this.#verify = undefined;
    if (answer.kind !== "status" && !verify.repeated) {
      return this.#verifyAgain(true);
    }
    const verdict = judgeProbe(answer, this.#session?.boot_id);
    if (verdict === "alive") {
      this.#verify = { ...verify, until: now + LINK_ANSWER_MS };
    } else if (LOST[verdict] || answer.kind !== "status") {
      this.#closeLink();
      this.#lost(LOST[verdict] ?? "network-changed", now);
    }
  }

  /** The instance is the same and its socket dead without knowing it. */
  #replaceLink(now: number): void {
    this.#verify = undefined;
    if (this.#session) {
      this.#closeLink();
      this.#dropMove();
      this.#noteLoss("network-changed", now);
      this.#open(this.#session.url, now);
    }
  }

  #moveTimedOut(move: Move, now: number): void {
    if (move.ask !== undefined) {
      return this.#moveFailed(now);
    }
    move.ask = ++this.#counter;
    move.until = now + MOVE_STEP_MS;
    const { ask, why } = move;
    const proof = why.ticket ? undefined : this.#session;
    this.#commands.push({ do: "sign-in", ask, url: this.#url(), key: ask, proof, ...why });
  }

  #moveFailed(now: number): void {
    const move = this.#move;
    this.#dropMove();
    if (move && (move.why.avoid || move.tries < MOVE_TRIES)) {
      this.#moveSoon(move.why, move.tries + 1, now);
    }
  }

  #moveSoon(why: MoveReason, tries: number, now: number): void {
    this.#move = { why, tries, until: now + this.#delay(tries) };
  }

  #moveAttached(link: number, { why, session }: Move, told: AttachedMessage, now: number): void {
    if ((this.occupied && why.ticket) || !session) {
      return this.#dropMove();
    }
    const old = this.#session;
    this.#move = undefined;
    this.#verify = undefined;
    this.#closeLink();
    this.#wasAttached = false;
    this.#becomeAttached(link, session, told, now, why.ticket ? "instance-draining" : "media-lost");
    if (old) {
      this.#commands.push({ do: "sign-off", session: old });
    }
  }

  #dropMove(): void {
    if (this.#move?.link !== undefined) {
      this.#commands.push({ do: "close", link: this.#move.link });
    }
    if (this.#move?.session) {
      this.#commands.push({ do: "sign-off", session: this.#move.session });
    }
    this.#move = undefined;
  }

  #closeLink(): void {
    if ("link" in this.#phase) {
      this.#commands.push({ do: "close", link: this.#phase.link });
    }
  }

  #forget(): void {
    this.#phase = { at: "idle" };
    this.#session = undefined;
    this.#proof = undefined;
    this.#left = undefined;
    this.#loss = undefined;
    this.#verify = undefined;
    this.#preserveUntil = undefined;
    this.#key = 0;
  }

  #stopWith(error: SignInError): void {
    this.#dropMove();
    this.#closeLink();
    this.#forget();
    this.#commands.push({ tell: "stopped", error });
  }
}
