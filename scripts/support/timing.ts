import { byteSizes, createBackward, createForward, createInference } from "../../src/index.js";
import { OPERATIONS, type Inputs } from "./check.js";
import { median } from "./median.js";

/** Something to time: does its work `repeats` times and settles when all of it is done. */
export interface Program {
  readonly name: string;
  run(repeats: number): Promise<void>;
}

/** The median time of one repeat, and what it came from. */
export interface Timing {
  readonly name: string;
  readonly ms: number;
  readonly repeats: number;
  readonly samples: readonly number[];
}

/** How {@link measure} goes about it. */
export interface MeasureOptions {
  /** Samples of each program. Default 9. */
  rounds?: number;
  /** A sample repeats its program for about so long, so that the wait's own grain does not count. Default 10. */
  sampleMs?: number;
  /** Called after each sample with the share that is done. */
  onProgress?: (share: number) => void;
  signal?: AbortSignal;
}

const MOST_REPEATS = 512;

/**
 * Times programs in turns, so that a slow moment of the machine meets all of them alike, each round beginning
 * with another; the median of their samples counts.
 */
export async function measure(
  programs: readonly Program[],
  { rounds = 9, sampleMs = 10, onProgress, signal }: MeasureOptions = {},
): Promise<Timing[]> {
  const time = async (program: Program, repeats: number): Promise<number> => {
    signal?.throwIfAborted();
    const start = performance.now();
    await program.run(repeats);
    return performance.now() - start;
  };
  const repeats: number[] = [];
  for (const program of programs) {
    await time(program, 1); // compiles, touches the memory
    let count = 1;
    for (let took = await time(program, 1); took < sampleMs && count < MOST_REPEATS;) {
      const wanted = Math.ceil((1.2 * count * sampleMs) / Math.max(took, 0.01));
      count = Math.min(MOST_REPEATS, 8 * count, Math.max(count + 1, wanted));
      took = await time(program, count);
    }
    repeats.push(count);
  }
  const samples: number[][] = programs.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < programs.length; turn++) {
      const i = (round + turn) % programs.length;
      samples[i]!.push((await time(programs[i]!, repeats[i]!)) / repeats[i]!);
      onProgress?.((round * programs.length + turn + 1) / (rounds * programs.length));
    }
  }
  return programs.map(({ name }, i) => ({
    name,
    ms: median(samples[i]!),
    repeats: repeats[i]!,
    samples: samples[i]!,
  }));
}

const COPY_BINDINGS = /* wgsl */ `
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> copied: array<vec4f>;
`;

/** Two ways to copy, since adapters differ in which is faster; the faster one is what counts. */
const COPY_FORMS = [
  {
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

/** The two copies, as the tables name them. */
export const COPY_KERNEL = "copy, a kernel";
export const COPY_COMMAND = "copy, copyBufferToBuffer";

/**
 * Plans and buffers for timing on one device: two plain copies of x's bytes (the faster of two kernels that
 * move vec4s, and the command), then forward, inference and backward, each recorded into an encoder of its own.
 */
export async function createPrograms(
  device: GPUDevice,
  inputs: Inputs,
): Promise<{ programs: Program[]; destroy: () => void }> {
  const { shape, layout, eps, momentum } = inputs;
  const descriptor = { shape, layout, eps, momentum };
  const sizes = byteSizes(descriptor);
  const buffers: GPUBuffer[] = [];
  const buffer = (name: keyof typeof sizes, contents?: Float32Array<ArrayBuffer>): GPUBuffer => {
    const made = device.createBuffer({
      label: `timing/${name}`,
      size: Math.ceil(sizes[name] / 16) * 16, // whole vec4s for the copy
      usage: GPU_STORAGE | GPU_COPY_SRC | GPU_COPY_DST,
    });
    buffers.push(made);
    if (contents) device.queue.writeBuffer(made, 0, contents);
    return made;
  };
  const [forward, inference, backward] = await Promise.all([
    createForward(device, descriptor),
    createInference(device, descriptor),
    createBackward(device, descriptor),
  ]);
  const x = buffer("x", inputs.x);
  const y = buffer("y");
  const dy = buffer("dy", inputs.dy);
  const gamma = buffer("gamma", inputs.gamma);
  const beta = buffer("beta", inputs.beta);
  const saved = buffer("saved");
  const state = buffer("state");
  const dGamma = buffer("dGamma");
  const dBeta = buffer("dBeta");

  const program = (name: string, encode: (encoder: GPUCommandEncoder) => void): Program => ({
    name,
    async run(repeats) {
      const encoder = device.createCommandEncoder({ label: `timing/${name}` });
      for (let i = 0; i < repeats; i++) encode(encoder);
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
    },
  });
  const copies = await Promise.all(
    COPY_FORMS.map(async ({ code, workgroups }) => {
      const module = device.createShaderModule({ label: "timing/copy", code });
      const pipeline = await device.createComputePipelineAsync({
        layout: "auto",
        compute: { module },
      });
      const group = device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: [
          { binding: 0, resource: { buffer: x } },
          { binding: 1, resource: { buffer: y } },
        ],
      });
      const count = workgroups(x.size / 16);
      const width = Math.min(count, device.limits.maxComputeWorkgroupsPerDimension);
      return program(COPY_KERNEL, (encoder) => {
        const pass = encoder.beginComputePass();
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(width, Math.ceil(count / width));
        pass.end();
      });
    }),
  );
  const tried = await measure(copies, { rounds: 3 });
  const fastest = tried.reduce((best, { ms }, i) => (ms < tried[best]!.ms ? i : best), 0);
  const programs = [
    copies[fastest]!,
    program(COPY_COMMAND, (encoder) => {
      encoder.copyBufferToBuffer(x, 0, y, 0, x.size);
    }),
    program(OPERATIONS[0], (encoder) => {
      forward.encode(encoder, { x, gamma, beta, y, saved, state });
    }),
    program(OPERATIONS[1], (encoder) => {
      inference.encode(encoder, { x, gamma, beta, y, state });
    }),
    program(OPERATIONS[2], (encoder) => {
      backward.encode(encoder, { x, dy, saved, dx: y, dGamma, dBeta });
    }),
  ];
  // The backward reads what a forward has saved.
  await programs[2]!.run(1);
  return {
    programs,
    destroy: () => {
      for (const each of buffers) each.destroy();
      for (const plan of [forward, inference, backward]) plan.destroy();
    },
  };
}

// WebGPU's own numbers: Node has no GPUBufferUsage.
const GPU_COPY_SRC = 0x4;
const GPU_COPY_DST = 0x8;
const GPU_STORAGE = 0x80;
