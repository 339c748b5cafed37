import { expect, test } from "vitest";
import { expectMediaFlowed } from "../harness/expect.ts";
import { freezeLinks, inACall } from "../harness/scenario.ts";
import { until } from "../harness/wait.ts";

test("all balancers cut off while media flows: signed in elsewhere, and the call is kept until it is hung up", async () => {
  const { cluster, tab, serving } = await inACall({ balancers: 2, links: true, silenceMs: 400 });

  const cutAt = freezeLinks(cluster.linksOf(serving));
  const back = await tab.waitFor("signedin", { since: cutAt });

  console.log(`cut to signed in elsewhere ${back.at - cutAt} ms`);
  expect(back.detail.instanceId).not.toBe(serving.name);
  expect(back.at - cutAt, "the other balancers are tried for 5 s first").toBeGreaterThan(4_500);
  expect(await tab.events("ended")).toEqual([]);
  expect(await tab.do("callStates")).toMatchObject([{ preserved: true }]);
  await tab.hears(440);
  await expectMediaFlowed(tab);
  expect((await serving.health()).calls).toBe(1);

  await tab.do("hangUp");
  await until("the instance knows that the call is over", async () => (await serving.health()).calls === 0);
});
