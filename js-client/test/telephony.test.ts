// Calls with somebody at the other end: ringing, answering, holding, digits, transfers, and what a lost instance leaves of them.
import { beforeEach, describe, expect, test } from "vitest";
import type { Call } from "../src/call.ts";
import { MediaError } from "../src/errors.ts";
import type { CallEvents, CallVerb } from "../src/events.ts";
import type { OnCallLost } from "../src/options.ts";
import type { CallSnapshot, ClientMessage } from "../src/protocol.gen.ts";
import { FakeClock } from "./fakes/clock.ts";
import { FakeServer } from "./fakes/fakeServer.ts";
import { FakeTab } from "./fakes/tab.ts";

let clock: FakeClock;
let server: FakeServer;
let tab: FakeTab;

beforeEach(async () => {
  clock = new FakeClock();
  server = new FakeServer();
  await start();
});

async function start(options: ConstructorParameters<typeof FakeTab>[1] = {}): Promise<void> {
  server = new FakeServer();
  tab = new FakeTab(server, { ...options, clock });
  void tab.client.signIn();
  await clock.advance(50);
}

/** The instance that serves the tab, and its session there. */
function serving() {
  const found = server.sessionOf(server.attached.at(-1));
  if (!found) {
    throw new Error("nobody serves the tab");
  }
  return found;
}

async function rung(more: Parameters<FakeServer["ring"]>[1] = {}): Promise<Call> {
  server.ring(serving().session, more);
  await clock.advance(0);
  return newest();
}

function newest(): Call {
  const incoming = tab.rung.at(-1);
  if (!incoming) {
    throw new Error("nobody called");
  }
  return incoming.call;
}

async function flows(): Promise<void> {
  await clock.advance(10);
  tab.rtc.flow();
  await clock.advance(400);
}

async function talking(target = "sip:carol@example.org", onCallLost?: OnCallLost): Promise<Call> {
  const call = tab.client.call(target, onCallLost && { onCallLost });
  await flows();
  expect(call).toMatchObject({ state: "active", media: "flowing" });
  return call;
}

async function answered(): Promise<Call> {
  const call = await rung();
  void call.answer();
  await flows();
  expect(call).toMatchObject({ state: "active", media: "flowing" });
  return call;
}

function told<K extends keyof CallEvents>(call: Call, name: K): CallEvents[K][] {
  const list: CallEvents[K][] = [];
  call.on(name, (detail) => list.push(detail));
  return list;
}

/** The verbs that are possible now. */
function possible(call: Call): CallVerb[] {
  const verbs: CallVerb[] = ["hang-up", "mute", "answer", "reject", "hold", "unhold", "transfer", "digits"];
  return verbs.filter((verb) => call.can(verb).allowed);
}

const failure = (promise: Promise<unknown>) => promise.then(() => undefined).catch((error: unknown) => error);
const acted = () => server.acted.map(({ method }) => method);
const attaches = () =>
  server.received.flatMap((one) => {
    const message: ClientMessage | undefined = one.kind === "send" ? one.message : undefined;
    return message?.kind === "attach" ? message : [];
  });

