/**
 * A whole service in process, at the level of the protocol: balancers with pins, instances with sessions and calls, and the
 * faults that tests need. Answers at once; a test moves time by the clock.
 */
import type {
  CallSnapshot,
  ClientMessage,
  DeadCall,
  EndedCall,
  HeldBy,
  Outcome,
  Request,
  ServerMessage,
} from "../../src/protocol.gen.ts";
import type { FakeRequest, FakeSocket, FakeWire, Received } from "./wire.ts";

interface FakeSession {
  id: string;
  token: string;
  user: string;
  clientId: string;
  epoch: string;
  seq: number;
  calls: Map<string, CallSnapshot>;
  ended: EndedCall[];
  answers: Map<string, ServerMessage>;
  /** The capsule of an earlier session was opened, and it was not attached since. */
  recovering: boolean;
  socket: FakeSocket | undefined;
}

export class FakeInstance {
  boot: string;
  state: "up" | "gone" | "frozen" | "draining" = "up";
  readonly sessions = new Map<string, FakeSession>();
  /** Session ids that were closed here. */
  readonly closed = new Set<string>();
  starts = 0;

  constructor(readonly id: string) {
    this.boot = `${id}-boot-1`;
  }

  get serves(): boolean {
    return this.state === "up" || this.state === "draining";
  }
}

/** `gone`: connections are refused or reset; `silent`: nothing comes. */
export type CutOff = "gone" | "silent";

/** How a request or a client message arrived. */
export type Log = { method: string; instance: string | undefined; body?: unknown };

export class FakeServer {
  readonly instances: FakeInstance[];
  readonly received: Received[] = [];
  readonly acted: Request[] = [];
  /** The next request over a socket is lost with its wire, before (`request`) or after (`answer`) the instance acted. */
  lose: "request" | "answer" | undefined;
  /** An attach after a loss is told at once what became of its dead calls. */
  recovers = true;
  /** Requests are answered. */
  answers = true;
  /** Every request is answered so. */
  refuse: Outcome | undefined;
  /** Balancers (by base URL) that are down. */
  readonly down = new Set<string>();
  /** Pairs of balancer and instance that can't reach each other, and what the balancer takes it for. */
  readonly cutOff = new Map<string, CutOff>();
  alternates: string[] = [];
  windowMs = 20;
  #ids = 0;
  readonly #wires: FakeWire[] = [];

  constructor(count = 2) {
    this.instances = Array.from({ length: count }, (_, index) => new FakeInstance(`gw-${"abcdef"[index]}`));
  }

