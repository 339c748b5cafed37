import { expect, test } from "vitest";
import { expectEndedOnce } from "../harness/expect.ts";
import { callEcho, inACall } from "../harness/scenario.ts";
import { pause, until } from "../harness/wait.ts";

for (const seconds of [1, 5, 31]) {
  test(`frozen for ${seconds} s, thawed: it serves nobody who moved`, { timeout: 90_000 }, async () => {
    const { tab, serving, call } = await inACall();
    const frozenAt = serving.freeze();
    await tab.waitFor("signedin", { since: frozenAt });
    const second = await callEcho(tab);
    await pause(frozenAt + seconds * 1_000 - Date.now());

    serving.thaw();
    await until(
      "the thawed instance has neither session nor call",
      async () => {
        const { sessions, calls } = await serving.health();
        return sessions === 0 && calls === 0;
      },
      { withinMs: 10_000 },
    );
    await pause(1_000);

    await expectEndedOnce(tab, call, "instance-lost");
    expect(await tab.events("signedin"), "moved once and stays").toHaveLength(2);
    expect(await tab.servedBy()).not.toBe(serving.name);
    expect(await tab.do("callStates")).toContainEqual(expect.objectContaining({ id: second, state: "active" }));
  });
}
