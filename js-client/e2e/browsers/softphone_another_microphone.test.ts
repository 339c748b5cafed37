import { expect, test } from "vitest";
import type { Call } from "../../src/index.ts";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { Softphone } from "../harness/softphone.ts";
import { until } from "../harness/wait.ts";
import { shippedWebDir } from "../harness/webDir.ts";

test("another microphone is chosen in a call, which goes on with it", async () => {
  const cluster = await Cluster.start({ instances: 1, webDir: shippedWebDir });
  const chromium = await Chromium.start();
  const phone = await Softphone.open(chromium, cluster.url);
  await phone.signIn("alice");
  await phone.dialEcho();
  await phone.hearsSound();

  const choice = phone.page.getByTestId("microphone");
  const ids = await choice.locator("option").evaluateAll((all) => all.map((one) => (one as HTMLOptionElement).value));
  const other = ids.find((id) => id !== "default") ?? "";
  await choice.selectOption(other);

  const inUse = () =>
    phone.page.evaluate(() => {
      const { holdfast } = window as unknown as { holdfast: { call?: Call } };
      return holdfast.call?.peerConnection?.getSenders()[0]?.track?.getSettings().deviceId;
    });
  await until("the call sends the other microphone", async () => (await inUse()) === other);
  await phone.hearsSound();
  expect(await choice.inputValue()).toBe(other);
  expect(await phone.page.getByTestId("notice").count()).toBe(0);
});
