import { expect, test } from "vitest";
import { expectWithin } from "../harness/expect.ts";
import { ended, hearEachOther, people, talk } from "../harness/people.ts";

test("resume: the call ends once, its far side comes back in a new call, and both hear each other again", async () => {
  const { alice, bob } = await people({ instances: 3, lostCalls: "resume" });
  const [atAlice, atBob] = await talk(alice, bob);

  const killedAt = alice.serving.kill();
  expect(await ended(alice, atAlice)).toBe("instance-lost");
  const back = await alice.tab.waitFor("incomingcall", { since: killedAt });
  expect(back.detail).toMatchObject({ replaces: atAlice, answering: true });
  expect(back.detail.id).not.toBe(atAlice);
  const summary = await alice.tab.waitFor("sessionrecovered", { since: killedAt });
  expect(summary.detail).toEqual({ recovered: [back.detail.id], lost: [], unknown: [] });
  await expectWithin(alice.tab, "kill to the summary", summary.at - killedAt, 5_000);

  await alice.tab.mediaStarted();
  await hearEachOther(alice, bob);
  const active = await alice.tab.waitFor("call:statechange", {
    since: killedAt,
    matches: ({ detail }) => detail.id === back.detail.id && detail.state === "active",
  });
  console.log(`kill to the new call's answer ${active.at - killedAt} ms`);
  const resumed = await alice.tab.waitFor("call:resumed", { since: killedAt });
  console.log(`both sides were heard again ${resumed.detail.gapMs} ms after the sign-in`);
  expect(resumed.detail.id).toBe(back.detail.id);
  expect((await alice.tab.events("call:ended")).map(({ detail }) => detail.id)).toEqual([atAlice]);
  expect(await bob.tab.events("call:ended")).toEqual([]);
  expect((await bob.tab.do("callStates")).map(({ id, state }) => [id, state])).toEqual([[atBob, "active"]]);
});

test("hang_up: the call ends once, and the far side on the surviving instance is hung up", async () => {
  const { alice, bob } = await people({ instances: 3 });
  const [atAlice, atBob] = await talk(alice, bob);

  const killedAt = alice.serving.kill();
  expect(await ended(alice, atAlice)).toBe("instance-lost");
  const summary = await alice.tab.waitFor("sessionrecovered", { since: killedAt });
  expect(summary.detail).toEqual({ recovered: [], lost: [atAlice], unknown: [] });
  expect(["remote-hang-up", "far-lost"]).toContain(await ended(bob, atBob));
  expect(await alice.tab.events("incomingcall")).toEqual([]);
});
