// Free ports below the ephemeral range, so that no outgoing connection takes one between this check and its use.
import { createSocket } from "node:dgram";
import { createServer } from "node:net";

const LOWEST = 15_000;
const HIGHEST = 31_000;
const given = new Set<number>();

/** A port of `host` that is free for TCP and UDP, and given out once by this process. */
export async function freePort(host = "127.0.0.1"): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    if (given.has(port)) continue;
    if ((await freeForTcp(host, port)) && (await freeForUdp(host, port))) {
      given.add(port);
      return port;
    }
  }
}

function freeForTcp(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

function freeForUdp(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    socket.once("error", () => resolve(false));
    socket.bind(port, host, () => socket.close(() => resolve(true)));
  });
}
