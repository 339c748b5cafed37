// How much slower than a quiet one the machine is during a test, told by work that has nothing of the product in it.
import type { MeasuredTab } from "./kills.ts";
import { spread } from "./spread.ts";

/** A call into a page and back takes less on a quiet machine with two cores. */
const QUIET_TRIP_MS = 1;
const TRIPS = 20;
/** A machine that is slower than this does not excuse more. */
const MOST = 5;

/** Samples a tab's call times between the measurements of a series. */
export class Slowness {
  private readonly trips: number[] = [];

  async sample(tab: MeasuredTab): Promise<void> {
    const startedAt = performance.now();
    for (let done = 0; done < TRIPS; done++) await tab.do("clientState");
    this.trips.push((performance.now() - startedAt) / TRIPS);
  }

  /** 1 on a quiet machine: what a bound in milliseconds grows by. */
  get factor(): number {
    const factor = spread(this.trips).p50 / QUIET_TRIP_MS;
    return Math.min(MOST, Math.max(1, Math.round(factor * 10) / 10));
  }
}
