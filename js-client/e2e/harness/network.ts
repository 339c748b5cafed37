// A network of its own: a namespace for a browser, joined to this machine by a cable. Needs root.
import { execFileSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { tempFolder } from "./tempFolder.ts";

export class Network {
  /** This machine's end of the cable: no loopback address, so that every browser uses it. */
  readonly host: string;
  private readonly subnet: string;
  private readonly name: string;

  private constructor() {
    const number = process.pid % 250;
    this.name = `holdfast-${number}`;
    this.subnet = `10.177.${number}`;
    this.host = `${this.subnet}.1`;
  }

  static start(): Network {
    const network = new Network();
    const [near, far] = [`hf${network.name.slice(9)}a`, "wire"];
    onTestFinished(() => run("ip", "netns", "delete", network.name));
    run("ip", "netns", "add", network.name);
    run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", network.name);
    run("ip", "address", "add", `${network.host}/24`, "dev", near);
    run("ip", "link", "set", near, "up");
    network.inside("ip", "link", "set", "lo", "up");
    network.inside("ip", "link", "set", far, "up");
    network.inside("ip", "address", "add", `${network.subnet}.2/24`, "dev", far);
    network.inside("ip", "route", "add", "default", "via", network.host);
    return network;
  }

  /** The browser's only address is replaced by another one, as when it changes from one Wi-Fi to the next. */
  changeAddress(): number {
    const at = Date.now();
    this.inside("ip", "address", "flush", "dev", "wire");
    this.inside("ip", "address", "add", `${this.subnet}.3/24`, "dev", "wire");
    this.inside("ip", "route", "replace", "default", "via", this.host);
    return at;
  }

  /** A program that starts `program` in the namespace. */
  executable(program: string): string {
    const path = join(tempFolder(), "start");
    writeFileSync(path, `#!/bin/sh\nexec nsenter --net=/run/netns/${this.name} ${program} "$@"\n`);
    chmodSync(path, 0o755);
    return path;
  }

  private inside(...command: string[]): void {
    run("nsenter", `--net=/run/netns/${this.name}`, ...command);
  }
}

function run(program: string, ...args: string[]): void {
  execFileSync(program, args, { stdio: ["ignore", "ignore", "pipe"] });
}
