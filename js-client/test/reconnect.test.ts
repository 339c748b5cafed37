// The table of losses (DESIGN §3), line by line, on the pure machine.
import { describe, expect, test } from "vitest";
import { type Command, Reconnect, type Session } from "../src/reconnect.ts";

const session: Session = {
  session_id: "ses-1",
  session_token: "tok-1",
  user: "alice",
  instance_id: "gw-a",
  boot_id: "boot-a",
  url: "http://b1",
  capsule: "capsule-1",
  heartbeat_ms: 5000,
  grace_ms: 60_000,
  reconnect_window_ms: 20,
  ice_servers: [],
  services: [],
  recovering: false,
  alternates: [],
};
const told = {
  heartbeat_ms: 5000,
  reconnect_window_ms: 20,
  capsule: "capsule-2",
  snapshot: { epoch: "e", seq: 0, calls: [], ended: [], services: [] },
};

/** Drives a machine by hand, with a clock of its own and a random number that is always one half. */
class Bench {
  now = 0;
  readonly machine = new Reconnect({ urls: ["http://b1", "http://b2"], giveUpAfterMs: 60_000, random: () => 0.5 });
  readonly seen: Command[] = [];

  /** The commands since the last look. */
  take(): Command[] {
    const commands = this.machine.takeCommands();
    this.seen.push(...commands);
    return commands;
  }

  /** The last command of a kind, which must be there. */
  last<K extends string>(name: K): Extract<Command, { do: K }> | Extract<Command, { tell: K }> {
    this.take();
    const found = this.seen.findLast((command) => ("do" in command ? command.do : command.tell) === name);
    expect(found, `${name} among ${JSON.stringify(this.seen)}`).toBeDefined();
    return found as never;
  }

  names(): string[] {
    return this.take().map((command) => ("do" in command ? command.do : command.tell));
  }

  /** Lets time pass, through every time-out. */
  pass(ms: number): void {
    const end = this.now + ms;
    for (let due = this.machine.pollTimeout(); due !== undefined && due <= end; due = this.machine.pollTimeout()) {
      this.now = Math.max(this.now, due);
      this.machine.handleTimeout(this.now);
    }
    this.now = end;
  }

  probed(status: number, extra: { bootId?: string; pin?: string } = {}): void {
    this.machine.handleProbe(this.last("probe").ask, { kind: "status", status, ...extra }, this.now);
  }
}

function attached(): Bench {
  const bench = new Bench();
  bench.machine.start(0);
  bench.machine.handleSignedIn(bench.last("sign-in").ask, session, 0);
  bench.machine.handleAttached(bench.last("open").link, told, 0);
  bench.take();
  return bench;
}

function lost(code: number, reason = ""): Bench {
  const bench = attached();
  bench.machine.handleClosed(bench.machine.link ?? -1, code, reason, bench.now);
  return bench;
}

describe("the socket closes", () => {
  test.each([
    [4503, "gone", "instance-lost"],
    [4410, "", "instance-lost"],
    [1012, "", "instance-draining"],
  ])("%i %s: the session is lost, sign-in elsewhere with the capsule", (code, reason, kind) => {
    const bench = lost(code, reason);
    expect(bench.last("session-lost")).toMatchObject({ kind, calls: "end" });
    bench.pass(10);
    expect(bench.last("sign-in")).toMatchObject({ proof: { capsule: "capsule-2", session_token: "tok-1" } });
  });

  test.each([1001, 1005, 1006, 1011, 4408, 4999])("%i: signalling lost, the session is looked for", (code) => {
    const bench = lost(code);
    expect(bench.names()).toEqual(["signaling-lost"]);
    bench.pass(10);
    expect(bench.last("probe").url).toBe("http://b1");
  });

  test("1013: not before the time it says", () => {
    const bench = lost(1013, "retry=3000");
    bench.pass(2_999);
    expect(bench.names()).toEqual(["signaling-lost"]);
    bench.pass(11);
    expect(bench.names()).toEqual(["probe"]);
  });

  test.each([
    [4409, "superseded"],
    [4401, "unauthorized"],
  ])("%i: nothing more is tried", (code, reason) => {
    const bench = lost(code);
    expect(bench.last("stopped").error.reason).toBe(reason);
    expect(bench.machine.pollTimeout()).toBeUndefined();
  });
});