describe("an incoming call", () => {
  test("rings, and says who calls", async () => {
    const call = await rung({ name: "Bob", video: true });
    expect(tab.rung).toMatchObject([{ answering: false, replaces: undefined }]);
    expect(call).toMatchObject({
      direction: "incoming",
      state: "ringing",
      target: "sip:bob@example.org",
      name: "Bob",
      offersVideo: true,
    });
    expect(tab.client.calls).toEqual([call]);
    expect(possible(call)).toEqual(["hang-up", "mute", "answer", "reject"]);
    expect(tab.devices.asked).toEqual([]);
  });

  test("is answered with the microphone, and is a call like any other then", async () => {
    const call = await rung();
    const done = call.answer({ muted: true });
    expect(call.can("answer")).toEqual({ allowed: false, reason: "wrong-state" });
    await flows();
    await done;
    expect(await call.started).toBe("ok");
    expect(call).toMatchObject({ state: "active", media: "flowing", muted: true });
    expect(server.acted).toEqual([{ method: "answer_call", call_id: call.id, sdp: expect.any(String) }]);
    expect(possible(call)).toEqual(["hang-up", "mute", "hold", "transfer", "digits"]);
  });

  test("rings on when the microphone is refused, and can be answered without one", async () => {
    const call = await rung();
    tab.devices.refusal = "NotAllowedError";
    const error = failure(call.answer());
    await clock.advance(10);
    expect(await error).toBeInstanceOf(MediaError);
    expect(call.state).toBe("ringing");
    void call.answer({ audio: false });
    await flows();
    expect(call.state).toBe("active");
  });

  test("rings on when the instance does not take the answer, and lets go of the devices", async () => {
    const call = await rung();
    server.refuse = { status: "failed", reason: "bad-sdp", detail: "no audio" };
    const error = failure(call.answer());
    await clock.advance(10);
    expect(await error).toMatchObject({ reason: "bad-sdp", message: "no audio" });
    expect(call.state).toBe("ringing");
    expect(tab.rtc.connections.map(({ closed }) => closed)).toEqual([true]);
    expect(call.can("answer").allowed).toBe(true);
  });

  test("is declined, as busy if need be", async () => {
    const call = await rung();
    call.reject({ busy: true });
    expect(call.ended?.reason).toBe("local-hang-up");
    await clock.advance(10);
    expect(server.acted).toEqual([{ method: "reject_call", call_id: call.id, busy: true }]);
    expect(await call.started).toBe("failed");
  });

  test("is declined by hanging up", async () => {
    const call = await rung();
    call.hangUp();
    await clock.advance(10);
    expect(acted()).toEqual(["reject_call"]);
    expect(tab.ends).toHaveLength(1);
  });

  test("ends when the caller takes it back, while being answered as well", async () => {
    const call = await rung();
    const { instance, session } = serving();
    const error = failure(call.answer());
    server.endCall(instance, session, call.id, "cancelled");
    await clock.advance(10);
    expect(call.ended?.reason).toBe("cancelled");
    expect(await error).toMatchObject({ reason: "wrong-state" });
    expect(tab.rtc.connections.every(({ closed }) => closed)).toBe(true);
  });

  test("that came while signalling was lost is learned of by the snapshot, once", async () => {
    const { session } = serving();
    server.cut();
    server.ring(session);
    await clock.advance(100);
    expect(tab.rung).toHaveLength(1);
    expect(newest().state).toBe("ringing");
    expect(tab.log.indexOf("incomingcall")).toBeLessThan(tab.log.indexOf("callsresynced"));
    server.cut();
    await clock.advance(100);
    expect(tab.rung).toHaveLength(1);
  });

  test("that was declined while signalling was lost does not ring again", async () => {
    const call = await rung();
    server.cut();
    call.reject();
    await clock.advance(100);
    expect(tab.rung).toHaveLength(1);
    expect(acted()).toEqual(["reject_call"]);
    expect(serving().session.calls.size).toBe(0);
  });

  test("missed in a hole of the events is learned of by the resync", async () => {
    const { session } = serving();
    session.seq++;
    server.ring(session);
    await clock.advance(10);
    expect(tab.rung).toHaveLength(1);
  });

  test("ends with its instance and is not claimed dead: it rings again where the user is next", async () => {
    const call = await rung();
    server.kill(serving().instance);
    await clock.advance(100);
    expect(call.ended?.reason).toBe("instance-lost");
    expect(attaches().at(-1)?.dead_calls).toEqual([]);
  });

  test("keeps the client where it is: a draining instance moves nobody whom somebody calls", async () => {
    await rung();
    server.offerMove(serving().session);
    server.event(serving().session, { type: "move", ticket: "t" });
    await clock.advance(1_000);
    expect(tab.client.session?.instanceId).toBe("gw-a");
  });
});

