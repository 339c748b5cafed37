import { expect, test } from "vitest";
import { ended, hearEachOther, people, talk } from "../harness/people.ts";

test("two browsers on two instances talk through the registrar; each hears the other's tone, until one hangs up", async () => {
  const { alice, bob } = await people();
  expect(alice.serving.name).not.toBe(bob.serving.name);

  const [atAlice, atBob] = await talk(alice, bob);
  await alice.tab.do("hangUp");
  expect(await ended(bob, atBob)).toBe("remote-hang-up");
  expect(await ended(alice, atAlice)).toBe("local-hang-up");

  const [again] = await talk(bob, alice);
  await hearEachOther(alice, bob);
  await alice.tab.do("hangUp");
  expect(await ended(bob, again)).toBe("remote-hang-up");
});
