/**
 * Replays one transcript of gateway/protocol/transcripts (see its README.md) against the client: plays the application, the
 * servers, the network and the clock, checks what the client sends and tells, and fails when anything is left over.
 */
import { readFileSync } from "node:fs";
import type { Call } from "../src/call.ts";
import { GatewayClient } from "../src/client.ts";
import { type CallError, SignInError } from "../src/errors.ts";
import type { ServerMessage } from "../src/protocol.gen.ts";
import { FakeClock, seeded, settle } from "./fakes/clock.ts";
import { FakeDevices, type FakePeerConnection, FakeRtc } from "./fakes/rtc.ts";
import { type FakeRequest, type FakeSocket, FakeWire, type Received } from "./fakes/wire.ts";
import { bind, fill, type Values } from "./template.ts";

type Json = Record<string, unknown>;
type Step = Json & { tab?: number; at?: string; socket?: number; lost?: boolean; base?: string };

interface Transcript {
  title: string;
  after?: string;
  auth?: "anonymous" | "jwt";
  values?: Values;
  never?: Json[];
  steps: Step[];
}

const FOLDER = new URL("../../gateway/protocol/transcripts/", import.meta.url);

/** A transcript with the steps of those that it comes after. */
export function load(name: string): Required<Omit<Transcript, "after">> {
  const own = JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8")) as Transcript;
  const before = own.after ? load(own.after) : undefined;
  return {
    title: own.title,
    auth: own.auth ?? "anonymous",
    values: { ...before?.values, ...own.values },
    never: [...(before?.never ?? []), ...(own.never ?? [])],
    steps: [...(before?.steps ?? []), ...own.steps],
  };
}

/** One tab: its client, its wires, and what came from it and has not been compared yet. */
class Tab {
  readonly wire = new FakeWire();
  readonly rtc: FakeRtc;
  readonly calls = new Map<string, Call>();
  readonly did: (Received | { kind: "peer_close"; call: string })[] = [];
  readonly pending: FakeRequest[] = [];
  readonly told: Json[] = [];
  client: GatewayClient | undefined;

  constructor(readonly clock: FakeClock) {
    this.rtc = new FakeRtc(clock);
    this.wire.onreceived = (received) => {
      this.did.push(received);
      if (received.kind === "request") {
        this.pending.push(received);
      }
    };
  }

  signIn(options: { user?: string; token?: string; clientId: string }, random: () => number): void {
    const { clientId, user, token } = options;
    const client = new GatewayClient({
      urls: ["http://balancer-1.test"],
      clientId,
      ...(token === undefined ? user !== undefined && { user } : { token: async () => token }),
      storage: null,
      clock: this.clock,
      random,
      fetch: this.wire.fetch,
      WebSocket: this.wire.WebSocket,
      RTCPeerConnection: this.rtc.constructorForClient,
      mediaDevices: new FakeDevices(),
    });
    this.client = client;
    client.on("signedin", (e) => this.told.push({ event: "signedin", instance_id: e.instanceId, boot_id: e.bootId }));
    client.on("serviceunavailable", (e) => this.told.push({ event: "serviceunavailable", reason: e.reason }));
    client.on("serviceavailable", () => this.told.push({ event: "serviceavailable" }));
    client.on("callsresynced", (e) => this.told.push({ event: "callsresynced", kept: e.kept }));
    client.on("sessionrecovered", (e) => this.told.push({ event: "sessionrecovered", ...e }));
    client.on("ended", (e) => this.told.push({ event: "ended", call: e.callId, reason: e.reason }));
    client.on("gaveup", () => this.told.push({ event: "gaveup" }));
    client.signIn().catch((error: unknown) => {
      if (error instanceof SignInError && error.problem) {
        const status = { unauthorized: 401, "client-id-taken": 409 }[error.problem as string];
        this.told.push({ event: "refused", status, type: error.problem });
      }
    });
  }

  startCall(target: string): Call | undefined {
    try {
      const call = this.client?.call(target);
      call?.on("statechange", ({ state }) => this.told.push({ event: "callstate", call: call.id, state }));
      call?.on("mediastalled", () => this.told.push({ event: "mediastalled", call: call.id }));
      void call?.started.then((outcome) => {
        this.told.push({ event: "settled", method: "start_call", call: call.id, outcome });
      });
      return call;
    } catch (error) {
      this.told.push({ event: "settled", method: "start_call", outcome: "failed", why: (error as CallError).reason });
      return undefined;
    }
  }