  connect(wire: FakeWire): void {
    this.#wires.push(wire);
    wire.onreceived = (received) => {
      this.received.push(received);
      queueMicrotask(() => this.#receive(received));
    };
  }

  get sockets(): FakeSocket[] {
    return this.#wires.flatMap((wire) => wire.sockets);
  }

  /** Sockets that an instance holds attached. */
  get attached(): FakeSocket[] {
    return this.sockets.filter((socket) => socket.attached);
  }

  sessionOf(socket: FakeSocket | undefined): { instance: FakeInstance; session: FakeSession } | undefined {
    for (const instance of this.instances) {
      for (const session of instance.sessions.values()) {
        if (session.socket === socket) {
          return { instance, session };
        }
      }
    }
    return undefined;
  }

  /** The process dies; balancers see it at once. */
  kill(instance: FakeInstance, notice: "4503" | "1006" = "4503"): void {
    const sockets = [...instance.sessions.values()].flatMap(({ socket }) => socket ?? []);
    instance.state = "gone";
    instance.sessions.clear();
    for (const socket of sockets) {
      socket.end(notice === "4503" ? 4503 : 1006, notice === "4503" ? "gone" : "");
    }
  }

  /** Back at the same address as another boot. */
  restart(instance: FakeInstance): void {
    instance.boot = `${instance.id}-boot-${++this.#ids + 1}`;
    instance.state = "up";
    instance.sessions.clear();
  }

  /** Nothing comes from it any more, and the balancers say so. */
  freeze(instance: FakeInstance): void {
    instance.state = "frozen";
    for (const { socket } of instance.sessions.values()) {
      socket?.end(4503, "silent");
    }
  }

  /** A balancer stops reaching an instance; media goes past it. */
  cutOffBalancer(base: string, instance: FakeInstance, as: CutOff = "silent"): void {
    this.cutOff.set(pair(base, instance), as);
    for (const { socket } of instance.sessions.values()) {
      if (socket?.base === base) {
        this.#detach(socket);
        socket.end(4503, as);
      }
    }
  }

  killBalancer(base: string): void {
    this.down.add(base);
    for (const socket of this.sockets.filter((own) => own.base === base)) {
      this.#detach(socket);
      socket.lose();
    }
  }

  /** The wire alone is cut. */
  cut(): void {
    for (const socket of this.sockets.filter((own) => own.readyState < 2)) {
      this.#detach(socket);
      socket.lose();
    }
  }

  drain(instance: FakeInstance): void {
    instance.state = "draining";
    for (const session of instance.sessions.values()) {
      this.event(session, { type: "draining", deadline_ms: 600_000 });
      this.offerMove(session);
    }
  }

  offerMove(session: FakeSession): void {
    if (session.calls.size === 0) {
      this.event(session, { type: "move", ticket: `ticket-${session.id}` });
    }
  }

  event(session: FakeSession, event: Extract<ServerMessage, { kind: "event" }>["event"]): void {
    session.socket?.deliver({ kind: "event", epoch: session.epoch, seq: ++session.seq, event });
  }

  endCall(instance: FakeInstance, session: FakeSession, callId: string, reason: EndedCall["reason"]): void {
    if (session.calls.delete(callId)) {
      session.ended.push({ call_id: callId, reason });
      this.event(session, { type: "call_ended", call_id: callId, reason });
      if (instance.state === "draining") {
        this.offerMove(session);
      }
    }
  }

  /** Somebody calls the session's user. Returns the call's id. */
  ring(session: FakeSession, more: Partial<CallSnapshot> = {}): string {
    const call: CallSnapshot = {
      call_id: `call-in-${++this.#ids}`,
      direction: "incoming",
      target: "sip:bob@example.org",
      state: "ringing",
      media: "connecting",
      ...more,
    };
    session.calls.set(call.call_id, call);
    this.event(session, { type: "incoming_call", call });
    return call.call_id;
  }

  /** One side holds or takes back. */
  hold(session: FakeSession, callId: string, side: "local" | "remote", held: boolean): void {
    const call = session.calls.get(callId);
    if (!call || (call.state !== "active" && call.state !== "held")) {
      return;
    }
    const sides = new Set(call.held_by === "both" ? ["local", "remote"] : [call.held_by]);
    sides[held ? "add" : "delete"](side);
    const heldBy = sides.has("local") && sides.has("remote") ? "both" : sides.has("local") ? "local" : "remote";
    const by = (sides.has("local") || sides.has("remote") ? heldBy : undefined) as HeldBy | undefined;
    const { held_by: _, ...rest } = call;
    const now: CallSnapshot = { ...rest, state: by ? "held" : "active", ...(by && { held_by: by }) };
    session.calls.set(callId, now);
    this.event(session, { type: "call_state", call_id: callId, state: now.state, ...(by && { held_by: by }) });
  }

  // The balancer.

  #receive(received: Received): void {
    switch (received.kind) {
      case "request":
        return this.#request(received);
      case "open":
        return this.#open(received.socket);
      case "send":
        return this.#message(received.socket, received.message);
      case "close":
        return this.#detach(received.socket);
    }
  }

