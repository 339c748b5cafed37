import { expect, test } from "vitest";
import { expectEndedOnce } from "../harness/expect.ts";
import { callEcho, inACall, type Scene } from "../harness/scenario.ts";
import { pause, until } from "../harness/wait.ts";

test("frozen for 1, 5 and 31 s, thawed: each serves nobody who moved", async () => {
  const scenes: [number, InACall][] = [];
  for (const seconds of [1, 5, 31]) scenes.push([seconds, await inACall({ silenceMs: 400 })]);

  await Promise.all(scenes.map(([seconds, scene]) => freezeAndThaw(scene, seconds)));
});

type InACall = Scene & { call: string };

async function freezeAndThaw({ tab, serving, call }: InACall, seconds: number): Promise<void> {
  const frozenAt = serving.freeze();
  await tab.waitFor("signedin", { since: frozenAt });
  const second = await callEcho(tab);
  await pause(frozenAt + seconds * 1_000 - Date.now());

  serving.thaw();
  await until(`the one frozen for ${seconds} s has neither session nor call`, async () => {
    const { sessions, calls } = await serving.health();
    return sessions === 0 && calls === 0;
  });
  await pause(1_000);

  await expectEndedOnce(tab, call, "instance-lost");
  expect(await tab.events("signedin"), "moved once and stays").toHaveLength(2);
  expect(await tab.servedBy()).not.toBe(serving.name);
  expect(await tab.do("callStates")).toContainEqual(expect.objectContaining({ id: second, state: "active" }));
}
