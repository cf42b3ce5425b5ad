/** The lab shows what float64 and a training on the CPU give. */
import { beforeAll, expect, test } from "vitest";
import * as reference from "webgpu-batchnorm/reference";
import { batches, samplesOf, trainingCount } from "../../demo/engine/digits.js";
import { openCpu, type Engine, type TensorFlow } from "../../demo/engine/engine.js";
import { featureOf } from "../../demo/lab/feature.js";
import { ghosts, renormalised } from "../../demo/lab/methods.js";
import { deviationOf, Network, saturatedShare, type Method } from "../../demo/lab/network.js";
import { summarise } from "../../scripts/support/histogram.js";
import { loadDigits } from "../../scripts/support/load-digits.js";
import { normals, seeded } from "../../scripts/support/random.js";
import { cells, ended, fact, figure, number, open, run } from "../support/site.js";

const digits = await loadDigits();
/** TensorFlow.js on the CPU, with the float64 reference. */
let cpu: Engine;
beforeAll(async () => {
  const tf = (await import("@tensorflow/tfjs-core")) as TensorFlow;
  tf.enableProdMode();
  await import("@tensorflow/tfjs");
  cpu = await openCpu(tf);
}, 120_000);

test("activations through depth are those of float64, and the 3-D view turns", async () => {
  const page = await open("lab.html?view=depth&depth=10&width=32&samples=64&init=small&side=14");
  await ended(page);
  const samples = samplesOf(digits, 0, 64, 14);
  for (const [title, batchNorm] of [
    ["without Batch Normalization", false],
    ["with Batch Normalization", true],
  ] as const) {
    const rows = await cells(page, figure(title));
    expect(rows).toHaveLength(10);
    let h: ArrayLike<number> = samples.x;
    let inputs = samples.inputs;
    for (let layer = 0; layer < 10; layer++) {
      const weights = normals(inputs * 32, 1 + layer, 0, deviationOf("small", inputs));
      const linear = Float64Array.from({ length: 64 * 32 }, (_, i) => {
        let sum = 0;
        for (let k = 0; k < inputs; k++)
          sum += h[Math.floor(i / 32) * inputs + k]! * weights[k * 32 + (i % 32)]!;
        return sum;
      });
      h = (batchNorm ? reference.forward(linear, [64, 32]).y : linear).map(Math.tanh);
      inputs = 32;
      const { deviation } = summarise(h);
      // Shown with three digits, computed in f32.
      expect(number(rows[layer]![2]) / deviation).toBeCloseTo(1, 2);
      expect(Math.abs(number(rows[layer]![3]) - 100 * saturatedShare("tanh", h))).toBeLessThan(0.6);
    }
  }
  // However small it has become, it is not 0.
  expect(await page.locator(".status").textContent()).toMatch(/deviation \d\.\de-1\d without/);
  const ridges = page.locator("figure.ridges").first();
  await page.waitForFunction(
    () => document.querySelector<HTMLElement>("figure.ridges")!.dataset["around"] === "28",
  );
  await page.locator("input[name=around]").fill("34");
  await page.waitForFunction(
    () => document.querySelector<HTMLElement>("figure.ridges")!.dataset["around"] === "34",
  );
  // Where it is seen from is in the address too.
  await page.waitForURL(/around=34/);
  await page.locator("input[name=above]").fill("40");
  await page.waitForURL(/above=40/);
  await page.waitForFunction(
    () => document.querySelector<HTMLElement>("figure.ridges")!.dataset["above"] === "40",
  );
  const painted = await ridges.locator("canvas").evaluate((canvas: HTMLCanvasElement) => {
    const { data } = canvas.getContext("2d")!.getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, i) => i % 4 === 3 && value > 0).length;
  });
  expect(painted).toBeGreaterThan(1000);
});

