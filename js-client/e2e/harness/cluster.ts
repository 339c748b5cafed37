// Gateway instances and balancers as child processes on loopback, with faults between them. Ends with its test.
import { randomBytes } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { freePort } from "./ports.ts";
import { Process } from "./process.ts";
import { TcpProxy } from "./tcpProxy.ts";
import { tempFolder } from "./tempFolder.ts";
import { UdpRelay } from "./udpRelay.ts";
import { PATIENCE_MS, until } from "./wait.ts";
import { webDir } from "./webDir.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const binaries = resolve(root, process.env.CARGO_TARGET_DIR ?? "target", "release");

/** Of the users' SIP addresses. */
export const SIP_DOMAIN = "demo.test";

export interface ClusterOptions {
  instances?: number;
  balancers?: number;
  /** Puts a TCP proxy between each balancer and each instance: see `Cluster.link`. */
  links?: boolean;
  /** Puts a TCP proxy between the browser and each balancer: see `Balancer.front`. */
  fronts?: boolean;
  /** Puts a UDP relay between the browser and each instance: see `Instance.relay`. */
  relays?: boolean;
  /** Where browsers reach the balancers; balancers and instances talk over loopback anyway. */
  host?: string;
  /** Where browsers reach the media; `host` unless said otherwise. */
  mediaHost?: string;
  /** Starts a SIP registrar; every user is registered there, and may call every other one. */
  sip?: boolean;
  /** Without a byte for so long an instance is lost; longer than the product's 400 ms where a test is not about it. */
  silenceMs?: number;
  /** What the instances serve at `/`; the blank test page unless said otherwise. */
  webDir?: string;
  gatewayFlags?: string[];
  balancerFlags?: string[];
}

/** The part of `/health` that tests read. */
export interface Health {
  instance_id: string;
  boot_id: string;
  state: string;
  used: number;
  sessions: number;
  registered: number;
  calls: number;
}

/** The part of `/instances` that tests read. */
export interface ListedInstance {
  instance_id: string;
  boot_id: string;
  state: "joining" | "up" | "suspect" | "down" | "hold-down";
  admin_state: "none" | "drain" | "maintenance";
}

/** The two connections of one balancer to one instance. */
export interface Link {
  http: TcpProxy;
  admin: TcpProxy;
}

/** A program of the cluster that can be ended, frozen, and started again at the same addresses. */
abstract class Member {
  private process: Process | undefined;

  constructor(
    readonly name: string,
    readonly adminPort: number,
    private readonly binary: string,
    private readonly args: string[],
    private readonly folder: string,
  ) {}

  protected abstract isReady(): Promise<boolean>;

  async start(): Promise<void> {
    this.process = new Process(
      this.name,
      join(binaries, this.binary),
      this.args,
      join(this.folder, `${this.name}.log`),
    );
    await until(`${this.name} is ready`, () => this.isReady() || !this.process?.isRunning, { everyMs: 20 });
    if (!this.process.isRunning) throw new Error(`${this.name} did not start: ${this.process.log().slice(-500)}`);
  }

  /** Like `start`, without waiting. */
  startSoon(): void {
    this.process = new Process(
      this.name,
      join(binaries, this.binary),
      this.args,
      join(this.folder, `${this.name}.log`),
    );
  }

  /** SIGKILL; returns the wall-clock time of it. */
  kill(): number {
    return this.running.signal("SIGKILL");
  }

  /** SIGSTOP; returns the wall-clock time of it. */
  freeze(): number {
    return this.running.signal("SIGSTOP");
  }

  /** SIGCONT; returns the wall-clock time of it. */
  thaw(): number {
    return this.running.signal("SIGCONT");
  }

  terminate(): number {
    return this.running.signal("SIGTERM");
  }

  async exited(withinMs?: number): Promise<void> {
    await this.running.exited(withinMs);
  }

  async end(): Promise<void> {
    await this.process?.end();
  }

  logTail(): string {
    return this.process?.log().split("\n").slice(-25).join("\n") ?? "";
  }

  async metrics(): Promise<string> {
    return (await this.admin("/metrics")).text();
  }

