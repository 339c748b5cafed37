/** A sessionStorage and Web Locks of one browser. */
export class FakeStorage implements Storage {
  readonly #items = new Map<string, string>();
  [name: string]: unknown;

  get length(): number {
    return this.#items.size;
  }
  clear(): void {
    this.#items.clear();
  }
  getItem(key: string): string | null {
    return this.#items.get(key) ?? null;
  }
  key(index: number): string | null {
    return [...this.#items.keys()][index] ?? null;
  }
  removeItem(key: string): void {
    this.#items.delete(key);
  }
  setItem(key: string, value: string): void {
    this.#items.set(key, value);
  }

  /** What `window.open` does. */
  copy(): FakeStorage {
    const copy = new FakeStorage();
    for (const [key, value] of this.#items) {
      copy.setItem(key, value);
    }
    return copy;
  }
}

/** Grants a name to one holder at a time. */
export class FakeLocks {
  readonly #held = new Set<string>();

  async request(
    name: string,
    options: { ifAvailable?: boolean; signal?: AbortSignal },
    hold: (lock: { name: string } | null) => Promise<void> | null,
  ): Promise<void> {
    while (this.#held.has(name)) {
      if (options.ifAvailable) {
        await hold(null);
        return;
      }
      options.signal?.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    this.#held.add(name);
    await hold({ name });
    this.#held.delete(name);
  }
}
