/**
 * The shell: one signed-in tab. Drives the pure machines with real sockets, timers and storage, and tells the application
 * what they decide. It decides nothing itself about losses: see `reconnect.ts`.
 */
import { Call, type CallHost } from "./call.ts";
import { Emitter, reportError } from "./emitter.ts";
import { CallError, SignInError } from "./errors.ts";
import {
  type CallEnded,
  type CallsResynced,
  type Capability,
  type ClientEvents,
  type ClientState,
  type ClientVerb,
  capability,
  type LossKind,
  type SessionInfo,
} from "./events.ts";
import { Http } from "./http.ts";
import { Link } from "./link.ts";
import { Microphone } from "./microphone.ts";
import type { CallOptions, ClientOptions, Clock } from "./options.ts";
import type {
  CallId,
  CallSnapshot,
  EndReason,
  Event,
  IceServer,
  Request,
  ServerMessage,
  Snapshot,
} from "./protocol.gen.ts";
import { type Command, Reconnect, type Session } from "./reconnect.ts";
import { Requests, type Settled } from "./requests.ts";
import { compare } from "./resync.ts";
import { Sequence } from "./sequence.ts";
import { edgeEvent, type ServiceEdge, Services } from "./service.ts";
import { Store } from "./store.ts";

const GIVE_UP_MS = 300_000;
/** How often packets are looked at while they decide about an instance. */
const WEIGH_PAUSE_MS = 50;
/** A request without an answer for this long, through every loss, is given up. */
const REQUEST_MS = 30_000;
/** The same for a transfer, which ends when somebody else answered: longer than an instance lets calls ring. */
const TRANSFER_MS = 130_000;
/** What browsers say of a socket that was lost or refused (RFC 6455 §7.4.1). */
const NEVER_OPENED = 1006;
/** Timers this near are due. */
const DUE_MS = 1;
/** The same in a hidden tab, where browsers hold short timers back for a second or a minute. */
const DUE_HIDDEN_MS = 100;