describe("the probe answers", () => {
  const probing = () => {
    const bench = lost(1006);
    bench.pass(10);
    return bench;
  };

  test("200 and the same boot: the same session is opened at that balancer", () => {
    const bench = probing();
    bench.probed(200, { bootId: "boot-a" });
    expect(bench.last("open").session).toMatchObject({ session_id: "ses-1", url: "http://b1" });
  });

  test.each([
    [200, { bootId: "boot-b" }],
    [404, {}],
    [404, { bootId: "boot-b", pin: "moved; reason=gone" }],
    [404, { bootId: "boot-b", pin: "moved; reason=restarted" }],
    [410, { bootId: "boot-a" }],
  ])("%i %o: gone, and signed in at once", (status, extra) => {
    const bench = probing();
    bench.probed(status, extra);
    expect(bench.names()).toEqual(["session-lost", "sign-in"]);
  });

  test.each(["silent", "unknown", "draining"])("moved, reason %s: no proof, so media decides", (reason) => {
    const bench = probing();
    bench.probed(404, { bootId: "boot-b", pin: `moved; reason=${reason}` });
    expect(bench.names()).toEqual(["weigh"]);
  });

  test("a time-out is repeated once at once, then the other balancer is asked; it is no verdict", () => {
    const bench = probing();
    const asked: string[] = [];
    for (let times = 0; times < 4; times++) {
      const { ask, url } = bench.last("probe");
      asked.push(url);
      bench.machine.handleProbe(ask, { kind: "timeout" }, bench.now);
    }
    expect(asked).toEqual(["http://b1", "http://b1", "http://b2", "http://b2"]);
    expect(bench.seen.some((command) => "tell" in command && command.tell === "session-lost")).toBe(false);
    bench.pass(2_000);
    expect(bench.last("probe").url).toBe("http://b1");
  });

  test("503: the other balancer, then again after Retry-After", () => {
    const bench = probing();
    for (let times = 0; times < 2; times++) {
      const { ask } = bench.last("probe");
      bench.machine.handleProbe(ask, { kind: "status", status: 503, retryAfterMs: 4_000 }, bench.now);
    }
    bench.take();
    bench.pass(3_999);
    expect(bench.names()).toEqual([]);
    bench.pass(200);
    expect(bench.names()).toEqual(["probe"]);
  });

  test("an answer that is out of date changes nothing", () => {
    const bench = probing();
    const { ask } = bench.last("probe");
    bench.machine.handleProbe(ask, { kind: "network" }, bench.now);
    bench.machine.handleProbe(ask, { kind: "status", status: 404 }, bench.now);
    expect(bench.names()).toEqual(["probe"]);
  });
});

