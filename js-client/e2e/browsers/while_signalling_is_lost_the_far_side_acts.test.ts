import { expect, test } from "vitest";
import { becomes, ended, hearEachOther, people, stateOf, talk } from "../harness/people.ts";

test("while signalling is lost verbs are refused at once, media goes on, and what the far side did is shown on return", async () => {
  const { alice, bob } = await people();
  const [atAlice, atBob] = await talk(alice, bob);
  await alice.tab.do("unplug", true);
  await alice.tab.waitFor("signalinglost");

  for (const verb of ["hold", "unhold", "transfer", "digits", "call"] as const) {
    const refusal = await alice.tab.do("refusalOf", verb);
    expect(refusal).toMatchObject({ reason: "service-unavailable", message: "signaling-lost" });
    expect(refusal.tookMs).toBeLessThan(50);
  }
  await hearEachOther(alice, bob);
  await bob.tab.do("hold");
  await becomes(bob, atBob, "held local");
  expect(await stateOf(alice, atAlice)).toBe("active");

  await alice.tab.do("unplug", false);
  await becomes(alice, atAlice, "held remote");
  expect((await alice.tab.waitFor("callsresynced")).detail).toMatchObject({ kept: [atAlice], held: [atAlice] });
});

test("hanging up without signalling reaches the far side within a second", async () => {
  const { alice, bob } = await people();
  const [atAlice, atBob] = await talk(alice, bob);
  await alice.tab.do("unplug", true);
  await alice.tab.waitFor("signalinglost");

  const hungUpAt = Date.now();
  await alice.tab.do("hangUp");

  expect(await ended(bob, atBob)).toBe("remote-hang-up");
  const [end] = await bob.tab.events("call:ended");
  console.log(`hang-up to the far side's end ${(end?.at ?? 0) - hungUpAt} ms`);
  expect((end?.at ?? 0) - hungUpAt).toBeLessThan(1_000);
  expect(await ended(alice, atAlice)).toBe("local-hang-up");
});

test("the far side hangs up meanwhile: the call is told to have ended on return", async () => {
  const { alice, bob } = await people();
  const [atAlice] = await talk(alice, bob);
  await alice.tab.do("unplug", true);
  await alice.tab.waitFor("signalinglost");

  await bob.tab.do("hangUp");
  await alice.tab.do("unplug", false);

  expect(await ended(alice, atAlice)).toBe("remote-hang-up");
});
