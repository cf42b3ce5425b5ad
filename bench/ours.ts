import {
  byteSizes,
  chooseDispatch,
  createBackward,
  createForward,
  createInference,
  GPU_TUNING,
  SOFTWARE_TUNING,
  stateLayout,
  type Dtype,
  type Tuning,
} from "webgpu-batchnorm";
import type { Candidate, Outputs, Prepared } from "./candidate.js";
import { bytesOf, extentsOf, memoryShape, sizeOf, type Case } from "./cases.js";
import { EPS, pack, unpack } from "./data.js";
import { bufferWith, bytesFrom, Stopwatch } from "./gpu.js";

type Recorder = (target: GPUCommandEncoder | GPUComputePassEncoder) => void;

function recorded(
  device: GPUDevice,
  name: string,
  record: Recorder,
): Pick<Prepared, "run" | "timestamped"> {
  const stopwatch = device.features.has("timestamp-query") ? new Stopwatch(device) : null;
  return {
    async run(repeats) {
      const encoder = device.createCommandEncoder({ label: `bench/${name}` });
      // One pass for all, as peers that record into an open one have it; the copies too.
      const pass = encoder.beginComputePass();
      for (let i = 0; i < repeats; i++) record(pass);
      pass.end();
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
    },
    ...(stopwatch && {
      timestamped: (repeats: number) =>
        stopwatch.pass((pass) => {
          for (let i = 0; i < repeats; i++) record(pass);
        }),
    }),
  };
}

async function floats(
  device: GPUDevice,
  buffer: GPUBuffer,
  count: number,
  dtype: Dtype,
): Promise<Float32Array> {
  if (dtype === "f32")
    return new Float32Array(await bytesFrom(device, buffer, 4 * count), 0, count);
  return unpack(new Uint16Array(await bytesFrom(device, buffer, 2 * count)), count, dtype);
}

/** The package's plans, recorded into one encoder; `tuning` overrides its table. */
export function ours(name = "webgpu-batchnorm", tuning?: Partial<Tuning>): Candidate {
  return {
    name,
    kind: "ours",
    refuses: () => null,
    holds: ({ operation }) =>
      operation === "forward+backward" ? 4 : operation === "backward" ? 3 : 2,
    async prepare(device, each, inputs) {
      const { dtype, layout, operation } = each;
      const descriptor = {
        shape: memoryShape(each),
        dtype,
        layout,
        eps: EPS,
        ...(tuning && { tuning }),
      };
      const sizes = byteSizes(descriptor);
      const channels = inputs.gamma.length;
      const buffers: GPUBuffer[] = [];
      const buffer = (
        label: keyof typeof sizes,
        contents?: ArrayBufferView<ArrayBuffer>,
      ): GPUBuffer => {
        const made = bufferWith(device, label, sizes[label], contents);
        buffers.push(made);
        return made;
      };
      const x = buffer("x", pack(inputs.x, dtype));
      const gamma = buffer("gamma", inputs.gamma);
      const beta = buffer("beta", inputs.beta);
      const state = buffer("state");
      const places = stateLayout(channels);
      device.queue.writeBuffer(state, places.mean, inputs.mean);
      device.queue.writeBuffer(state, places.variance, inputs.variance);
      const backs = operation === "backward" || operation === "forward+backward";
      const saved = operation === "inference" ? null : buffer("saved");
      const dy = backs ? buffer("dy", pack(inputs.dy, dtype)) : null;
      const dx = backs ? buffer("dx") : null;
      const y = operation === "backward" ? dx! : buffer("y");
      const dGamma = backs ? buffer("dGamma") : null;
      const dBeta = backs ? buffer("dBeta") : null;

      const inference =
        operation === "inference" ? await createInference(device, descriptor) : null;
      const forward = operation === "inference" ? null : await createForward(device, descriptor);
      const backward = backs ? await createBackward(device, descriptor) : null;
      const plans = [inference, forward, backward].filter((plan) => plan !== null);
      const encodeForward: Recorder = (target) => {
        forward!.encode(target, { x, gamma, beta, y, saved: saved!, state });
      };
      const encodeBackward: Recorder = (target) => {
        backward!.encode(target, {
          x,
          dy: dy!,
          saved: saved!,
          dx: dx!,
          dGamma: dGamma!,
          dBeta: dBeta!,
        });
      };
      const record: Recorder =
        operation === "inference"
          ? (target) => {
              inference!.encode(target, { x, gamma, beta, y, state });
            }
          : operation === "forward"
            ? encodeForward
            : operation === "backward"
              ? encodeBackward
              : (target) => {
                  encodeForward(target);
                  encodeBackward(target);
                };
      if (operation === "backward") {
        // What a forward leaves behind is not part of this operation's time.
        const encoder = device.createCommandEncoder();
        encodeForward(encoder);
        device.queue.submit([encoder.finish()]);
      }
      const size = sizeOf(each);
      const paths = pathsOf(device, each, tuning);
      const note = Object.values(paths).join(" + ");
      return {
        ...recorded(device, name, record),
        ...(note && { note }),
        held: { forward: paths.forward === "held", backward: paths.backward === "held" },
        async outputs() {
          const result: Outputs = {};
          if (operation !== "backward") result.y = await floats(device, y, size, dtype);
          if (dx) {
            result.dx = await floats(device, dx, size, dtype);
            result.dGamma = await floats(device, dGamma!, channels, "f32");
            result.dBeta = await floats(device, dBeta!, channels, "f32");
          }
          return result;
        },
        dispose() {
          for (const each of buffers) each.destroy();
          for (const plan of plans) plan.destroy();
        },
      };
    },
  };
}