test("normalised after the activation, a unit counts as saturated by what its activation gives", async () => {
  const page = await open(
    "lab.html?view=depth&depth=2&width=32&samples=64&init=large&side=14&order=after",
  );
  await ended(page);
  const rows = await cells(page, figure("with Batch Normalization"));
  const samples = samplesOf(digits, 0, 64, 14);
  const weights = normals(samples.inputs * 32, 1, 0, 1);
  const activated = Float64Array.from({ length: 64 * 32 }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < samples.inputs; k++)
      sum += samples.x[Math.floor(i / 32) * samples.inputs + k]! * weights[k * 32 + (i % 32)]!;
    return Math.tanh(sum);
  });
  const share = 100 * saturatedShare("tanh", activated);
  expect(share).toBeGreaterThan(50);
  expect(Math.abs(number(rows[0]![3]) - share)).toBeLessThan(0.6);
  // What the layer gives out is normalised, and drawn beyond what a tanh could give.
  expect(number(rows[0]![2])).toBeCloseTo(1, 2);
  expect(await page.locator(".formula").first().textContent()).toContain("BN(φ(a))");
});

test("gamma and beta: the identity comes back, gamma = variance does not", async () => {
  const page = await open("lab.html?view=sliders&gamma=1&beta=0");
  await ended(page);
  const x = featureOf(samplesOf(digits, 0, 2000), 12, 2.4, 1.5);
  const { mean, varBiased } = reference.forward(x, [2000, 1]);
  expect(await fact(page, "mean")).toBeCloseTo(mean[0]!, 5);
  expect(await fact(page, "variance")).toBeCloseTo(varBiased[0]!, 5);
  const saturated = 100 * saturatedShare("tanh", x.map(Math.tanh));
  expect(Math.abs((await fact(page, "raw")) - saturated)).toBeLessThan(0.1);
  expect(await fact(page, "saturated")).toBeLessThan(saturated / 2);
  await page.locator("#identity").click();
  await page.waitForFunction(
    () => Number(document.querySelector('[data-fact="difference"]')!.textContent) < 1e-4,
  );
  // The bound of y with xHat up to 5 and gamma near 2, and the rounding of gamma and beta.
  expect(await fact(page, "difference")).toBeLessThan(2e-6 * 5 * 2 + 1e-6);
  expect(Math.abs((await fact(page, "saturated")) - saturated)).toBeLessThan(0.2);
  await page.locator("#variance").click();
  await page.waitForFunction(
    () => Number(document.querySelector('[data-fact="difference"]')!.textContent) > 0.1,
  );
  await page.locator("input[name=gamma]").fill("0.5");
  await page.waitForFunction(() => new URLSearchParams(location.search).get("gamma") === "0.5");
});

test("the shape stays", async () => {
  const page = await open("lab.html?view=shape&what=pixel&row=14&column=14");
  await ended(page);
  expect(await fact(page, "skew-after")).toBeCloseTo(await fact(page, "skew-before"), 2);
  expect(await fact(page, "kurtosis-after")).toBeCloseTo(await fact(page, "kurtosis-before"), 2);
});

test("the batch's noise shrinks with its size, and evaluation has none", async () => {
  const page = await open("lab.html?view=noise&image=7&batches=100");
  await ended(page);
  const rows = await cells(page, "figure");
  const spread = (size: string): number => number(rows.find(([name]) => name === size)![2]);
  expect(spread("4")).toBeGreaterThan(spread("32"));
  expect(spread("32")).toBeGreaterThan(spread("256"));
  expect(spread("256")).toBeGreaterThan(0);
  expect(spread("evaluation")).toBe(0);
  const feature = featureOf(samplesOf(digits, 0, 4000), 12, 2.4, 1.5);
  const { mean, deviation } = summarise(feature);
  expect(number(rows.at(-1)![1])).toBeCloseTo((feature[7]! - mean) / deviation, 2);
});

test("per channel a moved digit's map moves along, per pixel it does not", async () => {
  const page = await open("lab.html?view=convolution&shift=3");
  await ended(page);
  const rows = await cells(page, "#convolution-table");
  const [, channel, pixel] = rows.at(-1)!;
  expect(number(channel)).toBeLessThan(1e-5);
  expect(number(pixel)).toBeGreaterThan(1);
});

