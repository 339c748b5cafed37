import { expect, test } from "vitest";
import { people, ring } from "../harness/people.ts";
import { until } from "../harness/wait.ts";

test("video passes between two browsers on two instances, both ways", async () => {
  const { alice, bob } = await people();

  await ring(alice, bob, { video: true });
  const [incoming] = await bob.tab.events("incomingcall");
  expect(incoming?.detail.offersVideo).toBe(true);
  await bob.tab.do("answer", { video: true });

  for (const { name, tab } of [alice, bob]) {
    await until(`${name} sees 30 frames`, async () => (await tab.do("received")).videoFrames >= 30);
  }
});
