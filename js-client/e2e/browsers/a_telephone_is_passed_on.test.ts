import { expect, test } from "vitest";
import { Baresip, hasBaresip } from "../harness/baresip.ts";
import { becomes, ended, people } from "../harness/people.ts";
import { until } from "../harness/wait.ts";

const PHONE_HZ = 1000;

test.runIf(hasBaresip)("a browser hears a telephone, and sends it the codec that it takes", async () => {
  const { cluster, alice } = await people();
  await Baresip.start("phone", cluster.sipPort, PHONE_HZ);

  const call = await alice.tab.do("call", "phone");
  await becomes(alice, call, "active");
  await alice.tab.hears(PHONE_HZ);
  await until("the browser sends what the telephone takes", async () => {
    const codec = await alice.tab.do("sentCodec");
    return codec === "audio/PCMU" || Promise.reject(new Error(`it sends ${codec}`));
  });
});

test.runIf(hasBaresip)("blind transfer: the telephone calls the target, and the first call ends so", async () => {
  const { cluster, alice, bob } = await people();
  await Baresip.start("phone", cluster.sipPort, PHONE_HZ);
  const call = await alice.tab.do("call", "phone");
  await alice.tab.hears(PHONE_HZ);

  const passedOn = alice.tab.do("transfer", "bob");
  await bob.tab.waitFor("incomingcall");
  await bob.tab.do("answer");

  await passedOn;
  expect(await ended(alice, call)).toBe("transferred");
  await bob.tab.hears(PHONE_HZ);
});

test.runIf(hasBaresip)("a transfer to nobody is told, and the call goes on", async () => {
  const { cluster, alice } = await people();
  await Baresip.start("phone", cluster.sipPort, PHONE_HZ);
  const call = await alice.tab.do("call", "phone");
  await alice.tab.hears(PHONE_HZ);

  const refusal = await alice.tab.do("refusalOf", "transfer", "nobody");

  expect(refusal.reason).toBe("far-refused");
  await becomes(alice, call, "active");
  await alice.tab.hears(PHONE_HZ);
});
