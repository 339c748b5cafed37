import { expect, test } from "vitest";
import { ended, people } from "../harness/people.ts";

test("a call to a name that nobody has ends as not-found", async () => {
  const { alice } = await people();
  const call = await alice.tab.do("call", "nobody");
  expect(await ended(alice, call)).toBe("not-found");
});