const browserClock: Clock = {
  now: () => performance.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

type Tell = Extract<Command, { tell: string }>;
type Attached = Extract<Tell, { tell: "attached" }>;

/** A browser tab's client of a Holdfast service. */
export class GatewayClient extends Emitter<ClientEvents> {
  /** The microphone, kept live between calls. */
  readonly microphone: Microphone;
  readonly #options: ClientOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #http: Http;
  readonly #store: Store;
  readonly #machine: Reconnect;
  readonly #services = new Services();
  readonly #sequence = new Sequence();
  readonly #requests: Requests;
  /** Keeps request ids and idempotency keys of this page apart from those of the page before a reload. */
  readonly #pageId: string;
  readonly #links = new Map<number, Link>();
  readonly #calls = new Map<CallId, Call>();
  readonly #host: CallHost;
  #claimed: Promise<void> | undefined;
  #state: ClientState = "signed-out";
  #driving = false;
  #cancelTimer = () => {};
  #cancelWeigh = () => {};
  readonly #waiting: { resolve: (session: SessionInfo) => void; reject: (error: SignInError) => void }[] = [];
  /** Of the session attached last: a call may be prepared before the next one is. */
  #iceServers: IceServer[] = [];
  #signingOff: Promise<void> = Promise.resolve();
  /** Calls of the page before a reload, until the application was told. */
  #reloaded: CallId[] = [];
  /** Calls judged dead with their instance, until one has told what became of them; with options: to be resumed. */
  readonly #dead = new Map<CallId, CallOptions | undefined>();
  #refused: string | undefined = "not-signed-in";

  constructor(options: ClientOptions = {}) {
    super();
    this.#options = options;
    this.#clock = options.clock ?? browserClock;
    this.#random = options.random ?? Math.random;
    this.#http = new Http(options.fetch ?? fetch, this.#clock);
    this.#store = new Store(storageOf(options), globalThis.navigator?.locks, options.clientId, this.#newId());
    this.#machine = new Reconnect({
      urls: options.urls?.length ? options.urls : [globalThis.location?.origin ?? ""],
      giveUpAfterMs: options.giveUpAfterMs ?? GIVE_UP_MS,
      random: this.#random,
    });
    this.#pageId = this.#newId();
    this.#requests = new Requests(this.#pageId);
    const devices = options.mediaDevices ?? globalThis.navigator?.mediaDevices;
    this.microphone = new Microphone(devices, (kind, track) => {
      for (const call of this.calls) {
        void call.replaceTrack(kind, track);
      }
    });
    this.#host = this.#makeHost();
    this.#serve("not-signed-in");
    this.#watchPage();
  }

  /** Names this tab; kept over a reload. */
  get clientId(): string {
    return this.#store.kept.clientId;
  }

  get state(): ClientState {
    return this.#state;
  }

  /** Where the client is signed in; undefined before and between. */
  get session(): SessionInfo | undefined {
    const session = this.#machine.attached ? this.#machine.session : undefined;
    return session && info(session);
  }

  /** Calls that have not ended. */
  get calls(): Call[] {
    return [...this.#calls.values()];
  }

  /** Resolves when attached; rejects with a {@link SignInError}. After a reload the session of the page before is taken up. */
  async signIn(): Promise<SessionInfo> {
    this.#claimed ??= this.#store.claim().then(() => {
      this.#reloaded = this.#store.kept.calls;
    });
    await this.#claimed;
    if (this.session) {
      return this.session;
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      if (!this.#machine.running) {
        this.#setState("signing-in");
        this.#machine.start(this.#clock.now(), this.#store.kept.session);
        this.#drive();
      }
    });
  }

  /** Ends every call and the session. Resolves when the service knows, or after a second. */
  async signOut(): Promise<void> {
    for (const call of this.calls) {
      call.hangUp();
    }
    const before = this.#state;
    this.#machine.stop();
    this.#store.forget();
    this.#requests.handleGone();
    this.#reloaded = [];
    this.#dead.clear();
    this.microphone.close();
    this.#settleSignIn(new SignInError("aborted"));
    this.#serve("not-signed-in");
    this.#setState("signed-out");
    this.#drive();
    this.#refreshCapabilities();
    if (before !== "signed-out") {
      this.emit("signedout", {});
    }
    await this.#signingOff;
  }

  /** Tries at once instead of waiting; after `gaveup` starts anew. */
  retry(): Promise<SessionInfo> {
    this.#machine.kick(this.#clock.now());
    this.#drive();
    return this.signIn();
  }

  /** Starts a call; it is there at once, its state follows by events. Throws a {@link CallError} when `can('call')` says no. */
  call(target: string, options: CallOptions = {}): Call {
    const reason = this.#services.reason("calls");
    if (reason !== undefined) {
      throw new CallError(reason === "not-signed-in" ? reason : "service-unavailable", reason);
    }
    if (options.signal?.aborted) {
      throw new CallError("aborted");
    }
    return this.#startCall(target, options);
  }

  can(_verb: ClientVerb): Capability {
    return capability(this.#services.reason("calls"));
  }

  /** `signaling` and `calls`, and what else the instance names. */
  isServiceAvailable(service: string): boolean {
    return this.#services.reason(service) === undefined;
  }

  #newId(): string {
    let id = "";
    while (id.length < 20) {
      id += Math.floor(this.#random() * 36).toString(36);
    }
    return id;
  }

  #makeHost(): CallHost {
    return {
      clock: this.#clock,
      attached: () => this.#machine.attached,
      ready: () => this.#ready(),
      connect: () => {
        const Connection = this.#options.RTCPeerConnection ?? RTCPeerConnection;
        const { iceServers = [], ...rtc } = this.#options.rtc ?? {};
        return new Connection({ bundlePolicy: "max-bundle", ...rtc, iceServers: [...iceServers, ...this.#iceServers] });
      },
      device: (kind) => this.microphone.get(kind),
      request: (call, request) => {
        call.sessionId ??= this.#machine.session?.session_id;
        this.#saveCalls();
        return this.#request(request);
      },
      hangUp: (call) => {
        if (this.#machine.attached && call.sessionId === this.#machine.session?.session_id) {
          void this.#request({ method: "hang_up", call_id: call.id });
        }
      },
      handleSuspect: () => {
        this.#machine.handleSuspicion();
        this.#drive();
      },
      handleMediaLost: (call) => this.#handleMediaLost(call),
      handleSampled: () => this.#reportMedia(),
      handleEnded: (ended) => this.#handleCallEnded(ended),
    };
  }

  async #ready(): Promise<void> {
    if (!this.#machine.running) {
      throw new CallError("not-signed-in");
    }
    if (!this.#machine.attached) {
      await this.signIn();
    }
  }

  #startCall(target: string, options: CallOptions): Call {
    const told = { call_id: this.#newId(), target, direction: "outgoing", state: "connecting" } as const;
    return this.#keepCall(new Call(this.#host, told, options));
  }

  #keepCall(call: Call): Call {
    this.#calls.set(call.id, call);
    this.#refreshBusy();
    return call;
  }

  #request(request: Request): Promise<Settled> {
    return new Promise((resolve) => {
      const id = this.#requests.add(request, (settled) => {
        cancel();
        resolve(settled);
      });
      const limit = request.method.startsWith("transfer") ? TRANSFER_MS : REQUEST_MS;
      const cancel = this.#clock.after(limit, () => this.#requests.handleGone(id));
      this.#sendRequests(false);
    });
  }

  #sendRequests(again: boolean): void {
    const link = this.#link;
    for (const { id, request } of link ? this.#requests.take(again) : []) {
      link?.send({ kind: "request", id, request });
    }
  }

  /** The one that carries messages. */
  get #link(): Link | undefined {
    return this.#links.get(this.#machine.link ?? -1);
  }

  // Driving the reconnect machine.

  /** Carries out what the machine decided, until it has nothing more to say, then sleeps until its next moment. */
  #drive(): void {
    if (this.#driving) {
      return;
    }
    this.#driving = true;
    try {
      while (this.#step()) {}
    } finally {
      this.#driving = false;
    }
  }

  /** True if there may be more to do now. */
  #step(): boolean {
    this.#cancelTimer();
    const commands = this.#machine.takeCommands();
    for (const command of commands) {
      if ("do" in command) {
        this.#carryOut(command);
      } else {
        this.#told(command);
      }
    }
    const next = this.#machine.pollTimeout();
    if (next === undefined) {
      return commands.length > 0;
    }
    const now = this.#clock.now();
    const wait = next - now;
    if (wait < (globalThis.document?.hidden ? DUE_HIDDEN_MS : DUE_MS)) {
      this.#machine.handleTimeout(Math.max(next, now));
      return true;
    }
    this.#cancelTimer = this.#clock.after(wait, () => this.#drive());
    return commands.length > 0;
  }

  #carryOut(command: Extract<Command, { do: string }>): void {
    switch (command.do) {
      case "sign-in":
        return void this.#signInAt(command);
      case "probe":
        return void this.#probe(command);
      case "open":
        return this.#open(command.link, command.session);
      case "resync":
        return void this.#link?.send({ kind: "resync" });
      case "close":
        this.#links.get(command.link)?.close();
        this.#links.delete(command.link);
        return;
      case "sign-off":
        this.#signingOff = this.#http.signOff(command.session);
        return;
      default:
        return void this.#weigh();
    }
  }

  async #signInAt(command: Extract<Command, { do: "sign-in" }>): Promise<void> {
    const { ask, proof, ticket } = command;
    const { token, sipPassword, user } = this.#options;
    let jwt: string | undefined;
    let password: string | undefined;
    if (!proof && !ticket) {
      try {
        jwt = await token?.();
        password = typeof sipPassword === "function" ? await sipPassword() : sipPassword;
      } catch (error) {
        this.#machine.handleSignInFailed(ask, { kind: "token", error }, this.#clock.now());
        return this.#drive();
      }
    }
    const body = {
      client_id: this.clientId,
      user,
      capsule: proof?.capsule,
      previous_token: proof?.session_token,
      move_ticket: ticket,
      sip_password: password,
    };
    const result = await this.#http.signIn(command.url, body, {
      key: `${this.#pageId}-${command.key}`,
      jwt,
      avoid: command.avoid,
    });
    const now = this.#clock.now();
    if ("failure" in result) {
      this.#machine.handleSignInFailed(ask, result.failure, now);
    } else {
      this.#machine.handleSignedIn(ask, result, now);
    }
    this.#drive();
  }

  async #probe(command: Extract<Command, { do: "probe" }>): Promise<void> {
    const answer = await this.#http.probe(command.url, command.session, command.limitMs);
    this.#machine.handleProbe(command.ask, answer, this.#clock.now());
    this.#drive();
  }

  #open(id: number, session: Session): void {
    const url = `${session.url}/v1/sessions/${session.session_id}/socket`;
    const handleClosed = (code: number, reason: string) => {
      this.#links.delete(id);
      this.#machine.handleClosed(id, code, reason, this.#clock.now());
      this.#drive();
    };
    try {
      const link = new Link(this.#options.WebSocket ?? WebSocket, url, {
        handleOpened: () => this.#attach(link, session),
        handleMessage: (message) => this.#handleMessage(id, message),
        handleClosed,
      });
      this.#links.set(id, link);
    } catch {
      handleClosed(NEVER_OPENED, "");
    }
  }

  #attach(link: Link, session: Session): void {
    const own = this.#ownCalls().filter((call) => call.sessionId === session.session_id);
    const dead = [...this.#dead].map(
      ([call_id, resume]) => ({ call_id, action: resume ? "resume" : "hang_up" }) as const,
    );
    link.send({
      kind: "attach",
      token: session.session_token,
      calls: own.map((call) => call.id),
      dead_calls: dead,
    });
  }

  // Messages.

  #handleMessage(id: number, message: ServerMessage): void {
    const now = this.#clock.now();
    this.#machine.handleHeard(id, now);
    if (message.kind === "attached") {
      this.#machine.handleAttached(id, message, now);
    } else if (message.kind === "ping") {
      this.#machine.handleWindow(message.reconnect_window_ms);
      this.#links.get(id)?.send({ kind: "pong", nonce: message.nonce });
    } else if (id === this.#machine.link) {
      this.#handleSessionMessage(message);
    }
    this.#drive();
  }

  #handleSessionMessage(message: ServerMessage): void {
    switch (message.kind) {
      case "response":
        return this.#requests.handleResponse(message.id, message.outcome);
      case "snapshot": {
        const { resyncing } = this.#sequence;
        const summary = this.#handleSnapshot(message.snapshot);
        this.#machine.handleResynced();
        this.#handleIncoming(message.snapshot.calls);
        return resyncing ? this.emit("callsresynced", summary) : undefined;
      }
      case "event": {
        const verdict = this.#sequence.judge(message.epoch, message.seq);
        if (verdict === "take") {
          this.#handleEvent(message.event);
        } else if (verdict === "resync") {
          this.#link?.send({ kind: "resync" });
        }
      }
    }
  }

  #handleEvent(event: Event): void {
    switch (event.type) {
      case "incoming_call":
        return this.#handleIncoming([event.call]);
      case "capsule":
        this.#machine.handleCapsule(event.capsule);
        return this.#saveSession();
      case "service":
        return this.#tell(this.#services.handleStates([event.service], false));
      case "draining":
        this.#tell(this.#services.set("calls", "instance-draining"));
        return this.emit("draining", { deadlineMs: event.deadline_ms });
      case "move":
        return this.#machine.handleMove(event.ticket, this.#clock.now());
      case "session_recovered": {
        const { type: _, ...summary } = event;
        this.#dead.clear();
        return this.emit("sessionrecovered", summary);
      }
      default:
        this.#ownCall(event.call_id)?.handleEvent(event);
    }
  }

  #ownCall(id: CallId): Call | undefined {
    const call = this.#calls.get(id);
    return call?.orphaned ? undefined : call;
  }

  /** Rings for those of these calls that nobody has heard of. */
  #handleIncoming(calls: CallSnapshot[]): void {
    for (const told of calls) {
      const { call_id, replaces, direction, state } = told;
      const rings = direction === "incoming" && state === "ringing";
      if (rings && !this.#calls.has(call_id) && !this.#requests.has("reject_call", call_id)) {
        const call = this.#keepCall(new Call(this.#host, told));
        call.sessionId = this.#machine.session?.session_id;
        const options = this.#dead.get(replaces ?? "");
        this.emit("incomingcall", { call, replaces, answering: !!options });
        if (options) {
          // What goes wrong is the far side's `ended`, or leaves the call ringing.
          call.answer(options).catch(() => {});
        }
      }
    }
  }

  /** The instance's view of the session outranks ours. */
  #handleSnapshot(snapshot: Snapshot): CallsResynced {
    this.#sequence.reset(snapshot.epoch, snapshot.seq);
    const own = this.#ownCalls().filter((call) => call.sessionId === this.#machine.session?.session_id);
    const { ends, updates, summary } = compare(
      own.map((call) => call.id),
      (callId) => this.#requests.has("start_call", callId),
      snapshot,
    );
    for (const { callId, reason } of ends) {
      this.#calls.get(callId)?.end(reason);
    }
    for (const update of updates) {
      const call = this.#calls.get(update.call_id);
      call?.handleParty(update);
      call?.handleState(update.state, update.held_by);
    }
    this.#tell(this.#services.handleStates(snapshot.services, true));
    return summary;
  }

  // What the machine tells.

  #told(tell: Tell): void {
    switch (tell.tell) {
      case "signaling-lost":
        return this.#handleSignalingLost(tell.kind);
      case "session-lost":
        return this.#handleSessionLost(tell.kind, tell.calls);
      case "attached":
        return this.#handleAttached(tell);
      case "instance-alive":
        return this.#askForPaths(true);
      case "retrying": {
        const { tell: name, ...detail } = tell;
        return this.emit(name, detail);
      }
      case "stopped":
        return this.#handleStopped(tell.error);
    }
  }

  #handleSignalingLost(kind: LossKind): void {
    this.#setState("reconnecting");
    this.emit("signalinglost", { reason: kind });
    this.#tell(this.#serve(kind));
    for (const call of this.calls) {
      if (call.sessionId !== undefined) {
        call.handleSignaling("signaling-lost");
      }
    }
  }

  #handleSessionLost(kind: LossKind, calls: "end" | "keep"): void {
    const lost = this.#startedCalls();
    if (calls === "keep") {
      for (const call of lost) {
        if (call.alerting) {
          call.end("instance-lost");
        } else {
          call.orphaned = true;
          call.handleSignaling("instance-silent");
        }
      }
      return this.#requests.handleGone();
    }
    const reason = kind === "instance-draining" ? "drained" : "instance-lost";
    if (reason === "instance-lost") {
      // One that only rang here rings again where its user is registered next; a resumed one has a far side that waits.
      for (const call of lost.filter((call) => call.replaces || !call.alerting)) {
        this.#dead.set(call.id, this.#wish(call));
      }
      for (const callId of this.#reloaded) {
        this.#dead.set(callId, undefined);
      }
    }
    this.#endCalls(lost, reason);
    this.#requests.handleGone();
    for (const call of reason === "instance-lost" ? lost : []) {
      this.#redial(call);
    }
  }

  /** How a call that died is to be resumed, if the application wants that. */
  #wish(call: Call): CallOptions | undefined {
    const { options, muted } = call;
    try {
      const wish = (options.onCallLost ?? this.#options.onCallLost)?.(call);
      return wish === "resume" ? { ...options, muted } : undefined;
    } catch (error) {
      reportError(error);
    }
  }

  #redial(lost: Call): void {
    const wanted = this.#options.redial && lost.direction === "outgoing" && !this.#dead.get(lost.id);
    if (wanted && !lost.options.signal?.aborted) {
      const call = this.#startCall(lost.target, { ...lost.options, muted: lost.muted });
      this.emit("redialed", { call, replaces: lost.id });
    }
  }

  #endCalls(calls: Call[], reason: EndReason): void {
    for (const call of calls) {
      call.end(reason);
    }
  }

  #handleAttached({ session, snapshot, same, gapMs, left, kind }: Attached): void {
    const reload = this.#reloaded.length > 0;
    this.#iceServers = session.ice_servers;
    if (!same) {
      this.#requests.handleGone();
      const left = this.#startedCalls().filter((call) => call.sessionId !== session.session_id);
      this.#endCalls(left, "session-ended");
    }
    const summary = this.#handleSnapshot(snapshot);
    summary.ended.push(...this.#reloaded);
    this.#endReloaded();
    this.#sendRequests(true);
    this.#tell(this.#serve(undefined));
    for (const call of this.calls) {
      call.handleSignaling(undefined);
    }
    this.#setState("signed-in");
    this.#saveSession();
    if (gapMs > 0 && !reload) {
      this.emit("signalingback", { gapMs, sameSession: same });
    }
    if (!same || reload) {
      this.emit("signedin", { ...info(session), recovering: !same && session.recovering, gapMs });
    }
    if (left && left.boot_id !== session.boot_id) {
      const previousInstanceId = left.instance_id;
      this.emit("instancechange", { ...info(session), previousInstanceId, reason: kind ?? "instance-lost" });
      if (kind === "instance-draining") {
        this.emit("moved", { from: previousInstanceId, to: session.instance_id });
      }
    }
    this.#handleIncoming(snapshot.calls);
    if (same) {
      this.emit("callsresynced", summary);
    }
    this.#settleSignIn(info(session));
    this.#askForPaths(false);
  }

  #askForPaths(linkKept: boolean): void {
    for (const call of this.#ownCalls()) {
      call.handleInstanceAlive(linkKept);
    }
  }

  /** The calls of the page before a reload: lost, and told once. The instance ended those that the attach did not name. */
  #endReloaded(): void {
    for (const callId of this.#reloaded) {
      this.emit("ended", { callId, reason: "page-reloaded" });
    }
    this.#reloaded = [];
    this.#saveCalls();
  }

  #handleStopped(error: SignInError): void {
    const { reason } = error;
    const state = reason === "superseded" || reason === "unauthorized" ? reason : "gave-up";
    if (state !== "gave-up") {
      this.#store.forget();
      this.#tell(this.#serve(state === "superseded" ? "session-superseded" : state));
      this.#endCalls(this.#ownCalls(), "session-ended");
    }
    this.#setState(state);
    this.#requests.handleGone();
    this.#settleSignIn(error);
    if (state === "superseded") {
      return this.emit(state, {});
    }
    this.emit(state === "gave-up" ? "gaveup" : state, { error });
  }

  // Media.

  /** Looks at the packets of every call until the machine has its answer. */
  async #weigh(): Promise<void> {
    this.#cancelWeigh();
    await Promise.all(this.#startedCalls().map((call) => call.look()));
    this.#reportMedia();
    if (this.#machine.weighing) {
      this.#cancelWeigh = this.#clock.after(WEIGH_PAUSE_MS, () => void this.#weigh());
    }
  }

  #reportMedia(): void {
    if (this.#machine.weighing) {
      const now = this.#clock.now();
      const ages = this.#startedCalls().flatMap((call) => call.packetAge(now) ?? []);
      this.#machine.handleMedia(ages.length > 0 ? Math.min(...ages) : undefined, now);
      this.#drive();
    }
  }

  #handleMediaLost(call: Call): void {
    if (call.orphaned) {
      return call.end("instance-lost");
    }
    this.#host.hangUp(call);
    call.end("media-lost");
    if (!this.#ownCalls().some((other) => other.media === "flowing")) {
      this.#machine.handleMediaLost(this.#clock.now());
      this.#tell(this.#services.set("calls", this.#machine.avoiding ? "media-lost" : undefined));
      this.#drive();
    }
  }

  #handleCallEnded(ended: CallEnded): void {
    this.#calls.delete(ended.callId);
    this.#refreshBusy();
    this.#saveCalls();
    this.emit("ended", ended);
  }

  #refreshBusy(): void {
    this.#machine.occupied = this.#ownCalls().length > 0;
  }

  /** Those of them that an instance was asked for. */
  #startedCalls(): Call[] {
    return this.#ownCalls().filter((call) => call.sessionId !== undefined);
  }

  // What the application sees.

  /** What signalling carries is unavailable for this reason, or works again as far as the client knows. */
  #serve(reason: string | undefined): ServiceEdge[] {
    return [...this.#services.set("signaling", reason), ...this.#services.set("calls", reason)];
  }

  /** Calls of the session in use, as against those kept after it was left. */
  #ownCalls(): Call[] {
    return this.calls.filter((call) => !call.orphaned);
  }

  #tell(edges: ServiceEdge[]): void {
    for (const edge of edges) {
      this.emit(edgeEvent(edge), edge);
    }
    this.#refreshCapabilities();
  }

  #refreshCapabilities(): void {
    const reason = this.#services.reason("calls");
    if (reason !== this.#refused) {
      this.#refused = reason;
      this.emit("capabilitieschange", {});
    }
  }

  #setState(state: ClientState): void {
    const previous = this.#state;
    if (state !== previous) {
      this.#state = state;
      this.emit("statechange", { state, previous });
    }
  }

  #settleSignIn(result: SessionInfo | SignInError): void {
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      if (result instanceof SignInError) {
        reject(result);
      } else {
        resolve(result);
      }
    }
  }

  // The page.

  #saveSession(): void {
    this.#store.update({ session: this.#machine.session });
  }

  #saveCalls(): void {
    const up = this.calls.filter((call) => call.sessionId !== undefined && call.peerConnection).map((call) => call.id);
    this.#store.update({ calls: [...this.#reloaded, ...up] });
  }

  #watchPage(): void {
    const listen = globalThis.addEventListener?.bind(globalThis);
    listen?.("pagehide", () => {
      for (const call of this.calls) {
        call.closeLeg();
      }
      this.#store.release();
    });
    listen?.("pageshow", (event) => {
      if (event.persisted) {
        this.#endCalls(this.calls, "page-reloaded");
        void this.#store.claim();
        this.#kick();
      }
    });
    listen?.("online", () => this.#kick());
  }

  #kick(): void {
    this.#machine.kick(this.#clock.now());
    this.#drive();
  }
}

function info(session: Session): SessionInfo {
  const { user, session_id: sessionId, instance_id: instanceId, boot_id: bootId, url } = session;
  return { user, sessionId, instanceId, bootId, url };
}

function storageOf(options: ClientOptions): Storage | undefined {
  try {
    return options.storage === undefined ? globalThis.sessionStorage : (options.storage ?? undefined);
  } catch {
    return undefined;
  }
}
