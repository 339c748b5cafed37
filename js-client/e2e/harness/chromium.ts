// Headless Chromium with a humming microphone, and the tabs that tests drive.
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { onTestFinished } from "vitest";
import type { Driver, LoggedEvent } from "../page/driver.ts";
import { DrivenTab } from "./tab.ts";
import { toneFile } from "./tone.ts";
import { until } from "./wait.ts";

export interface ChromiumOptions {
  /** The tone that the microphone hears. */
  toneHz?: number;
  /** Whether the user lets pages have the microphone, or has none. */
  microphone?: "allowed" | "denied" | "absent";
  /** A program that starts Chromium in another place, such as a network namespace. */
  executable?: string;
  flags?: string[];
}

export class Chromium {
  private readonly tabs: Tab[] = [];

  private constructor(readonly browser: Browser) {}

  static async start({
    executable = "/usr/bin/chromium",
    flags = [],
    ...microphone
  }: ChromiumOptions = {}): Promise<Chromium> {
    const browser = await chromium.launch({
      executablePath: executable,
      args: [
        "--no-sandbox",
        "--autoplay-policy=no-user-gesture-required",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        ...microphoneFlags(microphone),
        ...flags,
      ],
    });
    const started = new Chromium(browser);
    onTestFinished(async ({ task }) => {
      if (task.result?.state === "fail") await started.printLogs();
      await browser.close();
    });
    return started;
  }

  /** A tab with the blank test page of this balancer. Tabs of one `profile` share cookies. */
  async open(url: string, profile?: BrowserContext): Promise<Tab> {
    const context = profile ?? (await this.newProfile());
    const tab = new Tab(await context.newPage());
    this.tabs.push(tab);
    await tab.load(url);
    return tab;
  }

  /** Takes over a page that another one opened. */
  async adopt(page: Page): Promise<Tab> {
    const tab = new Tab(page);
    this.tabs.push(tab);
    await tab.isReady();
    return tab;
  }

  newProfile(options?: BrowserContextOptions): Promise<BrowserContext> {
    return this.browser.newContext(options);
  }

  private async printLogs(): Promise<void> {
    for (const [at, tab] of this.tabs.entries()) {
      const events = await tab.events().catch(() => []);
      console.error(`--- tab ${at + 1}: ${tab.console.join("\n")}\n${events.map(line).join("\n")}`);
    }
  }
}

/** One tab of Chromium. */
export class Tab extends DrivenTab {
  readonly console: string[] = [];

  constructor(readonly page: Page) {
    super();
    page.on("console", (message) => this.console.push(message.text()));
    page.on("pageerror", (error) => this.console.push(`page error: ${error.message}`));
  }

  async load(url: string): Promise<void> {
    await this.page.goto(url);
    await this.isReady();
  }

  /** Waits for the page's driver; from here, because the page's policy forbids a waiting script to evaluate text. */
  async isReady(): Promise<void> {
    await until("the page's driver", () => this.page.evaluate("window.e2e !== undefined"));
  }

  override do<K extends keyof Driver>(
    method: K,
    ...args: Parameters<Driver[K]>
  ): Promise<Awaited<ReturnType<Driver[K]>>> {
    const call = ([name, values]: [string, unknown[]]) =>
      (window as unknown as { e2e: Record<string, (...all: unknown[]) => unknown> }).e2e[name]?.(...values);
    return this.page.evaluate(call, [method, args] as [string, unknown[]]) as Promise<Awaited<ReturnType<Driver[K]>>>;
  }
}

function line({ at, name, detail }: LoggedEvent): string {
  return `${new Date(at).toISOString().slice(14)} ${name} ${JSON.stringify(detail)}`;
}

function microphoneFlags({ microphone = "allowed", toneHz = 440 }: ChromiumOptions): string[] {
  const device = ["--use-fake-device-for-media-stream", `--use-file-for-fake-audio-capture=${toneFile(toneHz)}`];
  const flags = {
    allowed: ["--use-fake-ui-for-media-stream", ...device],
    denied: ["--deny-permission-prompts", ...device],
    absent: ["--use-fake-ui-for-media-stream"],
  };
  return flags[microphone];
}
