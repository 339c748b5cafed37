import { expect, test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { expectWithin } from "../harness/expect.ts";

test("kill -9 of an idle client's instance: signed in elsewhere without a word about calls", async () => {
  const cluster = await Cluster.start({ instances: 2 });
  const chromium = await Chromium.start();
  const tab = await chromium.open(cluster.url);
  await tab.do("signIn", { user: "alice" });
  const first = await tab.servedBy();

  const killedAt = cluster.instance(first).kill();
  const back = await tab.waitFor("signedin", { since: killedAt });

  expect(back.detail.instanceId).not.toBe(first);
  await expectWithin(tab, "kill to signed in", back.at - killedAt, 1_000);
  expect(await tab.events("ended")).toEqual([]);
});
