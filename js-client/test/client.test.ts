// The client against a whole service in process: what an application sees of sign-in, calls and losses.
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Call } from "../src/call.ts";
import { CallError, MediaError, SignInError } from "../src/errors.ts";
import { FakeClock, settle } from "./fakes/clock.ts";
import { FakeServer } from "./fakes/fakeServer.ts";
import { BALANCERS, FakeTab } from "./fakes/tab.ts";

let clock: FakeClock;
let server: FakeServer;
let tab: FakeTab;

beforeEach(() => {
  clock = new FakeClock();
  server = new FakeServer();
  tab = new FakeTab(server, { clock });
});

/** The instance that serves the tab, and its session there. */
function serving() {
  const found = server.sessionOf(server.attached.at(-1));
  if (!found) {
    throw new Error("nobody serves the tab");
  }
  return found;
}

async function signIn(): Promise<void> {
  void tab.client.signIn();
  await clock.advance(50);
  expect(tab.client.state).toBe("signed-in");
}

async function inCall(target = "echo"): Promise<Call> {
  await signIn();
  const call = tab.client.call(target);
  await clock.advance(10);
  tab.rtc.flow();
  await clock.advance(400);
  expect(call.state).toBe("active");
  expect(call.media).toBe("flowing");
  return call;
}

describe("signing in", () => {
  test("resolves with the session, once attached", async () => {
    const signedIn = tab.client.signIn();
    await clock.advance(50);
    expect(await signedIn).toMatchObject({ user: "alice", instanceId: "gw-a", bootId: "gw-a-boot-1" });
    expect(tab.client.can("call")).toEqual({ allowed: true });
  });

  test("asks the next balancer when one is down", async () => {
    server.down.add(BALANCERS[0] ?? "");
    await signIn();
    expect(tab.client.session?.url).toBe(BALANCERS[1]);
  });

  test("goes on trying while nothing is up, and comes in by itself", async () => {
    for (const instance of server.instances) {
      server.kill(instance);
    }
    void tab.client.signIn();
    await clock.advance(5_000);
    expect(tab.client.state).toBe("signing-in");
    server.instances.forEach((instance) => {
      server.restart(instance);
    });
    await clock.advance(5_000);
    expect(tab.client.state).toBe("signed-in");
  });

  test("gives up after its time, and starts anew on retry", async () => {
    for (const base of BALANCERS) {
      server.down.add(base);
    }
    const failed = tab.client.signIn().catch((error: unknown) => error);
    await clock.advance(400_000);
    expect(await failed).toMatchObject({ reason: "unreachable", code: 100 });
    expect(tab.client.state).toBe("gave-up");
    server.down.clear();
    void tab.client.retry();
    await clock.advance(100);
    expect(tab.client.state).toBe("signed-in");
  });

  test.each([
    ["a text", "secret"],
    ["who asks for it", async () => "secret"],
  ])("the SIP password, %s, goes with a first sign-in alone", async (_, sipPassword) => {
    tab = new FakeTab(server, { clock, sipPassword });
    await signIn();
    server.kill(serving().instance);
    await clock.advance(100);
    const posts = server.received.filter((one) => one.kind === "request" && one.method === "POST");
    const passwords = posts.map((post) => "body" in post && (post.body as { sip_password?: string }).sip_password);
    expect(passwords).toEqual(["secret", undefined]);
  });

  test("a token provider that fails is told with its error", async () => {
    const cause = new Error("no token");
    tab = new FakeTab(server, { clock, token: () => Promise.reject(cause) });
    const failed = tab.client.signIn().catch((error: unknown) => error);
    await clock.advance(10);
    expect(await failed).toBeInstanceOf(SignInError);
    expect(await failed).toMatchObject({ reason: "token-failed", cause });
  });

  test("signing out ends calls and session, and settles a sign-in under way", async () => {
    const call = await inCall();
    const out = tab.client.signOut();
    await clock.advance(10);
    await out;
    expect(call.ended?.reason).toBe("local-hang-up");
    expect(server.instances[0]?.sessions.size).toBe(0);
    expect(tab.client.can("call")).toEqual({ allowed: false, reason: "not-signed-in" });

    server.down.add(BALANCERS[0] ?? "").add(BALANCERS[1] ?? "");
    const aborted = tab.client.signIn().catch((error: unknown) => error);
    await clock.advance(10);
    await tab.client.signOut();
    expect(await aborted).toMatchObject({ reason: "aborted" });
  });
});

