// Bundles the library (dist/holdfast.mjs for imports, dist/holdfast.js with the global `Holdfast`) and the softphone page.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";
import { minify } from "rolldown/utils";
import { internalNames } from "./names.mjs";

const shared = { bundle: true, minify: true, sourcemap: true, target: "es2022", legalComments: "none" };
const library = { ...shared, entryPoints: ["src/index.ts"], mangleProps: internalNames, plugins: [inlineNumbers()] };
const softphone = "softphone";
const assets = /\.(html|css|svg|png|ico|webmanifest)$/;

mkdirSync("dist", { recursive: true });
await build({ ...library, format: "esm", outfile: "dist/holdfast.mjs" });
await build({ ...library, format: "iife", globalName: "Holdfast", outfile: "dist/holdfast.js" });
await squeeze("dist/holdfast.mjs", true);
await squeeze("dist/holdfast.js", false);
if (existsSync(`${softphone}/main.ts`)) {
  await build({ ...shared, entryPoints: [`${softphone}/main.ts`], format: "esm", outfile: "dist/softphone.js" });
  for (const file of readdirSync(softphone).filter((name) => assets.test(name))) {
    copyFileSync(`${softphone}/${file}`, `dist/${file}`);
  }
}

/** A second minifier finds shorter names; its source map goes through esbuild's. */
async function squeeze(path, module) {
  const options = { module, compress: { target: "es2022" }, mangle: { toplevel: module }, sourcemap: true };
  const inputMap = JSON.parse(readFileSync(`${path}.map`, "utf8"));
  const { code, map, errors } = await minify(path, readFileSync(path, "utf8"), { ...options, inputMap });
  if (errors.length > 0) {
    throw new Error(`${path}: ${errors[0].message}`);
  }
  writeFileSync(path, `${code}\n//# sourceMappingURL=${path.split("/").at(-1)}.map\n`);
  writeFileSync(`${path}.map`, JSON.stringify(map));
}

/** esbuild keeps a module's own named bounds as variables; this writes them where they are used. Lines stay where they are. */
function inlineNumbers() {
  const load = ({ path }) => {
    const source = readFileSync(path, "utf8");
    const bounds = new Map(
      [...source.matchAll(/^const ([A-Z_]+) = ([\d_]+);$/gm)].map(([, name, value]) => [name, value]),
    );
    const contents = source
      .replace(/^const [A-Z_]+ = [\d_]+;$/gm, "")
      .replace(/\b[A-Z_]+\b/g, (word) => bounds.get(word) ?? word);
    return { contents, loader: "ts" };
  };
  return { name: "inline-numbers", setup: (own) => own.onLoad({ filter: /\/src\/[a-z-]+\.ts$/ }, load) };
}
