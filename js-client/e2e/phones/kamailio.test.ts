import { expect, test } from "vitest";
import { Cluster } from "../harness/cluster.ts";
import { arrive, ended, talk } from "../harness/people.ts";
import { Kamailio } from "./kamailio.ts";

test.each([[["WITH_SHA256"]], [["WITH_DIALOG_AUTH", "WITH_ONE_TIME_NONCE"]]])(
  "browsers on two instances talk through Kamailio: %s",
  async (defines) => {
    const kamailio = await Kamailio.start(["alice", "bob"], { defines });
    const cluster = await Cluster.start({ gatewayFlags: kamailio.gatewayFlags });
    const alice = await arrive(cluster, "alice");
    const bob = await arrive(cluster, "bob", { notOn: alice.serving });
    const [, atBob] = await talk(alice, bob);
    await alice.tab.do("hangUp");
    expect(await ended(bob, atBob)).toBe("remote-hang-up");
  },
);
