// A phone of another make: baresip, registered at the SIP server, driven over its control connection. It hums one tone.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { freePort } from "../harness/ports.ts";
import { Process } from "../harness/process.ts";
import { tempFolder } from "../harness/tempFolder.ts";
import { until } from "../harness/wait.ts";
import { DOMAIN, PASSWORD } from "./kamailio.ts";
import { loudest } from "./wav.ts";

export interface BaresipOptions {
  user: string;
  server: number;
  toneHz: number;
  transport?: "udp" | "tcp";
  /** Parameters of the account, such as `;mediaenc=srtp-mand`. */
  account?: string;
  codecs?: string[];
}

interface Told {
  event?: boolean;
  type?: string;
  param?: string;
  response?: boolean;
  ok?: boolean;
  data?: string;
}

export class Baresip {
  readonly events: Told[] = [];
  private readonly answers: Told[] = [];
  private unread = Buffer.alloc(0);

  private constructor(
    private readonly socket: Socket,
    private readonly folder: string,
  ) {
    socket.on("data", (bytes) => this.read(bytes));
    socket.on("error", () => undefined);
  }

  static async start(options: BaresipOptions): Promise<Baresip> {
    const {
      user,
      server,
      toneHz,
      transport = "udp",
      account = "",
      codecs = ["opus/48000/2", "PCMU", "PCMA"],
    } = options;
    const [folder, control, sip] = [tempFolder(), await freePort(), await freePort()];
    const config = [
      `sip_listen 127.0.0.1:${sip}`,
      "net_interface 127.0.0.1",
      `audio_source ausine,${toneHz}`,
      "ausrc_srate 48000",
      "ausrc_channels 2",
      `snd_path ${folder}`,
      "rtp_ports 9000-9999",
      "module_path /usr/lib/baresip/modules",
      ...["opus", "g711", "ausine", "sndfile", "srtp"].map((name) => `module ${name}.so`),
      "module_tmp account.so",
      ...["contact", "ctrl_tcp", "menu"].map((name) => `module_app ${name}.so`),
      `ctrl_tcp_listen 127.0.0.1:${control}`,
    ];
    writeFileSync(join(folder, "config"), `${config.join("\n")}\n`);
    writeFileSync(
      join(folder, "accounts"),
      `<sip:${user}@${DOMAIN};transport=${transport}>;auth_user=${user};auth_pass="${PASSWORD}"` +
        `;outbound="sip:127.0.0.1:${server};transport=${transport}";regint=60;audio_codecs=${codecs.join(",")}${account}\n`,
    );
    writeFileSync(join(folder, "contacts"), "");
    const process = new Process("baresip", "baresip", ["-f", folder, "-v"], join(folder, "baresip.log"));
    const socket = await until("baresip can be controlled", () => connected(control));
    const phone = new Baresip(socket, folder);
    onTestFinished(async ({ task }) => {
      if (task.result?.state === "fail") console.error(`--- baresip\n${process.log().slice(-4_000)}`);
      socket.destroy();
      await process.end();
    });
    await until("baresip is registered", () => /200 OK/.test(process.log()));
    return phone;
  }

  /** Waits until it tells an event of this type, or one that it told from a count of `events` on. */
  async told(type: string, from = 0): Promise<Told> {
    return until(`baresip tells ${type}`, () => this.events.slice(from).find((event) => event.type === type));
  }

  /** As typed in its menu: `dial`, `accept`, `hangup`, `hold`, `resume`, `transfer`, `sndcode`. */
  async command(command: string, params = ""): Promise<Told> {
    const count = this.answers.length;
    const text = JSON.stringify({ command, ...(params && { params }) });
    this.socket.write(`${Buffer.byteLength(text)}:${text},`);
    return until(`baresip answers ${command}`, () => this.answers[count]);
  }

  /** The tone in the last half second that it played. */
  async hears(hz: number): Promise<void> {
    await until(
      `baresip hears ${hz} Hz`,
      async () => {
        const files = readdirSync(this.folder).filter((name) => name.endsWith("-dec.wav"));
        const newest = files.sort().at(-1);
        const heard = newest ? loudest(readFileSync(join(this.folder, newest))) : 0;
        return Math.abs(heard - hz) < 15 || Promise.reject(new Error(`it hears ${heard} Hz`));
      },
      { everyMs: 200 },
    );
  }

  private read(bytes: Buffer): void {
    this.unread = Buffer.concat([this.unread, bytes]);
    for (;;) {
      const colon = this.unread.indexOf(":");
      const length = Number(this.unread.subarray(0, Math.max(colon, 0)).toString());
      if (colon < 1 || this.unread.length < colon + length + 2) return;
      const told = JSON.parse(this.unread.subarray(colon + 1, colon + 1 + length).toString()) as Told;
      (told.response ? this.answers : this.events).push(told);
      this.unread = this.unread.subarray(colon + length + 2);
    }
  }
}

function connected(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket));
    socket.once("error", reject);
  });
}
