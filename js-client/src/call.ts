/**
 * One call, as the application holds it: drives a {@link CallMachine} and a {@link Leg}, and tells what happens. The client
 * owns signalling; a call reaches it through {@link CallHost}.
 */
import { type CallCommand, CallMachine } from "./call-machine.ts";
import { Emitter } from "./emitter.ts";
import { CallError, type CallReason, HoldfastError } from "./errors.ts";
import {
  type CallEnded,
  type CallEvents,
  type CallMedia,
  type CallState,
  type CallVerb,
  type Capability,
  capability,
  type RequestOutcome,
} from "./events.ts";
import { Leg } from "./leg.ts";
import { ALIVE_MS } from "./liveness.ts";
import type { CallOptions, Clock } from "./options.ts";
import type {
  CallId,
  CallSnapshot,
  Direction,
  EndReason,
  Event,
  HeldBy,
  Request,
  CallState as WireCallState,
} from "./protocol.gen.ts";
import type { Settled } from "./requests.ts";
import { edgeEvent, type ServiceEdge, Services } from "./service.ts";

/** @internal What a call needs of its client. */
export interface CallHost {
  readonly clock: Clock;
  attached(): boolean;
  /** Resolves when requests can be sent. */
  ready(): Promise<void>;
  connect(): RTCPeerConnection;
  /** The live microphone and camera. */
  device(kind: "audio" | "video"): Promise<MediaStreamTrack>;
  request(call: Call, request: Request): Promise<Settled>;
  hangUp(call: Call): void;
  /** Packets are missing. */
  handleSuspect(): void;
  /** UDP is dead while the instance answers. */
  handleMediaLost(call: Call): void;
  /** Packets were looked at. */
  handleSampled(): void;
  handleEnded(ended: CallEnded): void;
}

/** Longest and shortest pause between two looks at the packets. */
const LOOK_MS = 250;
const LOOK_SOON_MS = 50;
/** A closed peer connection is explained by an event within this time, or it was the far side's end. */
const PEER_CLOSED_MS = 500;

/** Far sides inside the instance, of which nothing can be asked. */
const BUILT_IN = ["echo", "tone"];

/** The far side. */
type Party = Pick<CallSnapshot, "target" | "name">;

/** @internal What is known of a call at its start. */
export type Told = Pick<CallSnapshot, "call_id" | "target" | "direction" | "state"> & Partial<CallSnapshot>;

/**
 * See the file's head. Made by `client.call(..)`, or told by `incomingcall`.
 *
 * Verbs that return a promise need signalling and, if `can(..)` says no, reject at once with a {@link CallError}; otherwise as soon
 * as the instance answers: `far-refused` when the far side would not, `unknown` when the instance was lost meanwhile.
 */
export class Call extends Emitter<CallEvents> {
  readonly id: CallId;
  readonly direction: Direction;
  /** The caller offers video. */
  readonly offersVideo: boolean;
  /** The lost call in whose place this one came. */
  readonly replaces: CallId | undefined;
  /** The far side's audio and video; its tracks appear with `remotestream`. */
  readonly remoteStream: MediaStream;
  /** How the request to start or to answer the call settled. Never rejects. */
  readonly started: Promise<RequestOutcome>;
  /** @internal The session that knows this call; undefined before it was asked to start it. */
  sessionId: string | undefined;
  /** @internal Its session was left while its media lived. */
  orphaned = false;
  /** @internal For the call that takes its place. */
  options: CallOptions = {};
  #party: Party;
  readonly #host: CallHost;
  readonly #machine = new CallMachine();
  readonly #services = new Services();
  #leg: Leg | undefined;
  #tracks: { track: MediaStreamTrack; own: boolean }[] = [];
  #muted = false;
  #answering = false;
  /** The codec that the instance had rather be sent. */
  #codec: string | undefined;
  #settleStart: (how: RequestOutcome | Promise<RequestOutcome>) => void = () => {};
  #ended: CallEnded | undefined;
  #cancelLook = () => {};
  #looking = false;

