import { expect, test } from "vitest";
import { expectMediaFlowed, expectNothingLost } from "../harness/expect.ts";
import { inACall, whereabouts } from "../harness/scenario.ts";

test("kill -9 of the balancer in use: signalling is back through the other one, and nothing is made anew", async () => {
  const { cluster, tab, entry } = await inACall({ balancers: 2 });

  const killedAt = entry.kill();
  const back = await tab.waitFor("signalingback", { since: killedAt });

  console.log(`kill to signalling back ${back.at - killedAt} ms`);
  expect(back.at - killedAt).toBeLessThan(600);
  expect(back.detail.sameSession).toBe(true);
  expect((await whereabouts(cluster, tab)).entry.name).not.toBe(entry.name);
  await expectNothingLost(tab);
  await tab.hears(440);
  await expectMediaFlowed(tab);
});