describe("4503 silent", () => {
  const weighing = () => {
    const bench = lost(4503, "silent");
    expect(bench.names()).toEqual(["signaling-lost", "weigh"]);
    return bench;
  };

  test("no media to ask: as gone", () => {
    const bench = weighing();
    bench.machine.handleMedia(undefined, bench.now);
    expect(bench.last("session-lost")).toMatchObject({ kind: "instance-silent", calls: "end" });
  });

  test("no packet for 600 ms: as gone", () => {
    const bench = weighing();
    bench.machine.handleMedia(450, bench.now);
    expect(bench.names()).toEqual([]);
    bench.machine.handleMedia(601, bench.now);
    expect(bench.last("session-lost").calls).toBe("end");
  });

  test("media lives: the others are tried for 5 s, then elsewhere, the calls kept", () => {
    const bench = weighing();
    bench.machine.handleMedia(20, bench.now);
    bench.pass(10);
    expect(bench.last("probe").url).toBe("http://b2");
    for (let times = 0; times < 100 && bench.now < 4_900; times++) {
      bench.probed(404, { pin: "moved; reason=silent" });
      bench.pass(50);
    }
    expect(bench.seen.some((command) => "tell" in command && command.tell === "session-lost")).toBe(false);
    bench.pass(200);
    expect(bench.last("session-lost")).toMatchObject({ kind: "instance-silent", calls: "keep" });
    expect(bench.last("sign-in").proof).toMatchObject({ capsule: "capsule-2", session_token: "tok-1" });
  });

  test("media lives, then dies while the others are tried: as gone", () => {
    const bench = weighing();
    bench.machine.handleMedia(20, bench.now);
    bench.pass(200);
    bench.machine.handleMedia(650, bench.now);
    expect(bench.last("session-lost").calls).toBe("end");
  });

  test("another balancer proves that it is gone: no more waiting", () => {
    const bench = weighing();
    bench.machine.handleMedia(20, bench.now);
    bench.pass(10);
    bench.probed(404, { pin: "moved; reason=gone" });
    expect(bench.last("session-lost").kind).toBe("instance-lost");
  });

  test("another balancer reaches it: the same session", () => {
    const bench = weighing();
    bench.machine.handleMedia(20, bench.now);
    bench.pass(10);
    bench.probed(200, { bootId: "boot-a" });
    expect(bench.last("open").session).toMatchObject({ session_id: "ses-1", url: "http://b2" });
    bench.machine.handleAttached(bench.last("open").link, told, bench.now);
    expect(bench.last("attached")).toMatchObject({ same: true });
    bench.pass(6_000);
    expect(bench.machine.attached).toBe(true);
  });
});

describe("gone by the word of one balancer, while calls are up", () => {
  const doubting = () => {
    const bench = attached();
    bench.machine.occupied = true;
    bench.machine.handleClosed(bench.machine.link ?? -1, 4503, "gone", bench.now);
    return bench;
  };

  test("another balancer is asked at once, for a short time", () => {
    const bench = doubting();
    expect(bench.take()).toMatchObject([
      { tell: "signaling-lost", kind: "signaling-lost" },
      { do: "probe", url: "http://b2", limitMs: 150 },
    ]);
  });

  test("it reaches the same boot: the same session there", () => {
    const bench = doubting();
    bench.probed(200, { bootId: "boot-a" });
    expect(bench.last("open").session).toMatchObject({ session_id: "ses-1", url: "http://b2" });
    bench.machine.handleAttached(bench.last("open").link, told, bench.now);
    expect(bench.last("attached")).toMatchObject({ same: true });
    expect(bench.seen.some((command) => "tell" in command && command.tell === "session-lost")).toBe(false);
  });

  test.each([
    { kind: "timeout" } as const,
    { kind: "network" } as const,
    { kind: "status", status: 404, pin: "moved; reason=gone" } as const,
    { kind: "status", status: 404, pin: "moved; reason=silent" } as const,
    { kind: "status", status: 200, bootId: "boot-b" } as const,
    { kind: "status", status: 503 } as const,
  ])("%o: gone, and the return is spread as ever", (answer) => {
    const bench = doubting();
    bench.machine.handleProbe(bench.last("probe").ask, answer, bench.now);
    expect(bench.last("session-lost")).toMatchObject({ kind: "instance-lost", calls: "end" });
    bench.take();
    bench.pass(9);
    expect(bench.names()).toEqual([]);
    bench.pass(1);
    expect(bench.names()).toEqual(["sign-in"]);
  });

  test("a probe said it: the other balancer is asked, and without it nobody waits again", () => {
    const bench = attached();
    bench.machine.occupied = true;
    bench.machine.handleClosed(bench.machine.link ?? -1, 1006, "", bench.now);
    bench.pass(10);
    bench.probed(404, { pin: "moved; reason=gone" });
    expect(bench.last("probe")).toMatchObject({ url: "http://b2", limitMs: 150 });
    bench.take();
    bench.probed(404, { pin: "moved; reason=gone" });
    expect(bench.names()).toEqual(["session-lost", "sign-in"]);
  });

  test("asked once for a loss, so that two balancers of two minds end nowhere", () => {
    const bench = doubting();
    bench.probed(200, { bootId: "boot-a" });
    bench.machine.handleClosed(bench.last("open").link, 4503, "gone", bench.now);
    expect(bench.last("session-lost").kind).toBe("instance-lost");
  });

  test("an instance that says itself that it goes is believed", () => {
    const bench = attached();
    bench.machine.occupied = true;
    bench.machine.handleClosed(bench.machine.link ?? -1, 1012, "", bench.now);
    expect(bench.names()).toEqual(["signaling-lost", "session-lost"]);
  });
});

