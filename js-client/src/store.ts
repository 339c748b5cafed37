/**
 * What a tab keeps over a reload, and the proof that it is the same tab: `window.open` and "duplicate tab" copy the
 * sessionStorage, and a copy must not take over the session of a tab that lives.
 *
 * The page writes `released` when it goes (pagehide); a record without it belongs to a living page or a crashed one. Where Web
 * Locks exist, the lock on the client id decides instead, so that a crashed or discarded tab finds its session again.
 */
import { parseObject } from "./json.ts";
import type { Session } from "./reconnect.ts";

const KEY = "holdfast";
/** A reloaded page may have to wait for its own predecessor's lock. */
const LOCK_WAIT_MS = 250;

/** What is kept. */
export interface Kept {
  clientId: string;
  session?: Session | undefined;
  /** Calls that were up. */
  calls: string[];
}

type StoredKept = Kept & { released?: boolean | undefined };

/** See the file's head. */
export class Store {
  readonly #storage: Storage | undefined;
  readonly #locks: LockManager | undefined;
  #kept: StoredKept;
  #found: StoredKept | undefined;
  #releaseLock = () => {};

  constructor(
    storage: Storage | undefined,
    locks: LockManager | undefined,
    clientId: string | undefined,
    fresh: string,
  ) {
    this.#storage = storage;
    this.#locks = locks;
    this.#found = this.#read();
    if (clientId !== undefined && this.#found?.clientId !== clientId) {
      this.#found = undefined;
    }
    this.#kept = { clientId: clientId ?? fresh, calls: [] };
  }

  get kept(): Kept {
    return this.#kept;
  }

  /** Takes over what the page before left, if this is the same tab; else starts anew. */
  async claim(): Promise<void> {
    const found = this.#found;
    this.#found = undefined;
    if (found && (await this.#mayTake(found))) {
      this.#kept = { ...found, released: undefined };
    } else {
      void this.#lock(this.#kept.clientId, 0);
    }
    this.update({});
  }

  update(change: Partial<Kept>): void {
    this.#kept = { ...this.#kept, ...change };
    this.#write(this.#kept);
  }

  /** Forgets the session, keeps the client id. */
  forget(): void {
    this.update({ session: undefined, calls: [] });
  }

  /** The page goes: the next one in this tab may take over. */
  release(): void {
    this.#write({ ...this.#kept, released: true });
    this.#releaseLock();
  }

  async #mayTake({ clientId, released }: StoredKept): Promise<boolean> {
    return this.#locks ? this.#lock(clientId, released ? LOCK_WAIT_MS : 0) : released === true;
  }

  /** True once the lock is held; false when another page holds it; never settles where there are no locks. */
  #lock(clientId: string, waitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const hold = (lock: Lock | null) => {
        resolve(lock !== null);
        return lock && new Promise<void>((release) => (this.#releaseLock = release));
      };
      const options = waitMs > 0 ? { signal: AbortSignal.timeout(waitMs) } : { ifAvailable: true };
      this.#locks?.request(`holdfast:${clientId}`, options, hold).catch(() => resolve(false));
    });
  }

  #read(): StoredKept | undefined {
    const found = parseObject<StoredKept>(this.#storage?.getItem(KEY) ?? null);
    return typeof found?.clientId === "string" && Array.isArray(found.calls) ? (found as StoredKept) : undefined;
  }

  #write(kept: StoredKept): void {
    try {
      this.#storage?.setItem(KEY, JSON.stringify(kept));
    } catch {
      // A full or forbidden storage costs the session at a reload, nothing else.
    }
  }
}
