// Whatever happens in whatever order: what an application may rely on. A failing seed is printed by fast-check.
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Call } from "../src/call.ts";
import { FakeClock, seeded } from "./fakes/clock.ts";
import { FakeServer } from "./fakes/fakeServer.ts";
import { BALANCERS, FakeTab } from "./fakes/tab.ts";

/** One thing that happens. Numbers choose among what is there. */
type Happening =
  | { do: "time"; ms: number }
  | { do: "call" | "hang-up" | "sign-in" | "sign-out" | "retry" | "cut" | "offer-move" | "heal"; which: number }
  | {
      do: "kill" | "restart" | "freeze" | "thaw" | "drain" | "kill-balancer" | "cut-off" | "refuse" | "supersede";
      which: number;
    }
  | { do: Verb | FarSide; which: number }
  | { do: "lose"; what: "request" | "answer" | undefined }
  | { do: "media"; flows: boolean };

/** What the application does in a call. */
type Verb = "answer" | "reject" | "hold" | "unhold" | "digits" | "transfer" | "transfer-to";
/** What the other end does. */
type FarSide =
  | "ring"
  | "far-hold"
  | "far-unhold"
  | "far-digit"
  | "far-codec"
  | "far-party"
  | "far-hang-up"
  | "ring-unheard";

const which = fc.nat(7);
const chosen = <const T extends string>(...names: T[]) => fc.record({ do: fc.constantFrom(...names), which });

/** Faults that leave an instance and its media alive. */
const gentle = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("time" as const), ms: fc.integer({ min: 0, max: 3_000 }) }) },
  { weight: 4, arbitrary: chosen("call", "cut", "kill-balancer", "cut-off", "refuse", "heal", "retry") },
  { weight: 3, arbitrary: chosen("ring", "ring-unheard", "answer", "hold", "unhold", "digits") },
  { weight: 1, arbitrary: chosen("far-hold", "far-unhold", "far-digit", "far-codec", "far-party") },
  fc.record({ do: fc.constant("lose" as const), what: fc.constantFrom("request", "answer", undefined) }),
);

const anything: fc.Arbitrary<Happening> = fc.oneof(
  { weight: 6, arbitrary: gentle },
  { weight: 4, arbitrary: chosen("call", "sign-in") },
  { weight: 1, arbitrary: chosen("hang-up", "sign-out", "supersede") },
  { weight: 1, arbitrary: chosen("reject", "transfer", "transfer-to", "far-hang-up") },
  { weight: 4, arbitrary: chosen("kill", "restart", "freeze", "thaw", "drain", "offer-move") },
  fc.record({ do: fc.constant("media" as const), flows: fc.boolean() }),
);

class World {
  readonly clock = new FakeClock();
  readonly server = new FakeServer(3);
  readonly tab: FakeTab;
  readonly calls: Call[] = [];
  readonly ends = new Map<string, number>();
  readonly started = new Set<string>();
  /** Calls that came instead of lost ones, by those. */
  readonly replaced = new Map<string, string>();
  /** Incoming calls of which nobody knows how they began. */
  unanswered = 0;
  open = 0;
  media = true;
  /** A balancer is refused by the instance in use: then the other one has to work, or nobody can tell that it lives. */
  refused = false;

  constructor(seed: number, redial: boolean) {
    this.tab = new FakeTab(this.server, {
      clock: this.clock,
      random: seeded(seed),
      redial,
      onCallLost: () => (seed % 2 ? "resume" : "hang_up"),
    });
    this.tab.client.on("redialed", ({ call }) => this.watch(call));
    this.tab.client.on("incomingcall", ({ call, replaces, answering }) => {
      expect(
        this.calls.filter((other) => other.state !== "ended").map(({ id }) => id),
        "rings once",
      ).not.toContain(call.id);
      if (replaces !== undefined) {
        expect(this.ends.has(replaces), "a call ended before another one takes its place").toBe(true);
        this.replaced.set(replaces, call.id);
      }
      expect(answering).toBe(replaces !== undefined);
      this.watch(call);
    });
    this.tab.client.on("ended", ({ callId }) => this.ends.set(callId, (this.ends.get(callId) ?? 0) + 1));
    this.promise(this.tab.client.signIn());
  }

