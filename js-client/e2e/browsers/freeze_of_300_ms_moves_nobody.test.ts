import { expect, test } from "vitest";
import { expectNothingLost } from "../harness/expect.ts";
import { inACall, type Scene } from "../harness/scenario.ts";
import { pause, until } from "../harness/wait.ts";

const SILENCE_MS = 400;

test("an instance frozen for 0.3 s keeps everybody", async () => {
  for (let tries = 1; ; tries++) {
    const scene = await inACall({ silenceMs: SILENCE_MS });
    const silentMs = await freeze(scene, 300);
    console.log(`silent for ${Math.round(silentMs)} ms`);
    // On a busy machine it may be silent for longer than it was frozen; such a try says nothing.
    if (silentMs < SILENCE_MS || tries === 5) return expectKept(scene);
  }
});

/** Returns for how long it gave no answer. */
async function freeze({ serving }: Scene, ms: number): Promise<number> {
  const frozenAt = performance.now();
  serving.freeze();
  await pause(ms);
  serving.thaw();
  await until("it answers again", () => serving.health());
  return performance.now() - frozenAt;
}

async function expectKept({ cluster, tab, serving }: Scene): Promise<void> {
  await pause(1_500);
  await cluster.allUp();
  expect(await tab.servedBy()).toBe(serving.name);
  await expectNothingLost(tab);
  await tab.hears(440);
}
