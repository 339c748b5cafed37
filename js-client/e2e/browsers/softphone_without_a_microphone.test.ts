import { test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { Softphone } from "../harness/softphone.ts";
import { shippedWebDir } from "../harness/webDir.ts";

test.each([
  ["denied", "The microphone is blocked"],
  ["absent", "No microphone was found"],
] as const)("microphone %s: the page says what to do, and listening works", async (microphone, title) => {
  const cluster = await Cluster.start({ instances: 1, webDir: shippedWebDir });
  const chromium = await Chromium.start({ microphone });
  const phone = await Softphone.open(chromium, cluster.url);
  await phone.signIn("alice");

  await phone.page.getByTestId("dial-tone").click();
  await phone.shows("notices", title);
  await phone.page.getByTestId("listen-only").click();

  await phone.hearsSound();
});
