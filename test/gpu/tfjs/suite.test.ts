/** TensorFlow.js's own tests of `tf.batchNorm`, as its package ships them, with the drop-in registered. */
import { afterAll, beforeAll, expect, test } from "vitest";
import text from "@tensorflow/tfjs-core/dist/ops/batchnorm_test.js?raw";
import { register, unregister } from "webgpu-batchnorm/tfjs";
import { openTensorFlow, type TF } from "../../support/tfjs.js";

let tf: TF;
beforeAll(async () => {
  tf = await openTensorFlow();
  // Its engine then looks for data that a kernel leaves behind.
  tf.env().set("IS_TEST", true);
  await register(tf);
});
afterAll(() => {
  unregister(tf);
  tf.env().set("IS_TEST", false);
});

/** The suite's tests; its three imports are what it is given here. */
function collect(): [string, () => Promise<void>][] {
  const found: [string, () => Promise<void>][] = [];
  const body = text.replace(/^import .*;$/gm, "").replace(/^\/\/#.*$/gm, "");
  const names = ["tf", "ALL_ENVS", "describeWithFlags", "expectArraysClose", "expect", "it"];
  // eslint-disable-next-line @typescript-eslint/no-implied-eval, @typescript-eslint/no-unsafe-call
  new Function(...names, body)(
    new Proxy({}, { get: (_, name: keyof TF) => tf[name] }),
    {},
    (_: string, __: object, define: () => void) => {
      define();
    },
    (...of: Parameters<TF["test_util"]["expectArraysClose"]>) => {
      tf.test_util.expectArraysClose(...of);
    },
    expect,
    (name: string, run: () => Promise<void>) => {
      found.push([name, run]);
    },
  );
  return found;
}

const suite = collect();

test("the suite is all there", () => {
  expect(suite).toHaveLength(text.match(/^ {4}it\(/gm)!.length);
  expect(suite.length).toBeGreaterThan(15);
});

test.each(suite)("%s", async (_, run) => {
  const engine = tf.engine();
  engine.startScope();
  try {
    await run();
  } finally {
    engine.endScope();
  }
});
