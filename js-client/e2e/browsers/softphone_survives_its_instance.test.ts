import { expect, test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { Softphone } from "../harness/softphone.ts";
import { shippedWebDir } from "../harness/webDir.ts";

test("the softphone: sign in, talk to the echo, lose the instance, read about it, call again", async () => {
  const cluster = await Cluster.start({ balancers: 2, webDir: shippedWebDir });
  const chromium = await Chromium.start();
  const phone = await Softphone.open(chromium, cluster.url);
  await phone.signIn("alice");
  await phone.dialEcho();
  await phone.hearsSound();
  const first = await phone.instance();

  cluster.instance(first).kill();
  await phone.shows("log", `Instance ${first} was lost.`);
  await phone.shows("log", "Your call ended.");
  await phone.shows("connection", "Connected");

  expect(await phone.instance()).not.toBe(first);
  await phone.page.getByTestId("redial").click();
  await phone.hearsSound();
  await phone.page.getByTestId("hang-up").click();
  await phone.shows("log", "You hung up.");
});