/** Whether an adapter is a program: the package's table for such is another. */
export function isSoftware({
  adapterInfo: { architecture, description, isFallbackAdapter },
}: GPUDevice): boolean {
  return (
    isFallbackAdapter ||
    /swiftshader|llvmpipe|lavapipe|warp/i.test(`${architecture} ${description}`)
  );
}

/** The paths that training's plans of a case take: "held" reads each value once. */
function pathsOf(
  device: GPUDevice,
  each: Case,
  tuning: Partial<Tuning> = {},
): { forward?: string; backward?: string } {
  const { operation, dtype } = each;
  const [outer, channels, inner] = extentsOf(each);
  const extent = { outer, channels, inner, count: outer * inner, size: outer * channels * inner };
  const own = isSoftware(device) ? SOFTWARE_TUNING : GPU_TUNING;
  const maxHeldTeam = Math.min(
    own.maxHeldTeam,
    device.limits.maxComputeInvocationsPerWorkgroup,
    device.limits.maxComputeWorkgroupSizeX,
  );
  const table = { ...own, maxHeldTeam, ...tuning };
  const forbidWhole = bytesOf(each) > device.limits.maxStorageBufferBindingSize;
  const pathOf = (kinds: 1 | 2): string => {
    const options = { forbidWhole, kinds, apart: true };
    const { path, apart } = chooseDispatch(extent, dtype, "reduce", table, device.limits, options);
    return apart ? "split in three" : path;
  };
  return {
    ...(operation.startsWith("forward") ? { forward: pathOf(1) } : {}),
    ...(operation.endsWith("backward") ? { backward: pathOf(2) } : {}),
  };
}

const COPY_BINDINGS = /* wgsl */ `
@group(0) @binding(0) var<storage, read> source: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> copied: array<vec4u>;
`;

/** Two ways to copy, since adapters differ in which is faster; the faster one is the yardstick. */
const COPY_FORMS = [
  {
    name: "neighbours",
    // Neighbouring invocations move neighbouring vec4s: what a GPU likes.
    code: /* wgsl */ `${COPY_BINDINGS}
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  let i = id.y * grid.x * 256 + id.x;
  if (i < arrayLength(&source)) { copied[i] = source[i]; }
}`,
    workgroups: (vectors: number): number => Math.ceil(vectors / 256),
  },
  {
    name: "stretches",
    // Each invocation walks a stretch of its own: what a CPU likes.
    code: /* wgsl */ `${COPY_BINDINGS}
@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) grid: vec3u) {
  let count = arrayLength(&source);
  let stretch = (count + 4 * grid.x - 1) / (4 * grid.x);
  let end = min(count, (id.x + 1) * stretch);
  for (var i = id.x * stretch; i < end; i++) { copied[i] = source[i]; }
}`,
    workgroups: (vectors: number): number => Math.min(64, Math.ceil(vectors / 4)),
  },
];

const TWO: Pick<Candidate, "holds"> = { holds: () => 2 };

/** A plain copy of x's bytes by a kernel. */
export function copyKernels(): Candidate[] {
  return COPY_FORMS.map(({ name, code, workgroups }) => ({
    ...TWO,
    name: `copy kernel, ${name}`,
    kind: "copy",
    refuses: () => null,
    async prepare(device, each) {
      const { source, target, dispose } = pairOf(device, each);
      const module = device.createShaderModule({ label: "bench/copy", code });
      const pipeline = await device.createComputePipelineAsync({
        layout: "auto",
        compute: { module },
      });
      const bindGroup = device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: [
          { binding: 0, resource: { buffer: source } },
          { binding: 1, resource: { buffer: target } },
        ],
      });
      const count = workgroups(source.size / 16);
      const width = Math.min(count, device.limits.maxComputeWorkgroupsPerDimension);
      const record: Recorder = (into) => {
        const opened = "beginComputePass" in into ? into.beginComputePass() : null;
        const pass = opened ?? (into as GPUComputePassEncoder);
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, bindGroup);
        pass.dispatchWorkgroups(width, Math.ceil(count / width));
        opened?.end();
      };
      return { ...recorded(device, name, record), outputs: () => Promise.resolve(null), dispose };
    },
  }));
}

/** A plain copy of x's bytes by the command. */
export const COPY_COMMAND: Candidate = {
  ...TWO,
  name: "copyBufferToBuffer",
  kind: "command",
  refuses: () => null,
  prepare(device, each) {
    const { source, target, dispose } = pairOf(device, each);
    const stopwatch = device.features.has("timestamp-query") ? new Stopwatch(device) : null;
    const record = (encoder: GPUCommandEncoder): void => {
      encoder.copyBufferToBuffer(source, 0, target, 0, source.size);
    };
    return Promise.resolve({
      async run(repeats) {
        const encoder = device.createCommandEncoder();
        for (let i = 0; i < repeats; i++) record(encoder);
        device.queue.submit([encoder.finish()]);
        await device.queue.onSubmittedWorkDone();
      },
      ...(stopwatch && {
        timestamped: (repeats: number) =>
          stopwatch.between((encoder) => {
            for (let i = 0; i < repeats; i++) record(encoder);
          }),
      }),
      outputs: () => Promise.resolve(null),
      dispose,
    });
  },
};

function pairOf(
  device: GPUDevice,
  each: Case,
): { source: GPUBuffer; target: GPUBuffer; dispose: () => void } {
  const bytes = bytesOf(each);
  const source = bufferWith(device, "copy/source", bytes);
  const target = bufferWith(device, "copy/target", bytes);
  return {
    source,
    target,
    dispose: () => {
      source.destroy();
      target.destroy();
    },
  };
}
