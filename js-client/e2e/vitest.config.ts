import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const shared = {
  globalSetup: here("./harness/webDir.ts"),
  testTimeout: 120_000,
  hookTimeout: 60_000,
  pool: "forks" as const,
  isolate: false,
};

// One file after the other: each measures times, and starts programs and a browser of its own.
export default defineConfig({
  test: {
    fileParallelism: false,
    maxWorkers: 1,
    reporters: ["verbose"],
    projects: [
      { test: { ...shared, name: "browsers", include: [here("./browsers/*.test.ts")] } },
      { test: { ...shared, name: "phones", include: [here("./phones/*.test.ts")] } },
      { test: { ...shared, name: "namespaces", include: [here("./namespaces/*.test.ts")] } },
    ],
  },
});