test("training sweeps with and without, and shows one run in full", async () => {
  const page = await open(
    "lab.html?view=training&depth=3&width=16&batch=32&steps=10&side=14&rates=0.3&inits=small&activation=tanh",
  );
  expect(await run(page)).toMatch(/^Of 1 settings 0 learn without, 1 with/);
  const heat = await cells(page, figure("Share that is read right at the end"));
  expect(heat.map(([, , which]) => which)).toEqual(["without", "with"]);
  expect(number(heat[1]![3])).toBeGreaterThan(number(heat[0]![3]));
  expect(await cells(page, figure("Loss"))).toHaveLength(10);
  const gradients = await cells(page, figure("Gradient norms, layer by layer"));
  expect(gradients[0]).toHaveLength(2 + 3);
  // With small weights the first layer's gradient is lost on its way back; with Batch Normalization it is not.
  const first = (which: string): number => number(gradients.find(([name]) => name === which)![2]);
  expect(first("with")).toBeGreaterThan(10 * first("without"));
  await page.locator("#cells button").first().click();
  await page.waitForURL(/cell=0\.3/);
});

test("results stay those of their own settings, and say when those have changed", async () => {
  const page = await open(
    "lab.html?view=training&depth=3&width=16&batch=16&steps=10&side=14&rates=0.1,0.3&inits=he",
  );
  await run(page);
  const heat = page.locator(`${figure("Share that is read right at the end")} svg rect`);
  const drawn = await heat.count();
  const gradients = await cells(page, figure("Gradient norms, layer by layer"));
  expect(await page.locator(".work").getAttribute("data-stale")).toBeNull();
  await page.locator("input[name=rates][value='0.1']").uncheck();
  await page.locator("input[name=depth]").fill("1");
  expect(await page.locator(".status").textContent()).toMatch(/The settings have changed since/);
  // Whatever draws them anew.
  await page.getByRole("button", { name: "한국어" }).click();
  await page.getByRole("button", { name: "English" }).click();
  await page.setViewportSize({ width: 700, height: 800 });
  await page.waitForTimeout(300);
  expect(await heat.count()).toBe(drawn);
  expect(await cells(page, figure("Gradient norms, layer by layer"))).toEqual(gradients);
  await page.locator("input[name=rates][value='0.1']").check();
  await page.locator("input[name=depth]").fill("3");
  expect(await page.locator(".work").getAttribute("data-stale")).toBeNull();
  // A cell of the heat map is its run.
  await heat.first().click();
  await page.waitForURL(/cell=0\.1,he/);
  // Cancelled, nothing of the run before is left.
  await page.locator("label:has(input[name=batch][value='128'])").click();
  await page.locator(".work .primary").click();
  await page.waitForFunction(() => document.querySelectorAll("#cells button").length < 2);
  await page.locator(".work .primary").click();
  expect(await ended(page)).toBe("Cancelled.");
  expect(await page.locator("#cells button").count()).toBeLessThan(2);
});

test("a shared link shows the run that it names", async () => {
  const page = await open(
    "lab.html?view=training&depth=1&width=16&batch=16&steps=10&side=14&rates=0.1,0.3&inits=he&cell=0.1,he",
  );
  await run(page);
  expect(page.url()).toContain("cell=0.1,he");
  expect(await page.locator("#cells [aria-pressed=true]").textContent()).toBe("0.1, He");
  // Once it is not in the sweep any more, it names nothing.
  await page.locator("input[name=rates][value='0.1']").uncheck();
  await run(page);
  await page.waitForFunction(() => new URLSearchParams(location.search).get("cell") === "");
});

test("learned gamma and beta are those of the same training on the CPU", async () => {
  const page = await open("lab.html?view=learned&depth=2&width=16&steps=10&batch=32");
  expect(await run(page)).toMatch(/held-out digits are right/);
  // The same training on the CPU, normalised by the float64 reference.
  const samples = samplesOf(digits, 0, 8000, 14);
  const network = new Network(cpu, {
    inputs: samples.inputs,
    depth: 2,
    width: 16,
    activation: "tanh",
    initialisation: "xavier",
    batchNorm: true,
    order: "before",
    seed: 3,
  });
  const source = batches(samples, 32, seeded(4));
  for (let step = 0; step < 10; step++) {
    const { x, labels } = source.next().value;
    await network.step(x, labels, { rate: 0.5, momentum: 0.1 });
  }
  const expected = await Promise.all([0, 1].map((layer) => network.learned(layer)));
  network.dispose();
  const rows = await cells(page, figure("γ against the γ that would undo the normalisation"));
  expect(rows).toHaveLength(2 * 16);
  const offsets = await cells(page, figure("β against the β that would"));
  // Four decimals are shown; ten steps of f32 in another order of sums come to less than one more.
  const close = (text: string | undefined, value: number, what: string): void => {
    expect(Math.abs(number(text) - value), what).toBeLessThan(5e-4);
  };
  expected.forEach(({ gamma, beta, mean, variance }, layer) => {
    gamma.forEach((each, i) => {
      const at = 16 * layer + i;
      close(rows[at]![1], each, `γ ${at}`);
      close(rows[at]![2], Math.sqrt(variance[i]! + 1e-5), `√(var + ε) ${at}`);
      close(offsets[at]![1], beta[i]!, `β ${at}`);
      close(offsets[at]![2], mean[i]!, `mean ${at}`);
    });
  });
});

