// The softphone page as a person sees it.
import type { Page } from "playwright-core";
import { expect } from "vitest";
import type { Chromium } from "./chromium.ts";
import { PATIENCE_MS, until } from "./wait.ts";

export class Softphone {
  private constructor(readonly page: Page) {}

  static async open(chromium: Chromium, url: string): Promise<Softphone> {
    // Nothing is animated: many windows of one browser would keep a small machine busy with painting.
    const page = await (await chromium.newProfile({ reducedMotion: "reduce" })).newPage();
    await page.goto(url);
    return new Softphone(page);
  }

  async signIn(user: string): Promise<void> {
    await this.page.getByTestId("user").fill(user);
    await this.page.getByTestId("sign-in").click();
    await this.shows("connection", "Connected");
  }

  async click(testId: string): Promise<void> {
    await this.page.getByTestId(testId).click();
  }

  async dialEcho(): Promise<void> {
    await this.page.getByTestId("dial-echo").click();
  }

  /** Waits until the call is up and the far side's meter moves. */
  async hearsSound(): Promise<void> {
    await this.shows("call-state", "Connected");
    const meter = this.page.getByTestId("remote-level");
    await until("the far side's meter moves", async () => Number(await meter.getAttribute("aria-valuenow")) > 5);
  }

  /** Waits until this part of the page holds `text`. */
  async shows(testId: string, text: string, withinMs = PATIENCE_MS): Promise<void> {
    const part = this.page.getByTestId(testId);
    await until(
      `${testId} shows "${text}"`,
      async () => {
        const shown = (await part.allTextContents()).join(" ");
        return shown.includes(text) || Promise.reject(new Error(`it shows "${shown}"`));
      },
      { withinMs, everyMs: 50 },
    );
  }

  async instance(): Promise<string> {
    const shown = await this.page.getByTestId("instance").textContent();
    expect(shown).toMatch(/^gw-/);
    return shown ?? "";
  }
}
