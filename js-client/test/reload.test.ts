// A page reload: the session is kept, its calls are lost and told so.
import { expect, test } from "vitest";
import { FakeClock, seeded } from "./fakes/clock.ts";
import { FakeServer } from "./fakes/fakeServer.ts";
import { FakeStorage } from "./fakes/storage.ts";
import { BALANCERS, FakeTab } from "./fakes/tab.ts";

/** A page that was in a call and is gone. The storage says that it went, as pagehide does. */
async function reloadedInCall(server: FakeServer, clock: FakeClock) {
  const storage = new FakeStorage();
  const page = new FakeTab(server, { clock, storage });
  void page.client.signIn();
  await clock.advance(50);
  const call = page.client.call("echo");
  await clock.advance(50);
  const session = page.sessionId;
  page.wire.sockets.at(-1)?.close();
  storage.setItem("holdfast", JSON.stringify({ ...JSON.parse(storage.getItem("holdfast") ?? ""), released: true }));
  return { storage, callId: call.id, session };
}

test("the session is taken up again, each of its calls ended once as page-reloaded", async () => {
  const clock = new FakeClock();
  const server = new FakeServer();
  const { storage, callId, session } = await reloadedInCall(server, clock);
  const page = new FakeTab(server, { clock, storage, random: seeded(8) });
  void page.client.signIn();
  await clock.advance(50);
  expect(page.sessionId).toBe(session);
  expect(page.ends).toEqual([{ callId, reason: "page-reloaded" }]);
  expect(server.sessionOf(server.attached[0])?.session.calls.size).toBe(0);
  expect(page.log).toContain("signedin");
});

test("other balancers that the service told of are known after a reload", async () => {
  const clock = new FakeClock();
  const server = new FakeServer();
  server.alternates = BALANCERS;
  const { storage, session } = await reloadedInCall(server, clock);
  server.down.add(BALANCERS[0] ?? "");
  const page = new FakeTab(server, { clock, storage, random: seeded(8), urls: BALANCERS.slice(0, 1) });
  void page.client.signIn();
  await clock.advance(50);
  expect(page.sessionId).toBe(session);
  expect(page.client.session?.url).toBe(BALANCERS[1]);
});

test("an instance that died meanwhile: signed in elsewhere with the capsule, the calls told all the same", async () => {
  const clock = new FakeClock();
  const server = new FakeServer();
  const { storage, callId } = await reloadedInCall(server, clock);
  server.kill(server.instances[0] as never);
  const page = new FakeTab(server, { clock, storage, random: seeded(8) });
  void page.client.signIn();
  await clock.advance(50);
  expect(page.client.session?.instanceId).toBe("gw-b");
  expect(page.ends).toEqual([{ callId, reason: "page-reloaded" }]);
  const attach = server.received.findLast((one) => one.kind === "send" && one.message.kind === "attach");
  expect(attach).toMatchObject({ message: { dead_calls: [{ call_id: callId, action: "hang_up" }] } });
});
