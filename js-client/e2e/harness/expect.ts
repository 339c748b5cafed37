// What many tests demand of a tab, in one place.
import { expect } from "vitest";
import type { Tab } from "./chromium.ts";
import { Slowness } from "./slowness.ts";

/** Nothing was lost: no call ended, and the one session of the beginning goes on. */
export async function expectNothingLost(tab: Tab): Promise<void> {
  expect(await tab.events("ended"), "no call ends").toEqual([]);
  expect(await tab.events("signedin"), "no session is made anew").toHaveLength(1);
}

/** RTP never stopped since the call began, but for what a busy machine may swallow. */
export async function expectMediaFlowed(tab: Tab): Promise<void> {
  await expectWithin(tab, "longest time without a packet", await tab.do("mediaGapMs"), 1_000);
}

/** Prints a measured time, and holds it against what is promised of a quiet machine. */
export async function expectWithin(tab: Tab, what: string, tookMs: number, promisedMs: number): Promise<void> {
  const slowness = new Slowness();
  await slowness.sample(tab);
  console.log(`${what}: ${Math.round(tookMs)} ms; machine ${slowness.factor} times as slow as a quiet one`);
  expect(tookMs, what).toBeLessThan(promisedMs * slowness.factor);
}

/** The call ended once, for this reason. */
export async function expectEndedOnce(tab: Tab, callId: string, reason: string): Promise<void> {
  const ended = (await tab.events("ended")).map(({ detail }) => detail).filter((detail) => detail.callId === callId);
  expect(ended).toMatchObject([{ callId, reason }]);
}
