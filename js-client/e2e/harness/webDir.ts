// The folder that the instances of a test serve: a blank page, the page's driver, and the library as it is shipped.
import { copyFileSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export const webDir = here("../.web");
export const shippedWebDir = here("../../dist");

/** Run once before all tests. */
export default async function setup(): Promise<void> {
  mkdirSync(webDir, { recursive: true });
  copyFileSync(here("../page/index.html"), `${webDir}/index.html`);
  copyFileSync(`${shippedWebDir}/holdfast.js`, `${webDir}/holdfast.js`);
  await build({
    entryPoints: [here("../page/driver.ts")],
    bundle: true,
    format: "iife",
    target: "es2022",
    outfile: `${webDir}/driver.js`,
  });
}
