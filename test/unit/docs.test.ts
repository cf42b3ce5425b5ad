/** The code in the documentation is code that tests run: each block of ts stands in an example, word for word. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const read = (path: string): string =>
  readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), "utf8");
const examples = readdirSync(fileURLToPath(new URL("../../examples", import.meta.url)))
  .map((name) => read(`examples/${name}`))
  .join("\n");

test.each(["files.md", "onnxruntime.md", "any-webgpu.md"])("docs/%s", (page) => {
  const blocks = [...read(`docs/${page}`).matchAll(/^```ts\n(.*?)^```/gms)].map(
    ([, code]) => code!,
  );
  expect(blocks.length).toBeGreaterThan(1);
  for (const block of blocks) expect(examples, block).toContain(block.trimEnd());
});
