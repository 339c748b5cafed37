import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["test/**/*.test.ts", "softphone/**/*.test.ts"], setupFiles: ["test/fakes/globals.ts"] },
});
