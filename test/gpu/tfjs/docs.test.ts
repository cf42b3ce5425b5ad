/** The page's snippets run as they stand. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { batchNormTraining, register, unregister } from "webgpu-batchnorm/tfjs";
import page from "../../../docs/tensorflow.md?raw";
import { openTensorFlow, watchOurs, type TF } from "../../support/tfjs.js";

let tf: TF;
beforeAll(async () => {
  tf = await openTensorFlow();
});
afterAll(() => {
  unregister(tf);
});

test("docs/tensorflow.md", async () => {
  const blocks = [...page.matchAll(/^```ts no-run\n([^]*?)^```/gm)].map(([, code]) => code!);
  expect(blocks).toHaveLength(2);
  const known = { tf, register, batchNormTraining };
  const body = blocks.join("\n").replace(/^import .*;$/gm, "");
  expect(body).not.toContain("import");
  const ours = watchOurs(tf);
  // eslint-disable-next-line @typescript-eslint/no-implied-eval, @typescript-eslint/no-unsafe-call
  await new Function(...Object.keys(known), `return (async () => {${body}})()`)(
    ...Object.values(known),
  );
  expect(ours()).toBeGreaterThan(5);
});
