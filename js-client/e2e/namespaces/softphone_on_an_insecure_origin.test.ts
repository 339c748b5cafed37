import { test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { Network } from "../harness/network.ts";
import { Softphone } from "../harness/softphone.ts";
import { shippedWebDir } from "../harness/webDir.ts";

test("the softphone on plain HTTP from another machine says what to do", async () => {
  const network = Network.start();
  const cluster = await Cluster.start({ instances: 1, host: network.host, webDir: shippedWebDir });
  const chromium = await Chromium.start();

  const phone = await Softphone.open(chromium, cluster.url);

  await phone.shows("notices", "https");
});