test("running statistics follow the formula that is shown", async () => {
  const page = await open("lab.html?view=test-time&steps=20&batch=16");
  await ended(page);
  const rows = (await cells(page, figure("The unit's mean: each batch (dots), and running"))).map(
    (row) => row.map(number),
  );
  expect(rows).toHaveLength(20);
  for (const [i, m] of [0.01, 0.1, 0.5].entries()) {
    let kept = 0;
    for (const row of rows) {
      kept = (1 - m) * kept + m * row[1]!;
      // Four decimals are shown, of both.
      expect(Math.abs(row[2 + i]! - kept)).toBeLessThan(3e-4);
    }
  }
  // Another unit of the same training.
  await page.locator("input[name=unit]").fill("9");
  const other = await cells(page, figure("The unit's mean: each batch (dots), and running"));
  expect(other.map(([, batch]) => number(batch))).not.toEqual(rows.map(([, batch]) => batch));
  expect(await page.locator(".work").getAttribute("data-stale")).toBeNull();
});

test("small batches: every remedy trains, and the gap is told", async () => {
  const page = await open(
    "lab.html?view=batch-size&methods=without,plain,ghost,renormalised,accumulated&sizes=16&seen=512&width=16",
  );
  await run(page);
  const rows = await cells(page, "figure");
  // All see as many digits, at a rate in proportion to a step's.
  expect(await page.locator("figure > .note").textContent()).toContain(
    "Steps: no BN, plain, renormalised 32; ghosts 8; accumulated 4.",
  );
  expect(rows.map(([, method, steps]) => [method, steps])).toEqual([
    ["no BN", "32"],
    ["plain", "32"],
    ["ghosts", "8"],
    ["renormalised", "32"],
    ["accumulated", "4"],
  ]);
  // The same trainings on the CPU, normalised by the float64 reference.
  const samples = samplesOf(digits, 0, 8000, 14);
  const held = samplesOf(digits, trainingCount(digits), digits.count, 14);
  const part = 512;
  const plans: readonly { batch: number; off?: true; method?: Method }[] = [
    { batch: 16, off: true },
    { batch: 16 },
    { batch: 64, method: ghosts(16) },
    { batch: 16, method: renormalised(3, 5) },
    { batch: 8 * 16 },
  ];
  for (const [i, { batch, off, method }] of plans.entries()) {
    const network = new Network(cpu, {
      inputs: samples.inputs,
      depth: 2,
      width: 16,
      activation: "relu",
      initialisation: "he",
      batchNorm: !off,
      order: "before",
      seed: 7,
      ...(method && { method }),
    });
    const source = batches(samples, batch, seeded(8));
    for (let step = 0; step < 512 / batch; step++) {
      const { x, labels } = source.next().value;
      await network.step(x, labels, { rate: (0.1 * batch) / 16, momentum: 0.1 });
    }
    const evaluated = 100 * (await network.accuracy(held.x, held.labels, { batch: 200 }));
    const some = [held.x.subarray(0, part * held.inputs), held.labels.subarray(0, part)] as const;
    const beside = 100 * (await network.accuracy(...some));
    // By the statistics of as many digits as it was trained with.
    const trained = 100 * (await network.accuracy(...some, { training: true, batch }));
    network.dispose();
    const [, name, , evaluation, training, gap] = rows[i]!;
    // Rounding may turn one digit in 200 whose two likeliest answers are as good as tied.
    expect(Math.abs(number(evaluation) - evaluated), name).toBeLessThan(0.6);
    expect(Math.abs(number(training) - trained), name).toBeLessThan(100 / part + 0.1);
    expect(Math.abs(number(gap) - (beside - trained)), name).toBeLessThan(200 / part + 0.1);
    // Without Batch Normalization there is one mode.
    if (off) expect(number(gap)).toBe(0);
  }
});

