import { expect, test } from "vitest";
import { Cluster } from "../harness/cluster.ts";
import { arrive, ended } from "../harness/people.ts";
import { Baresip } from "./baresip.ts";
import { DOMAIN, Kamailio } from "./kamailio.ts";

async function start({ defines = [] as string[], account = "", codecs = ["opus", "PCMU", "PCMA"], transport = "udp" as "udp" | "tcp" } = {}) {
  const kamailio = await Kamailio.start(["alice", "phone"], { defines });
  const cluster = await Cluster.start({ gatewayFlags: kamailio.gatewayFlags });
  const phone = await Baresip.start({ user: "phone", server: kamailio.port, toneHz: 600, account, codecs, transport });
  const alice = await arrive(cluster, "alice");
  return { kamailio, cluster, phone, alice };
}

test("a browser calls baresip: tones, digits and hold both ways, the browser hangs up", async () => {
  const { phone, alice } = await start();
  const id = await alice.tab.do("call", "phone");
  await phone.told("CALL_INCOMING");
  await phone.command("accept");
  await Promise.all([alice.tab.hears(600), phone.hears(alice.toneHz)]);
  await alice.tab.do("sendDigits", "12#");
  await phone.told("CALL_DTMF_START");
  await alice.tab.do("hangUp");
  await phone.told("CALL_CLOSED");
  expect(await ended(alice, id)).toBe("local-hang-up");
});

test("baresip calls a browser and hangs up", async () => {
  const { phone, alice } = await start({ codecs: ["PCMA"], transport: "tcp" });
  await phone.command("dial", `sip:alice@${DOMAIN}`);
  const incoming = await alice.tab.waitFor("incomingcall");
  await alice.tab.do("answer");
  await Promise.all([alice.tab.hears(600), phone.hears(alice.toneHz)]);
  await phone.command("hangup");
  expect(await ended(alice, String(incoming.detail.id))).toBe("remote-hang-up");
});
