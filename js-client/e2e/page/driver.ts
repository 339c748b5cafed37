// What the blank test page runs: one client of the library, its events with wall-clock times, and eyes and ears on its media.
import type { Call, CallEvents, Capability, ClientEvents, ClientOptions, SessionInfo } from "../../src/index.ts";

declare const Holdfast: typeof import("../../src/index.ts");

export interface LoggedEvent {
  /** Wall clock, the same as the test's. */
  at: number;
  /** `signedin`, `ended`, ..; events of a call begin with `call:`. */
  name: string;
  detail: Record<string, unknown>;
}

const CLIENT_EVENTS = [
  ...["statechange", "signedin", "signedout", "instancechange", "signalinglost", "signalingback", "retrying", "ended"],
  ...["serviceunavailable", "serviceavailable", "callsresynced", "sessionrecovered", "redialed", "draining", "moved"],
  ...["superseded", "unauthorized", "gaveup"],
] as (keyof ClientEvents)[];

const CALL_EVENTS = [
  ...["statechange", "mediachange", "remotestream", "mediastalled", "mediaresumed", "serviceunavailable"],
  ...["serviceavailable", "holdchange", "digit", "partychange", "resumed", "ended"],
] as (keyof CallEvents)[];

/** What becomes of the far sides of calls that are lost with their instance. */
export type LostCalls = "resume" | "hang_up";

/** What a refused verb was refused for, and how soon. */
export interface Refusal {
  reason: string;
  message: string;
  /** The fastest of three: a busy machine lets any one wait. */
  tookMs: number;
}

type InboundStats = {
  type: string;
  kind?: string;
  packetsReceived?: number;
  framesDecoded?: number;
  lastPacketReceivedTimestamp?: number;
};

type SentStats = { type: string; kind?: string; codecId?: string; mimeType?: string };

export class Driver {
  private readonly log: LoggedEvent[] = [];
  private readonly calls: Call[] = [];
  private readonly analysers = new Map<Call, AnalyserNode>();
  private client: InstanceType<typeof Holdfast.GatewayClient> | undefined;
  private longestGapMs = 0;
  private chosen: Call | undefined;
  private unplugged = false;
  private lostCalls: LostCalls = "hang_up";
  private readonly sockets = new Set<WebSocket>();

  /** Makes the client and signs in. */
  async signIn({ lostCalls = "hang_up", ...options }: ClientOptions & { lostCalls?: LostCalls }): Promise<SessionInfo> {
    this.lostCalls = lostCalls;
    this.client = new Holdfast.GatewayClient({
      ...options,
      onCallLost: () => this.lostCalls,
      WebSocket: this.tellingSocket(),
      fetch: (...args) => (this.unplugged ? Promise.reject(new TypeError("unplugged")) : fetch(...args)),
    });
    this.client.on("incomingcall", ({ call, replaces, answering }) => {
      const { id, target, offersVideo } = call;
      this.note("incomingcall", { id, target, offersVideo, replaces, answering });
      this.adopt(call);
    });
    for (const name of CLIENT_EVENTS) this.client.on(name, (detail) => this.note(name, detail));
    const session = await this.client.signIn();
    return { ...session };
  }

  /** From now on. */
  wish(lostCalls: LostCalls): void {
    this.lostCalls = lostCalls;
  }

  async signOut(): Promise<void> {
    await this.client?.signOut();
  }

  /** Asks for the microphone beforehand, so that calls don't wait for it. */
  async openMicrophone(): Promise<void> {
    await this.client?.microphone.open();
  }

  /** Starts a call and returns its id at once. */
  call(target: string, { video = false } = {}): string {
    if (!this.client) throw new Error("sign in first");
    const call = this.client.call(target, { video });
    this.note("called", { id: call.id, target });
    this.adopt(call);
    return call.id;
  }

  /** Makes a call of this page the one that everything else is about, until the next one is there. */
  choose(id: string): void {
    this.chosen = this.calls.find((call) => call.id === id);
  }

  /** Answers the newest call; resolves when the instance took the answer. */
  answer({ video = false } = {}): Promise<void> {
    return this.newest().answer({ video });
  }

  reject({ busy = false } = {}): void {
    this.newest().reject({ busy });
  }

  hold(): Promise<void> {
    return this.newest().hold();
  }

  unhold(): Promise<void> {
    return this.newest().unhold();
  }

  sendDigits(digits: string): Promise<void> {
    return this.newest().sendDigits(digits);
  }

  transfer(target: string): Promise<void> {
    return this.newest().transfer(target);
  }

