import { expect, test } from "vitest";
import { Cluster } from "../harness/cluster.ts";
import { arrive, becomes, ended, type Person } from "../harness/people.ts";
import { until } from "../harness/wait.ts";
import { Baresip, type BaresipOptions } from "./baresip.ts";
import { DOMAIN, Kamailio } from "./kamailio.ts";

interface Options extends Partial<BaresipOptions> {
  defines?: string[];
  lostCalls?: "resume" | "hang_up";
  gatewayFlags?: string[];
}

interface Scene {
  kamailio: Kamailio;
  cluster: Cluster;
  phone: Baresip;
  alice: Person;
}

async function start({ defines, lostCalls, gatewayFlags = [], ...phoneOptions }: Options = {}): Promise<Scene> {
  const kamailio = await Kamailio.start(["alice", "phone", "other"], { defines });
  const cluster = await Cluster.start({ gatewayFlags: [...kamailio.gatewayFlags, ...gatewayFlags] });
  const phone = await Baresip.start({ user: "phone", server: kamailio.port, toneHz: 600, ...phoneOptions });
  const alice = await arrive(cluster, "alice", { lostCalls });
  return { kamailio, cluster, phone, alice };
}

/** Alice calls the phone, which answers. */
async function talk({ alice, phone }: Scene): Promise<string> {
  const id = await alice.tab.do("call", "phone");
  await phone.told("CALL_INCOMING");
  await phone.command("accept");
  await hearEachOther(alice, phone);
  return id;
}

async function hearEachOther(alice: Person, phone: Baresip): Promise<void> {
  await Promise.all([alice.tab.hears(600), phone.hears(alice.toneHz)]);
}

test("digits both ways", async () => {
  const scene = await start();
  const { alice, phone } = scene;
  await talk(scene);
  await alice.tab.do("sendDigits", "1290*#");
  const keys = () => phone.events.filter(({ type }) => type === "CALL_DTMF_START").map(({ param }) => param);
  await until("all digits at the phone", () => keys().length >= 6);
  expect(keys().join("")).toBe("1290*#");
  for (const key of ["7", "#"]) {
    await phone.command("sndcode", key);
  }
  const heard = async () => (await alice.tab.events("call:digit")).map(({ detail }) => detail.digit).join("");
  await until("digits at alice", async () => (await heard()).length >= 2);
  expect(await heard()).toBe("7#");
});

test("hold from either side", async () => {
  const scene = await start();
  const { alice, phone } = scene;
  const id = await talk(scene);
  await alice.tab.do("hold");
  await becomes(alice, id, "held local");
  await alice.tab.do("unhold");
  await becomes(alice, id, "active");
  await hearEachOther(alice, phone);
  await phone.command("hold");
  await becomes(alice, id, "held remote");
  await phone.command("resume");
  await becomes(alice, id, "active");
  await hearEachOther(alice, phone);
  await alice.tab.do("hangUp");
  await phone.told("CALL_CLOSED");
});

test("busy, cancelled, not answered", async () => {
  const { alice, phone } = await start();
  const busy = await alice.tab.do("call", "phone");
  await phone.told("CALL_INCOMING");
  await phone.command("hangup");
  expect(await ended(alice, busy)).toMatch(/busy|rejected/);
  const from = phone.events.length;
  const taken = await alice.tab.do("call", "phone");
  await phone.told("CALL_INCOMING", from);
  await alice.tab.do("hangUp");
  await phone.told("CALL_CLOSED", from);
  expect(await ended(alice, taken)).toBe("local-hang-up");
});

test("a browser rejects the phone", async () => {
  const { alice, phone } = await start({ transport: "tcp" });
  await phone.command("dial", `sip:alice@${DOMAIN}`);
  await alice.tab.waitFor("incomingcall");
  await alice.tab.do("reject", { busy: true });
  const closed = await phone.told("CALL_CLOSED");
  expect(closed.param).toContain("486");
});

test.each([";mediaenc=srtp", ";mediaenc=srtp-mand", ";mediaenc=srtp-mandf"])(
  "SRTP, the phone calls: %s",
  async (account) => {
    const { alice, phone } = await start({ account, codecs: ["PCMU"] });
    await phone.command("dial", `sip:alice@${DOMAIN}`);
    const incoming = await alice.tab.waitFor("incomingcall");
    await alice.tab.do("answer");
    await hearEachOther(alice, phone);
    await phone.command("hangup");
    expect(await ended(alice, String(incoming.detail.id))).toBe("remote-hang-up");
  },
);

