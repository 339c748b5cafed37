import { expect, test } from "vitest";
import { arrive, becomes, ended, hearEachOther, type Person, people, talk } from "../harness/people.ts";

/** A call on hold whose near side loses its instance. */
interface OnHold {
  near: Person;
  far: Person;
  atNear: string;
  atFar: string;
}

/** Alice holds bob; carol, on alice's instance, is held by dave, who is on bob's. */
async function twoOnHold(lostCalls: "resume" | "hang_up"): Promise<[OnHold, OnHold]> {
  const { cluster, alice, bob } = await people({ instances: 3, lostCalls });
  const carol = await arrive(cluster, "carol", { lostCalls, beside: alice });
  const dave = await arrive(cluster, "dave", { beside: bob });
  expect([carol.serving.name, dave.serving.name]).toEqual([alice.serving.name, bob.serving.name]);
  const [toBob, atBob] = await talk(alice, bob);
  await alice.tab.do("hold");
  await becomes(bob, atBob, "held remote");
  const [toDave, atDave] = await talk(carol, dave);
  await dave.tab.do("hold");
  await becomes(carol, toDave, "held remote");
  return [
    { near: alice, far: bob, atNear: toBob, atFar: atBob },
    { near: carol, far: dave, atNear: toDave, atFar: atDave },
  ];
}

test("hang_up: whoever holds, the call ends once and the far side is hung up", async () => {
  const calls = await twoOnHold("hang_up");

  const killedAt = calls[0].near.serving.kill();
  for (const { near, far, atNear, atFar } of calls) {
    expect(await ended(near, atNear)).toBe("instance-lost");
    const summary = await near.tab.waitFor("sessionrecovered", { since: killedAt });
    expect(summary.detail).toEqual({ recovered: [], lost: [atNear], unknown: [] });
    expect(["remote-hang-up", "far-lost"]).toContain(await ended(far, atFar));
    const [end, ...more] = await far.tab.events("call:ended");
    console.log(`kill to ${far.name} hung up ${(end?.at ?? 0) - killedAt} ms`);
    expect(more).toEqual([]);
    expect(await near.tab.events("call:ended")).toHaveLength(1);
  }
});

test("resume: the far side comes back in a new call, which is on hold by the same side, until it is taken back", async () => {
  const calls = await twoOnHold("resume");
  const [byAlice, byDave] = calls;

  const killedAt = byAlice.near.serving.kill();
  const [toBob, toDave] = await Promise.all(calls.map((call) => expectBack(call, killedAt)));

  await becomes(byAlice.near, toBob ?? "", "held local");
  await becomes(byAlice.far, byAlice.atFar, "held remote");
  await becomes(byDave.near, toDave ?? "", "held remote");
  await becomes(byDave.far, byDave.atFar, "held local");
  await Promise.all([byAlice.far.tab.hearsNothing(), byDave.near.tab.hearsNothing()]);
  await byAlice.near.tab.do("unhold");
  await byDave.far.tab.do("unhold");
  for (const { near, far } of calls) {
    await hearEachOther(near, far);
    expect(await far.tab.events("call:ended")).toEqual([]);
    expect(await near.tab.events("call:ended")).toHaveLength(1);
  }
});

/** Returns the id of the new call. */
async function expectBack({ near, atNear }: OnHold, killedAt: number): Promise<string> {
  expect(await ended(near, atNear)).toBe("instance-lost");
  const back = await near.tab.waitFor("incomingcall", { since: killedAt });
  expect(back.detail).toMatchObject({ replaces: atNear, answering: true });
  const summary = await near.tab.waitFor("sessionrecovered", { since: killedAt });
  expect(summary.detail).toEqual({ recovered: [back.detail.id], lost: [], unknown: [] });
  console.log(`kill to ${near.name}'s new call ${back.at - killedAt} ms`);
  return String(back.detail.id);
}