describe("a call", () => {
  test("is refused before signing in, with the reason that can() gives", () => {
    expect(tab.client.can("call")).toEqual({ allowed: false, reason: "not-signed-in" });
    expect(() => tab.client.call("echo")).toThrow(CallError);
  });

  test("sends the offer without waiting for candidates", async () => {
    await signIn();
    tab.client.call("echo");
    await clock.advance(0);
    await settle();
    expect(server.acted).toMatchObject([{ method: "start_call", target: "echo" }]);
  });

  test("asks for the microphone once, however many calls follow", async () => {
    const first = await inCall();
    first.hangUp();
    tab.client.call("echo");
    await clock.advance(10);
    expect(tab.devices.asked).toEqual([{ audio: true }]);
  });

  test("mutes its own clone of the microphone, not that of another call", async () => {
    const call = await inCall();
    const other = tab.client.call("echo");
    await clock.advance(10);
    call.mute();
    const enabled = tab.rtc.connections.map((connection) => connection.getSenders()[0]?.track?.enabled);
    expect(enabled).toEqual([false, true]);
    expect([call.muted, other.muted]).toEqual([true, false]);
  });

  test("keeps mute over a change of the microphone", async () => {
    const call = await inCall();
    call.mute();
    await tab.client.microphone.choose("headset");
    await clock.advance(0);
    expect(tab.rtc.connections[0]?.getSenders()[0]?.track?.enabled).toBe(false);
    expect(tab.devices.asked.at(-1)).toEqual({ audio: { deviceId: { exact: "headset" } } });
  });

  test.each([
    ["NotAllowedError", "denied"],
    ["NotFoundError", "absent"],
    ["NotReadableError", "in-use"],
  ])("ends with a reason when the microphone fails: %s", async (name, reason) => {
    await signIn();
    tab.devices.refusal = name;
    const call = tab.client.call("echo");
    await clock.advance(10);
    expect(call.ended).toMatchObject({ reason: "failed", error: { reason } });
    expect(call.ended?.error).toBeInstanceOf(MediaError);
    expect(await call.started).toBe("failed");
  });

  test("hangs up when its signal aborts", async () => {
    await signIn();
    const abort = new AbortController();
    const call = tab.client.call("echo", { signal: abort.signal });
    await clock.advance(10);
    abort.abort();
    await clock.advance(10);
    expect(call.ended?.reason).toBe("local-hang-up");
    expect(server.acted.map(({ method }) => method)).toEqual(["start_call", "hang_up"]);
  });

  test("an aborted call that was never sent leaves no trace at the instance", async () => {
    await signIn();
    const abort = new AbortController();
    const call = tab.client.call("echo", { signal: abort.signal });
    abort.abort();
    await clock.advance(10);
    expect(call.ended).toMatchObject({ reason: "local-hang-up", error: { reason: "aborted" } });
    expect(server.acted).toEqual([]);
  });
});

