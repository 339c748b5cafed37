import { test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";

test("mute silences the echo, unmute brings it back, and the call goes on", async () => {
  const cluster = await Cluster.start({ instances: 1 });
  const chromium = await Chromium.start({ toneHz: 660 });
  const tab = await chromium.open(cluster.url);
  await tab.do("signIn", { user: "alice" });
  await tab.do("call", "echo");
  await tab.hears(660);

  await tab.do("mute");
  await tab.hearsNothing();

  await tab.do("unmute");
  await tab.hears(660);
});
