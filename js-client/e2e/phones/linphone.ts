// A phone of a third make: linphonec, registered at the SIP server, driven by its keyboard. It plays one tone.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { freePort } from "../harness/ports.ts";
import { tempFolder } from "../harness/tempFolder.ts";
import { toneFile } from "../harness/tone.ts";
import { until } from "../harness/wait.ts";
import { DOMAIN, PASSWORD } from "./kamailio.ts";
import { loudest } from "./wav.ts";

export interface LinphoneOptions {
  user: string;
  server: number;
  toneHz: number;
  transport?: "udp" | "tcp";
  /** Lines of its configuration, such as `media_encryption=srtp` in `[sip]`. */
  sip?: string[];
}

export class Linphone {
  private output = "";

  private constructor(
    private readonly child: ChildProcessWithoutNullStreams,
    private readonly heardFile: string,
  ) {
    const note = (bytes: Buffer) => {
      this.output += bytes.toString();
    };
    child.stdout.on("data", note);
    child.stderr.on("data", note);
    child.stdin.on("error", () => undefined);
  }

  static async start({ user, server, toneHz, transport = "udp", sip = [] }: LinphoneOptions): Promise<Linphone> {
    const [folder, port, rtp] = [tempFolder(), await freePort(), await freePort()];
    const [config, heard] = [join(folder, "rc"), join(folder, "heard.wav")];
    const lines = [
      ...["[sip]", `sip_port=${port}`, `sip_tcp_port=${port}`, "default_proxy=0", ...sip],
      ...["[rtp]", `audio_rtp_port=${rtp}`],
      ...["[auth_info_0]", `username=${user}`, `passwd=${PASSWORD}`, `realm=${DOMAIN}`],
      ...["[proxy_0]", `reg_proxy=<sip:127.0.0.1:${server};transport=${transport}>`],
      ...[`reg_route=<sip:127.0.0.1:${server};transport=${transport};lr>`, `reg_identity=sip:${user}@${DOMAIN}`],
      ...["reg_expires=120", "reg_sendregister=1", "publish=0"],
    ];
    writeFileSync(config, `${lines.join("\n")}\n`);
    // Without this folder it does not start up, and does not say so.
    mkdirSync(join(folder, ".local/share/linphone"), { recursive: true });
    const child = spawn("linphonec", ["-S", "-c", config], { env: { ...process.env, HOME: folder } });
    const phone = new Linphone(child, heard);
    onTestFinished(async ({ task }) => {
      if (task.result?.state === "fail") console.error(`--- linphonec\n${phone.output.slice(-4_000)}`);
      child.kill("SIGKILL");
    });
    await phone.says("linphonec>");
    for (const line of ["soundcard use files", `play ${toneFile(toneHz)}`, `record ${heard}`]) phone.type(line);
    await until("linphonec is registered", () => {
      phone.type("proxy list");
      return phone.output.includes("registered: yes");
    });
    return phone;
  }

  /** What it has said so far; a mark for `says`. */
  get said(): number {
    return this.output.length;
  }

  type(line: string): void {
    this.child.stdin.write(`${line}\n`);
  }

  async says(text: string, from = 0): Promise<void> {
    await until(`linphonec says ${text}`, () => this.output.slice(from).includes(text));
  }

  /** The tone in the last half second that it recorded. */
  async hears(hz: number): Promise<void> {
    await until(
      `linphonec hears ${hz} Hz`,
      async () => {
        const heard = existsSync(this.heardFile) ? loudest(readFileSync(this.heardFile)) : 0;
        return Math.abs(heard - hz) < 15 || Promise.reject(new Error(`it hears ${heard} Hz`));
      },
      { everyMs: 200 },
    );
  }
}
