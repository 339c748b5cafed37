import { expect, test } from "vitest";
import { expectMediaFlowed, expectNothingLost } from "../harness/expect.ts";
import { freezeLinks, inACall, whereabouts } from "../harness/scenario.ts";

test("a balancer cut off from the instance in use: the call is preserved and goes on through the other balancer", async () => {
  const { cluster, tab, serving, entry } = await inACall({ balancers: 2, links: true, silenceMs: 400 });
  const before = await tab.do("session");

  const cutAt = freezeLinks([cluster.link(entry, serving)]);
  const back = await tab.waitFor("signalingback", { since: cutAt });

  console.log(`cut to signalling back ${back.at - cutAt} ms`);
  expect(back.detail.sameSession).toBe(true);
  await tab.waitFor("callsresynced", { since: cutAt });
  const after = await whereabouts(cluster, tab);
  expect(after.entry.name).not.toBe(entry.name);
  expect(await tab.do("session")).toMatchObject({ sessionId: before?.sessionId, bootId: before?.bootId });
  await expectNothingLost(tab);
  await tab.hears(440);
  await expectMediaFlowed(tab);
});
