// Waiting for a condition of the real world, bounded; never for a time to pass.

/** A machine that is busy with other things may take long; what the product promises is measured, and asserted apart. */
export const PATIENCE_MS = 20_000;

/** Polls `probe` until it gives something true, and returns that. Throws what was seen last after `withinMs`. */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  { withinMs = PATIENCE_MS, everyMs = 10 } = {},
): Promise<NonNullable<Exclude<T, false>>> {
  const deadline = performance.now() + withinMs;
  let last: unknown;
  for (;;) {
    try {
      last = await probe();
      if (last) return last as NonNullable<Exclude<T, false>>;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}; last: ${describe(last)}`);
    await pause(everyMs);
  }
}

/** Lets `ms` pass; for observing that something does *not* happen, and for the length of a fault. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function describe(value: unknown): string {
  return value instanceof Error ? value.message : JSON.stringify(value);
}
