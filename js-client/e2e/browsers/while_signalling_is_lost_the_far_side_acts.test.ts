import { expect, test } from "vitest";
import { Baresip, hasBaresip } from "../harness/baresip.ts";
import { expectWithin } from "../harness/expect.ts";
import {
  arrive,
  becomes,
  ended,
  hearEachOther,
  type Person,
  people,
  plugIn,
  ring,
  stateOf,
  talk,
  unplug,
} from "../harness/people.ts";
import { until } from "../harness/wait.ts";

const VERBS = ["hold", "unhold", "transfer", "digits", "call"] as const;

test("verbs are refused at once, media goes on, and a hold by the far side is shown on return", async () => {
  const { alice, bob } = await people();
  const [atAlice, atBob] = await talk(alice, bob);
  await unplug(alice);

  for (const verb of VERBS) await expectRefused(alice, verb);
  await hearEachOther(alice, bob);
  await bob.tab.do("hold");
  await becomes(bob, atBob, "held local");
  expect(await stateOf(alice, atAlice)).toBe("active");

  const resynced = await plugIn(alice);
  await becomes(alice, atAlice, "held remote");
  expect(resynced.detail).toMatchObject({ kept: [atAlice], held: [atAlice] });
});

test("hanging up without signalling reaches the far side within a second", async () => {
  const { alice, bob } = await people();
  const [atAlice, atBob] = await talk(alice, bob);
  await unplug(alice);

  const hungUpAt = Date.now();
  await alice.tab.do("hangUp");

  expect(await ended(bob, atBob)).toBe("remote-hang-up");
  const [end] = await bob.tab.events("call:ended");
  await expectWithin(bob.tab, "hang-up to the far side's end", (end?.at ?? 0) - hungUpAt, 1_000);
  expect(await ended(alice, atAlice)).toBe("local-hang-up");
});

test("the far side hangs up meanwhile: the call is told to have ended on return", async () => {
  const { alice, bob } = await people();
  const [atAlice] = await talk(alice, bob);
  await unplug(alice);

  await bob.tab.do("hangUp");
  await alice.tab.do("unplug", false);

  expect(await ended(alice, atAlice)).toBe("remote-hang-up");
});

test("one call is active, one on hold: what became of each is shown on return, and a third one rings", async () => {
  const { cluster, alice, bob } = await people();
  const carol = await arrive(cluster, "carol");
  const [toBob, atBob] = await talk(alice, bob);
  await bob.tab.do("hold");
  await becomes(alice, toBob, "held remote");
  const [toCarol, atCarol] = await talk(alice, carol);

  await unplug(alice);
  await bob.tab.do("unhold");
  await becomes(bob, atBob, "active");
  expect(await stateOf(alice, toBob)).toBe("held remote");
  expect((await plugIn(alice)).detail).toMatchObject({ kept: [toBob, toCarol], held: [], ended: [] });
  await becomes(alice, toBob, "active");

  await alice.tab.do("choose", toBob);
  await alice.tab.do("hold");
  await becomes(bob, atBob, "held remote");
  await unplug(alice);
  await expectRefused(alice, "unhold");
  await expectRefused(alice, "call");
  await bob.tab.do("hangUp");
  await ended(bob, atBob);
  await carol.tab.do("hold");
  await becomes(carol, atCarol, "held local");
  await bob.tab.do("call", "alice");
  const resynced = await plugIn(alice);

  const incoming = await alice.tab.waitFor("incomingcall");
  expect(resynced.detail).toMatchObject({ kept: [toCarol], held: [toCarol], arrived: [incoming.detail.id] });
  expect(await ended(alice, toBob)).toBe("remote-hang-up");
  await becomes(alice, toCarol, "held remote");
  await carol.tab.do("unhold");
  await becomes(alice, toCarol, "active");
  await alice.tab.do("choose", toCarol);
  await hearEachOther(alice, carol);
});

test("nobody comes back for 4 s: the caller hears that there is no answer, and the next call rings", async () => {
  const { alice, bob } = await people();
  await unplug(bob);

  const calledAt = Date.now();
  const call = await alice.tab.do("call", "bob");
  expect(await ended(alice, call)).toBe("no-answer");
  const [end] = await alice.tab.events("call:ended");
  console.log(`no answer ${(end?.at ?? 0) - calledAt} ms after the call`);
  expect((end?.at ?? 0) - calledAt).toBeGreaterThan(3_500);

  const resynced = await plugIn(bob);
  expect(resynced.detail).toMatchObject({ kept: [], ended: [], arrived: [] });
  expect(resynced.detail.missed).toMatchObject([{ target: expect.stringContaining("alice") }]);
  expect(await bob.tab.events("incomingcall"), "it does not ring late").toEqual([]);
  await ring(alice, bob);
});

test.runIf(hasBaresip)(
  "a telephone vanishes: its call ends after 30 s without media, and is shown on return",
  async () => {
    const { cluster, alice, bob } = await people();
    const phones = [
      await Baresip.start("phone", cluster.sipPort, 1_300),
      await Baresip.start("other", cluster.sipPort, 1_500),
    ];
    const [cutOff, told] = [await alice.tab.do("call", "phone"), await bob.tab.do("call", "other")];
    await Promise.all([alice.tab.hears(1_300), bob.tab.hears(1_500)]);
    await unplug(alice);

    const killedAt = Date.now();
    for (const phone of phones) phone.kill();
    expect(await ended(bob, told, 60_000)).toBe("far-lost");
    console.log(`without a sign of the far side ${Date.now() - killedAt} ms`);
    await until("alice's instance has no call", async () => (await alice.serving.health()).calls === 0);
    await alice.tab.do("unplug", false);

    await alice.tab.waitFor("signalingback", { since: killedAt });
    // Without signalling the closed media alone may tell her, and not why.
    expect(["far-lost", "remote-hang-up"]).toContain(await ended(alice, cutOff));
  },
);

async function expectRefused({ tab }: Person, verb: (typeof VERBS)[number]): Promise<void> {
  const refusal = await tab.do("refusalOf", verb);
  console.log(`${verb} refused after ${refusal.tookMs.toFixed(1)} ms`);
  expect(refusal).toMatchObject({ reason: "service-unavailable", message: "signaling-lost" });
  expect(refusal.tookMs).toBeLessThan(50);
}
