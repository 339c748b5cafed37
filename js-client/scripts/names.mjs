// What the parts inside call each other's fields and methods is no API and no wire format: the bundle may shorten those names.
import { readdirSync, readFileSync } from "node:fs";

const words = [
  "alerting",
  "ask",
  "attached",
  "avoid",
  "avoiding",
  "claim",
  "closeLeg",
  "connect",
  "connection",
  "device",
  "ends",
  "forget",
  "judge",
  "kick",
  "left",
  "limitMs",
  "look",
  "occupied",
  "orphaned",
  "own",
  "packetAge",
  "prefer",
  "proof",
  "ready",
  "release",
  "repeated",
  "resyncing",
  "retryAfterMs",
  "rollback",
  "running",
  "same",
  "sent",
  "settle",
  "signOff",
  "since",
  "spread",
  "stalled",
  "summary",
  "tries",
  "update",
  "updates",
  "weighing",
  "why",
];

/** For esbuild's `mangleProps`. */
export const internalNames = new RegExp(`^((handle|take|poll)[A-Z].*|${words.join("|")})$`);

/** Names that are shortened although someone outside knows them, or that the code looks for as text. */
export function wronglyInternal() {
  const code = (path) => readFileSync(path, "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
  const known = [code("api.txt"), code("src/protocol.gen.ts")].join("\n").match(/\b\w+(?=\??[:(])/g) ?? [];
  const sources = readdirSync("src").filter((name) => name !== "protocol.gen.ts");
  const asked = sources.flatMap((name) => [...code(`src/${name}`).matchAll(/"(\w+)" in /g)].map(([, text]) => text));
  return [...new Set([...known, ...asked])].filter((name) => internalNames.test(name));
}