  transferTo(otherId: string): Promise<void> {
    const other = this.calls.find((call) => call.id === otherId);
    if (!other) throw new Error(`no call ${otherId}`);
    return this.newest().transferTo(other);
  }

  /** Tries what has to be refused, and says why it was. */
  async refusalOf(what: "hold" | "unhold" | "transfer" | "digits" | "call", target = "nobody"): Promise<Refusal> {
    const verbs = {
      hold: () => this.newest().hold(),
      unhold: () => this.newest().unhold(),
      transfer: () => this.newest().transfer(target),
      digits: () => this.newest().sendDigits("1"),
      call: async () => void this.call(target),
    };
    const refusals: Refusal[] = [];
    while (refusals.length < 3) {
      const from = performance.now();
      const error = await verbs[what]().then(
        () => undefined,
        (refused: Error & { reason?: string }) => refused,
      );
      if (!error) throw new Error(`${what} was not refused`);
      refusals.push({ reason: error.reason ?? "", message: error.message, tookMs: performance.now() - from });
    }
    return refusals.reduce((fastest, next) => (next.tookMs < fastest.tookMs ? next : fastest));
  }

  private adopt(call: Call): void {
    this.calls.push(call);
    this.chosen = undefined;
    for (const name of CALL_EVENTS) call.on(name, (detail) => this.note(`call:${name}`, { id: call.id, ...detail }));
  }

  /** Calls at the next sign-in; from inside the page, so that no test's round trip counts. */
  callAfterReturn(target: string): void {
    this.client?.on("signedin", () => this.call(target), { once: true });
  }

  hangUp(): void {
    this.newest().hangUp();
  }

  mute(): void {
    this.newest().mute();
  }

  unmute(): void {
    this.newest().unmute();
  }

  events(name?: string): LoggedEvent[] {
    return name === undefined ? this.log : this.log.filter((event) => event.name === name);
  }

  /** The serving instance's id while signed in. */
  instance(): string | undefined {
    return this.client?.state === "signed-in" ? this.client.session?.instanceId : undefined;
  }

  session(): SessionInfo | undefined {
    return this.client?.session && { ...this.client.session };
  }

  clientId(): string {
    return this.client?.clientId ?? "";
  }

  clientState(): string {
    return this.client?.state ?? "none";
  }

  callStates(): { id: string; state: string; media: string; preserved: boolean; heldBy: string | undefined }[] {
    return this.calls.map(({ id, state, media, preserved, heldBy }) => ({ id, state, media, preserved, heldBy }));
  }

  /** Of the whole client. */
  canCall(): Capability {
    return this.client?.can("call") ?? { allowed: false };
  }

  connectionState(): string {
    return this.newest().peerConnection?.connectionState ?? "none";
  }

  can(verb: "hang-up" | "hold"): Capability {
    return this.newest().can(verb);
  }

  /** Loudest frequency in the newest call's remote audio. */
  peak(): { hz: number; db: number } {
    const analyser = this.analyser(this.newest());
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    let loudest = 1;
    for (let bin = 2; bin < bins.length; bin++) if ((bins[bin] ?? 0) > (bins[loudest] ?? 0)) loudest = bin;
    const hz = (loudest * analyser.context.sampleRate) / analyser.fftSize;
    return { hz, db: Math.max(bins[loudest] ?? -200, -200) };
  }

  /** What half a second of the newest call's remote audio sounds like, for a browser whose AudioContext needs loudspeakers. */
  async recordedPeak(): Promise<{ hz: number; db: number }> {
    const recorder = new MediaRecorder(this.newest().remoteStream);
    const recorded = new Promise<Blob>((resolve) => {
      recorder.ondataavailable = ({ data }) => resolve(data);
    });
    recorder.start();
    setTimeout(() => recorder.stop(), 500);
    const bytes = await (await recorded).arrayBuffer();
    const { sampleRate, ...sound } = await decoded(bytes);
    const samples = sound.samples.slice(-sampleRate / 4);
    const crossings = samples.filter((sample, at) => at > 0 && sample >= 0 && (samples[at - 1] ?? 0) < 0).length;
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    return { hz: (crossings * sampleRate) / samples.length, db: Math.max(10 * Math.log10(power), -200) };
  }

  /** The audio codec that the newest call sends at the moment, such as `audio/opus`. */
  async sentCodec(): Promise<string | undefined> {
    const reports = ((await this.newest().peerConnection?.getStats()) ?? new Map()) as Map<string, SentStats>;
    const sent = [...reports.values()].find(({ type, kind }) => type === "outbound-rtp" && kind === "audio");
    return reports.get(sent?.codecId ?? "")?.mimeType;
  }

