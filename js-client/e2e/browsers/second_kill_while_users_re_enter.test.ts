import { expect, test } from "vitest";
import { Cluster, type Instance } from "../harness/cluster.ts";
import { arrive, type Person } from "../harness/people.ts";
import { pause, until } from "../harness/wait.ts";
import type { LostCalls } from "../page/driver.ts";

const ROUNDS = 10;
/** The second kill comes so late at most. */
const LATEST_MS = 300;

test("the next instance dies at a random moment of the re-entry: signed in on a third one, each call ended once", {
  timeout: 240_000,
}, async () => {
  const cluster = await Cluster.start({ instances: 6, sip: true });
  const apart = await Cluster.start({ instances: 1, gatewayFlags: cluster.sipFlags });
  const alice = await arrive(cluster, "alice");
  const bob = await arrive(apart, "bob");
  for (let round = 1; round <= ROUNDS; round++) {
    // One that was lost often is held down for some seconds after its return.
    await until("three others are up", async () => (await othersUp(cluster, alice)) >= 3, { withinMs: 60_000 });
    await killTwice(cluster, alice, bob, {
      moment: MOMENTS[round % MOMENTS.length] ?? "any",
      lostCalls: round % 2 ? "hang_up" : "resume",
    });
  }
});

/** When the second kill comes: when the next instance has the session, when the call comes back, or at any time. */
type Moment = "session" | "call" | "any";

/** The even rounds are those that resume. */
const MOMENTS: Moment[] = ["call", "session", "session", "any"];

interface Kills {
  moment: Moment;
  lostCalls: LostCalls;
}

async function killTwice(cluster: Cluster, alice: Person, bob: Person, { moment, lostCalls }: Kills): Promise<void> {
  const since = Date.now();
  await alice.tab.do("wish", lostCalls);
  const first = cluster.instance(await alice.tab.servedBy());
  await until("alice may call", async () => (await alice.tab.do("canCall")).allowed);
  await alice.tab.do("call", "bob");
  await bob.tab.waitFor("incomingcall", { since });
  await bob.tab.do("answer");
  await alice.tab.mediaStarted();
  await bob.tab.mediaStarted();

  const rest = cluster.others(first.name);
  const before = await sessions(rest);
  const killedAt = first.kill();
  const second = await until(
    "alice is about to be served elsewhere",
    async () => {
      const now = await sessions(rest);
      return rest.find((_, at) => (now[at] ?? 0) > (before[at] ?? 0));
    },
    { everyMs: 1 },
  );
  if (moment === "call") await alice.tab.waitFor("incomingcall", { since: killedAt });
  if (moment === "any") await pause(killedAt + Math.random() * LATEST_MS - Date.now());
  const secondKilledAt = second.kill();
  const third = await until("alice is signed in on a third one", async () => {
    const name = await alice.tab.do("instance");
    return name !== first.name && name !== second.name && name;
  });

  const back = await alice.tab.waitFor("signedin", {
    since: killedAt,
    matches: ({ detail }) => detail.instanceId === third,
  });
  const held = await settled(alice, bob);
  console.log(
    `${lostCalls}, ${moment}: second kill after ${secondKilledAt - killedAt} ms, signed in on the third ${back.at - secondKilledAt} ms later, ${held} after ${Date.now() - secondKilledAt} ms`,
  );
  await until("the registrar has one binding of each", async () => (await cluster.registrar?.bindings()) === 2);
  for (const { tab } of [alice, bob]) {
    const ends = (await tab.events("call:ended")).map(({ detail }) => detail.id);
    expect(new Set(ends).size, "each call ended once").toBe(ends.length);
  }
  if (held === "talking") await alice.tab.do("hangUp");
  await until("nobody is in a call", async () => (await live(alice)) + (await live(bob)) === 0);
  for (const instance of [first, second]) {
    await instance.exited();
    await instance.start();
  }
}

/** How many instances are up beside hers. */
async function othersUp(cluster: Cluster, { tab }: Person): Promise<number> {
  const own = await tab.servedBy();
  const listed = await cluster.balancer(0).instances();
  return listed.filter(({ state, instance_id }) => state === "up" && instance_id !== own).length;
}

function sessions(instances: Instance[]): Promise<number[]> {
  return Promise.all(instances.map((instance) => instance.health().then(({ used }) => used)));
}

async function live({ tab }: Person): Promise<number> {
  return (await tab.do("callStates")).filter(({ state }) => state !== "ended").length;
}

/**
 * Waits until both sides agree: they talk again, or neither has a call. The far side hears of it at once, or, where a hang-up
 * died with the second instance, by 30 s without media.
 */
function settled(alice: Person, bob: Person): Promise<"talking" | "hung up"> {
  const probe = async () => {
    const [here, there] = await Promise.all([alice, bob].map(({ tab }) => tab.do("callStates")));
    const states = [here, there].map((calls = []) => calls.filter(({ state }) => state !== "ended"));
    if (states.every((calls) => calls.length === 0)) return "hung up";
    const talking = states.every((calls) => calls.length === 1 && calls[0]?.state === "active");
    return talking ? "talking" : Promise.reject(new Error(JSON.stringify(states)));
  };
  return until("both sides agree", probe, { withinMs: 60_000 });
}
