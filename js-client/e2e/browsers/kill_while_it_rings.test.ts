import { expect, test } from "vitest";
import { expectWithin } from "../harness/expect.ts";
import { becomes, ended, hearEachOther, people, ring } from "../harness/people.ts";

test("the called one's instance dies while it rings: it rings again on the next one, and is answered there", async () => {
  const { alice, bob } = await people({ instances: 3 });
  const [atAlice, atBob] = await ring(alice, bob);

  const killedAt = bob.serving.kill();
  expect(await ended(bob, atBob)).toBe("instance-lost");
  const again = await bob.tab.waitFor("incomingcall", { since: killedAt });
  console.log(`rings again ${again.at - killedAt} ms after the kill`);
  expect(again.detail).toMatchObject({ answering: false });
  expect(again.detail.id).not.toBe(atBob);

  await bob.tab.do("answer");
  await hearEachOther(alice, bob);
  await becomes(alice, atAlice, "active");
});

test("the caller's instance dies while it rings: the ringing ends", async () => {
  const { alice, bob } = await people({ instances: 3 });
  const [atAlice, atBob] = await ring(alice, bob);

  alice.serving.kill();
  expect(await ended(alice, atAlice)).toBe("instance-lost");
  expect(["cancelled", "far-lost"]).toContain(await ended(bob, atBob));
});

test("a call placed at the moment of the kill rings on the next instance", async () => {
  const { alice, bob } = await people({ instances: 3 });

  const killedAt = bob.serving.kill();
  await alice.tab.do("call", "bob");
  const incoming = await bob.tab.waitFor("incomingcall", { since: killedAt });
  await expectWithin(bob.tab, "kill to ringing", incoming.at - killedAt, 3_000);
  await bob.tab.do("answer");
  await hearEachOther(alice, bob);
});
