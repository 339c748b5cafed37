import { expect, test } from "vitest";
import { expectMediaFlowed, expectNothingLost } from "../harness/expect.ts";
import { cutLinks, inACall, whereabouts } from "../harness/scenario.ts";

test("a balancer whose connections to the instance in use are reset: the call is preserved through the other balancer", async () => {
  const { cluster, tab, serving, entry } = await inACall({ balancers: 2, links: true });
  const before = await tab.do("session");

  const cutAt = cutLinks([cluster.link(entry, serving)]);
  const back = await tab.waitFor("signalingback", { since: cutAt });

  console.log(`cut to signalling back ${back.at - cutAt} ms`);
  expect((await tab.events("socketclosed"))[0]?.detail).toEqual({ code: 4503, reason: "gone" });
  expect(back.detail.sameSession).toBe(true);
  await tab.waitFor("callsresynced", { since: cutAt });
  const after = await whereabouts(cluster, tab);
  expect(after.entry.name).not.toBe(entry.name);
  expect(await tab.do("session")).toMatchObject({ sessionId: before?.sessionId, bootId: before?.bootId });
  await expectNothingLost(tab);
  await tab.hears(440);
  await expectMediaFlowed(tab);
});
