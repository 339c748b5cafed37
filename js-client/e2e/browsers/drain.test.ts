import { expect, test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { expectMediaFlowed } from "../harness/expect.ts";
import { callEcho } from "../harness/scenario.ts";
import { until } from "../harness/wait.ts";

test("drain: the idle client moves without an error, the caller stays until the end of the call", async () => {
  const cluster = await Cluster.start({ instances: 2 });
  const chromium = await Chromium.start();
  const profile = await chromium.newProfile();
  const [idle, caller] = [await chromium.open(cluster.url, profile), await chromium.open(cluster.url, profile)];
  await idle.do("signIn", { user: "idle" });
  await caller.do("signIn", { user: "caller" });
  await callEcho(caller);
  const first = await idle.servedBy();
  expect(await caller.servedBy()).toBe(first);

  const drainedAt = Date.now();
  await cluster.balancer(0).setState(cluster.instance(first), "drain");
  const moved = await idle.waitFor("moved", { since: drainedAt });

  console.log(`drain to the idle client moved ${moved.at - drainedAt} ms`);
  expect(await idle.servedBy()).not.toBe(first);
  expect(await idle.events("signalinglost"), "make before break").toEqual([]);
  await caller.waitFor("draining");
  await caller.hears(440);
  expect(await caller.servedBy()).toBe(first);

  await caller.do("hangUp");
  await until("the caller has moved", async () => (await caller.servedBy()) !== first);
  await until("the drained instance is empty", async () => (await cluster.instance(first).health()).used === 0);
  await expectMediaFlowed(caller);
  expect((await caller.events("ended")).map(({ detail }) => detail.reason)).toEqual(["local-hang-up"]);
});