describe("packets stop while the socket says nothing", () => {
  const suspecting = () => {
    const bench = attached();
    bench.machine.handleSuspicion();
    expect(bench.names()).toEqual(["resync", "probe"]);
    return bench;
  };

  test("the socket answers: instance and network are the same, whatever becomes of the probe", () => {
    const bench = suspecting();
    bench.machine.handleResynced();
    expect(bench.names()).toEqual(["instance-alive"]);
    bench.probed(200, { bootId: "boot-a" });
    bench.pass(1_000);
    expect(bench.names()).toEqual([]);
  });

  test("the probe answers first: the socket has 250 ms more", () => {
    const bench = suspecting();
    bench.probed(200, { bootId: "boot-a" });
    bench.pass(249);
    bench.machine.handleResynced();
    bench.pass(1_000);
    expect(bench.names()).toEqual(["instance-alive"]);
  });

  test("the probe alone answers: the network changed, the socket is replaced", () => {
    const bench = suspecting();
    bench.probed(200, { bootId: "boot-a" });
    bench.pass(250);
    expect(bench.take()).toMatchObject([
      { do: "close" },
      { tell: "signaling-lost", kind: "network-changed" },
      { do: "open", session: { session_id: "ses-1", url: "http://b1" } },
    ]);
  });

  test("a snapshot that nobody asked for proves nothing", () => {
    const bench = attached();
    bench.machine.handleResynced();
    expect(bench.names()).toEqual([]);
  });

  test("the browser is online again: the same question, and a socket that answers is kept", () => {
    const bench = attached();
    bench.machine.kick(bench.now);
    expect(bench.names()).toEqual(["resync", "probe"]);
    bench.machine.handleResynced();
    bench.pass(1_000);
    expect(bench.machine.attached).toBe(true);
  });

  test("two probes without an answer: the network is suspect, the session is looked for", () => {
    const bench = attached();
    bench.machine.handleSuspicion();
    for (let times = 0; times < 2; times++) {
      bench.machine.handleProbe(bench.last("probe").ask, { kind: "timeout" }, bench.now);
    }
    expect(bench.last("signaling-lost").kind).toBe("network-changed");
    bench.pass(10);
    expect(bench.machine.session?.session_id).toBe("ses-1");
  });
});

describe("sign-in refused", () => {
  const refused = (status: number, extra: object = {}) => {
    const bench = new Bench();
    bench.machine.start(0);
    const failure = {
      kind: "status",
      status,
      problem: undefined,
      detail: undefined,
      retryAfterMs: 0,
      ...extra,
    } as const;
    bench.machine.handleSignInFailed(bench.last("sign-in").ask, failure, 0);
    return bench;
  };

  test.each([
    [400, "rejected"],
    [401, "unauthorized"],
    [403, "forbidden"],
    [409, "rejected"],
  ])("%i: for good", (status, reason) => {
    expect(refused(status).last("stopped").error.reason).toBe(reason);
  });

  test("503: again after Retry-After, with a new key", () => {
    const bench = refused(503, { retryAfterMs: 2_000 });
    const { key } = bench.last("sign-in");
    bench.take();
    bench.pass(1_999);
    expect(bench.names()).toEqual([]);
    bench.pass(600);
    expect(bench.last("sign-in").key).not.toBe(key);
  });

  test("502: whether it acted is unknown, so again with the same key", () => {
    const bench = refused(502);
    const { key } = bench.last("sign-in");
    bench.pass(600);
    expect(bench.last("sign-in").key).toBe(key);
  });

  test("a refused capsule leaves a fresh token to try", () => {
    const bench = lost(4503, "gone");
    bench.pass(10);
    const { ask } = bench.last("sign-in");
    const failure = { kind: "status", status: 401, problem: undefined, detail: undefined, retryAfterMs: 0 } as const;
    bench.machine.handleSignInFailed(ask, failure, bench.now);
    expect(bench.last("sign-in").proof).toBeUndefined();
  });

  test("a 201 that comes too late is signed off", () => {
    const bench = new Bench();
    bench.machine.start(0);
    const { ask } = bench.last("sign-in");
    bench.machine.handleSignInFailed(ask, { kind: "timeout" }, 0);
    bench.machine.handleSignedIn(ask, session, 10);
    expect(bench.last("sign-off").session.session_id).toBe("ses-1");
  });
});

