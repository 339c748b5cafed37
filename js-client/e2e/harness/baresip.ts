// A SIP telephone that is no browser: baresip, which hums, answers by itself, and calls whom it is told to call.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { SIP_DOMAIN } from "./cluster.ts";
import { freePort } from "./ports.ts";
import { Process } from "./process.ts";
import { tempFolder } from "./tempFolder.ts";
import { toneFile } from "./tone.ts";
import { until } from "./wait.ts";

const BINARY = "/usr/bin/baresip";
const MODULES = "/usr/lib/baresip/modules";

/** Whether this machine has one. */
export const hasBaresip = existsSync(BINARY) && existsSync(MODULES);

export class Baresip {
  private constructor(private readonly process: Process) {}

  /** It is gone without a word. */
  kill(): number {
    return this.process.signal("SIGKILL");
  }

  /** Registers as `name` at the SIP server at `port`, hums at `toneHz`, and takes every call. */
  static async start(name: string, port: number, toneHz: number): Promise<Baresip> {
    const folder = join(tempFolder(), "baresip");
    mkdirSync(folder);
    const server = `sip:127.0.0.1:${port};transport=tcp`;
    const account = `<sip:${name}@${SIP_DOMAIN};transport=tcp>;outbound="${server}";regint=60;answermode=auto`;
    writeFileSync(join(folder, "accounts"), `${account};audio_codecs=pcmu\n`);
    writeFileSync(join(folder, "contacts"), "");
    writeFileSync(join(folder, "config"), config(await freePort(), toneHz));
    const phone = new Baresip(new Process("baresip", BINARY, ["-f", folder], join(folder, "log")));
    onTestFinished(async ({ task }) => {
      if (task.result?.state === "fail") console.error(`--- baresip\n${phone.process.log().slice(-3_000)}`);
      await phone.process.end();
    });
    await until(`${name} is registered`, () => phone.process.log().includes("200 OK"));
    return phone;
  }
}

function config(port: number, toneHz: number): string {
  return [
    "poll_method epoll",
    `sip_listen 127.0.0.1:${port}`,
    "net_interface 127.0.0.1",
    `module_path ${MODULES}`,
    ...["g711", "aufile", "aubridge", "uuid"].map((name) => `module ${name}.so`),
    ...["account", "menu"].map((name) => `module_app ${name}.so`),
    // It hangs up when the file is at its end.
    `audio_source aufile,${toneFile(toneHz, { rate: 8_000, seconds: 120 })}`,
    "audio_player aubridge,nowhere",
    "audio_alert aubridge,nowhere",
    "rtp_ports 9000-9999",
    "",
  ].join("\n");
}
