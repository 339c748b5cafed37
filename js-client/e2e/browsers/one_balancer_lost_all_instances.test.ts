import { expect, test } from "vitest";
import { expectMediaFlowed, expectNothingLost } from "../harness/expect.ts";
import { freezeLinks, inACall, thawLinks } from "../harness/scenario.ts";
import { pause, until } from "../harness/wait.ts";

test("a balancer that loses sight of all instances is blind, and no call ends", async () => {
  const { cluster, tab, entry } = await inACall({ instances: 3, balancers: 2, links: true, silenceMs: 400 });
  const links = cluster.linksOf(entry);

  freezeLinks(links);
  await until("the balancer calls itself not ready", async () => !(await entry.isReady()));
  await pause(3_000);
  await expectNothingLost(tab);
  thawLinks(links);

  await until("the balancer sees again", () => entry.isReady());
  await until("signed in", async () => (await tab.do("clientState")) === "signed-in");
  await expectNothingLost(tab);
  await tab.hears(440);
  await expectMediaFlowed(tab);
  expect(await tab.do("can", "hang-up")).toMatchObject({ allowed: true });
});
