/**
 * The wires of one tab: a `fetch` and a `WebSocket` whose other end is the test. Everything that the client does is put on
 * `received`, in order.
 */
import type { ClientMessage, ServerMessage } from "../../src/protocol.gen.ts";

export interface FakeRequest {
  kind: "request";
  method: string;
  base: string;
  path: string;
  headers: Record<string, string>;
  body: unknown;
  answer(status: number, body?: unknown, headers?: Record<string, string>): void;
  fail(): void;
  /** Neither answered, failed nor aborted. */
  open: boolean;
}

export type Received =
  | FakeRequest
  | { kind: "open"; base: string; path: string; socket: FakeSocket }
  | { kind: "send"; message: ClientMessage; socket: FakeSocket }
  | { kind: "close"; socket: FakeSocket };

export class FakeWire {
  readonly received: Received[] = [];
  readonly sockets: FakeSocket[] = [];
  /** Everything fails at once and is not recorded. */
  dark = false;
  /** Told of each thing received. */
  onreceived: (received: Received) => void = () => {};

  get fetch(): typeof fetch {
    return ((url: string, init: RequestInit = {}) => this.#fetch(url, init)) as typeof fetch;
  }

  get WebSocket(): typeof WebSocket {
    const wire = this;
    return class extends FakeSocket {
      constructor(url: string) {
        super(wire, url);
      }
    } as unknown as typeof WebSocket;
  }

  record(received: Received): void {
    this.received.push(received);
    this.onreceived(received);
  }

  #fetch(url: string, init: RequestInit): Promise<Response> {
    if (this.dark) {
      return Promise.reject(new TypeError("dark"));
    }
    const { origin, pathname } = new URL(url);
    return new Promise((resolve, reject) => {
      const request: FakeRequest = {
        kind: "request",
        method: init.method ?? "GET",
        base: origin,
        path: pathname,
        headers: init.headers as Record<string, string>,
        body: init.body === undefined ? undefined : JSON.parse(String(init.body)),
        open: true,
        answer: (status, body, headers = {}) => {
          request.open = false;
          const text = body === undefined ? null : JSON.stringify(body);
          resolve(new Response(text, { status, headers }));
        },
        fail: () => {
          request.open = false;
          reject(new TypeError("unreachable"));
        },
      };
      init.signal?.addEventListener("abort", () => {
        request.open = false;
        reject(new DOMException("aborted", "AbortError"));
      });
      this.record(request);
    });
  }
}

export class FakeSocket {
  readyState = 0;
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  readonly base: string;
  readonly path: string;
  /** Which instance it ends at; set by the test. */
  at: string | undefined;
  /** The client sent `attach` and was answered. */
  attached = false;
  /** Frames go nowhere, and nobody knows. */
  dead = false;

  constructor(
    readonly wire: FakeWire,
    url: string,
  ) {
    const { origin, pathname } = new URL(url.replace(/^ws/, "http"));
    this.base = origin;
    this.path = pathname;
    wire.sockets.push(this);
    if (wire.dark) {
      queueMicrotask(() => this.lose());
    } else {
      queueMicrotask(() => wire.record({ kind: "open", base: origin, path: pathname, socket: this }));
    }
  }

  get alive(): boolean {
    return this.readyState < 2 && !this.dead;
  }

  send(text: string): void {
    if (!this.dead) {
      this.wire.record({ kind: "send", message: JSON.parse(text), socket: this });
    }
  }

  close(): void {
    if (this.readyState < 2) {
      this.readyState = 3;
      this.attached = false;
      this.wire.record({ kind: "close", socket: this });
    }
  }

  accept(): void {
    if (this.readyState === 0) {
      this.readyState = 1;
      this.onopen?.();
    }
  }

  deliver(message: ServerMessage): void {
    if (this.readyState === 1 && !this.dead) {
      this.attached ||= message.kind === "attached";
      this.onmessage?.({ data: JSON.stringify(message) });
    }
  }

  /** Closed by the other side. */
  end(code: number, reason = ""): void {
    if (this.readyState < 2 && !this.dead) {
      this.readyState = 3;
      this.attached = false;
      this.onclose?.({ code, reason });
    }
  }

  /** Gone without a close code. */
  lose(): void {
    this.end(1006);
  }
}
