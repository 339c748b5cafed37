import { expect, test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { expectNothingLost, expectWithin } from "../harness/expect.ts";
import { Network } from "../harness/network.ts";
import { callEcho } from "../harness/scenario.ts";
import { until } from "../harness/wait.ts";

test("the browser's address changes in a call: ICE restart on the same session, media again within 3 s", async () => {
  const network = Network.start();
  const cluster = await Cluster.start({ balancers: 2, host: network.host });
  const chromium = await Chromium.start({
    executable: network.executable("/usr/bin/chromium"),
    flags: [`--unsafely-treat-insecure-origin-as-secure=${cluster.urls.join(",")}`],
  });
  const tab = await chromium.open(cluster.url);
  await tab.do("signIn", { user: "alice", urls: cluster.urls });
  await callEcho(tab);
  const before = await tab.do("session");

  const changedAt = network.changeAddress();
  const { packets } = await tab.do("received");
  await until("packets again", async () => (await tab.do("received")).packets > packets + 20);
  const againAt = Date.now();

  await expectWithin(tab, "address changed to media again, 20 packets included", againAt - changedAt, 3_000);
  await until("signed in", async () => (await tab.do("clientState")) === "signed-in");
  expect(await tab.do("session")).toMatchObject({ sessionId: before?.sessionId, bootId: before?.bootId });
  await expectNothingLost(tab);
  await tab.hears(440);
});
