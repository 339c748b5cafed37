import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { Chromium } from "../harness/chromium.ts";
import { freePort } from "../harness/ports.ts";
import { Softphone } from "../harness/softphone.ts";
import { until } from "../harness/wait.ts";

const demo = fileURLToPath(new URL("../../../deploy/demo.sh", import.meta.url));

test("the demo: its addresses work, two windows call one another, an instance can be killed as it says, and Ctrl-C leaves nothing behind", async () => {
  const port = await freePort();
  const child = spawn(demo, ["--no-build", "--instances", "2", "--port", String(port)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGTERM"));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
  await until("the addresses", () => output.includes("Ctrl-C stops everything"));
  const pids = [...output.matchAll(/pid (\d+)/g)].map(([, pid]) => Number(pid));
  expect(pids).toHaveLength(5);

  const chromium = await Chromium.start();
  const address = /softphone {2}(\S+)/.exec(output)?.[1] ?? "";
  const phone = await Softphone.open(chromium, address);
  await phone.signIn("alice");
  const second = await Softphone.open(chromium, `${address}?user=bob&call=alice`);
  await second.shows("connection", "Connected");
  await second.click("dial");
  await phone.shows("incoming-name", "bob");
  await phone.click("answer");
  await Promise.all([phone.hearsSound(), second.hearsSound()]);
  await second.click("hang-up");
  await phone.shows("log", "The far side hung up.");

  const serving = await phone.instance();
  process.kill(Number(new RegExp(`${serving} {2}pid (\\d+)`).exec(output)?.[1]), "SIGKILL");
  await phone.shows("log", `Instance ${serving} was lost.`);
  await phone.shows("connection", "Connected");
  expect(await phone.instance()).not.toBe(serving);
  await until("the demo says so", () => output.includes(`${serving} (pid`));

  child.kill("SIGINT");
  await once(child, "exit");
  expect(pids.filter(isAlive)).toEqual([]);
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
