import { expect, test } from "vitest";
import { ended, people, ring } from "../harness/people.ts";

test.each([
  [false, "rejected"],
  [true, "busy"],
])("a call declined with busy %s ends as %s at the caller, and rings no more", async (busy, reason) => {
  const { alice, bob } = await people();
  const [atAlice, atBob] = await ring(alice, bob);

  await bob.tab.do("reject", { busy });

  expect(await ended(alice, atAlice)).toBe(reason);
  expect(await ended(bob, atBob)).toBe("local-hang-up");
  expect(await bob.tab.events("incomingcall")).toHaveLength(1);
});
