// A folder that is gone when the test is.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

export function tempFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "holdfast-e2e-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
