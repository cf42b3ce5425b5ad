import { mat4, vec3 } from "wgpu-matrix";
import { h } from "../shell/dom.js";
import { localise, t, type Words } from "../shell/language.js";
import { themeChanges } from "../shell/page.js";
import code from "./ridges.wgsl?raw";

/** One curve: its densities over the common axis of values. */
export interface Ridge {
  readonly name: string;
  readonly heights: readonly number[];
}

export interface RidgeData {
  readonly ridges: readonly Ridge[];
  /** Of the axis of values. */
  readonly low: number;
  readonly high: number;
  readonly colour: string;
}

/** Where the eye stands: degrees around and above. Shared by views that turn together. */
export interface Eye {
  readonly values: { readonly around: number; readonly above: number };
  set(values: { around: number; above: number }): void;
  onChange(listener: () => void): unknown;
}
export const AROUND = { min: 0, max: 359 } as const;
export const ABOVE = { min: 4, max: 80 } as const;

/** Turns to whole degrees, all the way around and not over the top. */
function turn(eye: Eye, around: number, above: number): void {
  eye.set({
    around: (Math.round(around) + 360) % 360,
    above: Math.min(ABOVE.max, Math.max(ABOVE.min, Math.round(above))),
  });
}

const FLOATS = 7;
/**
 * What is drawn is read back and put onto a plain canvas: a browser without a display, which has no swap chain to give to
 * WebGPU, loses its device over one, and a picture a few times a second is cheap to carry.
 */
const FORMAT: GPUTextureFormat = "rgba8unorm";
const SAMPLES = 4;
const ASPECT = 0.66;
/** Room that a label takes, in pixels. */
const LABEL = 15;