test("a view that was left goes on with nothing and leaves the address alone", async () => {
  // The digits come late, so that every view is left while it waits for them.
  let send = (): void => undefined;
  const late = new Promise<void>((resolve) => {
    send = resolve;
  });
  const page = await open("lab.html?view=training&rates=0.3&inits=small&steps=10", {
    prepare: async (each) => {
      await each.route("**/digits.bin", async (route) => {
        await late;
        await route.continue();
      });
      await each.addInitScript(`
        window.buffers = 0;
        const { createBuffer } = GPUDevice.prototype;
        GPUDevice.prototype.createBuffer = function (...of) {
          window.buffers += 1;
          return createBuffer.apply(this, of);
        };
      `);
    },
  });
  const buffers = (): Promise<number> =>
    page.evaluate(() => (window as unknown as { buffers: number }).buffers);
  await page.locator(".work .primary").click();
  await page.locator("#tab-sliders").click();
  await page.locator("#tab-depth").click();
  await page.locator("input[name=depth]").fill("3");
  await page.locator("#tab-learned").click();
  await page.waitForFunction(() => new URLSearchParams(location.search).get("view") === "learned");
  await page.waitForTimeout(400);
  const [address, before] = [page.url(), await buffers()];
  send();
  await page.waitForTimeout(1500);
  expect(page.url()).toBe(address);
  expect(await buffers()).toBe(before);
  expect(await page.locator(".work").getAttribute("data-state")).toBe("idle");
  expect(new URL(address).searchParams.has("cell")).toBe(false);
});

test("the tabs can be walked through by keyboard, each with its own settings in the address", async () => {
  const page = await open("lab.html?view=shape");
  await page.locator("#tab-shape").focus();
  await page.keyboard.press("ArrowRight");
  await page.waitForFunction(() => new URLSearchParams(location.search).get("view") === "noise");
  expect(page.url()).toContain("batches=100");
  expect(page.url()).not.toContain("what=");
  expect(await page.locator("#tab-noise").getAttribute("aria-selected")).toBe("true");
  await page.keyboard.press("End");
  await page.waitForURL(/view=convolution/);
  await page.keyboard.press("Home");
  await page.waitForURL(/view=depth/);
  expect(await page.evaluate(() => document.activeElement!.id)).toBe("tab-depth");
  await ended(page);
  // The tab that is open already changes nothing, nor does the browser's way back.
  await page.locator("input[name=depth]").fill("3");
  await page.waitForURL(/depth=3/);
  await page.locator("#tab-depth").click();
  await page.keyboard.press("Home");
  await page.keyboard.press("Alt+ArrowRight");
  expect(await page.locator("input[name=depth]").inputValue()).toBe("3");
  expect(page.url()).toMatch(/view=depth.*depth=3/);
});

test("what was left is let go", async () => {
  const page = await open("lab.html?view=shape");
  const devtools = await page.context().newCDPSession(page);
  const walk = async (times: number): Promise<number> => {
    for (let i = 0; i < times; i++) {
      for (const view of ["sliders", "shape"]) {
        await page.locator(`#tab-${view}`).click();
        await page.waitForFunction(
          (id) => new URLSearchParams(location.search).get("view") === id,
          view,
        );
      }
    }
    for (let i = 0; i < 3; i++) {
      await page.waitForTimeout(100);
      await devtools.send("HeapProfiler.collectGarbage");
    }
    return (await devtools.send("Memory.getDOMCounters")).nodes;
  };
  const before = await walk(3);
  // Each has some hundreds of nodes.
  expect(await walk(12)).toBeLessThan(before + 300);
  // Who is still there is told of the other language.
  await page.getByRole("button", { name: "한국어" }).click();
  expect(await page.locator("#panel").textContent()).toMatch(/[가-힣]{2}/);
  await page.getByRole("button", { name: "English" }).click();
  expect(await page.locator("#panel").textContent()).not.toMatch(/[가-힣]{2}/);
});
