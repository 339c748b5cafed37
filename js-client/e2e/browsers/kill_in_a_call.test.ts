import { expect, test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { expectWithin } from "../harness/expect.ts";

test("kill -9 of the instance that carries the call: told once, signed in elsewhere, a new call has media", async () => {
  const cluster = await Cluster.start({ instances: 2, balancers: 2 });
  const chromium = await Chromium.start({ toneHz: 440 });
  const tab = await chromium.open(cluster.url);
  await tab.do("signIn", { user: "alice", urls: cluster.urls });
  const call = await tab.do("call", "echo");
  await tab.hears(440);
  const first = await tab.servedBy();

  const killedAt = cluster.instance(first).kill();
  const back = await tab.waitFor("signedin", { since: killedAt });
  const ended = await tab.events("ended");
  await tab.do("call", "echo");
  const heardAt = await tab.mediaStarted();
  await tab.hears(440);

  console.log(`kill to the new call's media ${Math.round(heardAt - killedAt)} ms`);
  expect((await tab.events("socketclosed"))[0]?.detail).toEqual({ code: 4503, reason: "gone" });
  expect(back.detail.instanceId).not.toBe(first);
  expect(ended.map(({ detail }) => detail)).toMatchObject([{ callId: call, reason: "instance-lost" }]);
  expect(await tab.events("ended"), "told once").toHaveLength(1);
  await expectWithin(tab, "kill to signed in", back.at - killedAt, 1_000);
});