  /** A promise of the library; all of them must settle. */
  promise(promise: Promise<unknown>): void {
    this.open++;
    const settled = () => this.open--;
    promise.then(settled, settled);
  }

  watch(call: Call): void {
    this.calls.push(call);
    const started = call.started.then((how) => how === "ok" && this.started.add(call.id));
    if (call.direction === "outgoing") {
      return this.promise(started);
    }
    this.unanswered++;
    void started.then(() => this.unanswered--);
  }

  /** Calls that the instance took and that ended all the same. */
  get endedEarly(): string[] {
    return [...this.ends.keys()].filter((id) => this.started.has(id));
  }

  async happen(happening: Happening): Promise<void> {
    const { server, tab } = this;
    if (happening.do === "time") {
      for (let passed = 0; passed < happening.ms; passed += 500) {
        this.heartbeat();
        await this.clock.advance(Math.min(500, happening.ms - passed));
      }
      return;
    }
    if (happening.do === "lose") {
      server.lose = happening.what;
    } else if (happening.do === "media") {
      this.media = happening.flows;
    } else {
      this.fault(happening.do, happening.which);
    }
    await this.clock.advance(0);
    if (this.media) {
      tab.rtc.flow();
    } else {
      tab.rtc.stop();
    }
    this.check();
  }

  /** One of the calls that the client has. */
  call(at: number): Call | undefined {
    const { calls } = this.tab.client;
    return calls[at % calls.length];
  }

  verb(name: Verb, at: number): void {
    const call = this.call(at);
    const other = this.call(at + 1);
    switch (name) {
      case "answer":
        return call && this.promise(call.answer());
      case "reject":
        return call?.reject();
      case "hold":
      case "unhold":
        return call && this.promise(call[name]());
      case "digits":
        return call && this.promise(call.sendDigits("1"));
      case "transfer":
        return call && this.promise(call.transfer("sip:x@y"));
      case "transfer-to":
        return call && other && this.promise(call.transferTo(other));
    }
  }

  farSide(name: FarSide, at: number): void {
    const { server } = this;
    const found = server.sessionOf(server.attached.at(-1));
    if (!found) {
      return;
    }
    const { instance, session } = found;
    const calls = [...session.calls.keys()];
    const id = calls[at % calls.length] ?? "";
    switch (name) {
      case "ring":
        return void server.ring(session);
      case "ring-unheard":
        server.cut();
        return void server.ring(session);
      case "far-hold":
      case "far-unhold":
        return server.hold(session, id, "remote", name === "far-hold");
      case "far-digit":
        return server.event(session, { type: "digit", call_id: id, digit: "5" });
      case "far-codec":
        return server.event(session, { type: "send_codec", call_id: id, codec: "PCMU" });
      case "far-party":
        return server.event(session, { type: "call_party", call_id: id, target: `sip:${at}@example.org` });
      case "far-hang-up":
        return server.endCall(instance, session, id, at % 2 ? "remote-hang-up" : "cancelled");
    }
  }