  protected async admin(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.adminPort}${path}`, { ...init, signal: AbortSignal.timeout(2_000) });
  }

  private get running(): Process {
    if (!this.process) throw new Error(`${this.name} was not started`);
    return this.process;
  }
}

export class Instance extends Member {
  relay: UdpRelay | undefined;
  httpPort = 0;

  async health(): Promise<Health> {
    return (await (await this.admin("/health")).json()) as Health;
  }

  protected override async isReady(): Promise<boolean> {
    return (await this.health()).state === "ready";
  }
}

/** `gateway registrar`. */
export class Registrar extends Member {
  /** How many devices are registered. */
  async bindings(): Promise<number> {
    return Number(/^holdfast_registrar_bindings (\d+)$/m.exec(await this.metrics())?.[1]);
  }

  protected override async isReady(): Promise<boolean> {
    return (await this.admin("/metrics")).ok;
  }
}

export class Balancer extends Member {
  /** What a browser is given. */
  url = "";
  front: TcpProxy | undefined;

  async instances(): Promise<ListedInstance[]> {
    return (await (await this.admin("/instances")).json()) as ListedInstance[];
  }

  async stateOf(instance: Instance): Promise<string | undefined> {
    return (await this.instances()).find((listed) => listed.instance_id === instance.name)?.state;
  }

  async setState(instance: Instance, state: "up" | "drain" | "maintenance"): Promise<void> {
    const answer = await this.admin(`/instances/${instance.name}/state`, {
      method: "PUT",
      headers: { "holdfast-admin": "1", "content-type": "application/json" },
      body: JSON.stringify({ state }),
    });
    if (!answer.ok) throw new Error(`state ${state} of ${instance.name}: ${answer.status} ${await answer.text()}`);
  }

  async isReady(): Promise<boolean> {
    return (await this.admin("/readyz")).ok;
  }
}

export class Cluster {
  readonly instances: Instance[] = [];
  readonly balancers: Balancer[] = [];
  registrar: Registrar | undefined;
  /** Where the registrar is reached, by UDP and TCP. */
  sipPort = 0;
  /** What makes instances use the registrar, those of another cluster too. */
  sipFlags: string[] = [];
  private readonly links = new Map<string, Link>();
  private readonly folder = tempFolder();
  private readonly keyFile = join(this.folder, "cluster-keys");

  private constructor(private readonly options: Required<ClusterOptions>) {
    writeFileSync(this.keyFile, `${randomBytes(32).toString("base64")}\n`, { mode: 0o600 });
  }

  /** Two instances behind one balancer unless said otherwise; ready to serve. */
  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    for (const binary of ["gateway", "balancer"]) {
      if (!existsSync(join(binaries, binary)))
        throw new Error(`${join(binaries, binary)} is missing: cargo build --release --bins`);
    }
    const cluster = new Cluster({
      instances: 2,
      balancers: 1,
      links: false,
      fronts: false,
      relays: false,
      sip: false,
      host: "127.0.0.1",
      mediaHost: options.host ?? "127.0.0.1",
      silenceMs: 2_000,
      webDir,
      gatewayFlags: [],
      balancerFlags: [],
      ...options,
    });
    onTestFinished(async ({ task }) => {
      if (task.result?.state === "fail") cluster.printLogs();
      await cluster.stop();
    });
    await cluster.prepare();
    await cluster.registrar?.start();
    await Promise.all(cluster.instances.map((instance) => instance.start()));
    await Promise.all(cluster.balancers.map((balancer) => balancer.start()));
    await cluster.allUp();
    return cluster;
  }

  /** The first balancer's address, as a browser is given it. */
  get url(): string {
    return this.balancer(0).url;
  }

  /** The addresses of all balancers, as a browser is given them. */
  get urls(): string[] {
    return this.balancers.map((balancer) => balancer.url);
  }

  balancer(at: number): Balancer {
    const found = this.balancers[at];
    if (!found) throw new Error(`no balancer ${at}`);
    return found;
  }

  balancerAt(url: string): Balancer {
    const found = this.balancers.find((balancer) => balancer.url === url);
    if (!found) throw new Error(`no balancer at ${url}`);
    return found;
  }

  instance(name: string): Instance {
    const found = this.instances.find((instance) => instance.name === name);
    if (!found) throw new Error(`no instance ${name}`);
    return found;
  }

  /** Every instance but this one. */
  others(name: string): Instance[] {
    return this.instances.filter((instance) => instance.name !== name);
  }

  link(balancer: Balancer, instance: Instance): Link {
    const link = this.links.get(`${balancer.name} ${instance.name}`);
    if (!link) throw new Error("start the cluster with { links: true }");
    return link;
  }

  /** The links of a balancer to all instances, or of all balancers to one instance. */
  linksOf(member: Balancer | Instance): Link[] {
    const found = [...this.links].filter(([key]) => key.split(" ").includes(member.name)).map(([, link]) => link);
    if (found.length === 0) throw new Error("start the cluster with { links: true }");
    return found;
  }

  /** Every balancer holds every instance for up. */
  async allUp(withinMs = PATIENCE_MS): Promise<void> {
    await until(
      "every instance is up at every balancer",
      async () => {
        const lists = await Promise.all(this.balancers.map((balancer) => balancer.instances()));
        const total = this.instances.length;
        return lists.every((list) => list.filter(({ state }) => state === "up").length === total);
      },
      { withinMs, everyMs: 20 },
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.end()));
    await Promise.all([...this.links.values()].flatMap(({ http, admin }) => [http.close(), admin.close()]));
    await Promise.all(this.balancers.map((balancer) => balancer.front?.close()));
    await Promise.all(this.instances.map((instance) => instance.relay?.close()));
  }

  private printLogs(): void {
    for (const member of this.members) {
      console.error(`--- the last lines of ${member.name}\n${member.logTail()}`);
    }
  }

  private get members(): Member[] {
    return [...this.balancers, ...this.instances, ...(this.registrar ? [this.registrar] : [])];
  }

  private async prepare(): Promise<void> {
    const { host } = this.options;
    if (this.options.sip) await this.makeRegistrar();
    const publicPorts = await many(this.options.balancers, () => freePort(host));
    const fronts = await Promise.all(
      publicPorts.map((port) => (this.options.fronts ? TcpProxy.start(port, host) : undefined)),
    );
    const urls = publicPorts.map((port, at) => `http://${host}:${fronts[at]?.port ?? port}`);
    for (let n = 1; n <= this.options.instances; n++) {
      this.instances.push(await this.makeInstance(`gw-${n}`, urls, [...this.sipFlags, "--rtp-ports", rtpPorts()]));
    }
    for (const [at, port] of publicPorts.entries()) {
      this.balancers.push(await this.makeBalancer(`balancer-${at + 1}`, port, urls, fronts[at]));
    }
  }

  private async makeRegistrar(): Promise<void> {
    const [port, admin] = [await freePort(), await freePort()];
    const listen = (transport: string) => ["--sip-listen", `sip:127.0.0.1:${port};transport=${transport}`];
    const domain = ["--sip-domain", SIP_DOMAIN];
    const args = ["registrar", ...listen("udp"), ...listen("tcp"), ...domain, "--admin-listen", `127.0.0.1:${admin}`];
    this.sipPort = port;
    this.registrar = new Registrar("registrar", admin, "gateway", args, this.folder);
    this.sipFlags = ["--sip-registrar", `sip:127.0.0.1:${port};transport=tcp`, ...domain, "--sip-allow", "*"];
  }

  private async makeInstance(name: string, urls: string[], flags: string[]): Promise<Instance> {
    const { mediaHost } = this.options;
    const [http, admin, media] = [await freePort(), await freePort(), await freePort(mediaHost)];
    const relay = this.options.relays ? await UdpRelay.start(media, mediaHost) : undefined;
    const args = [
      ...["--instance-id", name, "--auth", "anonymous", "--cluster-key-file", this.keyFile],
      ...["--listen", `127.0.0.1:${http}`, "--admin-listen", `127.0.0.1:${admin}`],
      ...["--media-listen", `${mediaHost}:${media}`, "--media-threads", "2", "--web-dir", this.options.webDir],
      ...(relay ? ["--media-advertise", relay.address] : []),
      ...urls.flatMap((url) => ["--alternate", url, "--allowed-origin", url]),
      ...flags,
      ...this.options.gatewayFlags,
    ];
    const instance = new Instance(name, admin, "gateway", args, this.folder);
    instance.httpPort = http;
    instance.relay = relay;
    return instance;
  }

  private async makeBalancer(
    name: string,
    port: number,
    urls: string[],
    front: TcpProxy | undefined,
  ): Promise<Balancer> {
    const admin = await freePort();
    const instances = await Promise.all(this.instances.map((instance) => this.addressFor(name, instance)));
    const args = [
      ...["--listen", `${this.options.host}:${port}`, "--admin-listen", `127.0.0.1:${admin}`],
      ...["--cluster-key-file", this.keyFile, "--silence-ms", `${this.options.silenceMs}`],
      ...instances.flatMap((address) => ["--instance", address]),
      ...urls.flatMap((url) => ["--allowed-origin", url]),
      ...this.options.balancerFlags,
    ];
    const balancer = new Balancer(name, admin, "balancer", args, this.folder);
    balancer.front = front;
    balancer.url = `http://${this.options.host}:${front?.port ?? port}`;
    return balancer;
  }

  private async addressFor(balancer: string, instance: Instance): Promise<string> {
    let [http, admin] = [instance.httpPort, instance.adminPort];
    if (this.options.links) {
      const link = { http: await TcpProxy.start(http), admin: await TcpProxy.start(admin) };
      this.links.set(`${balancer} ${instance.name}`, link);
      [http, admin] = [link.http.port, link.admin.port];
    }
    return `http=127.0.0.1:${http},admin=127.0.0.1:${admin}`;
  }
}

async function many<T>(count: number, make: () => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  while (made.length < count) made.push(await make());
  return made;
}

/** Below the ports of `freePort`; the next of 16 slices for each instance, and most often another one for another run. */
function rtpPorts(): string {
  const low = 10_000 + 300 * (rtpSlices++ % 16);
  return `${low}-${low + 299}`;
}

let rtpSlices = process.pid;
