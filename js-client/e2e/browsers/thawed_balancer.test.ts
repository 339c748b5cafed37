import { expect, test } from "vitest";
import { expectMediaFlowed, expectNothingLost } from "../harness/expect.ts";
import { inACall } from "../harness/scenario.ts";
import { pause } from "../harness/wait.ts";

test("a balancer that was frozen for 3 s blames no instance, and nobody notices", async () => {
  const { cluster, tab, entry } = await inACall({ balancers: 2, silenceMs: 400 });

  entry.freeze();
  await pause(3_000);
  entry.thaw();

  await pause(1_500);
  await cluster.allUp();
  expect(await tab.events("signalinglost")).toEqual([]);
  await expectNothingLost(tab);
  await tab.hears(440);
  await expectMediaFlowed(tab);
});
