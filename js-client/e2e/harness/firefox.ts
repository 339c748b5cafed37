// Headless Firefox ESR, driven by WebDriver BiDi.
import puppeteer, { type Page } from "puppeteer-core";
import { onTestFinished } from "vitest";
import type { Driver } from "../page/driver.ts";

/** A tab with the blank test page. Firefox has no loopback media: the instances need another address. */
export class FirefoxTab {
  private constructor(private readonly page: Page) {}

  static async open(url: string): Promise<FirefoxTab> {
    const browser = await puppeteer.launch({
      browser: "firefox",
      executablePath: "/usr/bin/firefox-esr",
      headless: true,
      extraPrefsFirefox: { "media.navigator.streams.fake": true, "media.navigator.permission.disabled": true },
    });
    onTestFinished(() => browser.close());
    const page = await browser.newPage();
    await page.bringToFront();
    await page.goto(url);
    await page.waitForFunction("window.e2e !== undefined");
    return new FirefoxTab(page);
  }

  /** Calls a method of the page's driver. */
  do<K extends keyof Driver>(method: K, ...args: Parameters<Driver[K]>): Promise<Awaited<ReturnType<Driver[K]>>> {
    const call = (name: string, values: unknown[]) =>
      (window as unknown as { e2e: Record<string, (...all: unknown[]) => unknown> }).e2e[name]?.(...values);
    return this.page.evaluate(call, method, args) as Promise<Awaited<ReturnType<Driver[K]>>>;
  }
}
