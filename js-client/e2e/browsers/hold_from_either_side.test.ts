import { test } from "vitest";
import { becomes, hearEachOther, people, talk } from "../harness/people.ts";

test("a call is held and taken back from either side, and both say who holds", async () => {
  const { alice, bob } = await people();
  const [atAlice, atBob] = await talk(alice, bob);

  await alice.tab.do("hold");
  await becomes(alice, atAlice, "held local");
  await becomes(bob, atBob, "held remote");
  await bob.tab.hearsNothing();

  await bob.tab.do("hold");
  await becomes(bob, atBob, "held both");
  await becomes(alice, atAlice, "held both");

  await alice.tab.do("unhold");
  await becomes(alice, atAlice, "held remote");
  await becomes(bob, atBob, "held local");

  await bob.tab.do("unhold");
  await becomes(alice, atAlice, "active");
  await becomes(bob, atBob, "active");
  await hearEachOther(alice, bob);
});
