import { expect, test } from "vitest";
import { Cluster } from "../harness/cluster.ts";
import { FirefoxTab } from "../harness/firefox.ts";
import { measureKills, report } from "../harness/kills.ts";
import { Network } from "../harness/network.ts";

test("ten kills in a call in Firefox ESR, as a table", { timeout: 180_000 }, async () => {
  const network = Network.start();
  const cluster = await Cluster.start({ instances: 2, balancers: 2, mediaHost: network.host });
  const tab = await FirefoxTab.open(cluster.url);

  const runs = await measureKills(cluster, tab, 10);

  const { signedIn, media } = report("kill-firefox", runs);
  expect(signedIn.p50).toBeLessThan(500);
  expect(media.p50).toBeLessThan(1_000);
});
