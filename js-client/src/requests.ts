/**
 * The open requests of a session. Pure. Every request settles once: `ok` or `failed` as the instance says; `failed` when it
 * was never sent; `unknown` when it was sent and its session is gone, or it is given up. A lost socket settles nothing: after the same session
 * is attached again, unanswered requests go out once more under their old ids, and the instance does not act twice.
 */
import type { Outcome, Request, RequestId } from "./protocol.gen.ts";

/** How a request ended. */
export type Settled = Outcome | { status: "unknown" };

/** Requests open at once: the instance's own limit. */
const MAX_OPEN = 64;

interface Open {
  request: Request;
  sent: boolean;
  settle(settled: Settled): void;
}

/** See the file's head. */
export class Requests {
  readonly #open = new Map<RequestId, Open>();
  #next = 0;
  readonly #prefix: string;

  /** `prefix` keeps ids of one page apart from those of the page before a reload, within one session. */
  constructor(prefix: string) {
    this.#prefix = prefix;
  }

  /** Takes a request. When too many are open, the oldest is given up. */
  add(request: Request, settle: (settled: Settled) => void): RequestId {
    if (this.#open.size >= MAX_OPEN) {
      this.handleGone(this.#open.keys().next().value);
    }
    const id = `${this.#prefix}-${++this.#next}`;
    this.#open.set(id, { request, sent: false, settle });
    return id;
  }

  /** What has to be sent now: all that is open after an attach (`again`), else what was never sent. */
  take(again: boolean): { id: RequestId; request: Request }[] {
    const due = [...this.#open].filter(([, open]) => again || !open.sent);
    return due.map(([id, open]) => {
      open.sent = true;
      return { id, request: open.request };
    });
  }

  handleResponse(id: RequestId, outcome: Outcome): void {
    const open = this.#open.get(id);
    this.#open.delete(id);
    open?.settle(outcome);
  }

  /** True if a request of this method about this call is open. */
  has(method: Request["method"], callId: string): boolean {
    return [...this.#open.values()].some(({ request }) => request.method === method && request.call_id === callId);
  }

  /** The session is gone; with `only` that one request is given up. */
  handleGone(only?: RequestId): void {
    const lost = [...this.#open].filter(([id]) => only === undefined || id === only);
    for (const [id, { sent, settle }] of lost) {
      this.#open.delete(id);
      settle(sent ? { status: "unknown" } : { status: "failed", reason: "service-unavailable" });
    }
  }
}
