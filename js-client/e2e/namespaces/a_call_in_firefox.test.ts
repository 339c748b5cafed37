import { expect, test } from "vitest";
import { Cluster } from "../harness/cluster.ts";
import { arriveInFirefox } from "../harness/firefox.ts";
import { Network } from "../harness/network.ts";
import { arrive, becomes, ended, hearEachOther, type Somebody, talk } from "../harness/people.ts";
import { until } from "../harness/wait.ts";

test("Firefox ESR is called and answers: tones, hold and digits both ways, hung up by either side, and kill -9", async () => {
  const network = Network.start();
  const cluster = await Cluster.start({ instances: 3, sip: true, mediaHost: network.host });
  const bob = await arriveInFirefox(cluster, "bob", "resume");
  const alice = await arrive(cluster, "alice", { notOn: bob.serving });

  const [atAlice, atBob] = await talk(alice, bob);
  await holds(alice, atAlice, bob, atBob);
  await holds(bob, atBob, alice, atAlice);
  await hearEachOther(alice, bob);
  await dials(alice, "123#", bob);
  await dials(bob, "*0", alice);
  await bob.tab.do("hangUp");
  expect(await ended(alice, atAlice)).toBe("remote-hang-up");

  const [, again] = await talk(alice, bob);
  await alice.tab.do("hangUp");
  expect(await ended(bob, again)).toBe("remote-hang-up");

  const [kept, lost] = await talk(alice, bob);
  const killedAt = bob.serving.kill();
  expect(await ended(bob, lost)).toBe("instance-lost");
  const back = await bob.tab.waitFor("incomingcall", { since: killedAt });
  expect(back.detail).toMatchObject({ replaces: lost, answering: true });
  console.log(`kill to the new call ${back.at - killedAt} ms`);
  await becomes(bob, String(back.detail.id), "active");
  await hearEachOther(alice, bob);
  await bob.tab.do("hangUp");
  expect(await ended(alice, kept)).toBe("remote-hang-up");
});

/** Puts the other on hold and takes it back. */
async function holds(holder: Somebody, atHolder: string, other: Somebody, atOther: string): Promise<void> {
  await holder.tab.do("hold");
  await becomes(holder, atHolder, "held local");
  await becomes(other, atOther, "held remote");
  await other.tab.hearsNothing();
  await holder.tab.do("unhold");
  await becomes(holder, atHolder, "active");
  await becomes(other, atOther, "active");
}

async function dials({ tab }: Somebody, digits: string, other: Somebody): Promise<void> {
  await tab.do("sendDigits", digits);
  await until(`${other.name} hears ${digits}`, async () => {
    const heard = (await other.tab.events("call:digit")).map(({ detail }) => detail.digit).join("");
    return heard === digits || Promise.reject(new Error(`heard ${heard}`));
  });
}
