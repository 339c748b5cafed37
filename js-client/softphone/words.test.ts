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

test("a preserved call says that it goes on, whatever else is true of it", () => {
  expect(words.callState("active", "stalled", true)).toContain("goes on");
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
