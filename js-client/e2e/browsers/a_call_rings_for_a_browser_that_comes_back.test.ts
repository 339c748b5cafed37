import { expect, test } from "vitest";
import { hearEachOther, people } from "../harness/people.ts";

test("a call that comes while the called one's socket is lost rings as soon as it is back", async () => {
  const { alice, bob } = await people();
  await bob.tab.do("unplug", true);
  await bob.tab.waitFor("signalinglost");

  const calledAt = Date.now();
  await alice.tab.do("call", "bob");
  await new Promise((resolve) => setTimeout(resolve, 500));
  await bob.tab.do("unplug", false);

  const incoming = await bob.tab.waitFor("incomingcall");
  console.log(`rings ${incoming.at - calledAt} ms after the call`);
  expect(incoming.detail.answering).toBe(false);
  const resynced = await bob.tab.waitFor("callsresynced");
  expect(resynced.detail.arrived).toEqual([incoming.detail.id]);
  await bob.tab.do("answer");
  await hearEachOther(alice, bob);
});
