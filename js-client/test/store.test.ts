// Who may take over what a tab kept: the same tab after a reload, never a copy.
import { describe, expect, test } from "vitest";
import { Store } from "../src/store.ts";
import { FakeLocks, FakeStorage } from "./fakes/storage.ts";

const session = {
  session_id: "ses-1",
  session_token: "tok-1",
  user: "alice",
  instance_id: "gw-a",
  boot_id: "boot-a",
  url: "http://balancer-1.test",
  capsule: "capsule-1",
  heartbeat_ms: 5000,
  grace_ms: 60_000,
  reconnect_window_ms: 20,
  ice_servers: [],
  services: [],
  recovering: false,
  alternates: [],
};

async function page(storage: FakeStorage, fresh: string, locks?: FakeLocks): Promise<Store> {
  const store = new Store(storage, locks as unknown as LockManager | undefined, undefined, fresh);
  await store.claim();
  return store;
}

describe.each([
  ["with Web Locks", true],
  ["without", false],
])("%s", (_, withLocks) => {
  const browser = () => (withLocks ? new FakeLocks() : undefined);

  test("a reloaded tab is the same client, with its session", async () => {
    const locks = browser();
    const storage = new FakeStorage();
    const before = await page(storage, "first", locks);
    before.update({ session, calls: ["call-1"] });
    before.release();
    const after = await page(storage, "second", locks);
    expect(after.kept).toMatchObject({ clientId: "first", session, calls: ["call-1"] });
  });

  test("a copied sessionStorage makes a client of its own, while the first lives", async () => {
    const locks = browser();
    const storage = new FakeStorage();
    const before = await page(storage, "first", locks);
    before.update({ session });
    const copy = await page(storage.copy(), "second", locks);
    expect(copy.kept).toEqual({ clientId: "second", calls: [] });
    expect(before.kept.clientId).toBe("first");
  });

  test("a reload of the copy keeps the copy's own id", async () => {
    const locks = browser();
    const storage = new FakeStorage();
    await page(storage, "first", locks);
    const copied = storage.copy();
    (await page(copied, "second", locks)).release();
    expect((await page(copied, "third", locks)).kept.clientId).toBe("second");
  });
});

test("a crashed tab finds its session again where Web Locks prove that nobody holds it", async () => {
  const storage = new FakeStorage();
  (await page(storage, "first", new FakeLocks())).update({ session });
  expect((await page(storage, "second", new FakeLocks())).kept.session).toEqual(session);
});

test("what is not ours in the storage is as if nothing were there", async () => {
  const storage = new FakeStorage();
  for (const text of ["{", "null", "[]", '{"clientId":7}', '"x"']) {
    storage.setItem("holdfast", text);
    expect((await page(storage, "fresh")).kept).toEqual({ clientId: "fresh", calls: [] });
  }
});
