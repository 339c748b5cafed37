// The public API as text, kept in api.txt: a change of it shows in review. HOLDFAST_BLESS=1 rewrites it.
import { readFileSync, writeFileSync } from "node:fs";
import { wronglyInternal } from "./names.mjs";

const types = "dist/types";
const index = readFileSync(`${types}/index.d.ts`, "utf8");
const modules = [...index.matchAll(/from "\.\/([a-z-]+)\.ts"/g)].map(([, name]) => name);
const fresh = ["index", ...new Set(modules)]
  .filter((name) => name !== "protocol.gen")
  .map((name) => `// ${name}\n${withoutComments(readFileSync(`${types}/${name}.d.ts`, "utf8"))}`)
  .join("\n");

if (process.env.HOLDFAST_BLESS) {
  writeFileSync("api.txt", fresh);
}
if (readFileSync("api.txt", "utf8") !== fresh) {
  console.error("the public API differs from api.txt: if it should, run HOLDFAST_BLESS=1 npm run api");
  process.exit(1);
}
const shortened = wronglyInternal();
if (shortened.length > 0) {
  console.error(`the bundle must not shorten ${shortened.join(", ")}: take them off the list in scripts/names.mjs`);
  process.exit(1);
}
console.log("the public API is as api.txt says");

function withoutComments(text) {
  return text
    .replace(/\/\*\*[\s\S]*?\*\//g, "")
    .split("\n")
    .filter((line) => line.trim() && !line.startsWith("import "))
    .join("\n");
}