describe("a move", () => {
  const other = { ...session, session_id: "ses-2", instance_id: "gw-b", boot_id: "boot-b" };
  const moving = () => {
    const bench = attached();
    bench.machine.handleMove("ticket", bench.now);
    bench.pass(10);
    return bench;
  };

  test("makes before it breaks", () => {
    const bench = moving();
    expect(bench.last("sign-in")).toMatchObject({ ticket: "ticket", proof: undefined });
    bench.machine.handleSignedIn(bench.last("sign-in").ask, other, bench.now);
    expect(bench.names()).toEqual(["open"]);
    bench.machine.handleAttached(bench.last("open").link, told, bench.now);
    expect(bench.names()).toEqual(["close", "attached", "sign-off"]);
    expect(bench.machine.session?.session_id).toBe("ses-2");
  });

  test("is called off when a call began meanwhile", () => {
    const bench = moving();
    bench.machine.handleSignedIn(bench.last("sign-in").ask, other, bench.now);
    const { link } = bench.last("open");
    bench.machine.occupied = true;
    bench.machine.handleAttached(link, told, bench.now);
    expect(bench.take()).toMatchObject([
      { do: "close", link },
      { do: "sign-off", session: { session_id: "ses-2" } },
    ]);
    expect(bench.machine.session?.session_id).toBe("ses-1");
  });

  test("is tried a bounded number of times, and the old session stays", () => {
    const bench = attached();
    bench.machine.handleMove("ticket", bench.now);
    for (let times = 0; times < 20; times++) {
      bench.machine.handleHeard(bench.machine.link ?? -1, bench.now);
      bench.pass(3_000);
      const signIns = bench.seen.filter((command) => "do" in command && command.do === "sign-in");
      const last = signIns.at(-1);
      if (last && "ask" in last) {
        bench.machine.handleSignInFailed(last.ask, { kind: "network" }, bench.now);
      }
      bench.take();
    }
    const signIns = bench.seen.filter((command) => "do" in command && command.do === "sign-in");
    expect(signIns).toHaveLength(1 + 6);
    expect(bench.machine.attached).toBe(true);
  });
});

test("gives up after its time without success", () => {
  const bench = lost(1006);
  for (let times = 0; times < 500 && bench.machine.running; times++) {
    bench.pass(500);
    const commands = bench.take();
    for (const command of commands) {
      if ("do" in command && command.do === "probe") {
        bench.machine.handleProbe(command.ask, { kind: "network" }, bench.now);
      }
    }
  }
  expect(bench.last("stopped").error.reason).toBe("unreachable");
  expect(bench.now).toBeGreaterThanOrEqual(60_000);
});

test("a few losses right after each attach hardly wait, a loop of them waits ever longer", () => {
  const bench = attached();
  const waits = Array.from({ length: 7 }, () => {
    bench.pass(100);
    bench.machine.handleClosed(bench.machine.link ?? -1, 4503, "gone", bench.now);
    const lostAt = bench.now;
    bench.pass((bench.machine.pollTimeout() ?? 0) - lostAt);
    bench.machine.handleSignedIn(bench.last("sign-in").ask, session, bench.now);
    bench.machine.handleAttached(bench.last("open").link, told, bench.now);
    bench.take();
    return bench.now - lostAt;
  });
  expect(waits).toEqual([10, 10, 10, 50, 100, 200, 400]);
});
