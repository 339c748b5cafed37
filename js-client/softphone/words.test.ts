import { expect, test } from "vitest";
import { CallError } from "../src/index.ts";
import * as words from "./words.ts";

test.each([
  [0, "0 ms"],
  [61.4, "61 ms"],
  [1400, "1.4 s"],
  [59_940, "59.9 s"],
  [60_000, "1 min"],
  [125_000, "2 min 5 s"],
])("%d ms is %s", (ms, text) => {
  expect(words.duration(ms)).toBe(text);
});

test.each([
  [-5, "0:00"],
  [7_900, "0:07"],
  [750_000, "12:30"],
  [3_723_000, "1:02:03"],
])("a stopwatch at %d shows %s", (ms, text) => {
  expect(words.stopwatch(ms)).toBe(text);
});

const bob = { target: "sip:bob@example.org", name: undefined };

test("a preserved call says that it goes on, whatever else is true of it", () => {
  expect(
    words.callState({
      state: "active",
      media: "stalled",
      preserved: true,
      heldBy: undefined,
      asked: undefined,
      ...bob,
    }),
  ).toContain("goes on");
});

test("a reason of a newer release still ends in words", () => {
  expect(words.ended({ reason: "something-new" as never })).toBe("Your call ended.");
  expect(words.ended({ reason: "failed", error: new CallError("call-capacity") })).toContain("lines are in use");
});

test("the three pages share one set of colours and sizes", async () => {
  // The page's types know no node; a name that is no literal keeps it so.
  const { readFileSync } = await import("node:fs" as string);
  const tokens = (path: string): string | undefined =>
    /\/\* tokens:.*?\/\* end of tokens \*\//s.exec(readFileSync(new URL(path, import.meta.url), "utf8"))?.[0];
  const own = tokens("./style.css");
  expect(own).toBeDefined();
  expect(tokens("../../balancer/src/pages/dashboard.html")).toBe(own);
  expect(tokens("../../balancer/src/pages/unavailable.html")).toBe(own);
});

test.each([
  ["echo", "Echo", ""],
  ["bob", "bob", ""],
  ["sip:bob@example.org", "bob", "bob@example.org"],
  ["sips:+4930123@example.org;transport=tls", "+4930123", "+4930123@example.org"],
])("%s is shown as %s, with the address %s", (target, name, address) => {
  expect(words.targetName(target)).toBe(name);
  expect(words.address(target)).toBe(address);
});

test.each([
  ["bob", "BO"],
  ["Ada Lovelace", "AL"],
  ["+4930", "49"],
  ["Ø", "Ø"],
  ["…", "?"],
])("the face of %s says %s", (name, letters) => {
  expect(words.initials(name)).toBe(letters);
});

test("who holds is said on each side", () => {
  const held = { state: "held", media: "flowing", preserved: false, asked: undefined, ...bob } as const;
  expect(words.callState({ ...held, heldBy: "local" })).toBe("On hold. bob cannot hear you.");
  expect(words.callState({ ...held, heldBy: "remote" })).toBe("bob put you on hold.");
  expect(words.holdChanged("bob", undefined, "remote")).toBe("bob put you on hold.");
  expect(words.holdChanged("bob", "remote", "both")).toBe("You put bob on hold.");
  expect(words.holdChanged("bob", "both", "local")).toBe("bob took you back from hold.");
  expect(words.holdChanged("bob", "local", undefined)).toBe("You took bob back from hold.");
});

test.each([
  [new CallError("far-refused", "the far side answered 486"), "The line is busy."],
  [new CallError("far-refused", "the far side answered 599"), "The far side did not agree."],
  [new CallError("service-unavailable", "signaling-lost"), "The connection is being restored. Try again in a moment."],
  [new CallError("not-allowed"), "You are not allowed to call that."],
])("a transfer that failed says why", (error, text) => {
  expect(words.verbFailed("transfer", error, bob)).toEqual({ title: "bob was not passed on", text });
});

test("services say why they are away, before a call as well as in one", () => {
  const away = { allowed: false, reason: "registered-elsewhere" };
  const texts = (rows: words.ServiceRow[]) => rows.map(({ name, text }) => `${name}: ${text}`);
  expect(texts(words.services("signed-in", away, undefined))).toEqual([
    "Connection: Up",
    "New calls: Your calls arrive in another window now, which signed in later.",
  ]);
  expect(texts(words.services("reconnecting", { allowed: false, reason: "signaling-lost" }, undefined))).toEqual([
    "Connection: Being restored …",
    "New calls: As soon as the connection is back.",
  ]);
});
