// Kamailio with the cluster's configuration, on loopback, with users and passwords.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { freePort } from "../harness/ports.ts";
import { Process } from "../harness/process.ts";
import { tempFolder } from "../harness/tempFolder.ts";
import { until } from "../harness/wait.ts";

const start = fileURLToPath(new URL("../../../deploy/kamailio/start.sh", import.meta.url));
export const DOMAIN = "holdfast.test";
export const PASSWORD = "a: good one";

export class Kamailio {
  private process: Process | undefined;

  private constructor(
    readonly port: number,
    private readonly folder: string,
    private readonly args: string[],
  ) {}

  /** Every one of `users` has [`PASSWORD`]. */
  static async start(users: string[], { defines = [] }: { defines?: string[] | undefined } = {}): Promise<Kamailio> {
    const [port, folder] = [await freePort(), tempFolder()];
    const passwords = join(folder, "users");
    writeFileSync(passwords, users.map((user) => `${user}:${PASSWORD}\n`).join(""));
    const args = ["--run-dir", folder, "--listen", `127.0.0.1:${port}`, "--domain", DOMAIN, "--users", passwords];
    const kamailio = new Kamailio(port, folder, [...args, ...defines.flatMap((name) => ["--define", name])]);
    onTestFinished(async ({ task }) => {
      if (task.result?.state === "fail") console.error(`--- kamailio\n${kamailio.process?.log().slice(-3_000)}`);
      await kamailio.process?.end();
    });
    await kamailio.restart();
    return kamailio;
  }

  async restart(): Promise<void> {
    this.process = new Process("kamailio", start, this.args, join(this.folder, "kamailio.log"));
    await until("kamailio listens", () => this.process?.log().includes("Aliases") ?? false);
  }

  kill(): void {
    this.process?.signal("SIGKILL");
  }

  /** What makes instances use it. */
  get gatewayFlags(): string[] {
    const server = `sip:127.0.0.1:${this.port};transport=tcp`;
    const flags = ["--sip-registrar", server, "--sip-domain", DOMAIN, "--sip-allow", "*"];
    return [...flags, "--sip-credentials-file", join(this.folder, "users")];
  }
}
