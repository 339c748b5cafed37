import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
const here = (path: string) => "/work/main/js-client/e2e/" + path;
export default defineConfig({
  test: {
    fileParallelism: false, maxWorkers: 1, reporters: ["verbose"], root: "/work/main/js-client",
    globalSetup: here("harness/webDir.ts"), testTimeout: 60_000, hookTimeout: 30_000, pool: "forks", isolate: false,
    include: [here("phones/*.test.ts")],
  },
});
