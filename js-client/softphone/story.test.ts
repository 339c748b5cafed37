import { describe, expect, test } from "vitest";
import {
  type Call,
  CallError,
  type ClientEvents,
  type EndReason,
  type HoldfastError,
  MediaError,
  type SessionInfo,
  SignInError,
} from "../src/index.ts";
import { type Asked, behind, frontCall, ringing, ringOf } from "./calls.ts";
import { begin, MAX_LOG_LINES, type Story, screen, type Told, tell } from "./story.ts";

const T0 = 1_000_000;

function session(instanceId: string): SessionInfo {
  return { user: "ada", sessionId: "s", instanceId, bootId: `boot-of-${instanceId}`, url: "https://phone.example" };
}

function signedIn(instanceId: string, gapMs = 0): Told[] {
  return [
    { type: "statechange", detail: { state: "signed-in", previous: "signing-in" } },
    { type: "signedin", detail: { ...session(instanceId), recovering: false, gapMs } },
  ];
}

const inCall: Told[] = [
  { type: "page.dialing", id: "c1", target: "echo", video: false },
  { type: "call.statechange", id: "c1", detail: { state: "active", previous: "connecting" } },
  { type: "call.mediachange", id: "c1", detail: { media: "flowing", previous: "connecting" } },
];

const lost: Told[] = [
  { type: "statechange", detail: { state: "reconnecting", previous: "signed-in" } },
  { type: "signalinglost", detail: { reason: "instance-lost" } },
];

function ended(reason: ClientEvents["ended"]["reason"], error?: ClientEvents["ended"]["error"]): Told {
  return { type: "ended", detail: { callId: "c1", reason, ...(error && { error }) } };
}

function told(...events: Told[]): Story {
  return events.reduce((story, event, index) => tell(story, event, T0 + index), begin());
}

const lines = (story: Story) => story.log.map((line) => line.text);

describe("an instance is lost", () => {
  const change: Told = {
    type: "instancechange",
    detail: { ...session("gw-3"), previousInstanceId: "gw-2", reason: "instance-lost" },
  };
  const sentence = "Instance gw-2 was lost. Your call ended. You are signed in on gw-3 after 61 ms.";

  test("in a call: the page says it all and offers to call again", () => {
    const story = told(...signedIn("gw-2"), ...inCall, ...lost, ended("instance-lost"), ...signedIn("gw-3", 61));
    expect(story.notice).toMatchObject({ level: "ok", text: sentence, actions: ["redial", "dismiss"] });
    expect(story.instance).toBe("gw-3");
    expect(screen(story)).toBe("dial");
  });

  test("the same is said in whatever order the parts are told", () => {
    const [down, lose] = lost as [Told, Told];
    const back = signedIn("gw-3", 61);
    for (const parts of [
      [lose, ended("instance-lost"), change, ...back],
      [ended("instance-lost"), lose, ...back, change],
      [lose, ...back, ended("instance-lost"), change],
    ]) {
      const story = told(...signedIn("gw-2"), ...inCall, down, ...parts);
      expect(story.notice?.text).toBe(sentence);
    }
  });

  test("idle: no word of a call, nothing to redial", () => {
    const story = told(...signedIn("gw-2"), ...lost, ...signedIn("gw-3", 61));
    expect(story.notice?.text).toBe("Instance gw-2 was lost. You are signed in on gw-3 after 61 ms.");
    expect(story.notice?.actions).toEqual(["dismiss"]);
  });

  test("first taken for a lost connection, the notice names the true reason in the end", () => {
    const unsure: Told = { type: "signalinglost", detail: { reason: "signaling-lost" } };
    const story = told(...signedIn("gw-2"), unsure, ...signedIn("gw-3", 61), change);
    expect(story.notice?.text).toBe("Instance gw-2 was lost. You are signed in on gw-3 after 61 ms.");
  });

  test("a loss long after is told on its own", () => {
    const first = told(...signedIn("gw-2"), ...inCall, ...lost, ended("instance-lost"), ...signedIn("gw-3", 61));
    const story = [...lost, ...signedIn("gw-1", 70)].reduce((now, event) => tell(now, event, T0 + 60_000), first);
    expect(story.notice?.text).toBe("Instance gw-3 was lost. You are signed in on gw-1 after 70 ms.");
  });

  test("two instances lost one after the other: the ended call is told on and can be called again", () => {
    const first = [...signedIn("gw-2"), ...inCall, ...lost, ended("instance-lost"), ...signedIn("gw-3", 61)];
    const story = told(...first, ...lost, ...signedIn("gw-1", 70));
    expect(story.notice?.text).toBe("Instance gw-3 was lost. Your call ended. You are signed in on gw-1 after 70 ms.");
    expect(story.notice?.actions).toContain("redial");
  });

  test("closing the notice ends the matter", () => {
    const story = told(...signedIn("gw-2"), ...lost, ...signedIn("gw-3", 61), { type: "page.dismissed" }, change);
    expect(story.notice).toBeUndefined();
  });
});

