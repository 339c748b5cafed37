import { expect, test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { Cluster } from "../harness/cluster.ts";
import { until } from "../harness/wait.ts";

test("the dashboard shows the instances, says how many may die, and drains one", async () => {
  const cluster = await Cluster.start({ instances: 3 });
  const chromium = await Chromium.start();
  const page = await (await chromium.newProfile()).newPage();
  await page.goto(`http://127.0.0.1:${cluster.balancer(0).adminPort}/`);
  const sentence = page.getByTestId("sentence");
  await until("the sentence", async () => /2 .*may die/i.test((await sentence.textContent()) ?? ""));
  expect(await page.locator("[data-testid^=instance-]").count()).toBe(3);

  await page.getByTestId("drain-gw-2").click();
  await page.getByTestId("confirm-yes").click();

  await until("the instance drains", async () => (await cluster.instance("gw-2").health()).state === "draining");
  await until("the page says so", async () =>
    /draining/i.test((await page.getByTestId("instance-gw-2").textContent()) ?? ""),
  );
  await until("one fewer may die", async () => /1 .*may die/i.test((await sentence.textContent()) ?? ""));
});
