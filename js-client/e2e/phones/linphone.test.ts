import { expect, test } from "vitest";
import { Cluster } from "../harness/cluster.ts";
import { arrive, becomes, ended, type Person } from "../harness/people.ts";
import { DOMAIN, Kamailio } from "./kamailio.ts";
import { Linphone, type LinphoneOptions } from "./linphone.ts";

interface Scene {
  phone: Linphone;
  alice: Person;
}

async function start({
  defines = [],
  lostCalls,
  ...options
}: Partial<LinphoneOptions> & { defines?: string[]; lostCalls?: "resume" | "hang_up" } = {}): Promise<Scene> {
  const kamailio = await Kamailio.start(["alice", "phone"], { defines });
  const cluster = await Cluster.start({ gatewayFlags: kamailio.gatewayFlags });
  const phone = await Linphone.start({ user: "phone", server: kamailio.port, toneHz: 600, ...options });
  const alice = await arrive(cluster, "alice", { lostCalls });
  return { phone, alice };
}

async function talk({ alice, phone }: Scene): Promise<string> {
  const id = await alice.tab.do("call", "phone");
  await phone.says("incoming call");
  phone.type("answer");
  await hearEachOther({ alice, phone });
  return id;
}

async function hearEachOther({ alice, phone }: Scene): Promise<void> {
  await Promise.all([alice.tab.hears(600), phone.hears(alice.toneHz)]);
}

test("linphone is called: tones, hold from either side, the browser hangs up", async () => {
  const scene = await start();
  const { alice, phone } = scene;
  const id = await talk(scene);
  await alice.tab.do("hold");
  await becomes(alice, id, "held local");
  await alice.tab.do("unhold");
  await becomes(alice, id, "active");
  await hearEachOther(scene);
  const held = phone.said;
  phone.type("pause");
  await becomes(alice, id, "held remote");
  // It knows a moment later than the browser, and resumes nothing before.
  await phone.says("is now paused", held);
  phone.type("resume");
  await becomes(alice, id, "active");
  await hearEachOther(scene);
  const mark = phone.said;
  await alice.tab.do("hangUp");
  await phone.says("ended", mark);
});

test("linphone calls a browser and hangs up", async () => {
  const scene = await start({ transport: "tcp" });
  const { alice, phone } = scene;
  phone.type(`call sip:alice@${DOMAIN}`);
  const incoming = await alice.tab.waitFor("incomingcall");
  await alice.tab.do("answer");
  await hearEachOther(scene);
  phone.type("terminate");
  expect(await ended(alice, String(incoming.detail.id))).toBe("remote-hang-up");
});

test.each([["srtp"], ["none"]])("linphone with AVPF, media encryption %s", async (encryption) => {
  const scene = await start({ sip: [`media_encryption=${encryption}`, "avpf=1", "rtp_bundle=0"] });
  const { alice, phone } = scene;
  phone.type(`call sip:alice@${DOMAIN}`);
  await alice.tab.waitFor("incomingcall");
  await alice.tab.do("answer");
  await hearEachOther(scene);
});

test("kill -9 in a call with linphone: its far side comes back", async () => {
  const scene = await start({ defines: ["WITH_DIALOG_AUTH"], lostCalls: "resume" });
  const { alice, phone } = scene;
  const old = await talk(scene);
  const killedAt = alice.serving.kill();
  expect(await ended(alice, old)).toBe("instance-lost");
  const back = await alice.tab.waitFor("incomingcall", { since: killedAt });
  expect(back.detail).toMatchObject({ replaces: old, answering: true });
  await becomes(alice, String(back.detail.id), "active");
  await hearEachOther(scene);
  phone.type("terminate");
  expect(await ended(alice, String(back.detail.id))).toBe("remote-hang-up");
});

test("kill -9 in a call with linphone that is to be hung up", async () => {
  const scene = await start();
  const { alice, phone } = scene;
  const id = await talk(scene);
  const mark = phone.said;
  alice.serving.kill();
  expect(await ended(alice, id)).toBe("instance-lost");
  await phone.says("ended", mark);
});
