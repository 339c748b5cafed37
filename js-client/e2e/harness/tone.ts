// A microphone that hums: a WAV file with one sine tone, for Chromium's fake audio capture.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempFolder } from "./tempFolder.ts";

/** Writes a tone of `hz` (a whole number, so that a loop has no seam) and returns the file's path. */
export function toneFile(hz: number, { rate = 48_000, seconds = 2 } = {}): string {
  const samples = rate * seconds;
  const wav = Buffer.alloc(44 + samples * 2);
  wav.write("RIFF", 0);
  wav.writeUInt32LE(36 + samples * 2, 4);
  wav.write("WAVEfmt ", 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(rate, 24);
  wav.writeUInt32LE(rate * 2, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write("data", 36);
  wav.writeUInt32LE(samples * 2, 40);
  for (let n = 0; n < samples; n++) {
    wav.writeInt16LE(Math.round(12_000 * Math.sin((2 * Math.PI * hz * n) / rate)), 44 + n * 2);
  }
  const path = join(tempFolder(), `${hz}.wav`);
  writeFileSync(path, wav);
  return path;
}
