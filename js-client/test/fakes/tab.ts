/** A browser tab with the library in it, on fakes, and the log of what the application was told. */
import { GatewayClient } from "../../src/client.ts";
import type { CallEnded, ClientEvents, IncomingCall } from "../../src/events.ts";
import type { ClientOptions } from "../../src/options.ts";
import { FakeClock, seeded } from "./clock.ts";
import type { FakeServer } from "./fakeServer.ts";
import { FakeDevices, FakeRtc } from "./rtc.ts";
import { FakeWire } from "./wire.ts";

export const BALANCERS = ["http://balancer-1.test", "http://balancer-2.test"];

const EVENTS: (keyof ClientEvents)[] = [
  "signedin",
  "signedout",
  "instancechange",
  "signalinglost",
  "signalingback",
  "callsresynced",
  "incomingcall",
  "sessionrecovered",
  "redialed",
  "draining",
  "moved",
  "superseded",
  "unauthorized",
  "gaveup",
  "ended",
];

export class FakeTab {
  readonly wire = new FakeWire();
  readonly devices = new FakeDevices();
  readonly rtc: FakeRtc;
  readonly client: GatewayClient;
  readonly log: string[] = [];
  readonly ends: CallEnded[] = [];
  readonly rung: IncomingCall[] = [];

  constructor(server: FakeServer, options: ClientOptions & { clock?: FakeClock } = {}) {
    const clock = options.clock ?? new FakeClock();
    this.rtc = new FakeRtc(clock);
    server.connect(this.wire);
    this.client = new GatewayClient({
      urls: BALANCERS,
      user: "alice",
      storage: null,
      random: seeded(7),
      fetch: this.wire.fetch,
      WebSocket: this.wire.WebSocket,
      RTCPeerConnection: this.rtc.constructorForClient,
      mediaDevices: this.devices,
      ...options,
      clock,
    });
    for (const name of EVENTS) {
      this.client.on(name, () => this.log.push(name));
    }
    this.client.on("ended", (ended) => this.ends.push(ended));
    this.client.on("incomingcall", (incoming) => this.rung.push(incoming));
  }

  get sessionId(): string | undefined {
    return this.client.session?.sessionId;
  }
}
