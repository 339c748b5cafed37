// Prints the size of the core bundle and fails when it is over its limit.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LIMIT_BYTES = 12 * 1024;
const bundle = readFileSync("dist/holdfast.mjs");
const size = gzipSync(bundle, { level: 9 }).length;
console.log(`dist/holdfast.mjs: ${bundle.length} bytes, ${size} gzip (limit ${LIMIT_BYTES})`);
if (size > LIMIT_BYTES) {
  console.error("over the limit");
  process.exit(1);
}
