// A child process of a test: its log, its signals by pid, and its certain end.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { PATIENCE_MS, until } from "./wait.ts";

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

export class Process {
  private readonly child: ChildProcess;
  private ended = false;

  constructor(
    readonly name: string,
    command: string,
    args: string[],
    readonly logFile: string,
    env: NodeJS.ProcessEnv = {},
  ) {
    const log = openSync(logFile, "a");
    this.child = spawn(command, args, { stdio: ["ignore", log, log], env: { ...process.env, ...env } });
    closeSync(log);
    running.add(this.child);
    const end = () => {
      this.ended = true;
      running.delete(this.child);
    };
    this.child.once("exit", end);
    this.child.once("error", end);
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`${this.name} did not start`);
    return this.child.pid;
  }

  get isRunning(): boolean {
    return !this.ended;
  }

  /** Sends a signal and returns the wall-clock time right before it. */
  signal(signal: NodeJS.Signals): number {
    const at = Date.now();
    this.child.kill(signal);
    return at;
  }

  async exited(withinMs = PATIENCE_MS): Promise<void> {
    await until(`${this.name} ends`, () => this.ended, { withinMs });
  }

  /** SIGKILL, which ends a stopped process too. */
  async end(): Promise<void> {
    if (this.isRunning) this.signal("SIGKILL");
    await this.exited();
  }

  log(): string {
    return readFileSync(this.logFile, "utf8");
  }
}
