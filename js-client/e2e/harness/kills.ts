// How long a browser is without service after kill -9 of its instance: run by run, and as a table.
import { mkdirSync, writeFileSync } from "node:fs";
import type { Driver } from "../page/driver.ts";
import type { Cluster } from "./cluster.ts";
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

/** Kills the instance of a running call `count` times; each time it comes back before the next run. */
export async function measureKills(cluster: Cluster, tab: MeasuredTab, count: number): Promise<KillRun[]> {
  await tab.do("signIn", { user: "alice", urls: cluster.urls });
  await tab.do("call", "echo");
  const runs: KillRun[] = [];
  while (runs.length < count) {
    await until("media before the kill", () => tab.do("firstPacketAt"));
    runs.push(await killOnce(cluster, tab));
  }
  return runs;
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
export function report(name: string, runs: KillRun[]) {
  const summary = {
    signedIn: spread(runs.map(({ signedIn }) => signedIn)),
    media: spread(runs.map(({ media }) => media)),
  };
  console.log(`${name}, milliseconds after kill -9:`);
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
  return summary;
}

function spread(values: number[]) {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  const middle = sorted.length / 2;
  const p50 = sorted.length % 2 ? at(0.5) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
  return { p50, p95: at(0.95), max: sorted.at(-1) ?? Number.NaN };
}
