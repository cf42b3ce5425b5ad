// node scripts/run.mjs scripts/dispatch-table.ts: writes into shaders/README.md what is chosen for some layers.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { dispatchTable } from "./support/dispatch-table.js";

const file = fileURLToPath(new URL("../shaders/README.md", import.meta.url));
const text = readFileSync(file, "utf8").replace(
  /(<!-- dispatch -->\n)[\s\S]*?(<!-- \/dispatch -->)/,
  (_, begin: string, end: string) => `${begin}${dispatchTable()}\n${end}`,
);
writeFileSync(file, text);
