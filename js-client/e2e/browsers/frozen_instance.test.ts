import { expect, test } from "vitest";
import { expectEndedOnce, expectWithin } from "../harness/expect.ts";
import { inACall } from "../harness/scenario.ts";

test("SIGSTOP of the instance in a call: told within a second, ended because its media is dead, signed in elsewhere", async () => {
  const { tab, serving, call } = await inACall({ silenceMs: 400 });

  const frozenAt = serving.freeze();
  const told = await tab.waitFor("signalinglost", { since: frozenAt });
  const back = await tab.waitFor("signedin", { since: frozenAt });
  await tab.do("call", "echo");
  await tab.hears(440);

  await expectWithin(tab, "freeze to told", told.at - frozenAt, 1_000);
  console.log(`to signed in elsewhere ${back.at - frozenAt} ms`);
  expect((await tab.events("socketclosed"))[0]?.detail).toEqual({ code: 4503, reason: "silent" });
  expect(told.detail.reason).toBe("instance-silent");
  expect(back.detail.instanceId).not.toBe(serving.name);
  await expectEndedOnce(tab, call, "instance-lost");
});
