import { expect, test } from "vitest";
import { expectEndedOnce } from "../harness/expect.ts";
import { callEcho, inACall } from "../harness/scenario.ts";
import { pause } from "../harness/wait.ts";

test("all instances down for 5 s: the call ends once, and the client comes back by itself", async () => {
  const { cluster, tab, call } = await inACall({ balancers: 2 });

  const killedAt = Date.now();
  for (const instance of cluster.instances) instance.kill();
  await tab.waitFor("ended", { since: killedAt });
  await pause(killedAt + 5_000 - Date.now());
  const startedAt = Date.now();
  for (const instance of cluster.instances) await instance.start();
  const back = await tab.waitFor("signedin", { since: startedAt });
  await callEcho(tab);

  const tries = (await tab.events("retrying")).length;
  console.log(`signed in ${back.at - startedAt} ms after the first start, ${tries} retries`);
  await expectEndedOnce(tab, call, "instance-lost");
  expect(tries, "no storm").toBeLessThan(60);
});
