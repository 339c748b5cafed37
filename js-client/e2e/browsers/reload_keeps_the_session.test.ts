import { expect, test } from "vitest";
import { inACall } from "../harness/scenario.ts";
import { until } from "../harness/wait.ts";

test("a reloaded page keeps its session and says that its call is lost", async () => {
  const { cluster, tab, serving, call } = await inACall();
  const before = await tab.do("session");

  await tab.load(cluster.url);
  const after = await tab.do("signIn", { user: "alice", urls: cluster.urls });

  expect(after).toMatchObject({ sessionId: before?.sessionId, instanceId: before?.instanceId });
  const ended = await tab.waitFor("ended");
  expect(ended.detail).toMatchObject({ callId: call, reason: "page-reloaded" });
  await until("the instance has no call", async () => (await serving.health()).calls === 0);
});
