import { expect, test } from "vitest";
import { expectEndedOnce } from "../harness/expect.ts";
import { inACall } from "../harness/scenario.ts";
import { pause } from "../harness/wait.ts";

test("the only instance crashes and is back at its address after 0.4 s: noticed by the boot id, no loop", async () => {
  const { tab, serving, call } = await inACall({ instances: 1 });
  const before = await tab.do("session");

  const killedAt = serving.kill();
  await serving.exited();
  await pause(killedAt + 400 - Date.now());
  serving.startSoon();
  const back = await tab.waitFor("signedin", { since: killedAt });
  await pause(2_000);

  console.log(`crash to signed in ${back.at - killedAt} ms`);
  expect(back.detail.instanceId).toBe(before?.instanceId);
  expect(back.detail.bootId).not.toBe(before?.bootId);
  await expectEndedOnce(tab, call, "instance-lost");
  expect(await tab.events("signedin"), "no loop").toHaveLength(2);
  expect(await tab.servedBy()).toBe(serving.name);
});
