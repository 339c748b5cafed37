import { expect, test } from "vitest";
import { Chromium, type Tab } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { callEcho } from "../harness/scenario.ts";
import { until } from "../harness/wait.ts";

test("three tabs of one browser: what happens to one ends nobody else's call", async () => {
  const cluster = await Cluster.start({ fronts: true });
  const balancer = cluster.balancer(0);
  const chromium = await Chromium.start();
  const profile = await chromium.newProfile();
  const openInACall = async () => {
    const tab = await chromium.open(cluster.url, profile);
    await tab.do("signIn", { user: "alice" });
    await callEcho(tab);
    return tab;
  };

  // Two on the instance of the browser's pin; the third elsewhere, because that one drains.
  const [a, b] = [await openInACall(), await openInACall()];
  const first = await a.servedBy();
  expect(await b.servedBy()).toBe(first);
  await balancer.setState(cluster.instance(first), "drain");
  await until("draining", async () => (await cluster.instance(first).health()).state === "draining");
  const c = await openInACall();
  expect(await c.servedBy()).not.toBe(first);
  await expectNoEnd(a, b, c);

  const cutAt = Date.now();
  balancer.front?.reset();
  for (const tab of [a, b, c]) {
    expect((await tab.waitFor("signalingback", { since: cutAt })).detail.sameSession).toBe(true);
  }
  await expectNoEnd(a, b, c);

  await b.page.close();
  await until("one call left there", async () => (await cluster.instance(first).health()).calls === 1);
  await expectNoEnd(a, c);

  const opened = c.page.waitForEvent("popup");
  await c.page.evaluate("void window.open(location.href)");
  const copy = await chromium.adopt(await opened);
  await copy.do("signIn", { user: "alice" });
  await callEcho(copy);
  await expectNoEnd(a, c, copy);
  expect(await c.events("superseded")).toEqual([]);
  for (const tab of [a, c, copy]) await tab.hears(440);
});

async function expectNoEnd(...tabs: Tab[]): Promise<void> {
  for (const tab of tabs) expect(await tab.events("ended")).toEqual([]);
}
