import { expect, test } from "vitest";
import { expectNothingLost } from "../harness/expect.ts";
import { inACall } from "../harness/scenario.ts";
import { pause } from "../harness/wait.ts";

test("an instance frozen for 0.3 s keeps everybody", async () => {
  const { cluster, tab, serving } = await inACall();

  serving.freeze();
  await pause(300);
  serving.thaw();

  await pause(1_500);
  await cluster.allUp(1_000);
  expect(await tab.servedBy()).toBe(serving.name);
  await expectNothingLost(tab);
  await tab.hears(440);
});
