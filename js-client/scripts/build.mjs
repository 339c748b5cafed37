// Bundles the library (dist/holdfast.mjs for imports, dist/holdfast.js with the global `Holdfast`) and the softphone page.
import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { build } from "esbuild";

// What the parts inside call on each other is no API: those names may be short.
const mangleProps = /^(handle|take|poll)[A-Z]/;
const shared = { bundle: true, minify: true, sourcemap: true, target: "es2022", legalComments: "none", mangleProps };
const softphone = "softphone";
const assets = /\.(html|css|svg|png|ico|webmanifest)$/;

mkdirSync("dist", { recursive: true });
await build({ ...shared, entryPoints: ["src/index.ts"], format: "esm", outfile: "dist/holdfast.mjs" });
await build({
  ...shared,
  entryPoints: ["src/index.ts"],
  format: "iife",
  globalName: "Holdfast",
  outfile: "dist/holdfast.js",
});
if (existsSync(`${softphone}/main.ts`)) {
  await build({ ...shared, entryPoints: [`${softphone}/main.ts`], format: "esm", outfile: "dist/softphone.js" });
  for (const file of readdirSync(softphone).filter((name) => assets.test(name))) {
    copyFileSync(`${softphone}/${file}`, `dist/${file}`);
  }
}