  /** @internal */
  constructor(host: CallHost, told: Told, options: CallOptions = {}) {
    super();
    this.#host = host;
    this.id = told.call_id;
    this.direction = told.direction;
    this.#party = told;
    this.offersVideo = told.video ?? false;
    this.replaces = told.replaces;
    this.#machine.state = told.state;
    this.remoteStream = new MediaStream();
    this.started = new Promise((resolve) => {
      this.#settleStart = resolve;
    });
    if (this.direction === "outgoing") {
      this.#takeOptions(options);
      // Not before the application can listen.
      this.#settleStart(Promise.resolve().then(() => this.#start()));
    }
  }

  /** Who is called, or who calls; after a transfer by the far side, whom it was transferred to. */
  get target(): string {
    return this.#party.target;
  }

  /** The display name that the far side gave itself. */
  get name(): string | undefined {
    return this.#party.name;
  }

  get state(): CallState {
    return this.#machine.state;
  }

  get media(): CallMedia {
    return this.#machine.media;
  }

  get muted(): boolean {
    return this.#muted;
  }

  /** Which side put the other on hold, while one did. */
  get heldBy(): HeldBy | undefined {
    return this.#machine.heldBy;
  }

  /** How it ended, once it has. */
  get ended(): CallEnded | undefined {
    return this.#ended;
  }

  /** Signalling is down while the call goes on: hang-up works, the rest waits. */
  get preserved(): boolean {
    return this.state !== "ended" && (this.orphaned || (this.sessionId !== undefined && !this.#host.attached()));
  }

  /** For statistics; the library owns it. Undefined until the devices are there. */
  get peerConnection(): RTCPeerConnection | undefined {
    return this.#leg?.connection;
  }

  /** @internal It rings here. */
  get alerting(): boolean {
    return this.direction === "incoming" && this.state === "ringing";
  }

  /** Ends the call at once, with or without signalling. One that rings here is rejected. */
  hangUp(): void {
    if (this.alerting) {
      return this.reject();
    }
    if (this.state !== "ended") {
      this.#host.hangUp(this);
      this.end("local-hang-up");
    }
  }

  /** Answers an incoming call. When it rejects, with a {@link MediaError} for instance, the call rings on. */
  async answer(options: CallOptions = {}): Promise<void> {
    this.#demand("answer");
    this.#takeOptions(options);
    this.#setAnswering(true);
    try {
      const sdp = await this.#connect();
      this.#demand("reject");
      await this.#handleAnswer(await this.#host.request(this, { method: "answer_call", call_id: this.id, sdp }));
      this.#settleStart("ok");
    } catch (cause) {
      const error = asError(cause);
      if (error.reason === "unknown") {
        this.#fail(error);
      }
      this.#leg?.close();
      this.#leg = undefined;
      this.#stopTracks();
      this.#setAnswering(false);
      throw error;
    }
  }

  /** Declines an incoming call at once. The caller hears `rejected`, or `busy`. */
  reject({ busy = false }: { busy?: boolean } = {}): void {
    if (this.alerting) {
      void this.#host.request(this, { method: "reject_call", call_id: this.id, busy });
      this.end("local-hang-up");
    }
  }

  /** Puts the far side on hold. Resolves once it agreed. */
  hold(): Promise<void> {
    return this.#ask("hold");
  }

  /** Takes the far side back from hold. */
  unhold(): Promise<void> {
    return this.#ask("unhold");
  }

  /** Sends 1 to 32 of `0-9 A-D * #`. */
  sendDigits(digits: string): Promise<void> {
    return this.#ask("digits", { method: "send_digits", digits });
  }

  /**
   * Has the far side call somebody else. Resolves once it reached the target, or hung up after it said that it will; the call
   * ends `transferred` then.
   */
  transfer(target: string): Promise<void> {
    return this.#ask("transfer", { method: "transfer", target });
  }

  /** Connects the far sides of this call and another one. Resolves once they are; both calls end `transferred` then. */
  transferTo(other: Call): Promise<void> {
    return this.#ask("transfer", { method: "transfer_to", other: other.id });
  }

  mute(): void {
    this.#setMuted(true);
  }

  unmute(): void {
    this.#setMuted(false);
  }

  can(verb: CallVerb): Capability {
    return capability(this.#refusal(verb));
  }

  /** `control`: verbs that need signalling; `media`: packets come. */
  isServiceAvailable(service: string): boolean {
    return this.#services.reason(service) === undefined;
  }

  /** Gets the devices, connects, asks the instance. */
  async #start(): Promise<RequestOutcome> {
    try {
      const sdp = await this.#connect();
      await this.#host.ready();
      if (this.state !== "ended") {
        const request = { method: "start_call", call_id: this.id, target: this.target, sdp } as const;
        const settled = await this.#host.request(this, request);
        void this.#handleAnswer(settled).catch((error) => this.#fail(error));
        return settled.status;
      }
    } catch (error) {
      this.#fail(error);
    }
    return "failed";
  }

  #fail(cause: unknown): void {
    const error = asError(cause);
    if (error.reason === "unknown") {
      this.#host.hangUp(this);
    }
    this.end("failed", error);
  }

  /** Throws unless `verb` is possible now. */
  #demand(verb: CallVerb): void {
    const reason = this.#refusal(verb);
    if (reason !== undefined) {
      throw new CallError(this.#services.reason("control") ? "service-unavailable" : "wrong-state", reason);
    }
  }

  async #ask(verb: CallVerb, what: object = { method: verb }): Promise<void> {
    this.#demand(verb);
    const settled = await this.#host.request(this, { ...what, call_id: this.id } as Request);
    if (settled.status !== "ok") {
      throw refusal(settled);
    }
  }