describe("instance lost", () => {
  test("each call ends once, and the user is signed in elsewhere with the capsule", async () => {
    const call = await inCall();
    server.kill(serving().instance);
    await clock.advance(60);
    expect(tab.ends).toMatchObject([{ callId: call.id, reason: "instance-lost" }]);
    expect(tab.client.session?.instanceId).toBe("gw-b");
    expect(tab.log.filter((name) => name === "instancechange")).toHaveLength(1);
    const posts = server.received.filter((one) => one.kind === "request" && one.method === "POST");
    expect(posts.at(-1)).toMatchObject({ body: { previous_token: expect.any(String), capsule: expect.any(String) } });
  });

  test("a socket that is gone without a word is explained by a probe", async () => {
    const call = await inCall();
    server.kill(serving().instance, "1006");
    await clock.advance(60);
    expect(call.ended?.reason).toBe("instance-lost");
    expect(tab.client.session?.instanceId).toBe("gw-b");
  });

  test("signing in elsewhere starts within the service's window", async () => {
    await signIn();
    const before = clock.now();
    let signedInAt = 0;
    tab.client.on("signedin", () => {
      signedInAt = clock.now();
    });
    server.kill(serving().instance);
    await clock.advance(100);
    expect(signedInAt - before).toBeLessThanOrEqual(server.windowMs);
  });

  test("redial calls the same target again, with the same mute, once", async () => {
    tab = new FakeTab(server, { clock, redial: true });
    const call = await inCall("tone");
    call.mute();
    server.kill(serving().instance);
    await clock.advance(60);
    expect(tab.log).toContain("redialed");
    expect(tab.client.calls).toHaveLength(1);
    expect(tab.client.calls[0]).toMatchObject({ target: "tone", muted: true, state: "active" });
  });

  test("the instance back at the same address is noticed by its boot id", async () => {
    server = new FakeServer(1);
    tab = new FakeTab(server, { clock });
    const call = await inCall();
    const { instance } = serving();
    server.kill(instance, "1006");
    server.restart(instance);
    await clock.advance(100);
    expect(call.ended?.reason).toBe("instance-lost");
    expect(tab.client.session?.bootId).toBe(instance.boot);
    const posts = server.received.filter((one) => one.kind === "request" && one.method === "POST");
    expect(posts).toHaveLength(2);
  });
});

describe("signalling lost", () => {
  test("verbs are refused with the reason, hang-up works by the peer connection alone", async () => {
    const call = await inCall();
    server.down.add(BALANCERS[0] ?? "").add(BALANCERS[1] ?? "");
    server.cut();
    await clock.advance(100);
    expect(call.preserved).toBe(true);
    expect(call.can("hold")).toEqual({ allowed: false, reason: "signaling-lost" });
    expect(tab.client.can("call")).toEqual({ allowed: false, reason: "signaling-lost" });
    expect(call.can("hang-up").allowed).toBe(true);
    call.hangUp();
    expect(tab.rtc.connections[0]?.closed).toBe(true);
    expect(call.ended?.reason).toBe("local-hang-up");
  });

  test("a killed balancer is replaced by the other one, the call goes on", async () => {
    const call = await inCall();
    server.killBalancer(tab.client.session?.url ?? "");
    await clock.advance(60);
    expect(tab.client.session?.url).toBe(BALANCERS[1]);
    expect(call.state).toBe("active");
    expect(tab.log).toContain("callsresynced");
  });

  test("a heartbeat that stays away is a loss", async () => {
    await signIn();
    const lost: string[] = [];
    tab.client.on("signalinglost", ({ reason }) => lost.push(reason));
    await clock.advance(14_000);
    expect(lost).toEqual([]);
    await clock.advance(2_000);
    expect(lost).toEqual(["signaling-lost"]);
    expect(tab.client.state).toBe("signed-in");
  });

  test("silent for one balancer, alive by its media: another balancer reaches the same session", async () => {
    const call = await inCall();
    const session = tab.sessionId;
    server.cutOffBalancer(BALANCERS[0] ?? "", serving().instance);
    await clock.advance(100);
    expect(tab.sessionId).toBe(session);
    expect(call.ended).toBeUndefined();
  });

  test.each(["4503", "1006"])(
    "refused at one balancer, told by %s: another balancer reaches the same session",
    async (code) => {
      const call = await inCall();
      const session = tab.sessionId;
      const { instance } = serving();
      if (code === "1006") {
        server.cut();
      }
      server.cutOffBalancer(BALANCERS[0] ?? "", instance, "gone");
      await clock.advance(60);
      expect(tab.sessionId).toBe(session);
      expect(tab.client.session?.url).toBe(BALANCERS[1]);
      expect(call.ended).toBeUndefined();
      expect(tab.log).toContain("callsresynced");
      expect(tab.log).not.toContain("instancechange");
    },
  );

  test("an idle client does not doubt that its instance is gone", async () => {
    await signIn();
    const before = server.received.length;
    server.kill(serving().instance);
    await clock.advance(30);
    const first = server.received.slice(before).find((one) => one.kind === "request");
    expect(first).toMatchObject({ method: "POST" });
  });

  test("silent for every balancer: after 5 s elsewhere, the call stays until its media dies", async () => {
    const call = await inCall();
    const { instance } = serving();
    for (const base of BALANCERS.toReversed()) {
      server.cutOffBalancer(base, instance);
    }
    await clock.advance(4_500);
    expect(tab.client.session).toBeUndefined();
    await clock.advance(1_000);
    expect(tab.client.session?.instanceId).toBe("gw-b");
    expect(call).toMatchObject({ state: "active", preserved: true, ended: undefined });
    tab.rtc.stop();
    await clock.advance(6_000);
    expect(call.ended?.reason).toBe("instance-lost");
  });

  test("a frozen instance: media dead, so it is left at once", async () => {
    const call = await inCall();
    tab.rtc.stop();
    await clock.advance(400);
    server.freeze(serving().instance);
    await clock.advance(350);
    expect(call.ended?.reason).toBe("instance-lost");
    expect(tab.client.session?.instanceId).toBe("gw-b");
  });
});

