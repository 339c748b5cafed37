import { expect, test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { Softphone } from "../harness/softphone.ts";
import { shippedWebDir } from "../harness/webDir.ts";

test("two windows: a link signs in and calls on a click; answer, hold, keypad, a second call, hang up", async () => {
  const cluster = await Cluster.start({ sip: true, webDir: shippedWebDir });
  const chromium = await Chromium.start();
  const alice = await Softphone.open(chromium, cluster.url);
  await alice.signIn("alice");

  const bob = await Softphone.open(chromium, `${cluster.url}/?user=bob&call=alice`);
  await bob.shows("connection", "Connected");
  await bob.click("dial");
  await bob.shows("call-state", "Ringing");
  await alice.shows("incoming-name", "bob");
  expect(await alice.page.title()).toBe("bob is calling");
  await alice.page.keyboard.press("Enter");
  await alice.hearsSound();
  await bob.hearsSound();

  await alice.click("hold");
  await alice.shows("call-state", "On hold");
  await bob.shows("call-state", "alice put you on hold");
  await alice.click("hold");
  await bob.shows("call-state", "Connected");
  await alice.click("keypad");
  await alice.page.keyboard.type("12#");
  await bob.shows("heard", "12#");
  await alice.page.keyboard.press("Escape");
  expect(await alice.page.getByTestId("pad").isHidden()).toBe(true);

  const carol = await Softphone.open(chromium, `${cluster.url}/?user=carol&call=alice`);
  await carol.shows("connection", "Connected");
  await carol.click("dial");
  await alice.shows("incoming-name", "carol");
  await alice.click("answer");
  await alice.shows("behind", "bob");
  await alice.hearsSound();
  await bob.shows("call-state", "alice put you on hold");

  await alice.click("hang-up");
  await carol.shows("log", "The far side hung up.");
  await alice.shows("call-title", "bob");
  await alice.click("hold");
  await alice.hearsSound();
  await alice.click("hang-up");
  await alice.shows("log", "You hung up.");
});

test("a missed call is told and can be called back; a declined one is told to the caller", async () => {
  const cluster = await Cluster.start({ sip: true, webDir: shippedWebDir });
  const chromium = await Chromium.start();
  const alice = await Softphone.open(chromium, cluster.url);
  const bob = await Softphone.open(chromium, `${cluster.url}/?user=bob&call=alice`);
  await alice.signIn("alice");
  await bob.shows("connection", "Connected");
  await bob.click("dial");
  await alice.shows("incoming-name", "bob");

  await bob.click("hang-up");
  await alice.shows("notices", "Missed call");
  await alice.click("call-back");
  await bob.shows("incoming-name", "alice");
  await bob.click("reject");

  await alice.shows("notices", "The far side declined.");
});
