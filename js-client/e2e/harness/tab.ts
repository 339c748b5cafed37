// A tab with the blank test page, of whatever browser: what happens in it, what it hears.
import type { Driver, LoggedEvent } from "../page/driver.ts";
import { PATIENCE_MS, until } from "./wait.ts";

/** One tab; its methods run the page's `e2e` object (page/driver.ts). */
export abstract class DrivenTab {
  /** Calls a method of the page's driver. */
  abstract do<K extends keyof Driver>(
    method: K,
    ...args: Parameters<Driver[K]>
  ): Promise<Awaited<ReturnType<Driver[K]>>>;

  /** The loudest tone of what the newest call brings. */
  peak(): Promise<{ hz: number; db: number }> {
    return this.do("peak");
  }

  events(name?: string): Promise<LoggedEvent[]> {
    return this.do("events", name);
  }

  /** The first event of this name, at or after the wall-clock time `since`, for which `matches` holds. */
  waitFor(
    name: string,
    { since = 0, withinMs = PATIENCE_MS, matches = (_: LoggedEvent) => true as boolean } = {},
  ): Promise<LoggedEvent> {
    return until(
      `the event ${name}`,
      async () => (await this.events(name)).find((event) => event.at >= since && matches(event)),
      { withinMs },
    );
  }

  /** The instance that serves this tab's session. */
  async servedBy(): Promise<string> {
    return until("a signed-in session", () => this.do("instance"));
  }

  /** Waits until the call's remote tone is near `hz`. */
  async hears(hz: number, withinMs = PATIENCE_MS): Promise<void> {
    await until(
      `a tone of ${hz} Hz`,
      async () => {
        const peak = await this.peak();
        return peak.db > -60 && Math.abs(peak.hz - hz) < 15 ? true : Promise.reject(new Error(JSON.stringify(peak)));
      },
      { withinMs, everyMs: 50 },
    );
  }

  /** Waits until the call's remote audio is silent while packets still come. */
  async hearsNothing(withinMs = PATIENCE_MS): Promise<void> {
    await until("silence", async () => (await this.peak()).db < -80, { withinMs, everyMs: 50 });
  }

  /** Waits until packets arrive in the newest call, and returns the wall-clock time of the first one. */
  mediaStarted(withinMs = PATIENCE_MS): Promise<number> {
    return until("the first packet of the call", () => this.do("firstPacketAt"), { withinMs });
  }
}