  #takeOptions(options: CallOptions): void {
    this.options = options;
    this.#muted = options.muted ?? this.#muted;
    options.signal?.addEventListener("abort", () => this.#abort(), { once: true });
  }

  #setAnswering(answering: boolean): void {
    this.#answering = answering;
    this.emit("capabilitieschange", {});
  }

  /** @internal What the instance tells of it. */
  handleEvent(event: Extract<Event, { call_id: CallId }>): void {
    switch (event.type) {
      case "call_state":
        return this.handleState(event.state, event.held_by);
      case "call_party":
        return this.handleParty(event);
      case "call_ended":
        return this.end(event.reason);
      case "digit":
        return this.emit("digit", { digit: event.digit });
      case "call_resumed":
        return this.emit("resumed", { gapMs: event.gap_ms });
      case "send_codec":
        this.#codec = event.codec;
        this.#prefer();
    }
  }

  /** @internal */
  handleState(state: WireCallState, heldBy: HeldBy | undefined): void {
    this.#machine.handleState(state, heldBy);
    this.#drive();
  }

  /** @internal Who the far side is now. */
  handleParty(party: Party): void {
    const { target, name } = this;
    if (party.target !== target || party.name !== name) {
      this.#party = party;
      this.emit("partychange", { target: party.target, name: party.name });
    }
  }

  /** What the instance had rather be sent is a hint, for browsers that can. */
  #prefer(): void {
    if (this.#codec) {
      this.#leg?.prefer(this.#codec).catch(() => {});
    }
  }

  /** @internal Ends the call; the first reason stands. */
  end(reason: EndReason, error?: HoldfastError, detail = error?.message): void {
    if (this.state === "ended") {
      return;
    }
    this.#ended = { callId: this.id, call: this, reason, detail, error };
    this.#machine.end(reason);
    this.#cancelLook();
    this.#leg?.close();
    this.#stopTracks();
    this.#settleStart("failed");
    this.#drive();
  }

  /** @internal Closes the peer connection and nothing else: the page goes away. */
  closeLeg(): void {
    this.#leg?.close();
  }

  /** @internal Signalling went (`reason`) or came back. */
  handleSignaling(reason: string | undefined): void {
    if (reason !== undefined) {
      this.#machine.handleSignalingLost(this.#host.clock.now());
    }
    if (this.state !== "ended") {
      this.#tell(this.#services.set("control", this.orphaned ? "instance-silent" : reason));
    }
  }

  /** @internal The instance is the same, and the socket if `linkKept`; a stalled call asks for a new path. */
  handleInstanceAlive(linkKept: boolean): void {
    this.#machine.handleInstanceAlive(linkKept);
    this.#drive();
  }

  /** @internal Milliseconds since the last packet; undefined before the first. */
  packetAge(now: number): number | undefined {
    return this.#machine.packetAge(now);
  }

  /** @internal Looks at the packets now. */
  async look(): Promise<void> {
    if (this.#looking || !this.#leg || this.state === "ended") {
      return;
    }
    this.#looking = true;
    const age = await this.#leg.packetAge();
    this.#looking = false;
    this.#machine.handleSample(age, this.#host.clock.now());
    this.#drive();
    this.#lookAgain(age);
    this.#host.handleSampled();
  }

  /** @internal A device was chosen: sends it from now on. */
  async replaceTrack(kind: "audio" | "video", track: MediaStreamTrack): Promise<void> {
    const old = this.#tracks.find((sent) => sent.own && sent.track.kind === kind);
    if (old && this.#leg) {
      const clone = this.#prepared(track.clone());
      await this.#leg.replaceTrack(kind, clone);
      old.track.stop();
      old.track = clone;
    }
  }

  /** Its offer; nothing that matters when the call ended meanwhile. */
  async #connect(): Promise<string> {
    const { stream, audio = true, video = false } = this.options;
    if (stream) {
      this.#tracks = stream.getTracks().map((track) => ({ track: this.#prepared(track), own: false }));
    } else {
      const wanted = [audio && this.#host.device("audio"), video && this.#host.device("video")];
      const tracks = await Promise.all(wanted.filter((device) => device !== false));
      this.#tracks = tracks.map((track) => ({ track: this.#prepared(track.clone()), own: true }));
    }
    if (this.state === "ended") {
      this.#stopTracks();
      return "";
    }
    const tracks = this.#tracks.map(({ track }) => track);
    const withVideo = video || tracks.some((track) => track.kind === "video");
    this.#leg = new Leg(this.#host.connect(), tracks, withVideo, {
      handleTrack: (track) => this.#handleTrack(track),
      handleIceDisconnected: () => this.#handleIceDisconnected(),
      handlePeerClosed: () => this.#handlePeerClosed(),
    });
    return this.#leg.offer();
  }

  async #handleAnswer(settled: Settled): Promise<void> {
    if (settled.status !== "ok") {
      throw refusal(settled);
    }
    if (this.state !== "ended" && settled.sdp) {
      await this.#leg?.answer(settled.sdp);
      this.#machine.handleAnswer(this.#host.clock.now());
      this.#prefer();
      this.#lookAgain();
    }
  }

  #abort(): void {
    if (this.state !== "ended" && this.sessionId === undefined) {
      return this.end("local-hang-up", new CallError("aborted"));
    }
    this.hangUp();
  }

  /** Looks often for the first packet; later so that one look comes shortly after packets may be called missing. */
  #lookAgain(age?: number): void {
    this.#cancelLook();
    if (this.state !== "ended") {
      const left = age === undefined ? 0 : ALIVE_MS + 10 - age;
      const wait = left < 0 ? LOOK_MS : Math.min(LOOK_MS, Math.max(LOOK_SOON_MS, left));
      this.#cancelLook = this.#host.clock.after(wait, () => void this.look());
    }
  }

  #prepared(track: MediaStreamTrack): MediaStreamTrack {
    if (track.kind === "audio") {
      track.enabled = !this.#muted;
    }
    return track;
  }

  #stopTracks(): void {
    for (const { track, own } of this.#tracks) {
      if (own) {
        track.stop();
      }
    }
  }

  #setMuted(muted: boolean): void {
    if (this.#muted === muted || this.state === "ended") {
      return;
    }
    this.#muted = muted;
    for (const { track } of this.#tracks) {
      this.#prepared(track);
    }
    this.emit("mutechange", { muted });
  }

  #refusal(verb: CallVerb): string | undefined {
    const { state, heldBy, alerting } = this;
    if (state === "ended") {
      return state;
    }
    const up = state === "active" || state === "held";
    const ours = heldBy && heldBy !== "remote";
    const local = verb === "hang-up" || verb === "mute";
    const away = local || verb === "reject" ? undefined : this.#services.reason("control");
    if (away === undefined && up && !local && BUILT_IN.includes(this.target)) {
      return "not-supported";
    }
    const fits = verb === "answer" ? !this.#answering : verb === "hold" ? !ours : verb !== "unhold" || ours;
    const now = verb === "answer" || verb === "reject" ? alerting : up;
    return away ?? (local || (now && fits) ? undefined : "wrong-state");
  }

  #handleTrack(track: MediaStreamTrack): void {
    this.remoteStream.addTrack(track);
    this.emit("remotestream", { stream: this.remoteStream });
  }

  #handleIceDisconnected(): void {
    this.#machine.handleIceDisconnected(this.#host.clock.now());
    this.#drive();
  }

  #handlePeerClosed(): void {
    this.#host.clock.after(PEER_CLOSED_MS, () => this.end("remote-hang-up"));
  }

  /** Carries out what the machine decided. */
  #drive(): void {
    for (const command of this.#machine.takeCommands()) {
      if ("do" in command) {
        this.#carryOut(command.do);
      } else {
        this.#told(command);
      }
    }
  }

  #carryOut(what: "suspect" | "restart-ice" | "media-lost"): void {
    if (what === "restart-ice") {
      void this.#restartIce();
    } else if (what === "media-lost") {
      this.#host.handleMediaLost(this);
    } else if (this.orphaned) {
      this.#machine.handleRestarted(true, this.#host.clock.now());
    } else {
      this.#host.handleSuspect();
    }
  }

  #told({ tell, ...detail }: Extract<CallCommand, { tell: string }>): void {
    if (tell === "ended") {
      const ended = this.#ended as CallEnded;
      this.emit(tell, ended);
      return this.#host.handleEnded(ended);
    }
    this.emit(tell, detail as never);
    if (tell === "mediachange") {
      this.#tell(this.#services.set("media", this.media === "stalled" ? "stalled" : undefined));
    } else if (tell === "statechange" || tell === "holdchange") {
      this.emit("capabilitieschange", {});
    }
  }

  #tell(edges: ServiceEdge[]): void {
    for (const edge of edges) {
      this.emit(edgeEvent(edge), edge);
      this.emit("capabilitieschange", {});
    }
  }

  async #restartIce(): Promise<void> {
    let ok = false;
    try {
      const sdp = (await this.#leg?.offer(true)) ?? "";
      const settled = await this.#host.request(this, { method: "restart_ice", call_id: this.id, sdp });
      if (settled.status === "ok" && settled.sdp && this.#ended === undefined) {
        await this.#leg?.answer(settled.sdp);
        ok = true;
      } else {
        await this.#leg?.rollback();
      }
    } catch {
      // A closed peer connection; the machine is told and asks again if the call is still there.
    }
    this.#machine.handleRestarted(ok, this.#host.clock.now());
    this.#drive();
  }
}

/** What is not known is `unknown`. */
function refusal({ reason = "unknown", detail }: { status: string; reason?: CallReason; detail?: string }): CallError {
  return new CallError(reason, detail);
}

function asError(cause: unknown): HoldfastError {
  return cause instanceof HoldfastError ? cause : new CallError("webrtc", String(cause), cause);
}