describe("hold", () => {
  test("from here, and back", async () => {
    const call = await talking();
    const holds = told(call, "holdchange");
    const held = call.hold();
    await clock.advance(10);
    await held;
    expect(call).toMatchObject({ state: "held", heldBy: "local" });
    expect(possible(call)).toEqual(["hang-up", "mute", "unhold", "transfer", "digits"]);
    const back = call.unhold();
    await clock.advance(10);
    await back;
    expect(call).toMatchObject({ state: "active", heldBy: undefined });
    expect(holds).toEqual([{ heldBy: "local" }, { heldBy: undefined }]);
  });

  test("from both sides: each is told", async () => {
    const call = await talking();
    const states = told(call, "statechange");
    const holds = told(call, "holdchange");
    const { session } = serving();
    server.hold(session, call.id, "remote", true);
    await clock.advance(0);
    expect(possible(call)).toContain("hold");
    void call.hold();
    await clock.advance(10);
    server.hold(session, call.id, "remote", false);
    await clock.advance(0);
    expect(holds.map(({ heldBy }) => heldBy)).toEqual(["remote", "both", "local"]);
    expect(states.map(({ state }) => state)).toEqual(["held"]);
  });

  test("by the far side while signalling was lost is told by the snapshot", async () => {
    const call = await talking();
    const { session } = serving();
    server.cut();
    server.hold(session, call.id, "remote", true);
    await clock.advance(100);
    expect(call).toMatchObject({ state: "held", heldBy: "remote" });
  });

  test("that the far side refuses rejects with what it said", async () => {
    const call = await talking();
    server.refuse = { status: "failed", reason: "far-refused", detail: "the far side answered 488" };
    const error = failure(call.hold());
    await clock.advance(10);
    expect(await error).toMatchObject({ reason: "far-refused", message: "the far side answered 488" });
    expect(call.state).toBe("active");
  });

  test("one call waits while another one is talked to", async () => {
    const first = await talking();
    const second = await rung();
    await Promise.all([first.hold(), second.answer(), flows()]);
    expect(first).toMatchObject({ state: "held", heldBy: "local" });
    expect(second).toMatchObject({ state: "active", media: "flowing" });
    second.hangUp();
    await Promise.all([first.unhold(), clock.advance(10)]);
    expect(first.state).toBe("active");
    expect(tab.client.calls).toEqual([first]);
  });
});

describe("digits and transfers", () => {
  test("digits go out, and those of the far side are told", async () => {
    const call = await talking();
    const digits = told(call, "digit");
    await Promise.all([call.sendDigits("12#"), clock.advance(10)]);
    server.event(serving().session, { type: "digit", call_id: call.id, digit: "7" });
    await clock.advance(0);
    expect(server.acted.at(-1)).toEqual({ method: "send_digits", call_id: call.id, digits: "12#" });
    expect(digits).toEqual([{ digit: "7" }]);
  });

  test("a transferred call ends so", async () => {
    const call = await answered();
    await Promise.all([call.transfer("sip:dave@example.org"), clock.advance(10)]);
    expect(call.ended?.reason).toBe("transferred");
    expect(server.acted.at(-1)).toEqual({ method: "transfer", call_id: call.id, target: "sip:dave@example.org" });
  });

  test("two far sides are connected with each other; both calls end", async () => {
    const first = await talking();
    await Promise.all([first.hold(), clock.advance(10)]);
    const second = await talking("sip:dave@example.org");
    await Promise.all([first.transferTo(second), clock.advance(10)]);
    expect([first, second].map(({ ended }) => ended?.reason)).toEqual(["transferred", "transferred"]);
  });

  test("a far side that was passed on is somebody else: told at once, and by the snapshot after a loss", async () => {
    const call = await talking();
    const parties = told(call, "partychange");
    const { session } = serving();
    server.event(session, { type: "call_party", call_id: call.id, target: "sip:dave@example.org", name: "Dave" });
    await clock.advance(0);
    expect(call).toMatchObject({ target: "sip:dave@example.org", name: "Dave", state: "active" });
    server.cut();
    session.calls.set(call.id, { ...(session.calls.get(call.id) as CallSnapshot), target: "sip:erin@example.org" });
    await clock.advance(100);
    expect(parties).toEqual([
      { target: "sip:dave@example.org", name: "Dave" },
      { target: "sip:erin@example.org", name: undefined },
    ]);
  });

  test("a transfer may take as long as somebody rings", async () => {
    const call = await talking();
    server.answers = false;
    let outcome: unknown = "open";
    void failure(call.transfer("sip:dave@example.org")).then((error) => {
      outcome = error;
    });
    for (let seconds = 0; seconds < 120; seconds += 5) {
      server.attached.at(-1)?.deliver({ kind: "ping", nonce: 1, reconnect_window_ms: 20 });
      await clock.advance(5_000);
    }
    expect(outcome).toBe("open");
    await clock.advance(14_000);
    expect(outcome).toMatchObject({ reason: "unknown" });
  });

  test("what the echo can't do is refused beforehand", async () => {
    const call = await talking("echo");
    expect(possible(call)).toEqual(["hang-up", "mute"]);
    expect(call.can("hold")).toEqual({ allowed: false, reason: "not-supported" });
    expect(await failure(call.sendDigits("1"))).toMatchObject({ reason: "wrong-state", message: "not-supported" });
    expect(acted()).toEqual(["start_call"]);
  });
});