/** A 3-D view of ridges, drawn with WebGPU; dragging turns it. */
export class RidgeView {
  readonly element: HTMLElement;
  readonly #canvas: HTMLCanvasElement;
  readonly #labels: HTMLElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #pipeline: GPURenderPipeline;
  readonly #camera: GPUBuffer;
  readonly #bindGroup: GPUBindGroup;
  readonly #resize: ResizeObserver;
  readonly #redraw = (): void => {
    this.#schedule();
  };
  #vertices: GPUBuffer | null = null;
  #count = 0;
  #targets: {
    colour: GPUTexture;
    resolved: GPUTexture;
    depth: GPUTexture;
    staging: GPUBuffer;
  } | null = null;
  #drawing = false;
  #data: RidgeData | null = null;
  #scheduled = false;
  #destroyed = false;

  constructor(
    private readonly device: GPUDevice,
    title: Words,
    private readonly eye: Eye,
  ) {
    this.#canvas = h("canvas", {
      role: "img",
      "aria-label": {
        en: `${title.en}: layer by value by density, in space. The tables above hold its numbers.`,
        ko: `${title.ko}: 층, 값, 밀도의 입체 그림. 수치는 위의 표에 있습니다.`,
      },
    });
    this.#labels = h("div", { class: "labels", "aria-hidden": "true" });
    this.element = h(
      "figure",
      { class: "ridges" },
      h("figcaption", {}, title),
      h("div", { class: "stage" }, this.#canvas, this.#labels),
    );
    this.#context = this.#canvas.getContext("2d")!;
    const module = device.createShaderModule({ label: "ridges", code });
    const blend = {
      color: { srcFactor: "one", dstFactor: "one-minus-src-alpha" },
      alpha: { srcFactor: "one", dstFactor: "one-minus-src-alpha" },
    } as const;
    this.#pipeline = device.createRenderPipeline({
      label: "ridges",
      layout: "auto",
      vertex: {
        module,
        buffers: [
          {
            arrayStride: 4 * FLOATS,
            attributes: [
              { shaderLocation: 0, offset: 0, format: "float32x3" },
              { shaderLocation: 1, offset: 12, format: "float32x4" },
            ],
          },
        ],
      },
      fragment: { module, targets: [{ format: FORMAT, blend }] },
      primitive: { topology: "triangle-list" },
      depthStencil: { format: "depth24plus", depthWriteEnabled: true, depthCompare: "less-equal" },
      multisample: { count: SAMPLES },
    });
    this.#camera = device.createBuffer({
      label: "ridges/camera",
      size: 64,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    this.#bindGroup = device.createBindGroup({
      layout: this.#pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer: this.#camera } }],
    });
    this.#listen();
    this.#resize = new ResizeObserver(this.#redraw);
    this.#resize.observe(this.#canvas);
    eye.onChange(this.#redraw);
    themeChanges.addEventListener("change", this.#redraw);
    localise(this.#labels, this.#redraw);
  }

  #listen(): void {
    const canvas = this.#canvas;
    let from = { x: 0, y: 0, around: 0, above: 0 };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      from = { x: event.clientX, y: event.clientY, ...this.eye.values };
    });
    canvas.addEventListener("pointermove", ({ pointerId, clientX, clientY }) => {
      if (!canvas.hasPointerCapture(pointerId)) return;
      turn(this.eye, from.around - (clientX - from.x) * 0.4, from.above + (clientY - from.y) * 0.3);
    });
  }

  show(data: RidgeData): void {
    this.#data = data;
    this.#schedule();
  }

  /** Frees the device's memory. */
  destroy(): void {
    this.#destroyed = true;
    this.#resize.disconnect();
    themeChanges.removeEventListener("change", this.#redraw);
    this.#vertices?.destroy();
    this.#camera.destroy();
    this.#release();
  }

  #release(): void {
    for (const each of Object.values(this.#targets ?? {})) each.destroy();
    this.#targets = null;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      if (this.#destroyed || !this.#canvas.isConnected || !this.#data) return;
      // One picture at a time: the last one asked for comes after this one.
      if (this.#drawing) {
        this.#schedule();
        return;
      }
      this.#drawing = true;
      this.#draw(this.#data)
        // What is destroyed or lost is told of elsewhere.
        .catch(() => undefined)
        .finally(() => {
          this.#drawing = false;
        });
    });
  }

  /** Values run along x, layers along z (the first at the back), density along y. */
  #geometry({ ridges, colour }: RidgeData): Float32Array<ArrayBuffer> {
    const out: number[] = [];
    const [r, g, b] = coloursOf(this.element, colour);
    const [lr, lg, lb] = coloursOf(this.element, "var(--ink)");
    const [gr, gg, gb] = coloursOf(this.element, "var(--grid)");
    const quad = (a: number[], c: number[], d: number[], e: number[], tint: number[]): void => {
      for (const corner of [a, c, d, d, c, e]) out.push(...corner, ...tint);
    };
    const last = Math.max(1, ridges.length - 1);
    const zOf = (i: number): number => -1 + (2 * i) / last;
    quad([-1, 0, -1.1], [1, 0, -1.1], [-1, 0, 1.1], [1, 0, 1.1], [gr!, gg!, gb!, 0.55]);
    ridges.forEach(({ heights }, i) => {
      const z = zOf(i);
      const step = 2 / (heights.length - 1);
      for (let k = 0; k + 1 < heights.length; k++) {
        const x0 = -1 + k * step;
        const x1 = x0 + step;
        const [y0, y1] = [heights[k]!, heights[k + 1]!];
        // A shade along the layers, so that neighbours part.
        const shade = 0.55 + (0.45 * i) / last;
        quad(
          [x0, 0, z],
          [x1, 0, z],
          [x0, y0, z],
          [x1, y1, z],
          [r! * shade, g! * shade, b! * shade, 0.92],
        );
        const width = 0.008;
        quad(
          [x0, y0, z + 0.002],
          [x1, y1, z + 0.002],
          [x0, y0 + width, z + 0.002],
          [x1, y1 + width, z + 0.002],
          [lr!, lg!, lb!, 1],
        );
      }
    });
    return Float32Array.from(out);
  }

  async #draw(data: RidgeData): Promise<void> {
    const scale = Math.min(2, devicePixelRatio);
    const cssWidth = this.#canvas.clientWidth;
    const width = Math.max(1, Math.round(cssWidth * scale));
    const height = Math.max(1, Math.round(cssWidth * ASPECT * scale));
    const { device } = this;
    const rowBytes = Math.ceil((4 * width) / 256) * 256;
    if (this.#canvas.width !== width || this.#canvas.height !== height || !this.#targets) {
      this.#canvas.width = width;
      this.#canvas.height = height;
      this.#release();
      const make = (format: GPUTextureFormat, sampleCount: number): GPUTexture =>
        device.createTexture({
          label: "ridges",
          size: [width, height],
          format,
          sampleCount,
          usage:
            GPUTextureUsage.RENDER_ATTACHMENT | (sampleCount === 1 ? GPUTextureUsage.COPY_SRC : 0),
        });
      this.#targets = {
        colour: make(FORMAT, SAMPLES),
        resolved: make(FORMAT, 1),
        depth: make("depth24plus", SAMPLES),
        staging: device.createBuffer({
          label: "ridges/staging",
          size: rowBytes * height,
          usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
        }),
      };
    }
    const vertices = this.#geometry(data);
    if (!this.#vertices || this.#vertices.size < vertices.byteLength) {
      this.#vertices?.destroy();
      this.#vertices = device.createBuffer({
        label: "ridges",
        size: vertices.byteLength,
        usage: GPUBufferUsage.VERTEX | GPUBufferUsage.COPY_DST,
      });
    }
    this.#count = vertices.length / FLOATS;
    device.queue.writeBuffer(this.#vertices, 0, vertices);
    const matrix = this.#matrix(width / height);
    device.queue.writeBuffer(this.#camera, 0, matrix);
    const encoder = device.createCommandEncoder({ label: "ridges" });
    const pass = encoder.beginRenderPass({
      colorAttachments: [
        {
          view: this.#targets.colour.createView(),
          resolveTarget: this.#targets.resolved.createView(),
          loadOp: "clear",
          storeOp: "discard",
          clearValue: [0, 0, 0, 0],
        },
      ],
      depthStencilAttachment: {
        view: this.#targets.depth.createView(),
        depthLoadOp: "clear",
        depthStoreOp: "discard",
        depthClearValue: 1,
      },
    });
    pass.setPipeline(this.#pipeline);
    pass.setBindGroup(0, this.#bindGroup);
    pass.setVertexBuffer(0, this.#vertices);
    pass.draw(this.#count);
    pass.end();
    const { resolved, staging } = this.#targets;
    encoder.copyTextureToBuffer({ texture: resolved }, { buffer: staging, bytesPerRow: rowBytes }, [
      width,
      height,
    ]);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    this.#put(new Uint8Array(staging.getMappedRange()), rowBytes, width, height);
    staging.unmap();
    this.#label(matrix, data, cssWidth);
    this.element.dataset["around"] = this.eye.values.around.toFixed(0);
    this.element.dataset["above"] = this.eye.values.above.toFixed(0);
  }

  /** Onto the canvas, whose colours are not multiplied by their alpha. */
  #put(bytes: Uint8Array, rowBytes: number, width: number, height: number): void {
    const image = this.#context.createImageData(width, height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const from = y * rowBytes + 4 * x;
        const to = 4 * (y * width + x);
        const alpha = bytes[from + 3]!;
        if (alpha === 0) continue;
        for (let c = 0; c < 3; c++) image.data[to + c] = (255 * bytes[from + c]!) / alpha;
        image.data[to + 3] = alpha;
      }
    }
    this.#context.putImageData(image, 0, 0);
  }

  #matrix(aspect: number): Float32Array {
    const around = (this.eye.values.around * Math.PI) / 180;
    const above = (this.eye.values.above * Math.PI) / 180;
    const distance = 4.5;
    const eye = vec3.create(
      distance * Math.cos(above) * Math.sin(around),
      distance * Math.sin(above),
      distance * Math.cos(above) * Math.cos(around),
    );
    const view = mat4.lookAt(eye, [0, 0.32, 0], [0, 1, 0]);
    return mat4.multiply(mat4.perspective(0.62, aspect, 0.1, 20), view);
  }

  #label(matrix: Float32Array, { ridges, low, high }: RidgeData, width: number): void {
    const on = (x: number, y: number, z: number): [left: number, top: number] => {
      const [px, py, , pw] = [0, 1, 2, 3].map(
        (row) => matrix[row]! * x + matrix[row + 4]! * y + matrix[row + 8]! * z + matrix[row + 12]!,
      );
      return [((px! / pw! + 1) / 2) * width, ((1 - py! / pw!) / 2) * width * ASPECT];
    };
    const place = (x: number, y: number, z: number, text: string, className = ""): HTMLElement => {
      const [left, top] = on(x, y, z);
      const label = h("span", { class: className }, text);
      label.style.left = `${left}px`;
      label.style.top = `${top}px`;
      return label;
    };
    const last = Math.max(1, ridges.length - 1);
    // On the side that is nearer to the eye.
    const side = Math.sin((this.eye.values.around * Math.PI) / 180) >= 0 ? 1.12 : -1.12;
    const front = Math.cos((this.eye.values.around * Math.PI) / 180) >= 0 ? 1.22 : -1.22;
    const depthOf = (i: number): number => -1 + (2 * i) / last;
    const ends = ridges.map((_, i) => on(side, 0, depthOf(i)));
    // Every one, or as many as have room where they lie closest.
    const crowded = (every: number): boolean =>
      ends.some(([left, top], i) => {
        const next = ends[i + every];
        return next && Math.hypot(next[0] - left, next[1] - top) < LABEL;
      });
    let every = 1;
    while (crowded(every)) every += 1;
    const names = ridges.flatMap(({ name }, i) =>
      i === last || (i % every === 0 && i + every <= last)
        ? [place(side, 0, depthOf(i), name)]
        : [],
    );
    const values = [low, (low + high) / 2, high].map((value, i) =>
      place(-1 + i, 0, front, Number(value.toPrecision(2)).toString().replace("-", "−")),
    );
    this.#labels.replaceChildren(
      ...names,
      ...values,
      place(side * 1.32, 0, 0, t({ en: "layer", ko: "층" }), "axis"),
      place(0.45, 0, front * 1.2, t({ en: "value", ko: "값" }), "axis"),
    );
  }
}

const probe = new WeakMap<HTMLElement, HTMLElement>();

/** The colour that CSS makes of `colour` in this element's theme, 0 to 1. */
function coloursOf(element: HTMLElement, colour: string): number[] {
  let span = probe.get(element);
  if (!span) {
    span = h("span", { hidden: true });
    element.append(span);
    probe.set(element, span);
  }
  span.style.color = colour;
  const found = getComputedStyle(span).color.match(/[\d.]+/g) ?? ["0", "0", "0"];
  return found.slice(0, 3).map((each) => Number(each) / 255);
}
