import { expect, test } from "vitest";
import { expectEndedOnce, expectWithin } from "../harness/expect.ts";
import { inACall } from "../harness/scenario.ts";

test("UDP in a black hole while HTTP is green: media stalled, media lost, and a new call on another instance", async () => {
  const { tab, serving, call } = await inACall({ relays: true });

  const lostAt = Date.now();
  serving.relay?.blackhole();
  const stalled = await tab.waitFor("call:mediastalled", { since: lostAt });
  const back = await tab.waitFor("signedin", { since: lostAt });
  await tab.do("call", "echo");
  const media = await tab.mediaStarted();

  console.log(`black hole to signed in ${back.at - lostAt} ms`);
  expect(await tab.do("mediaGapMs"), "what the other tests hold to be small").toBeGreaterThan(1_000);
  await expectWithin(tab, "black hole to stalled", stalled.at - lostAt, 2_000);
  expect(back.detail.instanceId).not.toBe(serving.name);
  await expectEndedOnce(tab, call, "media-lost");
  await expectWithin(tab, "black hole to media", media - lostAt, 3_000);
});
