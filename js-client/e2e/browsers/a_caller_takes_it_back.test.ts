import { expect, test } from "vitest";
import { becomes, ended, people, ring } from "../harness/people.ts";

test("a caller who hangs up while it rings ends the ringing", async () => {
  const { alice, bob } = await people();
  const [atAlice, atBob] = await ring(alice, bob);
  await becomes(alice, atAlice, "ringing");

  await alice.tab.do("hangUp");

  expect(await ended(bob, atBob)).toBe("cancelled");
  expect(await ended(alice, atAlice)).toBe("local-hang-up");
});
