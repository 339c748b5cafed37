import { test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { expectFastReturns, measureKills, report } from "../harness/kills.ts";

test("ten kills in a call: median under 80 ms to signed in, under 150 ms to a new call's media", {
  timeout: 180_000,
}, async () => {
  const cluster = await Cluster.start({ instances: 2, balancers: 2 });
  const chromium = await Chromium.start();
  const tab = await chromium.open(cluster.url);

  const series = await measureKills(cluster, tab, 10);

  report("kill-chromium", series);
  await expectFastReturns(series, tab);
});
