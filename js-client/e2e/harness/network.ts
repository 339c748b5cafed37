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
  private readonly cable: string;

  private constructor(number: number) {
    this.name = `holdfast-${number}`;
    this.cable = `hf${number}`;
    this.subnet = `10.177.${number}`;
    this.host = `${this.subnet}.1`;
  }

  static start(): Network {
    const network = new Network(process.pid % 250);
    onTestFinished(() => network.remove());
    run("ip", "netns", "add", network.name);
    run("ip", "link", "add", network.cable, "type", "veth", "peer", "name", "wire", "netns", network.name);
    run("ip", "address", "add", `${network.host}/24`, "dev", network.cable);
    run("ip", "link", "set", network.cable, "up");
    network.inside("ip", "link", "set", "lo", "up");
    network.inside("ip", "link", "set", "wire", "up");
    network.inside("ip", "address", "add", `${network.subnet}.2/24`, "dev", "wire");
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

  /** The cable too, because a namespace lives on as long as a process in it. */
  private remove(): void {
    run("ip", "link", "delete", this.cable);
    run("ip", "netns", "delete", this.name);
  }

  private inside(...command: string[]): void {
    run("nsenter", `--net=/run/netns/${this.name}`, ...command);
  }
}

function run(program: string, ...args: string[]): void {
  execFileSync(program, args, { stdio: ["ignore", "ignore", "pipe"] });
}