test("signalling alone is lost: the call is shown on and said to go on", () => {
  const story = told(
    ...signedIn("gw-2"),
    ...inCall,
    { type: "signalinglost", detail: { reason: "signaling-lost" } },
    { type: "page.control", id: "c1", preserved: true, refused: {} },
  );
  expect(screen(story)).toBe("call");
  expect(frontCall(story)?.preserved).toBe(true);
  expect(story.notice?.text).toContain("Your call goes on.");
  const back = tell(story, { type: "signalingback", detail: { gapMs: 120, sameSession: true } }, T0 + 99);
  expect(back.notice?.text).toBe(
    "The connection to gw-2 was lost. Your call goes on. The connection is back after 120 ms.",
  );
});

test("a silent instance: the call is said to go on only when that is known", () => {
  const silent: Told = { type: "signalinglost", detail: { reason: "instance-silent" } };
  const story = told(...signedIn("gw-2"), ...inCall, silent);
  expect(story.notice?.text).toBe("Instance gw-2 stopped answering. Getting you back …");
  expect(told(...signedIn("gw-2"), ...inCall, silent, ...signedIn("gw-3", 5200)).notice?.text).toBe(
    "Instance gw-2 stopped answering. Your call goes on. You are signed in on gw-3 after 5.2 s.",
  );
});

test("media lost: the way back is told under that name", () => {
  const story = told(...signedIn("gw-2"), ...inCall, ended("media-lost"), ...signedIn("gw-3"));
  expect(story.notice?.text).toBe("Sound from gw-2 stopped arriving. Your call ended. You are signed in on gw-3.");
});

describe("no instance is up", () => {
  const retry = (attempt: number, delayMs: number): Told => ({
    type: "retrying",
    detail: { attempt, delayMs, reason: "unavailable" },
  });

  test("short first pauses are nobody's business", () => {
    expect(told(...signedIn("gw-1"), ...lost, retry(2, 80)).notice?.countdown).toBeUndefined();
  });

  test("a longer wait shows a countdown and a button, and is logged once", () => {
    const story = told(...signedIn("gw-1"), ...lost, retry(4, 900), retry(5, 200), retry(6, 2000));
    expect(story.notice).toMatchObject({ countdown: true, actions: ["retry"] });
    expect(story.retryAt).toBe(story.log.length > 0 ? T0 + 6 + 2000 : 0);
    expect(lines(story).filter((text) => text.startsWith("No instance"))).toHaveLength(1);
  });

  test("the return replaces it by what happened", () => {
    const story = told(...signedIn("gw-1"), ...lost, retry(4, 900), ...signedIn("gw-1", 5300));
    expect(story.notice?.text).toBe("Instance gw-1 was lost. You are signed in on gw-1 after 5.3 s.");
    expect(story.retryAt).toBeUndefined();
  });

  test("before the first sign-in it goes without a trace when one is there", () => {
    expect(told(retry(4, 900), ...signedIn("gw-1")).notice).toBeUndefined();
  });

  test("given up: still a countdown and a button", () => {
    const story = told(
      ...signedIn("gw-1"),
      ...lost,
      { type: "statechange", detail: { state: "gave-up", previous: "reconnecting" } },
      { type: "gaveup", detail: { error: new SignInError("unavailable") } },
    );
    expect(story.notice).toMatchObject({ level: "bad", countdown: true, actions: ["retry"] });
    expect(screen(story)).toBe("none");
  });
});

