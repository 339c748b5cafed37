import { expect, test } from "vitest";
import { expectEndedOnce } from "../harness/expect.ts";
import { inACall } from "../harness/scenario.ts";

test("UDP in a black hole while HTTP is green: media stalled, media lost, and a new call on another instance", async () => {
  const { tab, serving, call } = await inACall({ relays: true });

  const lostAt = Date.now();
  serving.relay?.blackhole();
  const stalled = await tab.waitFor("call:mediastalled", { since: lostAt });
  const back = await tab.waitFor("signedin", { since: lostAt, withinMs: 20_000 });
  await tab.do("call", "echo");
  const media = await tab.mediaStarted();

  console.log(
    `black hole to stalled ${stalled.at - lostAt} ms, to signed in ${back.at - lostAt} ms, to media ${Math.round(media - lostAt)} ms`,
  );
  expect(await tab.do("mediaGapMs"), "what the other tests hold to be small").toBeGreaterThan(1_000);
  expect(stalled.at - lostAt).toBeLessThan(2_000);
  expect(back.detail.instanceId).not.toBe(serving.name);
  await expectEndedOnce(tab, call, "media-lost");
  expect(media - lostAt).toBeLessThan(3_000);
});