describe("while signalling is down", () => {
  test("hanging up works, everything else is refused at once with the reason", async () => {
    const call = await talking();
    const changes = told(call, "capabilitieschange");
    server.cut();
    await clock.advance(0);
    expect(possible(call)).toEqual(["hang-up", "mute"]);
    expect(changes.length).toBeGreaterThan(0);
    const before = clock.now();
    for (const verb of [call.hold(), call.unhold(), call.transfer("sip:x@y"), call.sendDigits("1"), call.answer()]) {
      expect(await failure(verb)).toMatchObject({ reason: "service-unavailable", message: "signaling-lost" });
    }
    expect(() => tab.client.call("sip:x@y")).toThrow("signaling-lost");
    expect(clock.now()).toBe(before);
    call.hangUp();
    expect(tab.rtc.connections.every(({ closed }) => closed)).toBe(true);
  });

  test("a request on its way is answered once the socket is back, and acts once", async () => {
    const call = await talking();
    server.lose = "answer";
    const held = call.hold();
    await clock.advance(100);
    await held;
    expect(call).toMatchObject({ state: "held", heldBy: "local" });
    expect(acted().filter((method) => method === "hold")).toHaveLength(1);
  });

  test("a request whose instance died is unknown", async () => {
    const call = await talking();
    server.lose = "answer";
    const { instance } = serving();
    const error = failure(call.hold());
    server.kill(instance);
    await clock.advance(100);
    expect(await error).toMatchObject({ reason: "unknown" });
  });
});

describe("services", () => {
  test("calls away for a reason of this user's registration, before a call", async () => {
    const edges: string[] = [];
    tab.client.on("serviceunavailable", ({ service, reason }) => edges.push(`${service}: ${reason}`));
    tab.client.on("serviceavailable", ({ service }) => edges.push(`${service} again`));
    let changes = 0;
    tab.client.on("capabilitieschange", () => changes++);
    const tell = async (reason?: string) => {
      const service = { service: "calls", available: !reason, ...(reason && { reason }) };
      server.event(serving().session, { type: "service", service });
      await clock.advance(0);
    };
    await tell("sip-server-unreachable");
    expect(tab.client.can("call")).toEqual({ allowed: false, reason: "sip-server-unreachable" });
    expect(() => tab.client.call("sip:x@y")).toThrow("sip-server-unreachable");
    await tell("registered-elsewhere");
    expect(tab.client.can("call")).toEqual({ allowed: false, reason: "registered-elsewhere" });
    await tell();
    expect(tab.client.can("call")).toEqual({ allowed: true });
    expect(edges).toEqual(["calls: sip-server-unreachable", "calls again"]);
    expect(changes).toBe(3);
  });

  test("a running call keeps its verbs while calls are away", async () => {
    const call = await talking();
    const service = { service: "calls", available: false, reason: "registration-refused" };
    server.event(serving().session, { type: "service", service });
    await clock.advance(0);
    expect(tab.client.can("call").allowed).toBe(false);
    expect(possible(call)).toContain("hold");
  });
});

describe("the codec to send", () => {
  test("is followed where the browser can, whenever the hint comes", async () => {
    const call = tab.client.call("sip:carol@example.org");
    await clock.advance(0);
    server.event(serving().session, { type: "send_codec", call_id: call.id, codec: "PCMU" });
    await flows();
    expect(tab.rtc.connections[0]?.codec).toBe("audio/PCMU");
    server.event(serving().session, { type: "send_codec", call_id: call.id, codec: "opus" });
    await clock.advance(0);
    expect(tab.rtc.connections[0]?.codec).toBe("audio/opus");
  });

  test("that was not agreed on changes nothing", async () => {
    const call = await talking();
    server.event(serving().session, { type: "send_codec", call_id: call.id, codec: "G722" });
    await clock.advance(0);
    expect(tab.rtc.connections[0]?.codec).toBeUndefined();
    expect(call.state).toBe("active");
  });
});

