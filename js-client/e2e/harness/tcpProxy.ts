// A TCP relay in front of one port, with the faults of a network: cut, frozen, delayed.
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** `pass`; `frozen`: connections are accepted and nothing goes through; `refused`: accepted ones are reset at once. */
type Mode = "pass" | "frozen" | "refused";

export class TcpProxy {
  private readonly pairs = new Set<Pair>();
  private mode: Mode = "pass";
  /** Milliseconds that every chunk towards the target, or back from it, is kept. */
  delayMs = { there: 0, back: 0 };

  private constructor(
    private readonly server: Server,
    private readonly targetPort: number,
    private readonly targetHost: string,
  ) {
    server.on("connection", (socket) => this.accept(socket));
  }

  static start(targetPort: number, host = "127.0.0.1"): Promise<TcpProxy> {
    return new Promise((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true, noDelay: true });
      const proxy = new TcpProxy(server, targetPort, host);
      server.once("error", reject);
      server.listen(0, host, () => resolve(proxy));
    });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** No byte passes in either direction any more; nobody is told. */
  freeze(): void {
    this.mode = "frozen";
    for (const pair of this.pairs) pair.freeze();
  }

  /** Everything that was held back goes on. */
  thaw(): void {
    this.mode = "pass";
    for (const pair of this.pairs) pair.thaw();
  }

  /** Every connection is reset, and every new one too. */
  cut(): void {
    this.mode = "refused";
    this.reset();
  }

  /** Every connection of this moment is reset; new ones pass. */
  reset(): void {
    for (const pair of this.pairs) pair.reset();
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private accept(near: Socket): void {
    if (this.mode === "refused") {
      near.resetAndDestroy();
      return;
    }
    const pair = new Pair(near, this.targetPort, this.targetHost, this.delayMs, () => this.pairs.delete(pair));
    this.pairs.add(pair);
    if (this.mode === "frozen") pair.freeze();
  }
}

class Pair {
  private readonly far: Socket;
  private readonly lanes: [Lane, Lane];

  constructor(
    private readonly near: Socket,
    port: number,
    host: string,
    delayMs: { there: number; back: number },
    private readonly onEnd: () => void,
  ) {
    this.far = connect({ port, host, noDelay: true, allowHalfOpen: true });
    this.lanes = [new Lane(near, this.far, () => delayMs.there), new Lane(this.far, near, () => delayMs.back)];
    for (const socket of [near, this.far]) {
      socket.on("error", () => this.reset());
      socket.on("close", () => {
        if (near.destroyed && this.far.destroyed) this.onEnd();
      });
    }
  }

  freeze(): void {
    for (const lane of this.lanes) lane.freeze();
  }

  thaw(): void {
    for (const lane of this.lanes) lane.thaw();
  }

  reset(): void {
    this.near.resetAndDestroy();
    this.far.resetAndDestroy();
    this.onEnd();
  }
}

/** One direction of one connection: an ordered queue of chunks and, last, the end. */
class Lane {
  private readonly queue: (Buffer | null)[] = [];
  private frozen = false;

  constructor(
    from: Socket,
    private readonly to: Socket,
    private readonly delayMs: () => number,
  ) {
    from.on("data", (chunk) => this.later(Buffer.from(chunk)));
    from.on("end", () => this.later(null));
  }

  freeze(): void {
    this.frozen = true;
  }

  thaw(): void {
    this.frozen = false;
    this.flush();
  }

  private later(item: Buffer | null): void {
    const delay = this.delayMs();
    if (delay > 0) setTimeout(() => this.push(item), delay);
    else this.push(item);
  }

  private push(item: Buffer | null): void {
    this.queue.push(item);
    if (!this.frozen) this.flush();
  }

  private flush(): void {
    for (const item of this.queue.splice(0)) {
      if (this.to.destroyed) return;
      if (item === null) this.to.end();
      else this.to.write(item);
    }
  }
}