  fault(name: Exclude<Happening["do"], "time" | "lose" | "media">, at: number): void {
    const { server, tab } = this;
    const instance = server.instances[at % server.instances.length] as (typeof server.instances)[0];
    const base = BALANCERS[at % BALANCERS.length] ?? "";
    switch (name) {
      case "call":
        return tab.client.can("call").allowed ? this.watch(tab.client.call("echo")) : undefined;
      case "hang-up":
        return this.calls.at(-1)?.hangUp();
      case "sign-in":
        return this.promise(tab.client.signIn());
      case "sign-out":
        return this.promise(tab.client.signOut());
      case "retry":
        return tab.client.state === "signed-out" ? undefined : this.promise(tab.client.retry());
      case "cut":
        return server.cut();
      case "kill":
        return server.kill(instance, at % 2 ? "4503" : "1006");
      case "restart":
        return instance.state === "gone" ? server.restart(instance) : undefined;
      case "freeze":
        return instance.state === "up" ? server.freeze(instance) : undefined;
      case "thaw":
        instance.state = instance.state === "frozen" ? "up" : instance.state;
        return;
      case "drain":
        return instance.state === "up" ? server.drain(instance) : undefined;
      case "offer-move":
        for (const session of instance.sessions.values()) {
          server.offerMove(session);
        }
        return;
      case "kill-balancer":
        return this.refused ? undefined : server.killBalancer(base);
      case "cut-off":
        return this.refused ? undefined : server.cutOffBalancer(base, this.serving ?? instance);
      case "refuse":
        this.heal();
        this.refused = true;
        return server.cutOffBalancer(base, this.serving ?? instance, "gone");
      case "supersede":
        return server.attached.at(-1)?.end(4409);
      case "heal":
        return this.heal();
      case "ring":
      case "ring-unheard":
      case "far-hold":
      case "far-unhold":
      case "far-digit":
      case "far-codec":
      case "far-party":
      case "far-hang-up":
        return this.farSide(name, at);
      default:
        return this.verb(name, at);
    }
  }

  get serving() {
    return this.server.sessionOf(this.server.attached.at(-1))?.instance;
  }

  heal(): void {
    const { server } = this;
    this.refused = false;
    server.down.clear();
    server.cutOff.clear();
    server.lose = undefined;
  }

  heartbeat(): void {
    for (const socket of this.server.attached) {
      socket.deliver({ kind: "ping", nonce: 1, reconnect_window_ms: this.server.windowMs });
    }
  }

  check(): void {
    expect(this.server.attached.length, "sockets attached at once").toBeLessThanOrEqual(1);
    for (const [id, times] of this.ends) {
      expect(times, `ends of ${id}`).toBe(1);
    }
    for (const call of this.calls) {
      expect(this.ends.has(call.id), `ended is told for ${call.id}`).toBe(call.state === "ended");
      expect(call.state === "held", `who holds ${call.id}`).toBe(call.heldBy !== undefined && call.state !== "ended");
    }
  }

  /** Everything works again; then nothing may hang. */
  async recover(): Promise<void> {
    this.heal();
    for (const instance of this.server.instances) {
      if (instance.state !== "up") {
        this.server.kill(instance);
        this.server.restart(instance);
      }
    }
    this.media = true;
    this.tab.rtc.flow();
    await this.happen({ do: "time", ms: 60_000 });
    this.check();
  }
}

test("every call ends at most once, every promise settles, never two attached sockets", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anything, { minLength: 10, maxLength: 60 }),
      fc.nat(),
      fc.boolean(),
      async (happenings, seed, redial) => {
        const world = new World(seed, redial);
        await world.happen({ do: "time", ms: 100 });
        for (const happening of happenings) {
          await world.happen(happening);
        }
        await world.recover();
        expect(world.open, "promises that never settled").toBe(0);
        expect(["signed-in", "signed-out", "superseded", "gave-up"]).toContain(world.tab.client.state);
        for (const call of world.calls) {
          call.hangUp();
        }
        await world.clock.advance(1_000);
        expect(world.tab.client.calls).toEqual([]);
        expect(world.unanswered, "incoming calls whose beginning never settled").toBe(0);
        expect(world.tab.rtc.connections.every((connection) => connection.closed)).toBe(true);
      },
    ),
    { numRuns: 300 },
  );
}, 120_000);

test("no call ends while its instance and its media live", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(gentle, { minLength: 10, maxLength: 40 }), fc.nat(), async (happenings, seed) => {
      const world = new World(seed, false);
      await world.happen({ do: "time", ms: 100 });
      for (const happening of happenings) {
        await world.happen(happening);
        expect(world.endedEarly).toEqual([]);
      }
      await world.recover();
      expect(world.endedEarly).toEqual([]);
      expect(world.tab.client.state).toBe("signed-in");
    }),
    { numRuns: 300 },
  );
}, 120_000);
