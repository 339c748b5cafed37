// Headless Firefox ESR, driven by WebDriver BiDi.
import puppeteer, { type Page } from "puppeteer-core";
import { onTestFinished } from "vitest";
import type { Driver, LostCalls } from "../page/driver.ts";
import type { Cluster } from "./cluster.ts";
import { registered, type Somebody } from "./people.ts";
import { DrivenTab } from "./tab.ts";
import { until } from "./wait.ts";

/** A tab with the blank test page. Firefox has no loopback media: the instances need another address. */
export class FirefoxTab extends DrivenTab {
  private constructor(private readonly page: Page) {
    super();
  }

  static async open(url: string): Promise<FirefoxTab> {
    const browser = await puppeteer.launch({
      browser: "firefox",
      executablePath: "/usr/bin/firefox-esr",
      headless: true,
      extraPrefsFirefox: {
        "media.navigator.streams.fake": true,
        "media.navigator.permission.disabled": true,
      },
    });
    onTestFinished(() => browser.close());
    const page = await browser.newPage();
    await page.bringToFront();
    await page.goto(url);
    await page.waitForFunction("window.e2e !== undefined");
    return new FirefoxTab(page);
  }

  /** Without loudspeakers its AudioContext never starts. */
  override peak(): Promise<{ hz: number; db: number }> {
    return this.do("recordedPeak");
  }

  override do<K extends keyof Driver>(
    method: K,
    ...args: Parameters<Driver[K]>
  ): Promise<Awaited<ReturnType<Driver[K]>>> {
    const call = (name: string, values: unknown[]) =>
      (window as unknown as { e2e: Record<string, (...all: unknown[]) => unknown> }).e2e[name]?.(...values);
    return this.page.evaluate(call, method, args) as Promise<Awaited<ReturnType<Driver[K]>>>;
  }
}

/** The tone of Firefox's stand-in for a microphone. */
const FIREFOX_HZ = 1_000;

/** Signs somebody in with Firefox ESR, and waits for the registration. The media must not be on loopback. */
export async function arriveInFirefox(cluster: Cluster, name: string, lostCalls: LostCalls): Promise<Somebody> {
  const before = await registered(cluster);
  const tab = await FirefoxTab.open(cluster.url);
  await tab.do("signIn", { user: name, urls: cluster.urls, lostCalls });
  await tab.do("openMicrophone");
  await until(`${name} is registered`, async () => (await registered(cluster)) > before);
  return { name, tab, serving: cluster.instance(await tab.servedBy()), toneHz: FIREFOX_HZ };
}
