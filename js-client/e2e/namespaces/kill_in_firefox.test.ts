import { test } from "vitest";
import { Cluster } from "../harness/cluster.ts";
import { FirefoxTab } from "../harness/firefox.ts";
import { expectFastReturns, measureKills, report } from "../harness/kills.ts";
import { Network } from "../harness/network.ts";

test("ten kills in a call in Firefox ESR: median under 80 ms to signed in, under 150 ms to a new call's media", {
  timeout: 180_000,
}, async () => {
  const network = Network.start();
  const cluster = await Cluster.start({ instances: 2, balancers: 2, mediaHost: network.host });
  const tab = await FirefoxTab.open(cluster.url);

  const series = await measureKills(cluster, tab, 10);

  report("kill-firefox", series);
  await expectFastReturns(series, tab);
});
