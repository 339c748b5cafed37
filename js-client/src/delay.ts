/**
 * How long to wait before a try. Pure: the random number comes from outside.
 */

/** No single wait is longer, unless the service asks for it by Retry-After. */
const MAX_WAIT_MS = 2_000;
/** Where doubling starts when the service's window is smaller. */
const MIN_STEP_MS = 100;

/**
 * Full jitter: uniform over a span that is the service's own window at first, so that the clients of a lost instance spread
 * over it from the first try on, and doubles with every failed try. `floorMs` (Retry-After) comes on top.
 */
export function retryDelay(attempt: number, windowMs: number, floorMs: number, random: () => number): number {
  const span = attempt === 0 ? windowMs : Math.max(windowMs, MIN_STEP_MS) * 2 ** Math.min(attempt - 1, 10);
  return floorMs + random() * Math.min(span, Math.max(MAX_WAIT_MS, windowMs));
}