test("SRTP, the browser calls", async () => {
  const scene = await start({
    account: ";mediaenc=srtp-mand",
    gatewayFlags: ["--rtp-srtp", "required"],
    codecs: ["opus/48000/2"],
  });
  await talk(scene);
});

test.each([[[]], [["WITH_DIALOG_AUTH"]], [["WITH_DIALOG_AUTH", "WITH_ONE_TIME_NONCE"]]])(
  "kill -9 in a call, its far side comes back: %s",
  async (defines) => {
    const scene = await start({ defines, lostCalls: "resume" });
    const { alice, phone } = scene;
    const old = await talk(scene);
    const killedAt = alice.serving.kill();
    expect(await ended(alice, old)).toBe("instance-lost");
    const back = await alice.tab.waitFor("incomingcall", { since: killedAt });
    expect(back.detail).toMatchObject({ replaces: old });
    const summary = await alice.tab.waitFor("sessionrecovered", { since: killedAt });
    expect(summary.detail).toEqual({ recovered: [back.detail.id], lost: [], unknown: [] });
    await becomes(alice, String(back.detail.id), "active");
    await hearEachOther(alice, phone);
    await phone.command("hangup");
    expect(await ended(alice, String(back.detail.id))).toBe("remote-hang-up");
  },
);

test("kill -9 in a call that is to be hung up", async () => {
  const scene = await start({ defines: ["WITH_DIALOG_AUTH"] });
  const { alice, phone } = scene;
  const id = await talk(scene);
  alice.serving.kill();
  expect(await ended(alice, id)).toBe("instance-lost");
  await phone.told("CALL_CLOSED");
});

test("kill -9 while it rings out: the phone stops ringing", async () => {
  const { alice, phone } = await start();
  await alice.tab.do("call", "phone");
  await phone.told("CALL_INCOMING");
  alice.serving.kill();
  await phone.told("CALL_CLOSED");
});

test("kill -9 while it rings in: it rings at the next instance", async () => {
  const { alice, phone } = await start();
  await phone.command("dial", `sip:alice@${DOMAIN}`);
  await alice.tab.waitFor("incomingcall");
  const killedAt = alice.serving.kill();
  const again = await alice.tab.waitFor("incomingcall", { since: killedAt });
  await alice.tab.do("answer");
  await hearEachOther(alice, phone);
  await phone.command("hangup");
  expect(await ended(alice, String(again.detail.id))).toBe("remote-hang-up");
});

test("a browser passes the phone on to another phone", async () => {
  const scene = await start();
  const { alice, kamailio, phone } = scene;
  const other = await Baresip.start({ user: "other", server: kamailio.port, toneHz: 800 });
  const id = await talk(scene);
  const passed = alice.tab.do("transfer", "other");
  await other.told("CALL_INCOMING");
  await other.command("accept");
  await passed;
  await Promise.all([phone.hears(800), other.hears(600)]);
  expect(await ended(alice, id)).toBe("transferred");
});

test("a phone passes a browser on to another phone", async () => {
  const scene = await start();
  const { alice, kamailio, phone } = scene;
  const other = await Baresip.start({ user: "other", server: kamailio.port, toneHz: 800 });
  await talk(scene);
  await phone.command("transfer", `sip:other@${DOMAIN}`);
  await other.told("CALL_INCOMING");
  await other.command("accept");
  await Promise.all([alice.tab.hears(800), other.hears(alice.toneHz)]);
});

test("Kamailio is killed and comes back", async () => {
  const scene = await start({ transport: "tcp" });
  const { alice, kamailio, phone } = scene;
  const id = await talk(scene);
  const killedAt = Date.now();
  kamailio.kill();
  await alice.tab.waitFor("serviceunavailable", { since: killedAt });
  const refused = await alice.tab.do("refusalOf", "call", "phone");
  expect(refused.tookMs).toBeLessThan(50);
  await hearEachOther(alice, phone);
  await kamailio.restart();
  await alice.tab.waitFor("serviceavailable", { since: killedAt });
  await alice.tab.do("hangUp");
  expect(await ended(alice, id)).toBe("local-hang-up");
  await phone.told("CALL_CLOSED");
});