describe("a call that never was", () => {
  test.each([
    ["NotAllowedError", "The microphone is blocked"],
    ["NotFoundError", "No microphone was found"],
    ["NotReadableError", "The microphone is in use"],
  ])("%s says what to do and offers to listen only", (name, title) => {
    const error = new MediaError(new DOMException("", name));
    const story = told(
      ...signedIn("gw-1"),
      { type: "page.dialing", id: "c1", target: "echo", video: false },
      ended("failed", error),
    );
    expect(story.notice).toMatchObject({ title, actions: ["redial", "listen-only", "dismiss"] });
    expect(frontCall(story)).toBeUndefined();
  });

  test("an insecure origin does not offer to try the same again", () => {
    const story = told(
      ...signedIn("gw-1"),
      { type: "page.dialing", id: "c1", target: "echo", video: false },
      ended("failed", new MediaError()),
    );
    expect(story.notice?.actions).toEqual(["listen-only", "dismiss"]);
  });

  test("a refusal is told in words", () => {
    const story = told(...signedIn("gw-1"), ...inCall, ended("failed", new CallError("bad-target")));
    expect(story.notice?.text).toBe("There is nobody by that name.");
  });
});

test("hanging up leaves no notice", () => {
  const story = told(...signedIn("gw-1"), ...inCall, ended("local-hang-up"));
  expect(story.notice).toBeUndefined();
  expect(lines(story).at(-1)).toBe("You hung up.");
});

test("a reload keeps the notice about its lost call through the sign-in", () => {
  const story = told(ended("page-reloaded"), ...signedIn("gw-1"));
  expect(story.notice?.text).toBe("The page was reloaded. Your call ended.");
});

test("a reload that finds its session again says where, and nothing of a lost connection", () => {
  const back: Told = { type: "signalingback", detail: { gapMs: 24, sameSession: true } };
  const story = told({ type: "page.signing-in", user: "", withToken: false }, back, {
    type: "page.signed-in",
    session: session("gw-1"),
  });
  expect(story).toMatchObject({ user: "ada", instance: "gw-1" });
  expect(lines(story)).toEqual(["You are signed in on gw-1."]);
});

test("the stopwatch starts once, when the far side answers", () => {
  const story = told(...signedIn("gw-1"), ...inCall, {
    type: "call.statechange",
    id: "c1",
    detail: { state: "active", previous: "held" },
  });
  expect(frontCall(story)?.since).toBe(T0 + 3);
});

test("superseded: nothing but a way to take it back", () => {
  const story = told(
    ...signedIn("gw-1"),
    { type: "statechange", detail: { state: "superseded", previous: "signed-in" } },
    { type: "superseded", detail: {} },
  );
  expect(screen(story)).toBe("none");
  expect(story.notice?.actions).toEqual(["take-back"]);
});

test("credentials refused: the sign-in panel asks for a token, and the log says it once", () => {
  const story = told(
    { type: "page.signing-in", user: "ada", withToken: false },
    { type: "statechange", detail: { state: "unauthorized", previous: "signing-in" } },
    { type: "unauthorized", detail: { error: new SignInError("unauthorized") } },
    { type: "page.sign-in-failed", reason: "unauthorized" },
  );
  expect(screen(story)).toBe("sign-in");
  expect(story.needsToken).toBe(true);
  expect(story.log).toHaveLength(1);
});

test("a drain in a call tells how long it may go on; a move tells that nothing was lost", () => {
  const draining: Told = { type: "draining", detail: { deadlineMs: 600_000 } };
  expect(told(...signedIn("gw-1"), ...inCall, draining).notice?.text).toContain("up to 10 min");
  const story = told(
    ...signedIn("gw-1"),
    draining,
    { type: "moved", detail: { from: "gw-1", to: "gw-2" } },
    ...signedIn("gw-2"),
  );
  expect(story.notice).toMatchObject({ level: "ok", title: "Moved to gw-2" });
});