describe("media", () => {
  test("UDP dead while the instance answers: told, ended as media-lost, signed in where it may work", async () => {
    const call = await inCall();
    const told: string[] = [];
    call.on("mediastalled", () => told.push("stalled"));
    tab.rtc.stop();
    await clock.advance(1_300);
    expect(told).toEqual(["stalled"]);
    await clock.advance(700);
    expect(call.ended?.reason).toBe("media-lost");
    expect(tab.rtc.connections[0]?.restarts).toBe(1);
    expect(tab.client.session?.instanceId).toBe("gw-b");
    expect(tab.log).not.toContain("callsresynced");
    const avoided = server.received.flatMap((one) => (one.kind === "request" ? one.headers["holdfast-avoid"] : []));
    expect(avoided).toContain("gw-a.gw-a-boot-1");
    expect(server.instances[0]?.sessions.size).toBe(0);
  });

  test("the address changes: the socket is replaced, and the ICE restart has 4 s", async () => {
    const call = await inCall();
    const session = tab.sessionId;
    for (const socket of server.attached) {
      socket.dead = true;
    }
    tab.rtc.stop();
    await clock.advance(4_500);
    expect(call.state).toBe("active");
    tab.rtc.flow();
    await clock.advance(300);
    expect(call.media).toBe("flowing");
    expect(tab.sessionId).toBe(session);
    expect(tab.log).toContain("callsresynced");
    expect(tab.rtc.connections[0]?.restarts).toBe(1);
  });

  test("the address changes and the browser says so before packets are missed: the ICE restart has 4 s all the same", async () => {
    const call = await inCall();
    tab.rtc.stop();
    for (const socket of server.attached) {
      socket.dead = true;
    }
    await clock.advance(200);
    void tab.client.retry();
    await clock.advance(4_200);
    expect(call.state).toBe("active");
    tab.rtc.flow();
    await clock.advance(300);
    expect(call.media).toBe("flowing");
  });

  test("a short gap is told and over, without a new session", async () => {
    const call = await inCall();
    const session = tab.sessionId;
    const resumed: number[] = [];
    call.on("mediaresumed", ({ gapMs }) => resumed.push(gapMs));
    tab.rtc.stop();
    await clock.advance(1_500);
    tab.rtc.flow();
    await clock.advance(500);
    expect(resumed).toHaveLength(1);
    expect(tab.sessionId).toBe(session);
    expect(tab.rtc.connections[0]?.restarts).toBe(1);
  });

  test("media that never starts is lost too", async () => {
    await signIn();
    const call = tab.client.call("echo");
    await clock.advance(5_100);
    expect(call.ended?.reason).toBe("media-lost");
  });
});