  #request(request: FakeRequest): void {
    if (!request.open || this.down.has(request.base)) {
      return request.open ? request.fail() : undefined;
    }
    if (request.path === "/v1/sessions") {
      return this.#signIn(request);
    }
    const id = request.path.split("/").at(-1) ?? "";
    const owner = this.#owner(id);
    const reachable = owner?.serves && !this.cutOff.has(pair(request.base, owner));
    if (request.method === "DELETE") {
      if (owner && reachable) {
        this.#close(owner, id);
      }
      return request.answer(204);
    }
    if (reachable && owner) {
      return this.#probe(request, owner, id);
    }
    const other = this.instances.find((instance) => instance.state === "up");
    const gone = !owner || owner.state === "gone" || this.cutOff.get(pair(request.base, owner)) === "gone";
    const headers = { "holdfast-pin": `moved; reason=${gone ? "gone" : "silent"}` };
    return other
      ? request.answer(404, { type: "session-unknown" }, { ...headers, "holdfast-boot": other.boot })
      : request.answer(503, { type: "no-instance" }, { "retry-after": "1" });
  }

  #owner(sessionId: string): FakeInstance | undefined {
    return this.instances.find((instance) => sessionId.startsWith(`${instance.id}-`));
  }

  #probe(request: FakeRequest, instance: FakeInstance, id: string): void {
    const headers = { "holdfast-boot": instance.boot, "holdfast-instance": instance.id, "holdfast-pin": "kept" };
    if (!instance.sessions.has(id)) {
      return request.answer(instance.closed.has(id) ? 410 : 404, { type: "session-unknown" }, headers);
    }
    request.answer(200, { instance_id: instance.id, boot_id: instance.boot, session_id: id, calls: [] }, headers);
  }

  #signIn(request: FakeRequest): void {
    const avoid = request.headers["holdfast-avoid"]?.split(".")[0];
    const up = this.instances.filter(
      (instance) => instance.state === "up" && !this.cutOff.has(pair(request.base, instance)),
    );
    const chosen = up.find((instance) => instance.id !== avoid) ?? up[0];
    if (!chosen) {
      return request.answer(503, { type: "no-instance" }, { "retry-after": "1" });
    }
    const body = request.body as { client_id: string; user?: string; capsule?: string };
    const id = `${chosen.id}-${++this.#ids}`;
    const session: FakeSession = {
      id,
      token: `token-${id}`,
      user: body.user ?? "someone",
      clientId: body.client_id,
      epoch: `epoch-${id}`,
      seq: 0,
      calls: new Map(),
      ended: [],
      answers: new Map(),
      recovering: body.capsule !== undefined,
      socket: undefined,
    };
    chosen.sessions.set(id, session);
    request.answer(
      201,
      {
        session_id: id,
        session_token: session.token,
        instance_id: chosen.id,
        boot_id: chosen.boot,
        user: session.user,
        heartbeat_ms: 5000,
        grace_ms: 60_000,
        reconnect_window_ms: this.windowMs,
        ice_servers: [],
        services: [{ service: "calls", available: true }],
        capsule: `capsule-${id}`,
        recovering: body.capsule !== undefined,
        alternates: this.alternates,
      },
      { location: `/v1/sessions/${id}` },
    );
  }

  // The instance.

  #open(socket: FakeSocket): void {
    if (this.down.has(socket.base)) {
      return socket.lose();
    }
    socket.accept();
  }

  #message(socket: FakeSocket, message: ClientMessage): void {
    const id = socket.path.split("/").at(-2) ?? "";
    const instance = this.#owner(id);
    if (!socket.alive || instance?.state === "frozen") {
      return;
    }
    const session = instance?.sessions.get(id);
    if (!instance?.serves || !session || this.cutOff.has(pair(socket.base, instance))) {
      return socket.end(4410);
    }
    if (message.kind === "attach") {
      return this.#attach(instance, session, socket, message);
    }
    if (session.socket !== socket) {
      return;
    }
    if (message.kind === "resync") {
      return socket.deliver({ kind: "snapshot", snapshot: snapshot(session) });
    }
    if (message.kind === "request") {
      this.#act(instance, session, message.id, message.request);
    }
  }

  #attach(
    instance: FakeInstance,
    session: FakeSession,
    socket: FakeSocket,
    message: Extract<ClientMessage, { kind: "attach" }>,
  ): void {
    for (const { sessions } of this.instances) {
      for (const other of sessions.values()) {
        if (other.user === session.user && other.clientId === session.clientId && other.socket?.alive) {
          if (other === session || sessions.has(session.id)) {
            other.socket.end(4409);
          }
        }
      }
    }
    for (const { call_id, direction, state } of [...session.calls.values()]) {
      const alerting = direction === "incoming" && state === "ringing";
      if (!alerting && !message.calls.includes(call_id)) {
        this.endCall(instance, session, call_id, "page-reloaded");
      }
    }
    session.socket = socket;
    const capsule = `capsule-${session.id}-2`;
    const told = { heartbeat_ms: 5000, reconnect_window_ms: this.windowMs, capsule };
    socket.deliver({ kind: "attached", snapshot: snapshot(session), ...told });
    if (session.recovering && this.recovers) {
      session.recovering = false;
      this.#recover(session, message.dead_calls);
    }
  }

  /** Every far side that is asked for is still there. */
  #recover(session: FakeSession, dead: DeadCall[]): void {
    const wanted = (action: DeadCall["action"]) => dead.filter((call) => call.action === action);
    const recovered = wanted("resume").map((call) => this.ring(session, { replaces: call.call_id }));
    const lost = wanted("hang_up").map((call) => call.call_id);
    this.event(session, { type: "session_recovered", recovered, lost, unknown: [] });
  }

  #act(instance: FakeInstance, session: FakeSession, id: string, request: Request): void {
    const lose = this.lose;
    this.lose = undefined;
    if (lose === "request") {
      return this.cut();
    }
    const known = session.answers.get(id);
    if (known) {
      return session.socket?.deliver(known);
    }
    this.acted.push(request);
    if (!this.answers) {
      return;
    }
    const outcome = this.refuse ?? this.#judge(session, request);
    const answer: ServerMessage = { kind: "response", id, outcome };
    session.answers.set(id, answer);
    if (request.method === "start_call" && outcome.status === "ok") {
      const { call_id, target } = request;
      session.calls.set(call_id, { call_id, direction: "outgoing", target, state: "connecting", media: "connecting" });
    }
    if (lose === "answer") {
      this.cut();
    }
    session.socket?.deliver(answer);
    if (outcome.status === "ok") {
      this.#happen(instance, session, request);
    }
  }

  #judge(session: FakeSession, request: Request): Outcome {
    const call = session.calls.get(request.call_id);
    const wrong: Outcome = { status: "failed", reason: "wrong-state" };
    switch (request.method) {
      case "start_call":
      case "restart_ice":
        return { status: "ok", sdp: "v=0\r\n" };
      case "hang_up":
        return { status: "ok" };
      case "answer_call":
        return call?.state === "ringing" ? { status: "ok", sdp: "v=0\r\n" } : wrong;
      case "reject_call":
        return call?.state === "ringing" ? { status: "ok" } : wrong;
      default:
        return call?.state === "active" || call?.state === "held" ? { status: "ok" } : wrong;
    }
  }

  #happen(instance: FakeInstance, session: FakeSession, request: Request): void {
    const { method, call_id } = request;
    switch (method) {
      case "start_call":
      case "answer_call": {
        const call = session.calls.get(call_id);
        if (call) {
          session.calls.set(call_id, { ...call, state: "active" });
          this.event(session, { type: "call_state", call_id, state: "active" });
        }
        return;
      }
      case "hang_up":
      case "reject_call":
        return this.endCall(instance, session, call_id, "local-hang-up");
      case "hold":
      case "unhold":
        return this.hold(session, call_id, "local", method === "hold");
      case "transfer_to":
        this.endCall(instance, session, request.other, "transferred");
        return this.endCall(instance, session, call_id, "transferred");
      case "transfer":
        return this.endCall(instance, session, call_id, "transferred");
      case "send_digits":
      case "restart_ice":
    }
  }

  #close(instance: FakeInstance, id: string): void {
    const session = instance.sessions.get(id);
    instance.sessions.delete(id);
    instance.closed.add(id);
    session?.socket?.end(1000);
  }

  #detach(socket: FakeSocket): void {
    const found = this.sessionOf(socket);
    if (found) {
      found.session.socket = undefined;
    }
  }
}

function pair(base: string, instance: FakeInstance): string {
  return `${base} ${instance.id}`;
}

function snapshot(session: FakeSession) {
  const { epoch, seq, calls, ended } = session;
  return { epoch, seq, calls: [...calls.values()], ended, services: [{ service: "calls", available: true }] };
}
