// The small pure machines, each by itself.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type CallCommand, CallMachine } from "../src/call-machine.ts";
import { retryDelay } from "../src/delay.ts";
import { Emitter } from "../src/emitter.ts";
import { packetAge } from "../src/liveness.ts";
import type { CallSnapshot } from "../src/protocol.gen.ts";
import { Requests, type Settled } from "../src/requests.ts";
import { compare } from "../src/resync.ts";
import { Sequence } from "../src/sequence.ts";
import { Services } from "../src/service.ts";

const names = (commands: CallCommand[]) => commands.map((command) => ("do" in command ? command.do : command.tell));

describe("retry delay", () => {
  test("spreads over the service's window from the first try on", () => {
    expect(retryDelay(0, 20, 0, () => 0)).toBe(0);
    expect(retryDelay(0, 20, 0, () => 0.5)).toBe(10);
    expect(retryDelay(0, 2_000, 0, () => 0.999)).toBeCloseTo(1_998);
  });

  test("never under Retry-After, and never much over its bounds", () => {
    fc.assert(
      fc.property(
        fc.nat(1_000),
        fc.nat(2_000),
        fc.nat(600_000),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (attempt, windowMs, floorMs, random) => {
          const delay = retryDelay(attempt, windowMs, floorMs, () => random);
          expect(delay).toBeGreaterThanOrEqual(floorMs);
          expect(delay).toBeLessThanOrEqual(floorMs + 2_000);
        },
      ),
    );
  });
});

describe("packet age", () => {
  const pair = (timestamp: number, lastPacketReceivedTimestamp?: number) => ({
    type: "candidate-pair",
    timestamp,
    ...(lastPacketReceivedTimestamp !== undefined && { lastPacketReceivedTimestamp }),
  });

  test("is that of the pair that heard something last", () => {
    expect(packetAge([pair(1000, 100), pair(1000, 980), { type: "inbound-rtp", timestamp: 1000 }])).toBe(20);
  });

  test("is unknown before the first packet", () => {
    expect(packetAge([pair(1000), pair(1000, 0)])).toBeUndefined();
    expect(packetAge([])).toBeUndefined();
  });
});