describe("draining", () => {
  test("an idle client moves without a gap, the old session is signed off after the new one is attached", async () => {
    await signIn();
    server.drain(serving().instance);
    await clock.advance(50);
    expect(tab.client.session?.instanceId).toBe("gw-b");
    expect(tab.log).not.toContain("signalinglost");
    expect(tab.log).toContain("moved");
    expect(server.instances[0]?.sessions.size).toBe(0);
    expect(server.attached).toHaveLength(1);
  });

  test("a caller stays until the end of the call", async () => {
    const call = await inCall();
    server.drain(serving().instance);
    await clock.advance(5_000);
    expect(tab.client.session?.instanceId).toBe("gw-a");
    expect(tab.client.can("call")).toEqual({ allowed: false, reason: "instance-draining" });
    call.hangUp();
    await clock.advance(50);
    expect(tab.client.session?.instanceId).toBe("gw-b");
    expect(call.ended?.reason).toBe("local-hang-up");
  });

  test("closed by the deadline: calls are drained, and the client goes elsewhere", async () => {
    const call = await inCall();
    const { instance, session } = serving();
    instance.state = "gone";
    session.socket?.end(1012);
    await clock.advance(50);
    expect(call.ended?.reason).toBe("drained");
    expect(tab.client.session?.instanceId).toBe("gw-b");
  });
});

describe("a tab in the background", () => {
  afterEach(() => vi.unstubAllGlobals());

  test("does not wait for timers that its browser holds back", async () => {
    await signIn();
    vi.stubGlobal("document", { hidden: true });
    const before = clock.now();
    server.kill(serving().instance);
    await clock.advance(0);
    expect(tab.client.session?.instanceId).toBe("gw-b");
    expect(clock.now()).toBe(before);
  });
});

test("retry() is not earlier than Retry-After", async () => {
  for (const instance of server.instances) {
    server.kill(instance);
  }
  void tab.client.signIn();
  await clock.advance(10);
  const posts = () => server.received.filter((one) => one.kind === "request").length;
  const before = posts();
  for (let times = 0; times < 9; times++) {
    void tab.client.retry();
    await clock.advance(100);
  }
  expect(posts()).toBe(before);
  await clock.advance(100);
  expect(posts()).toBe(before + 1);
});

test("a browser that refuses the socket is a lost socket, not a dead client", async () => {
  let refused = 0;
  const Refusing = class {
    constructor(url: string) {
      if (refused++ === 0) {
        throw new DOMException(url, "SecurityError");
      }
      // biome-ignore lint/correctness/noConstructorReturn: stands in for the next socket
      return new tab.wire.WebSocket(url);
    }
  };
  tab = new FakeTab(server, { clock, WebSocket: Refusing as unknown as typeof WebSocket });
  await signIn();
  expect(refused).toBe(2);
});

test("superseded: the calls end, nothing is tried, signIn() takes it back", async () => {
  const call = await inCall();
  serving().session.socket?.end(4409);
  await clock.advance(10_000);
  expect(call.ended?.reason).toBe("session-ended");
  expect(tab.client.state).toBe("superseded");
  await signIn();
});

test("listeners hear services go and come on edges, in order", async () => {
  const heard: string[] = [];
  tab.client.on("serviceunavailable", ({ service, reason }) => heard.push(`-${service} ${reason}`));
  tab.client.on("serviceavailable", ({ service }) => heard.push(`+${service}`));
  await signIn();
  server.cut();
  await clock.advance(100);
  const { session } = serving();
  server.event(session, { type: "service", service: { service: "calls", available: false, reason: "call-capacity" } });
  server.event(session, { type: "service", service: { service: "calls", available: false, reason: "call-capacity" } });
  await clock.advance(10);
  expect(heard).toEqual([
    ...["+signaling", "+calls", "-signaling signaling-lost", "-calls signaling-lost", "+signaling", "+calls"],
    "-calls call-capacity",
  ]);
});
