/**
 * A small typed event emitter with object payloads. A listener that throws does not stop the others: its error is reported
 * as an uncaught one, as the DOM does.
 */
type Listener<T> = (payload: T) => void;

/** What {@link Emitter.on} takes beside the listener. */
export interface ListenOptions {
  /** Removes the listener when it aborts. */
  signal?: AbortSignal;
  /** Removes the listener after its first event. */
  once?: boolean;
}

/** Base class of everything that tells events. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<Listener<never>>>();

  /** Calls `listener` on every `event`. Returns the function that removes it again. */
  on<K extends keyof Events>(event: K, listener: Listener<Events[K]>, options: ListenOptions = {}): () => void {
    if (options.signal?.aborted) {
      return () => {};
    }
    const entry: Listener<Events[K]> = (payload) => {
      if (options.once) {
        off();
      }
      listener(payload);
    };
    const set = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, set.add(entry));
    const off = () => void set.delete(entry);
    options.signal?.addEventListener("abort", off, { once: true });
    return off;
  }

  protected emit<K extends keyof Events>(event: K, payload: Events[K]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        (listener as Listener<Events[K]>)(payload);
      } catch (error) {
        reportError(error);
      }
    }
  }
}

/** @internal Tells the page, like an error that nobody caught. */
export function reportError(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
