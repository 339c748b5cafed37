// People who call one another through the registrar, each with a tone of his own in the microphone and a browser of his own.
import type { LoggedEvent, LostCalls } from "../page/driver.ts";
import { Chromium, type Tab } from "./chromium.ts";
import { Cluster, type ClusterOptions, type Instance } from "./cluster.ts";
import type { DrivenTab } from "./tab.ts";
import { PATIENCE_MS, until } from "./wait.ts";

/** One signed-in user, in whatever browser. */
export interface Somebody {
  name: string;
  tab: DrivenTab;
  /** Keeps the tab's session. */
  serving: Instance;
  toneHz: number;
}

/** One in Chromium. */
export interface Person extends Somebody {
  chromium: Chromium;
  tab: Tab;
}

export interface People {
  cluster: Cluster;
  alice: Person;
  bob: Person;
}

export interface PeopleOptions extends ClusterOptions {
  /** What becomes of the far sides of calls that are lost with their instance. */
  lostCalls?: LostCalls;
}

const TONES: Record<string, number> = { alice: 440, bob: 660, carol: 880 };

/** Alice and bob, registered, on two instances. */
export async function people({ lostCalls, ...options }: PeopleOptions = {}): Promise<People> {
  const cluster = await Cluster.start({ instances: 2, sip: true, ...options });
  const alice = await arrive(cluster, "alice", { lostCalls });
  const bob = await arrive(cluster, "bob", { lostCalls, notOn: alice.serving });
  return { cluster, alice, bob };
}

export interface Arrival {
  lostCalls?: LostCalls | undefined;
  notOn?: Instance;
  /** In a tab of this person's browser, with that microphone and, by its pin, on the same instance. */
  beside?: Person;
}

/** Signs somebody in, on another instance than `notOn` if it is given, and waits for the registration. */
export async function arrive(
  cluster: Cluster,
  name: string,
  { lostCalls, notOn, beside }: Arrival = {},
): Promise<Person> {
  const toneHz = beside?.toneHz ?? TONES[name] ?? 1000;
  const chromium = beside?.chromium ?? (await Chromium.start({ toneHz }));
  const before = await registered(cluster);
  for (;;) {
    const tab = await chromium.open(cluster.url, beside?.tab.page.context());
    await tab.do("signIn", { user: name, urls: cluster.urls, ...(lostCalls && { lostCalls }) });
    await tab.do("openMicrophone");
    const serving = cluster.instance(await tab.servedBy());
    if (serving !== notOn) {
      await until(`${name} is registered`, async () => (await registered(cluster)) > before);
      return { name, chromium, tab, serving, toneHz };
    }
    await tab.do("signOut");
    await tab.page.close();
    await until(`${name} is gone again`, async () => (await registered(cluster)) === before);
  }
}

/** How many users are registered at all instances. */
export async function registered(cluster: Cluster): Promise<number> {
  const all = await Promise.all(cluster.instances.map((instance) => instance.health().catch(() => undefined)));
  return all.reduce((sum, health) => sum + (health?.registered ?? 0), 0);
}

/** `caller` calls `called`, whose tab rings. Returns the call's id on each side. */
export async function ring(caller: Somebody, called: Somebody, { video = false } = {}): Promise<[string, string]> {
  const since = Date.now();
  const outgoing = await caller.tab.do("call", called.name, { video });
  const incoming = await called.tab.waitFor("incomingcall", { since });
  return [outgoing, String(incoming.detail.id)];
}

/** Both talk: each hears the tone of the other. Returns the call's id on each side. */
export async function talk(caller: Somebody, called: Somebody, { video = false } = {}): Promise<[string, string]> {
  const ids = await ring(caller, called, { video });
  await called.tab.do("answer", { video });
  await hearEachOther(caller, called);
  return ids;
}

export async function hearEachOther(one: Somebody, other: Somebody): Promise<void> {
  await Promise.all([one.tab.hears(other.toneHz), other.tab.hears(one.toneHz)]);
}

/** The state of a call, and who holds it. */
export async function stateOf(person: Somebody, id: string): Promise<string> {
  const call = (await person.tab.do("callStates")).find((known) => known.id === id);
  return call ? [call.state, call.heldBy].filter(Boolean).join(" ") : "unknown";
}

/** Waits until a call is in this state, such as `held local`. */
export async function becomes(person: Somebody, id: string, wanted: string, withinMs?: number): Promise<void> {
  await until(
    `${person.name}'s call is ${wanted}`,
    async () => {
      const state = await stateOf(person, id);
      return state === wanted || Promise.reject(new Error(`it is ${state}`));
    },
    { everyMs: 20, ...(withinMs && { withinMs }) },
  );
}

/** The page reaches no server any more, but for media; resolves when it has noticed. */
export async function unplug({ tab }: Somebody): Promise<void> {
  const since = Date.now();
  await tab.do("unplug", true);
  await tab.waitFor("signalinglost", { since });
}

/** Takes {@link unplug} back; resolves with what the client then tells of its calls. */
export async function plugIn({ tab }: Somebody): Promise<LoggedEvent> {
  const since = Date.now();
  await tab.do("unplug", false);
  return tab.waitFor("callsresynced", { since });
}

/** Waits until a call ended, and returns why. */
export async function ended(person: Somebody, id: string, withinMs = PATIENCE_MS): Promise<string> {
  const event = await person.tab.waitFor("call:ended", { withinMs, matches: ({ detail }) => detail.id === id });
  return String(event.detail.reason);
}
