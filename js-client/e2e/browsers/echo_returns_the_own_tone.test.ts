import { test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";

test("the echo sends the own tone back, to each caller its own", async () => {
  const cluster = await Cluster.start();
  const low = await Chromium.start({ toneHz: 440 });
  const high = await Chromium.start({ toneHz: 880 });
  const [alice, bob] = [await low.open(cluster.url), await high.open(cluster.url)];
  await alice.do("signIn", { user: "alice" });
  await bob.do("signIn", { user: "bob" });

  await alice.do("call", "echo");
  await bob.do("call", "echo");

  await alice.hears(440);
  await bob.hears(880);
  await alice.hears(440);
});