describe("calls lost with their instance", () => {
  test("are hung up unless the application says otherwise", async () => {
    const call = await talking();
    server.kill(serving().instance);
    await clock.advance(100);
    expect(tab.ends).toMatchObject([{ callId: call.id, reason: "instance-lost" }]);
    expect(attaches().at(-1)?.dead_calls).toEqual([{ call_id: call.id, action: "hang_up" }]);
    expect(tab.rung).toEqual([]);
  });

  test("come back as new calls that answer themselves, when that was wished for", async () => {
    const summed: unknown[] = [];
    await start({ onCallLost: (call) => (call.target.includes("carol") ? "resume" : "hang_up"), redial: true });
    tab.client.on("sessionrecovered", (summary) => summed.push(summary));
    const kept = await talking();
    kept.mute();
    server.kill(serving().instance);
    await clock.advance(100);
    await flows();
    expect(tab.ends).toMatchObject([{ callId: kept.id, reason: "instance-lost" }]);
    expect(tab.rung).toMatchObject([{ replaces: kept.id, answering: true }]);
    expect(newest()).toMatchObject({ state: "active", muted: true, replaces: kept.id });
    expect(newest().id).not.toBe(kept.id);
    expect(summed).toEqual([{ recovered: [newest().id], lost: [], unknown: [] }]);
    expect(tab.log).not.toContain("redialed");
    expect(tab.client.calls).toEqual([newest()]);
  });

  test("a call that came back tells when both sides were heard again", async () => {
    const call = await talking();
    const resumed = told(call, "resumed");
    server.event(serving().session, { type: "call_resumed", call_id: call.id, gap_ms: 140 });
    await clock.advance(0);
    expect(resumed).toEqual([{ gapMs: 140 }]);
  });

  test("each call may say it for itself", async () => {
    const resumed = await talking("sip:carol@example.org", () => "resume");
    const hungUp = await talking("sip:dave@example.org");
    server.kill(serving().instance);
    await clock.advance(100);
    expect(attaches().at(-1)?.dead_calls).toEqual([
      { call_id: resumed.id, action: "resume" },
      { call_id: hungUp.id, action: "hang_up" },
    ]);
  });

  test("an incoming call that was lost is not redialled", async () => {
    await start({ redial: true });
    await answered();
    server.kill(serving().instance);
    await clock.advance(100);
    expect(tab.log).not.toContain("redialed");
  });

  test("are named again at the next instance when that one died before it had told what became of them", async () => {
    server = new FakeServer(3);
    tab = new FakeTab(server, { clock, onCallLost: () => "resume" });
    void tab.client.signIn();
    await clock.advance(50);
    const call = await talking();
    server.recovers = false;
    server.kill(serving().instance);
    await clock.advance(100);
    server.recovers = true;
    server.kill(serving().instance);
    await clock.advance(100);
    await flows();
    expect(attaches().at(-1)?.dead_calls).toEqual([{ call_id: call.id, action: "resume" }]);
    expect(newest()).toMatchObject({ replaces: call.id, state: "active" });
  });

  test("that came back are named in their turn, although nobody had answered them yet", async () => {
    server = new FakeServer(3);
    tab = new FakeTab(server, { clock, onCallLost: () => "resume" });
    void tab.client.signIn();
    await clock.advance(50);
    const lost = await talking();
    const states: string[] = [];
    const killAgain = () => {
      states.push(newest().state);
      server.kill(serving().instance);
    };
    tab.client.on("sessionrecovered", killAgain, { once: true });
    server.kill(serving().instance);
    await clock.advance(200);
    const [back] = tab.rung;
    expect(states).toEqual(["ringing"]);
    expect(back?.replaces).toBe(lost.id);
    expect(attaches().at(-1)?.dead_calls).toEqual([{ call_id: back?.call.id, action: "resume" }]);
  });

  test("a wish that throws counts as none", async () => {
    const thrown: unknown[] = [];
    const listener = (error: unknown) => thrown.push(error);
    process.once("uncaughtException", listener);
    const call = await talking("sip:carol@example.org", () => {
      throw new Error("no wish");
    });
    server.kill(serving().instance);
    await clock.advance(100);
    process.off("uncaughtException", listener);
    expect(call.ended?.reason).toBe("instance-lost");
    expect(tab.client.session?.instanceId).toBe("gw-b");
  });

  test("what came back rings for an application that did not wish for it", async () => {
    const call = await rung({ replaces: "call-of-another-page" });
    expect(tab.rung).toMatchObject([{ replaces: "call-of-another-page", answering: false }]);
    await clock.advance(1_000);
    expect(call.state).toBe("ringing");
  });
});