describe("a call's media", () => {
  function flowing(): CallMachine {
    const machine = new CallMachine();
    machine.handleAnswer(0);
    machine.handleSample(0, 100);
    machine.takeCommands();
    return machine;
  }

  test("600 ms without a packet is suspect, the application is told after a second", () => {
    const machine = flowing();
    machine.handleSample(600, 700);
    expect(names(machine.takeCommands())).toEqual([]);
    machine.handleSample(601, 701);
    expect(names(machine.takeCommands())).toEqual(["mediachange", "suspect"]);
    machine.handleSample(1_000, 1_100);
    expect(machine.takeCommands()).toEqual([{ tell: "mediastalled", sinceMs: 1_000 }]);
    machine.handleSample(10, 1_510);
    expect(machine.takeCommands()).toContainEqual({ tell: "mediaresumed", gapMs: 1_410 });
  });

  test("the network changed: one ICE restart, 4 s for it, then lost", () => {
    const machine = flowing();
    machine.handleSample(700, 800);
    machine.takeCommands();
    machine.handleInstanceAlive(false);
    machine.handleInstanceAlive(false);
    expect(names(machine.takeCommands())).toEqual(["restart-ice"]);
    machine.handleRestarted(true, 1_000);
    machine.handleSample(4_800, 4_900);
    expect(names(machine.takeCommands())).toEqual(["mediastalled"]);
    machine.handleSample(4_900, 5_000);
    expect(names(machine.takeCommands())).toEqual(["media-lost"]);
  });

  /** Packets stopped at 100, the network is the same, and the ICE restart was answered at 800. */
  function restartedInVain(): CallMachine {
    const machine = flowing();
    machine.handleSample(610, 710);
    machine.handleInstanceAlive(true);
    machine.handleRestarted(true, 800);
    expect(names(machine.takeCommands())).toEqual(["mediachange", "suspect", "restart-ice"]);
    return machine;
  }

  test("the network is the same: 0.9 s for the ICE restart, and lost when it is the same still", () => {
    const machine = restartedInVain();
    machine.handleSample(1_599, 1_699);
    machine.handleInstanceAlive(true);
    expect(names(machine.takeCommands())).toEqual(["mediastalled"]);
    machine.handleSample(1_600, 1_700);
    expect(names(machine.takeCommands())).toEqual(["suspect"]);
    machine.handleInstanceAlive(true);
    expect(names(machine.takeCommands())).toEqual(["media-lost"]);
  });

  test("the network changed after all: another ICE restart, with the full time for it", () => {
    const machine = restartedInVain();
    machine.handleSignalingLost(1_200);
    machine.handleInstanceAlive(false);
    machine.handleRestarted(true, 1_500);
    expect(names(machine.takeCommands())).toEqual(["restart-ice"]);
    machine.handleSample(5_399, 5_499);
    expect(names(machine.takeCommands())).not.toContain("media-lost");
    machine.handleSample(5_400, 5_500);
    expect(names(machine.takeCommands())).toEqual(["media-lost"]);
  });

  test.each([
    [4_000, 4_000],
    [4_001, 900],
  ])("signalling was lost %i ms before the packets: %i ms for the ICE restart", (beforeMs, allowedMs) => {
    const machine = flowing();
    machine.handleSignalingLost(10_000 - beforeMs);
    machine.handleSample(0, 10_000);
    machine.handleSample(610, 10_610);
    machine.handleInstanceAlive(true);
    machine.handleRestarted(true, 10_700);
    machine.takeCommands();
    machine.handleSample(699 + allowedMs, 10_699 + allowedMs);
    expect(names(machine.takeCommands())).not.toContain("suspect");
    machine.handleSample(700 + allowedMs, 10_700 + allowedMs);
    expect(names(machine.takeCommands())).toContain(allowedMs === 900 ? "suspect" : "media-lost");
  });

  test("packets between two stalls: each has its own ICE restart", () => {
    const machine = restartedInVain();
    machine.handleSample(10, 1_000);
    machine.handleSample(700, 1_690);
    machine.handleInstanceAlive(true);
    expect(names(machine.takeCommands()).at(-1)).toBe("restart-ice");
  });

  test.each([true, false])("a restart that failed is asked for again (network unchanged: %s)", (unchanged) => {
    const machine = flowing();
    machine.handleSample(700, 800);
    machine.handleInstanceAlive(unchanged);
    machine.handleRestarted(false, 900);
    machine.takeCommands();
    machine.handleInstanceAlive(unchanged);
    expect(names(machine.takeCommands())).toEqual(["restart-ice"]);
  });

  test("stalled without signalling is given up after a minute", () => {
    const machine = flowing();
    machine.handleSample(59_999, 60_099);
    expect(names(machine.takeCommands())).not.toContain("media-lost");
    machine.handleSample(60_000, 60_100);
    expect(names(machine.takeCommands())).toContain("media-lost");
  });

  test("nothing follows the end, and it comes once", () => {
    const machine = flowing();
    machine.end("remote-hang-up");
    machine.end("instance-lost");
    machine.handleState("active", undefined);
    machine.handleSample(5_000, 9_000);
    machine.handleIceDisconnected(9_000);
    const commands = machine.takeCommands();
    expect(names(commands)).toEqual(["statechange", "mediachange", "ended"]);
    expect(commands.at(-1)).toEqual({ tell: "ended", reason: "remote-hang-up" });
  });
});

describe("requests", () => {
  const hangUp = { method: "hang_up", call_id: "call-1" } as const;

  test("unanswered ones go out again after an attach, under their old ids", () => {
    const requests = new Requests("p");
    requests.add(hangUp, () => {});
    expect(requests.take(false)).toEqual([{ id: "p-1", request: hangUp }]);
    expect(requests.take(false)).toEqual([]);
    expect(requests.take(true)).toEqual([{ id: "p-1", request: hangUp }]);
  });

  test("a lost session: never sent is failed, sent is unknown, answered is as answered; each once", () => {
    const settled: Settled["status"][] = [];
    const requests = new Requests("p");
    const answered = requests.add(hangUp, ({ status }) => settled.push(status));
    requests.add(hangUp, ({ status }) => settled.push(status));
    requests.take(false);
    requests.add(hangUp, ({ status }) => settled.push(status));
    requests.handleResponse(answered, { status: "ok" });
    requests.handleResponse(answered, { status: "ok" });
    requests.handleGone();
    requests.handleGone();
    expect(settled).toEqual(["ok", "unknown", "failed"]);
  });

  test("never more open than the instance takes", () => {
    const settled: string[] = [];
    const requests = new Requests("p");
    for (let times = 0; times < 70; times++) {
      requests.add(hangUp, ({ status }) => settled.push(status));
    }
    expect(settled).toHaveLength(6);
    expect(requests.take(false)).toHaveLength(64);
  });
});

