import { expect, test } from "vitest";
import { expectMediaFlowed, expectNothingLost } from "../harness/expect.ts";
import { inACall, whereabouts } from "../harness/scenario.ts";

test("a balancer that freezes for good: the heartbeat finds it, and the call goes on through the other one", async () => {
  const { cluster, tab, entry } = await inACall({ balancers: 2 });

  const frozenAt = entry.freeze();
  const back = await tab.waitFor("signalingback", { since: frozenAt, withinMs: 30_000 });

  console.log(`freeze to signalling back ${back.at - frozenAt} ms`);
  expect(back.detail.sameSession).toBe(true);
  expect((await whereabouts(cluster, tab)).entry.name).not.toBe(entry.name);
  await expectNothingLost(tab);
  await tab.hears(440);
  await expectMediaFlowed(tab);
});
