import { expect, test } from "vitest";
import { expectMediaFlowed, expectNothingLost } from "../harness/expect.ts";
import { inACall } from "../harness/scenario.ts";

test("only the WebSocket is cut: the same session is attached again and the call goes on", async () => {
  const { tab, entry } = await inACall({ fronts: true });

  const cutAt = Date.now();
  entry.front?.reset();
  const back = await tab.waitFor("signalingback", { since: cutAt });

  console.log(`cut to signalling back ${back.at - cutAt} ms`);
  expect(back.detail.sameSession).toBe(true);
  expect((await tab.waitFor("callsresynced", { since: cutAt })).detail.kept).toHaveLength(1);
  await expectNothingLost(tab);
  await tab.hears(440);
  await expectMediaFlowed(tab);
});
