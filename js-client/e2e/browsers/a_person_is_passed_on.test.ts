import { expect, test } from "vitest";
import { arrive, becomes, ended, hearEachOther, people, talk } from "../harness/people.ts";

test("blind transfer: who is passed on talks to the target in the same call, and the first call ends so", async () => {
  const { cluster, alice, bob } = await people();
  const carol = await arrive(cluster, "carol");
  const [atAlice, atBob] = await talk(alice, bob);

  const passedOn = alice.tab.do("transfer", "carol");
  await carol.tab.waitFor("incomingcall");
  await carol.tab.do("answer");

  await passedOn;
  expect(await ended(alice, atAlice)).toBe("transferred");
  await hearEachOther(bob, carol);
  await becomes(bob, atBob, "active");
  const party = await bob.tab.waitFor("call:partychange");
  expect(party.detail).toMatchObject({ id: atBob, target: expect.stringContaining("carol") });
});

test("attended transfer: the two far sides talk, both calls of the middle end", async () => {
  const { cluster, alice, bob } = await people();
  const carol = await arrive(cluster, "carol");
  const [withBob] = await talk(alice, bob);
  await alice.tab.do("hold");
  const [withCarol] = await talk(alice, carol);

  await alice.tab.do("choose", withBob);
  await alice.tab.do("transferTo", withCarol);

  expect(await ended(alice, withBob)).toBe("transferred");
  expect(await ended(alice, withCarol)).toBe("transferred");
  await hearEachOther(bob, carol);
});