  newestSocket(at: string | undefined, number: number | undefined): FakeSocket | undefined {
    const sockets = this.wire.sockets.filter((socket) => at === undefined || socket.at === at);
    return number === undefined ? sockets.at(-1) : sockets[number - 1];
  }

  connection(call: Call): FakePeerConnection | undefined {
    return call.peerConnection as unknown as FakePeerConnection | undefined;
  }
}

export class Runner {
  readonly #clock = new FakeClock();
  readonly #random = seeded(1);
  readonly #tabs = new Map<number, Tab>();
  readonly #vars: Values = {};
  readonly #transcript: Required<Omit<Transcript, "after">>;
  /** Headers that the balancer puts on the next answer. */
  #pin: string | undefined;
  #at = 0;

  constructor(name: string) {
    this.#transcript = load(name);
  }

  async run(): Promise<void> {
    const { steps, never } = this.#transcript;
    for (const [index, step] of steps.entries()) {
      this.#at = index;
      await this.#step(step);
      await settle();
    }
    for (const tab of this.#tabs.values()) {
      const left = tab.did.filter(({ kind }) => kind !== "close" && kind !== "peer_close");
      this.#check(left.length === 0, `left over: ${describe(left)}`);
      for (const pattern of never) {
        const told = tab.told.find((event) => bind(pattern, event, { ...this.#vars }));
        this.#check(!told, `told what must never be: ${JSON.stringify(told)}`);
      }
    }
  }

  #check(holds: unknown, problem: string): asserts holds {
    if (!holds) {
      const step = JSON.stringify(this.#transcript.steps[this.#at])?.slice(0, 300);
      throw new Error(`step ${this.#at + 1} ${step}: ${problem}`);
    }
  }

  #tab(step: Step): Tab {
    const number = step.tab ?? 1;
    const tab = this.#tabs.get(number) ?? new Tab(this.#clock);
    this.#tabs.set(number, tab);
    return tab;
  }

  #fill(value: unknown): unknown {
    return fill(value, this.#vars, this.#transcript.values);
  }

  async #step(step: Step): Promise<void> {
    const tab = this.#tab(step);
    if (step.app) {
      return this.#app(tab, step.app as Json, step);
    }
    if (step.client) {
      return this.#client(tab, step.client as Json, step);
    }
    if (step.server) {
      return this.#server(tab, step.server as Json, step);
    }
    if (step.balancer) {
      return this.#balancer(tab, step.balancer as Json);
    }
    if (step.network) {
      return this.#network(tab, step.network as string | Json);
    }
    if (step.told) {
      return this.#told(tab, step.told as Json);
    }
    if (typeof step.time === "number") {
      return this.#clock.advance(step.time);
    }
    this.#check("operator" in step, "unknown actor");
  }

  #app(tab: Tab, app: Json, step: Step): void {
    switch (app.do) {
      case "sign_in":
        return tab.signIn(this.#credentials(app, step), this.#random);
      case "sign_out":
        return void tab.client?.signOut();
      case "start_call": {
        const call = tab.startCall(String(app.target));
        if (call) {
          this.#check(bind(app.call, call.id, this.#vars), "the call's id");
          tab.calls.set(call.id, call);
        }
        return;
      }
      case "hang_up":
        return tab.calls.get(String(this.#fill(app.call)))?.hangUp();
      default:
        this.#check(false, "unknown application step");
    }
  }

  /** What this tab's next sign-in is expected to carry decides what the application configures. */
  #credentials(app: Json, step: Step): { user?: string; token?: string; clientId: string } {
    const next = this.#transcript.steps
      .slice(this.#at)
      .find((later) => (later.tab ?? 1) === (step.tab ?? 1) && (later.client as Json)?.request);
    this.#check(next, "no sign-in follows");
    const request = this.#fill((next.client as Json).request) as { headers: Json; body: Json };
    const jwt = /^Bearer (.*)$/.exec(String(request.headers.authorization ?? ""))?.[1];
    const clientId = String(request.body.client_id);
    return { clientId, ...(jwt === undefined ? { user: String(this.#fill(app.user)) } : { token: jwt }) };
  }

  #client(tab: Tab, expected: Json, step: Step): void {
    if (expected.peer_close) {
      const call = tab.calls.get(String(this.#fill(expected.peer_close)));
      this.#check(call && tab.connection(call)?.closed, "the peer connection is open");
      return;
    }
    const wantsClose = "close" in expected;
    while (!wantsClose && tab.did[0]?.kind === "close") {
      tab.did.shift();
    }
    const did = tab.did.shift();
    this.#check(did, "the client did nothing");
    const problem = `the client did ${describe([did])}`;
    switch (did.kind) {
      case "request":
        this.#check(step.base === undefined || this.#fill(step.base) === did.base, `${problem} at ${did.base}`);
        return this.#check(bind(expected.request, { ...did }, this.#vars), problem);
      case "open":
        this.#check(step.base === undefined || this.#fill(step.base) === did.base, `${problem} at ${did.base}`);
        this.#check(bind(expected.open, did.path, this.#vars), problem);
        did.socket.at = step.at ?? "a";
        return did.socket.accept();
      case "send":
        return this.#check(bind(expected.send, did.message, this.#vars), problem);
      case "close":
      case "peer_close":
        return this.#check(wantsClose, problem);
    }
  }

  #server(tab: Tab, server: Json, step: Step): void {
    if (server.peer_close) {
      const call = tab.calls.get(String(this.#fill(server.peer_close)));
      const connection = call && tab.connection(call);
      if (connection) {
        connection.connectionState = "closed";
        connection.onconnectionstatechange?.();
      }
      return;
    }
    if (server.answer) {
      return step.lost ? undefined : this.#answer(tab, server.answer as Json);
    }
    const socket = tab.newestSocket(step.at ?? "a", step.socket);
    this.#check(socket, "no socket there");
    if (server.close) {
      const { code, reason = "" } = server.close as { code: number; reason?: string };
      return step.lost ? undefined : socket.end(code, reason);
    }
    const message = this.#fill(server.send) as ServerMessage;
    if (!step.lost) {
      socket.deliver(message);
    }
  }

  #answer(tab: Tab, template: Json): void {
    const { status, headers, body } = this.#fill(template) as { status: number; headers?: Json; body?: unknown };
    const request = this.#nextPending(tab);
    const pin = this.#pin === undefined ? {} : { "holdfast-pin": this.#pin };
    this.#pin = undefined;
    request.answer(status, body, { ...(headers as Record<string, string>), ...pin });
  }

  #nextPending(tab: Tab): FakeRequest {
    while (tab.pending[0] && !tab.pending[0].open) {
      tab.pending.shift();
    }
    const request = tab.pending.shift();
    this.#check(request, "no request waits for an answer");
    return request;
  }

  #balancer(tab: Tab, balancer: Json): void {
    if (balancer.pin) {
      this.#pin = String(balancer.pin);
    } else if (balancer.answer) {
      this.#answer(tab, balancer.answer as Json);
    } else {
      const { code, reason = "" } = balancer.close as { code: number; reason?: string };
      tab.newestSocket(undefined, undefined)?.end(code, reason);
    }
  }

  async #network(tab: Tab, network: string | Json): Promise<void> {
    switch (network) {
      case "cut":
        return tab.newestSocket(undefined, undefined)?.lose();
      case "unreachable":
        return this.#nextPending(tab).fail();
      case "address_changed":
        for (const socket of tab.wire.sockets) {
          socket.dead = true;
        }
        return tab.rtc.stop();
      case "instance_gone":
        return tab.rtc.stop();
      case "instance_frozen":
      case "instance_thawed":
        return;
    }
    await this.#networkDetail(tab, network as Json);
  }

  async #networkDetail(tab: Tab, network: Json): Promise<void> {
    if (typeof network.dark_ms === "number") {
      tab.wire.dark = true;
      await this.#clock.advance(network.dark_ms);
      tab.wire.dark = false;
    } else if (network.media === "stopped") {
      tab.rtc.stop();
    } else if (network.media) {
      tab.rtc.flow();
      await this.#clock.advance(0);
    } else if (network.to_client) {
      tab.newestSocket(undefined, undefined)?.deliver(this.#fill(network.to_client) as ServerMessage);
    } else {
      this.#check(network.to_server, "unknown network step");
    }
  }

  #told(tab: Tab, expected: Json): void {
    const at = tab.told.findIndex((event) => bind(expected, event, this.#vars));
    this.#check(at >= 0, `not told; told: ${JSON.stringify(tab.told)}`);
    tab.told.splice(at, 1);
  }
}

function describe(did: (Received | { kind: "peer_close" })[]): string {
  const plain = did.map((one) => {
    switch (one.kind) {
      case "request":
        return { request: { method: one.method, path: one.path, body: one.body } };
      case "open":
        return { open: one.path };
      case "send":
        return { send: one.message };
      default:
        return one.kind;
    }
  });
  return JSON.stringify(plain);
}