test("calls that are impossible are told when the instance says so, not as a part of a loss", () => {
  const away: Told = { type: "serviceunavailable", detail: { service: "calls", reason: "call-capacity" } };
  const back: Told = { type: "serviceavailable", detail: { service: "calls" } };
  expect(lines(told(back, ...signedIn("gw-1"), away, back)).slice(1)).toEqual([
    "All lines are in use. Try again in a moment.",
    "Calls are possible again.",
  ]);
  const story = told(...signedIn("gw-1"), ...lost, away, back, ...signedIn("gw-2", 61));
  expect(lines(story).filter((text) => text.startsWith("Calls"))).toEqual([]);
});

test("signing out forgets everything but the name and the log", () => {
  const story = told(...signedIn("gw-1"), { type: "signedout", detail: {} });
  expect(story).toMatchObject({ user: "ada", instance: undefined, notice: undefined });
  expect(lines(story)).toEqual(["You are signed in on gw-1.", "You signed out."]);
});

/** Somebody calls; with `replaces` in place of a lost call. */
function rings(id: string, name = "Bob", replaces?: string): Told {
  const call = { id, target: `sip:${name.toLowerCase()}@example.org`, name, offersVideo: false } as Call;
  return { type: "incomingcall", detail: { call, replaces, answering: replaces !== undefined } };
}

const active = (id: string): Told => ({
  type: "call.statechange",
  id,
  detail: { state: "active", previous: "ringing" },
});
const asks = (id: string, what: Asked): Told => ({ type: "page.asked", id, what });
const settles = (id: string, what: Asked, error?: HoldfastError): Told => ({ type: "page.settled", id, what, error });
const over = (id: string, reason: EndReason): Told => ({ type: "ended", detail: { callId: id, reason } });

describe("somebody calls", () => {
  test("rings beside the dial panel, and is in front once answered", () => {
    const story = told(...signedIn("gw-1"), rings("in"));
    expect(screen(story)).toBe("dial");
    expect(ringing(story).map(({ name }) => name)).toEqual(["Bob"]);
    expect(ringOf(story)).toBe("incoming");
    const answered = told(...signedIn("gw-1"), rings("in"), asks("in", "answer"));
    expect(screen(answered)).toBe("call");
    expect(ringing(answered)).toEqual([]);
    expect(ringOf(answered)).toBeUndefined();
  });

  test("a microphone that is refused leaves it ringing and says what to do", () => {
    const error = new MediaError(new DOMException("", "NotAllowedError"));
    const story = told(...signedIn("gw-1"), rings("in"), asks("in", "answer"), settles("in", "answer", error));
    expect(ringing(story)).toHaveLength(1);
    expect(screen(story)).toBe("dial");
    expect(story.notice).toMatchObject({ title: "The microphone is blocked", actions: ["listen-only", "dismiss"] });
  });

  test("missed: the page says so and offers to call back", () => {
    const end: Told = { type: "call.statechange", id: "in", detail: { state: "ended", previous: "ringing" } };
    const story = told(...signedIn("gw-1"), rings("in"), end, over("in", "cancelled"));
    expect(story.notice).toMatchObject({ title: "Missed call", actions: ["call-back", "dismiss"] });
    expect(story.last?.target).toBe("sip:bob@example.org");
    expect(lines(story).at(-1)).toBe("You missed a call from Bob.");
  });

  test("missed while nobody could be told: the page says so on return", () => {
    const missed = [{ callId: "x", target: "sip:bob@example.org", name: "Bob" }];
    const resynced = { kept: [], ended: [], timedOut: [], held: [], arrived: [], missed };
    const back: Told = { type: "signalingback", detail: { gapMs: 5_000, sameSession: true } };
    const story = told(...signedIn("gw-1"), ...lost, back, { type: "callsresynced", detail: resynced });
    expect(story.notice).toMatchObject({
      title: "Missed call",
      text: "Bob could not get through.",
      actions: ["call-back", "dismiss"],
    });
    expect(story.last?.target).toBe("sip:bob@example.org");
    expect(lines(story).at(-1)).toBe("You missed a call from Bob.");
  });

  test("declined: no notice", () => {
    const story = told(...signedIn("gw-1"), rings("in"), over("in", "local-hang-up"));
    expect(story.notice).toBeUndefined();
    expect(lines(story).at(-1)).toBe("You declined Bob's call.");
  });

  test("into a call: it waits; answered, the first one is behind it, and comes back when it ends", () => {
    const waiting = told(...signedIn("gw-1"), ...inCall, rings("in"));
    expect(ringOf(waiting)).toBe("waiting");
    expect(frontCall(waiting)?.id).toBe("c1");
    const two = told(...signedIn("gw-1"), ...inCall, rings("in"), asks("in", "answer"), active("in"));
    expect(frontCall(two)?.id).toBe("in");
    expect(behind(two).map(({ id }) => id)).toEqual(["c1"]);
    const one = tell(two, over("in", "remote-hang-up"), T0 + 99);
    expect(frontCall(one)?.id).toBe("c1");
    expect(frontCall(tell(two, { type: "page.front", id: "c1" }, T0 + 99))?.id).toBe("c1");
  });

  test("who presses keys is shown on both sides, and the last few are kept", () => {
    const keys = Array.from({ length: 30 }, (): Told => ({ type: "page.digit", id: "c1", digit: "7" }));
    const story = told(...signedIn("gw-1"), ...inCall, ...keys, {
      type: "call.digit",
      id: "c1",
      detail: { digit: "#" },
    });
    expect(frontCall(story)).toMatchObject({ sent: "7".repeat(24), heard: "#" });
  });

  test("a far side that passes this side on: the page names the new one", () => {
    const story = told(...signedIn("gw-1"), ...inCall, {
      type: "call.partychange",
      id: "c1",
      detail: { target: "sip:carol@example.org", name: "Carol" },
    });
    expect(frontCall(story)).toMatchObject({ target: "sip:carol@example.org", name: "Carol" });
    expect(lines(story).at(-1)).toBe("You talk to Carol now.");
  });

  test("the other end's phone rings: so does this one, softly, until the answer", () => {
    const dialed = told(...signedIn("gw-1"), { type: "page.dialing", id: "c1", target: "bob", video: false });
    const ringingThere = tell(
      dialed,
      { type: "call.statechange", id: "c1", detail: { state: "ringing", previous: "connecting" } },
      T0,
    );
    expect(ringOf(dialed)).toBeUndefined();
    expect(ringOf(ringingThere)).toBe("ringback");
    expect(ringOf(tell(ringingThere, active("c1"), T0))).toBeUndefined();
  });
});

