import { expect, test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { Softphone } from "../harness/softphone.ts";
import { until } from "../harness/wait.ts";
import { shippedWebDir } from "../harness/webDir.ts";

test("no instance is up: a page that says so and opens the softphone when one is back", async () => {
  const cluster = await Cluster.start({ instances: 1, webDir: shippedWebDir });
  const chromium = await Chromium.start();
  const [instance] = cluster.instances;
  instance?.kill();
  await until("nothing answers", async () => (await fetch(cluster.url)).status === 503);

  const phone = await Softphone.open(chromium, cluster.url);
  await phone.shows("unavailable", "No instance is up");
  await instance?.start();

  await phone.page.getByTestId("sign-in-panel").waitFor({ timeout: 20_000 });
  expect(await phone.page.title()).toContain("softphone");
});
