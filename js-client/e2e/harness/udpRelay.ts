// A UDP relay in front of an instance's media port, which can turn into a black hole.
import { createSocket, type Socket } from "node:dgram";

export class UdpRelay {
  private readonly upstreams = new Map<string, Socket>();
  private blackholed = false;

  private constructor(
    private readonly front: Socket,
    private readonly targetPort: number,
    private readonly host: string,
  ) {
    front.on("message", (packet, from) => this.there(packet, from.port, from.address));
  }

  static start(targetPort: number, host = "127.0.0.1"): Promise<UdpRelay> {
    return new Promise((resolve, reject) => {
      const front = createSocket("udp4");
      front.once("error", reject);
      front.bind(0, host, () => resolve(new UdpRelay(front, targetPort, host)));
    });
  }

  /** What the instance has to advertise. */
  get address(): string {
    return `${this.host}:${this.front.address().port}`;
  }

  /** From now on no packet passes in either direction. */
  blackhole(): void {
    this.blackholed = true;
  }

  async close(): Promise<void> {
    for (const upstream of this.upstreams.values()) upstream.close();
    await new Promise<void>((resolve) => this.front.close(() => resolve()));
  }

  private there(packet: Buffer, port: number, address: string): void {
    if (!this.blackholed) this.upstream(port, address).send(packet, this.targetPort, this.host);
  }

  private upstream(port: number, address: string): Socket {
    const key = `${address}:${port}`;
    const known = this.upstreams.get(key);
    if (known) return known;
    const upstream = createSocket("udp4");
    upstream.on("message", (packet) => {
      if (!this.blackholed) this.front.send(packet, port, address);
    });
    upstream.on("error", () => undefined);
    this.upstreams.set(key, upstream);
    return upstream;
  }
}
