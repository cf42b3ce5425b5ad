import type { Dtype, Layout } from "../../src/descriptor.js";
import { extentOf } from "../../src/descriptor.js";
import {
  chooseDispatch,
  GPU_TUNING,
  SOFTWARE_TUNING,
  type Tuning,
} from "../../src/dispatch/choose.js";

const CASES: readonly (readonly [shape: readonly number[], layout: Layout, dtype: Dtype])[] = [
  [[1, 64, 112, 112], "channels-first", "f32"],
  [[16, 64, 56, 56], "channels-first", "f32"],
  [[16, 56, 56, 64], "channels-last", "f32"],
  [[16, 64, 56, 56], "channels-first", "f16"],
  [[64, 256, 14, 14], "channels-first", "f32"],
  [[16, 2048, 7, 7], "channels-first", "f32"],
  [[16, 2048, 7, 7], "channels-first", "f16"],
  [[16, 7, 7, 2048], "channels-last", "f32"],
  [[256, 512], "channels-first", "f32"],
  [[4096, 1024], "channels-first", "f32"],
  [[4, 32, 16, 32, 32], "channels-first", "f32"],
  [[64, 64, 112, 112], "channels-first", "f32"],
  [[64, 112, 112, 64], "channels-last", "f32"],
  [[64, 1024, 14, 14], "channels-first", "f32"],
  [[1, 1, 16384, 16384], "channels-first", "f32"],
  [[2, 1048576], "channels-first", "f32"],
];

function choiceOf(
  [shape, layout, dtype]: (typeof CASES)[number],
  tuning: Tuning,
  kinds: 1 | 2,
): string {
  const extent = extentOf("table", shape, layout);
  const limits = { maxComputeWorkgroupsPerDimension: 65535 };
  const { path, apart, team, chunks, grid } = chooseDispatch(
    extent,
    dtype,
    "reduce",
    tuning,
    limits,
    {
      kinds,
      apart: true,
    },
  );
  const [width, height, depth] = grid;
  return `${apart ? "split in three" : path}, ${team}, ${chunks}, ${width * height * depth}`;
}

/** What is chosen for some layers: path, lanes of a team, chunks of a channel group, workgroups. */
export function dispatchTable(): string {
  return [
    "| shape | type | GPU, forward | GPU, backward | SwiftShader, forward |",
    "| --- | --- | --- | --- | --- |",
    ...CASES.map((each) => {
      const [shape, , dtype] = each;
      const choices = [
        choiceOf(each, GPU_TUNING, 1),
        choiceOf(each, GPU_TUNING, 2),
        choiceOf(each, SOFTWARE_TUNING, 1),
      ];
      return `| [${shape.join(", ")}] | ${dtype} | ${choices.join(" | ")} |`;
    }),
  ].join("\n");
}