  /** What has arrived in the newest call. */
  async received(): Promise<{ packets: number; videoFrames: number }> {
    const inbound = await this.inbound(this.newest());
    const sum = (key: "packetsReceived" | "framesDecoded") =>
      inbound.reduce((all, report) => all + (report[key] ?? 0), 0);
    return { packets: sum("packetsReceived"), videoFrames: sum("framesDecoded") };
  }

  /** Wall-clock time of the first packet in the newest call: the last one's, less 20 ms for every earlier one. */
  async firstPacketAt(): Promise<number | undefined> {
    const [audio] = (await this.inbound(this.newest())).filter(({ kind }) => kind === "audio");
    if (!audio?.packetsReceived || !audio.lastPacketReceivedTimestamp) return undefined;
    const last = audio.lastPacketReceivedTimestamp;
    const wallClock = last > 1e12 ? last : performance.timeOrigin + last;
    return Math.min(Date.now(), wallClock - (audio.packetsReceived - 1) * 20);
  }

  /**
   * From now on keeps the longest time for which a running call missed packets; `mediaGapMs` tells it. Time without a new
   * packet counts less the 20 ms of every packet that then came, so that a busy page is no gap.
   */
  watchMedia(): void {
    this.longestGapMs = 0;
    const grown = new Map<Call, { packets: number; at: number }>();
    setInterval(async () => {
      for (const call of this.calls.filter(({ state }) => state !== "ended")) {
        const packets = (await this.inbound(call)).reduce((all, report) => all + (report.packetsReceived ?? 0), 0);
        const now = performance.now();
        const before = grown.get(call) ?? { packets, at: now };
        this.longestGapMs = Math.max(this.longestGapMs, now - before.at - 20 * (packets - before.packets));
        if (packets > before.packets || !grown.has(call)) grown.set(call, { packets, at: now });
      }
    }, 50);
  }

  mediaGapMs(): number {
    return Math.round(this.longestGapMs);
  }

  /** From now on, or no more, this page reaches no server by HTTP and WebSocket; media goes on. */
  unplug(unplugged: boolean): void {
    this.unplugged = unplugged;
    for (const socket of unplugged ? this.sockets : []) socket.close();
  }

  /** A WebSocket that logs how it was closed. */
  private tellingSocket(): typeof WebSocket {
    const opened = (socket: WebSocket) => {
      if (this.unplugged) throw new Error("unplugged");
      this.sockets.add(socket);
      socket.addEventListener("close", ({ code, reason }) => {
        this.sockets.delete(socket);
        this.note("socketclosed", { code, reason });
      });
    };
    return class extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols);
        opened(this);
      }
    };
  }

  private newest(): Call {
    const call = this.chosen ?? this.calls.at(-1);
    if (!call) throw new Error("no call yet");
    return call;
  }

  private async inbound(call: Call): Promise<InboundStats[]> {
    const reports = (await call.peerConnection?.getStats()) ?? new Map<string, InboundStats>();
    return [...(reports as unknown as Map<string, InboundStats>).values()].filter(({ type }) => type === "inbound-rtp");
  }

  private analyser(call: Call): AnalyserNode {
    const known = this.analysers.get(call);
    if (known) return known;
    // Chromium feeds a remote stream into WebAudio only while a media element plays it.
    const player = new Audio();
    player.srcObject = call.remoteStream;
    player.muted = true;
    void player.play();
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: 8192, smoothingTimeConstant: 0 });
    context.createMediaStreamSource(call.remoteStream).connect(analyser);
    this.analysers.set(call, analyser);
    return analyser;
  }

  private note(name: string, detail: object): void {
    this.log.push({ at: Date.now(), name, detail: plain(detail) });
  }
}

async function decoded(bytes: ArrayBuffer): Promise<{ samples: Float32Array; sampleRate: number }> {
  const audio = await new OfflineAudioContext(1, 1, 48_000).decodeAudioData(bytes);
  return { samples: audio.getChannelData(0), sampleRate: audio.sampleRate };
}

/** Only what JSON carries: events hold calls, streams and errors, too. */
function plain(detail: object): Record<string, unknown> {
  const entries = Object.entries(detail).map(([key, value]) => {
    if (value instanceof Error) return [key, { ...value, message: value.message }];
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return [key, undefined];
    return [key, value];
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

Object.assign(window, { e2e: new Driver() });
