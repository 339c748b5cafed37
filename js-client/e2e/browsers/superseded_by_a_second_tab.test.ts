import { expect, test } from "vitest";
import { inACall } from "../harness/scenario.ts";
import { pause } from "../harness/wait.ts";

test("a second tab with the same client id takes over, and the first one leaves it alone", async () => {
  const { cluster, chromium, tab, serving } = await inACall();
  const clientId = await tab.do("clientId");

  const second = await chromium.open(cluster.url, tab.page.context());
  await second.do("signIn", { user: "alice", clientId });
  await tab.waitFor("superseded");
  await second.do("call", "echo");
  await second.hears(440);
  await pause(1_500);

  expect((await tab.events("ended")).map(({ detail }) => detail.reason)).toEqual(["session-ended"]);
  expect(await tab.do("clientState")).toBe("superseded");
  expect(await second.events("superseded"), "no quarrel").toEqual([]);
  expect(await second.events("ended")).toEqual([]);
  expect((await serving.health()).sessions).toBe(1);
});
