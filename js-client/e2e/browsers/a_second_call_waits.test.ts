import { expect, test } from "vitest";
import { arrive, becomes, ended, hearEachOther, people, ring, talk } from "../harness/people.ts";

test("a second call waits; the first is held for it, both are up, and the first is taken back", async () => {
  const { cluster, alice, bob } = await people();
  const carol = await arrive(cluster, "carol");
  const [withBob] = await talk(alice, bob);
  const [, withCarol] = await ring(carol, alice);

  await alice.tab.do("choose", withBob);
  await alice.tab.do("hold");
  await alice.tab.do("choose", withCarol);
  await alice.tab.do("answer");

  await hearEachOther(alice, carol);
  await becomes(alice, withBob, "held local");
  await bob.tab.hearsNothing();

  await alice.tab.do("hangUp");
  await alice.tab.do("choose", withBob);
  await alice.tab.do("unhold");
  await hearEachOther(alice, bob);
  expect(await ended(alice, withCarol)).toBe("local-hang-up");
});
