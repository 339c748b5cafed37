// The client plays its side of every transcript; a step that is not consumed, or anything left over, fails.
import { readdirSync } from "node:fs";
import { describe, test } from "vitest";
import { load, Runner } from "./transcript.ts";

const names = readdirSync(new URL("../../gateway/protocol/transcripts/", import.meta.url))
  .filter((file) => file.endsWith(".json"))
  .map((file) => file.replace(/\.json$/, ""));

describe("transcripts", () => {
  for (const name of names) {
    test(`${name}: ${load(name).title}`, () => new Runner(name).run());
  }
});
