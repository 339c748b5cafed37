import { expect, test } from "vitest";
import { expectMediaFlowed, expectNothingLost } from "../harness/expect.ts";
import { inACall, whereabouts } from "../harness/scenario.ts";
import { Slowness } from "../harness/slowness.ts";
import { spread } from "../harness/spread.ts";

test("kill -9 of the balancer in use: signalling is back within 300 ms through the other one, and nothing is made anew", async () => {
  const { cluster, tab } = await inACall({ balancers: 2 });
  const slowness = new Slowness();
  const times: number[] = [];

  for (let run = 0; run < 5; run++) {
    await slowness.sample(tab);
    const { entry } = await whereabouts(cluster, tab);
    const killedAt = entry.kill();
    const back = await tab.waitFor("signalingback", { since: killedAt });
    times.push(back.at - killedAt);
    expect(back.detail.sameSession).toBe(true);
    expect((await whereabouts(cluster, tab)).entry.name).not.toBe(entry.name);
    await entry.exited();
    await entry.start();
    await cluster.allUp();
  }

  console.log(
    `kill to signalling back, ms: ${times.join(" ")}; machine ${slowness.factor} times as slow as a quiet one`,
  );
  expect(spread(times).p50).toBeLessThan(300 * slowness.factor);
  await expectNothingLost(tab);
  await tab.hears(440);
  await expectMediaFlowed(tab);
});
