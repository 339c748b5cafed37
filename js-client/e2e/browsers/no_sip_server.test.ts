import { expect, test } from "vitest";
import { expectWithin } from "../harness/expect.ts";
import { hearEachOther, people, talk } from "../harness/people.ts";
import { until } from "../harness/wait.ts";

test("without the registrar calls are unavailable with a reason, running ones go on, and all is well once it is back", async () => {
  const { cluster, alice, bob } = await people();
  await talk(alice, bob);

  const killedAt = cluster.registrar?.kill() ?? 0;
  for (const { tab } of [alice, bob]) {
    const told = await tab.waitFor("serviceunavailable", { since: killedAt });
    expect(told.detail).toMatchObject({ service: "calls", reason: expect.stringMatching(/^sip-server-/) });
    await expectWithin(tab, `kill to told ${told.detail.reason}`, told.at - killedAt, 2_500);
  }
  const refusal = await alice.tab.do("refusalOf", "call");
  expect(refusal.reason).toBe("service-unavailable");
  expect(refusal.tookMs).toBeLessThan(50);
  await hearEachOther(alice, bob);

  await cluster.registrar?.start();
  for (const { tab } of [alice, bob]) {
    await tab.waitFor("serviceavailable", { since: killedAt });
    await until("new calls are possible", async () => (await tab.do("canCall")).allowed);
  }
  await alice.tab.do("hangUp");
  await talk(bob, alice);
});
