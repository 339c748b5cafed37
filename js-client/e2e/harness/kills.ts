// How long a browser is without service after kill -9 of its instance: run by run, and as a table.
import { mkdirSync, writeFileSync } from "node:fs";
import { expect } from "vitest";
import type { Driver } from "../page/driver.ts";
import type { Cluster } from "./cluster.ts";
import { Slowness } from "./slowness.ts";
import { type Spread, spread } from "./spread.ts";
import { until } from "./wait.ts";

/** What a tab of any browser can do for this measurement. */
export interface MeasuredTab {
  do<K extends keyof Driver>(method: K, ...args: Parameters<Driver[K]>): Promise<Awaited<ReturnType<Driver[K]>>>;
}

/** Milliseconds from the kill. */
export interface KillRun {
  signedIn: number;
  media: number;
}

/** What a series showed, and how slow the machine was meanwhile. */
export interface KillSeries {
  runs: KillRun[];
  signedIn: Spread;
  media: Spread;
  /** See {@link Slowness}. */
  slowness: number;
}

/** Kills the instance of a running call `count` times; each time it comes back before the next run. */
export async function measureKills(cluster: Cluster, tab: MeasuredTab, count: number): Promise<KillSeries> {
  await tab.do("signIn", { user: "alice", urls: cluster.urls });
  await tab.do("call", "echo");
  const runs: KillRun[] = [];
  const slowness = new Slowness();
  while (runs.length < count) {
    await until("media before the kill", () => tab.do("firstPacketAt"));
    await slowness.sample(tab);
    runs.push(await killOnce(cluster, tab));
    await slowness.sample(tab);
  }
  return {
    runs,
    signedIn: spread(runs.map(({ signedIn }) => signedIn)),
    media: spread(runs.map(({ media }) => media)),
    slowness: slowness.factor,
  };
}

async function killOnce(cluster: Cluster, tab: MeasuredTab): Promise<KillRun> {
  const name = await until("a signed-in session", () => tab.do("instance"));
  const instance = cluster.instance(name);
  await tab.do("callAfterReturn", "echo");
  const killedAt = instance.kill();
  const back = await until("signed in again", async () => {
    const returns = await tab.do("events", "signedin");
    return returns.find(({ at }) => at >= killedAt);
  });
  const media = await until("media after the kill", () => tab.do("firstPacketAt"));
  await instance.exited();
  await instance.start();
  await cluster.allUp(60_000);
  return { signedIn: back.at - killedAt, media: Math.round(media - killedAt) };
}

/** Prints the table and writes it as JSON when HOLDFAST_E2E_RESULTS names a folder. */
export function report(name: string, { runs, ...summary }: KillSeries): void {
  console.log(`${name}, milliseconds after kill -9, machine ${summary.slowness} times as slow as a quiet one:`);
  console.table(
    Object.fromEntries([
      ...runs.map((run, at) => [at + 1, run]),
      ["median", { signedIn: summary.signedIn.p50, media: summary.media.p50 }],
    ]),
  );
  const folder = process.env.HOLDFAST_E2E_RESULTS;
  if (folder) {
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      `${folder}/${name}.json`,
      `${JSON.stringify({ unit: "ms after kill -9", ...summary, runs }, null, 2)}\n`,
    );
  }
}

/** A median kill is over before a user notices, and no client waited for a retry. */
export async function expectFastReturns({ signedIn, media, slowness }: KillSeries, tab: MeasuredTab): Promise<void> {
  expect(signedIn.p50, "kill to signed in").toBeLessThan(80 * slowness);
  expect(media.p50, "kill to a new call's media").toBeLessThan(150 * slowness);
  expect(await tab.do("events", "retrying"), "nobody waits for a retry").toEqual([]);
}
