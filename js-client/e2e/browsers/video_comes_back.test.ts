import { test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { until } from "../harness/wait.ts";

test("video frames of the echo are decoded, and the tone is heard beside them", async () => {
  const cluster = await Cluster.start({ instances: 1 });
  const chromium = await Chromium.start({ toneHz: 440 });
  const tab = await chromium.open(cluster.url);
  await tab.do("signIn", { user: "alice" });

  await tab.do("call", "echo", { video: true });

  await until("30 decoded frames", async () => (await tab.do("received")).videoFrames >= 30);
  await tab.hears(440);
});
