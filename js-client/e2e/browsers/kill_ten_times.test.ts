import { expect, test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { measureKills, report } from "../harness/kills.ts";

test("ten kills in a call, as a table", { timeout: 180_000 }, async () => {
  const cluster = await Cluster.start({ instances: 2, balancers: 2 });
  const chromium = await Chromium.start();
  const tab = await chromium.open(cluster.url);

  const runs = await measureKills(cluster, tab, 10);

  const { signedIn, media } = report("kill-chromium", runs);
  expect(signedIn.p50).toBeLessThan(500);
  expect(media.p50).toBeLessThan(1_000);
});
