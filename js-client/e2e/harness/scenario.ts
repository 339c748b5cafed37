// The opening scene of most tests: a cluster, a browser, and a signed-in tab whose echo is heard.
import { Chromium, type Tab } from "./chromium.ts";
import { type Balancer, Cluster, type ClusterOptions, type Instance, type Link } from "./cluster.ts";
import { until } from "./wait.ts";

export const TONE_HZ = 440;

export interface Scene {
  cluster: Cluster;
  chromium: Chromium;
  tab: Tab;
  /** Keeps the tab's session. */
  serving: Instance;
  /** The balancer that the tab uses. */
  entry: Balancer;
}

/** A tab that is signed in and does nothing. */
export async function signedIn(options: ClusterOptions = {}): Promise<Scene> {
  const cluster = await Cluster.start(options);
  const chromium = await Chromium.start({ toneHz: TONE_HZ });
  const tab = await chromium.open(cluster.url);
  await tab.do("signIn", { user: "alice", urls: cluster.urls });
  return { cluster, chromium, tab, ...(await whereabouts(cluster, tab)) };
}

/** A tab in an echo call; from here on its longest media gap is watched. */
export async function inACall(options: ClusterOptions = {}): Promise<Scene & { call: string }> {
  const scene = await signedIn(options);
  const call = await callEcho(scene.tab);
  return { ...scene, call };
}

/** Starts an echo call, waits until it is heard, and watches its media from then on. Returns its id. */
export async function callEcho(tab: Tab): Promise<string> {
  const call = await tab.do("call", "echo");
  await tab.hears(TONE_HZ);
  await tab.do("watchMedia");
  return call;
}

export async function whereabouts(cluster: Cluster, tab: Tab): Promise<{ serving: Instance; entry: Balancer }> {
  const session = await until("a session", () => tab.do("session"));
  return { serving: cluster.instance(session.instanceId), entry: cluster.balancerAt(session.url) };
}

/** No byte passes on these links any more, and nobody is told. */
export function freezeLinks(links: Link[]): number {
  const at = Date.now();
  for (const { http, admin } of links) {
    http.freeze();
    admin.freeze();
  }
  return at;
}

/** Every connection on these links is reset, and every new one too. */
export function cutLinks(links: Link[]): number {
  const at = Date.now();
  for (const { http, admin } of links) {
    http.cut();
    admin.cut();
  }
  return at;
}

export function thawLinks(links: Link[]): void {
  for (const { http, admin } of links) {
    http.thaw();
    admin.thaw();
  }
}