describe("numbered events", () => {
  test("none twice, none over a hole, one resync for a hole", () => {
    const sequence = new Sequence();
    sequence.reset("e", 3);
    expect(sequence.judge("e", 3)).toBe("drop");
    expect(sequence.judge("e", 4)).toBe("take");
    expect(sequence.judge("e", 6)).toBe("resync");
    expect(sequence.judge("e", 7)).toBe("drop");
    sequence.reset("e", 7);
    expect(sequence.judge("e", 8)).toBe("take");
    expect(sequence.judge("other", 9)).toBe("resync");
  });

  test("whatever is lost, repeated or delayed, every number acts at most once and in order", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 60 }), (arrivals) => {
        const sequence = new Sequence();
        sequence.reset("e", 0);
        let last = 0;
        for (const seq of arrivals) {
          const verdict = sequence.judge("e", seq);
          if (verdict === "take") {
            expect(seq).toBe(last + 1);
            last = seq;
          } else if (verdict === "resync") {
            last = Math.max(last, seq);
            sequence.reset("e", last);
          }
        }
      }),
    );
  });
});

describe("services", () => {
  test("tell edges only", () => {
    const services = new Services();
    const down = { service: "calls", available: false, reason: "call-capacity" };
    expect(services.handleStates([down], false)).toEqual([{ service: "calls", reason: "call-capacity" }]);
    expect(services.handleStates([{ ...down, reason: "draining" }], false)).toEqual([]);
    expect(services.handleStates([{ service: "calls", available: true }], false)).toEqual([
      { service: "calls", reason: undefined },
    ]);
  });

  test("what the client itself knows covers what the instance said, and uncovers it again", () => {
    const services = new Services();
    services.handleStates([{ service: "calls", available: false }], true);
    expect(services.set("calls", "signaling-lost")).toEqual([]);
    expect(services.set("calls", undefined)).toEqual([]);
    expect(services.reason("calls")).toBe("unavailable");
    expect(services.handleStates([], true)).toEqual([{ service: "calls", reason: undefined }]);
  });
});

test("a snapshot sorts calls into kept, ended, timed out, held, arrived and missed", () => {
  const call = (call_id: string, state: CallSnapshot["state"]): CallSnapshot => ({
    call_id,
    direction: "outgoing",
    target: "echo",
    state,
    media: "flowing",
  });
  const resync = compare(["kept", "held", "over", "late", "forgotten", "asked"], (callId) => callId === "asked", {
    epoch: "e",
    seq: 1,
    calls: [call("kept", "active"), call("held", "held"), call("new", "ringing")],
    ended: [
      { call_id: "over", reason: "remote-hang-up" },
      { call_id: "late", reason: "no-answer", missed: { target: "sip:rang@here" } },
      { call_id: "unheard", reason: "no-answer", missed: { target: "sip:bob@there", name: "Bob" } },
      { call_id: "declined", reason: "local-hang-up" },
    ],
    services: [],
  });
  expect(resync.summary).toEqual({
    kept: ["kept", "held"],
    ended: ["over", "late", "forgotten"],
    timedOut: ["late"],
    held: ["held"],
    arrived: ["new"],
    missed: [{ callId: "unheard", target: "sip:bob@there", name: "Bob" }],
  });
  expect(resync.ends.at(-1)).toEqual({ callId: "forgotten", reason: "session-ended" });
});

describe("the emitter", () => {
  class Bell extends Emitter<{ ring: { times: number } }> {
    ring(times: number): void {
      this.emit("ring", { times });
    }
  }

  test("calls listeners in order, until they are removed", () => {
    const bell = new Bell();
    const heard: string[] = [];
    const abort = new AbortController();
    const off = bell.on("ring", ({ times }) => heard.push(`a${times}`));
    bell.on("ring", ({ times }) => heard.push(`b${times}`), { once: true });
    bell.on("ring", ({ times }) => heard.push(`c${times}`), { signal: abort.signal });
    bell.ring(1);
    off();
    bell.ring(2);
    abort.abort();
    bell.ring(3);
    expect(heard).toEqual(["a1", "b1", "c1", "c2"]);
  });
});
