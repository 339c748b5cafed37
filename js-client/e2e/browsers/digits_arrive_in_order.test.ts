import { expect, test } from "vitest";
import { people, talk } from "../harness/people.ts";
import { until } from "../harness/wait.ts";

test("digits arrive at the other browser, all of them and in order, while both still talk", async () => {
  const { alice, bob } = await people();
  await talk(alice, bob);

  await alice.tab.do("sendDigits", "0123456789*#ABCD");
  await bob.tab.do("sendDigits", "11");

  const heard = async (tab: typeof bob.tab) =>
    (await tab.events("call:digit")).map(({ detail }) => detail.digit).join("");
  await until("all digits at bob", async () => (await heard(bob.tab)).length >= 16);
  await until("both digits at alice", async () => (await heard(alice.tab)).length >= 2);
  expect(await heard(bob.tab)).toBe("0123456789*#ABCD");
  expect(await heard(alice.tab)).toBe("11");
  await alice.tab.hears(bob.toneHz);
});
