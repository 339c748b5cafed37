import { expect, test } from "vitest";
import { expectMediaFlowed, expectNothingLost } from "../harness/expect.ts";
import { inACall } from "../harness/scenario.ts";
import { pause, until } from "../harness/wait.ts";

test("an instance whose health comes late is suspect, and nothing of it is cut", async () => {
  const { cluster, tab, serving, entry } = await inACall({ links: true });
  const { admin } = cluster.link(entry, serving);

  for (let late = 100; late <= 800; late += 100) {
    admin.delayMs.back = late;
    await pause(200);
  }
  await until("suspect", async () => (await entry.stateOf(serving)) === "suspect");
  await pause(1_000);

  expect(await entry.stateOf(serving)).toBe("suspect");
  expect(await tab.events("signalinglost")).toEqual([]);
  await expectNothingLost(tab);
  await tab.hears(440);
  await expectMediaFlowed(tab);
});