describe("a far side that comes back", () => {
  const lostAndBack = [...lost, ended("instance-lost"), ...signedIn("gw-3", 61), rings("new", "Bob", "c1")];

  test("is a new call, answered by itself; nobody says that the old one went on", () => {
    const story = told(...signedIn("gw-2"), ...inCall, ...lostAndBack, active("new"));
    expect(screen(story)).toBe("call");
    expect(frontCall(story)?.asked).toBeUndefined();
    expect(ringOf(story)).toBeUndefined();
    expect(story.notice?.text).toBe(
      "Instance gw-2 was lost. Your call ended. You are signed in on gw-3 after 61 ms. Bob is back in a new call, 5 ms after the loss.",
    );
    expect(story.notice?.actions).toEqual(["dismiss"]);
    expect(lines(story).join(" ")).not.toContain("goes on");
  });

  test("of which nothing is known is said to be so", () => {
    const summary: Told = {
      type: "sessionrecovered",
      detail: { recovered: [], lost: [], unknown: ["c1"] },
    };
    expect(lines(told(...signedIn("gw-1"), summary)).at(-1)).toContain("not known");
  });
});

test("what was asked for and refused is told, and the call is as it was", () => {
  const story = told(
    ...signedIn("gw-1"),
    ...inCall,
    asks("c1", "hold"),
    settles("c1", "hold", new CallError("far-refused", "the far side answered 488")),
  );
  expect(frontCall(story)).toMatchObject({ state: "active", asked: undefined });
  expect(story.notice).toMatchObject({ level: "warn", title: "Echo was not put on hold" });
});

test("the log is bounded", () => {
  const many = Array.from({ length: MAX_LOG_LINES + 50 }, (): Told => ({ type: "signedout", detail: {} }));
  expect(told(...many).log).toHaveLength(MAX_LOG_LINES);
});
