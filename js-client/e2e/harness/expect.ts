// What many tests demand of a tab, in one place.
import { expect } from "vitest";
import type { Tab } from "./chromium.ts";

/** Nothing was lost: no call ended, and the one session of the beginning goes on. */
export async function expectNothingLost(tab: Tab): Promise<void> {
  expect(await tab.events("ended"), "no call ends").toEqual([]);
  expect(await tab.events("signedin"), "no session is made anew").toHaveLength(1);
}

/** RTP never stopped since the call began, but for what a busy machine may swallow. */
export async function expectMediaFlowed(tab: Tab): Promise<void> {
  expect(await tab.do("mediaGapMs"), "longest time without a packet").toBeLessThan(1_000);
}

/** The call ended once, for this reason. */
export async function expectEndedOnce(tab: Tab, callId: string, reason: string): Promise<void> {
  const ended = (await tab.events("ended")).map(({ detail }) => detail).filter((detail) => detail.callId === callId);
  expect(ended).toMatchObject([{ callId, reason }]);
}
