import { readFile } from "node:fs/promises";
import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import * as reference from "webgpu-batchnorm/reference";
import { batches, samplesOf, trainingCount } from "../../demo/engine/digits.js";
import { openCpu, type Engine, type TensorFlow } from "../../demo/engine/engine.js";
import { featureOf } from "../../demo/lab/feature.js";
import { ghosts, renormalised } from "../../demo/lab/methods.js";
import { deviationOf, Network, saturatedShare, type Method } from "../../demo/lab/network.js";
import type { Digits } from "../../scripts/support/digits.js";
import { summarise } from "../../scripts/support/histogram.js";
import { loadDigits } from "../../scripts/support/load-digits.js";
import { normals, seeded } from "../../scripts/support/random.js";
import { openSite, type OpenPage, type Site } from "../support/site.js";

let site: Site;
let digits: Digits;
/** TensorFlow.js on the CPU, with the float64 reference. */
let cpu: Engine;
let opened: OpenPage[] = [];

beforeAll(async () => {
  [site, digits] = await Promise.all([openSite(), loadDigits()]);
  const tf = (await import("@tensorflow/tfjs-core")) as TensorFlow;
  tf.enableProdMode();
  await import("@tensorflow/tfjs");
  cpu = await openCpu(tf);
}, 120_000);
afterAll(async () => {
  await site.close();
});
// Whatever a test did, no page may have complained.
afterEach(async () => {
  const complaints = opened.flatMap((each) => each.complaints);
  await Promise.all(opened.map(({ page }) => page.context().close()));
  opened = [];
  expect(complaints, "the pages' complaints").toEqual([]);
});

async function open(...of: Parameters<Site["open"]>): Promise<Page> {
  const each = await site.open(...of);
  opened.push(each);
  return each.page;
}

/** Waits until a piece of work has ended, and says how. */
async function ended(page: Page, selector = ".work"): Promise<string> {
  await page.waitForSelector(
    `${selector}:is([data-state=done],[data-state=failed],[data-state=cancelled])`,
    { timeout: 120_000 },
  );
  return (await page.locator(`${selector} .status`).textContent()) ?? "";
}

async function run(page: Page, selector = ".work"): Promise<string> {
  await page.locator(`${selector} .primary`).click();
  return ended(page, selector);
}

/** The cells of the nth figure's table, or of any table. */
async function cells(page: Page, selector: string): Promise<string[][]> {
  return page
    .locator(`${selector} tbody tr`)
    .evaluateAll((rows) =>
      rows.map((row) => Array.from(row.children, (cell) => cell.textContent ?? "")),
    );
}
const figure = (title: string): string => `figure:has(> figcaption:text-is("${title}"))`;
const number = (text: string | undefined): number =>
  Number((text ?? "").replace("−", "-").replace(/[^\d.e+-]/g, ""));
const fact = async (page: Page, name: string): Promise<number> =>
  number((await page.locator(`[data-fact="${name}"]`).textContent()) ?? "");

const WITHOUT_GPU = {
  prepare: (page: Page) =>
    page.addInitScript(() => {
      Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined });
    }),
};

describe("every page", () => {
  test.each(["index.html", "compare.html", "lab.html?view=shape", "digits.html"])(
    "%s stands under a path, in two languages, at 360 pixels, in light and dark",
    async (address) => {
      const page = await open(address, {
        viewport: { width: 360, height: 740 },
        colorScheme: "dark",
      });
      const title = page.locator("h1");
      const english = await title.textContent();
      const ground = (): Promise<string> =>
        page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const dark = await ground();
      await page.getByRole("button", { name: "Light" }).click();
      expect(await ground()).not.toBe(dark);
      await page.getByRole("button", { name: "한국어" }).click();
      expect(await title.textContent()).not.toBe(english);
      await page.waitForURL(/theme=light&lang=ko/);
      expect(await page.evaluate(() => document.documentElement.lang)).toBe("ko");
      const wider = await page.evaluate(
        () => document.documentElement.scrollWidth > document.documentElement.clientWidth,
      );
      expect(wider, "the page scrolls sideways").toBe(false);
      // Words that were forgotten in one of the languages would be missing here.
      expect(await page.locator("main").textContent()).toMatch(/[가-힣]{2}/);
      // Both are kept for the next visit, and stand in its address.
      await page.goto(page.url().replace(/\?.*/, ""));
      await page.waitForURL(/theme=light/);
      expect(page.url()).toContain("lang=ko");
    },
  );

  test("a value in the address that makes no sense is passed over", async () => {
    const page = await open(
      "lab.html?view=depth&depth=2.5&width=33&samples=64&side=14&activation=none&around=28.4&above=999",
    );
    await ended(page);
    const asked = new URL(page.url()).searchParams;
    expect(Object.fromEntries(asked)).toMatchObject({
      depth: "10",
      width: "64",
      activation: "tanh",
      around: "28",
      above: "24",
    });
    expect(await page.locator("main").textContent()).not.toMatch(/NaN|undefined/);
    const digit = await open("digits.html?sample=1.5&contrast=nothing&brightness=0.125&mode=");
    await digit
      .locator("#answer[data-answer='7'], #answer[data-answer]:not([data-answer=''])")
      .waitFor();
    const settings = Object.fromEntries(new URL(digit.url()).searchParams);
    // What is measured may lie between two stops of its slider.
    expect(settings).toMatchObject({
      sample: "0",
      contrast: "1",
      brightness: "0.125",
      mode: "running",
    });
  });

  test("a page that cannot load says why, and a button tries again", async () => {
    let broken = true;
    const page = await open("digits.html?sample=4", {
      prepare: (each) =>
        each.route("**/*.safetensors", (route) =>
          broken ? route.fulfill({ status: 500 }) : route.continue(),
        ),
    });
    // At once: a blank page says nothing.
    expect(await page.locator(".notice").count()).toBe(1);
    expect(await page.locator(".notice").textContent()).toMatch(
      /could not be loaded.*weights.*500/s,
    );
    expect(opened[0]!.complaints.splice(0).filter((each) => !each.includes("500"))).toEqual([]);
    broken = false;
    await page.getByRole("button", { name: "Try again" }).click();
    await page.waitForSelector("html.ready");
    expect(page.url()).toContain("sample=4");
    expect(await page.locator(".notice").count()).toBe(0);
  });

  test("what could not be loaded is loaded at the next try", async () => {
    let broken = true;
    const failing = (name: string) => (each: Page) =>
      each.route(name, (route) => (broken ? route.abort() : route.continue()));
    const ofChunk = /(core|tfjs|backend|onnx|ort)[^/]*\.js$/;
    const lab = await open("lab.html?view=depth&depth=2&width=32&samples=64&side=14", {
      prepare: failing("**/digits.bin"),
    });
    await ended(lab);
    expect(await lab.locator(".work").getAttribute("data-state")).toBe("failed");
    broken = false;
    expect(await run(lab)).toMatch(/^Last layer/);
    broken = true;
    const compare = await open(
      "compare.html?layer=own&shape=4x8x5x5&operation=inference&candidates=onnxruntime&effort=5",
      {
        prepare: (each) =>
          each.route(ofChunk, (route) => (broken ? route.abort() : route.continue())),
      },
    );
    expect(await run(compare, "#compare .work")).toMatch(/1 left out/);
    broken = false;
    // A module that did not come comes with the page only.
    await compare.getByRole("button", { name: "Load it again" }).click();
    await compare.waitForSelector("html.ready #compare .work[data-state=idle]");
    expect(await compare.locator(".notice").count()).toBe(0);
    expect(await run(compare, "#compare .work")).toMatch(/every result is right/);
    for (const each of opened)
      expect(each.complaints.splice(0).filter((text) => !/ERR_FAILED|fetch/.test(text))).toEqual(
        [],
      );
  });

  test.each([
    "compare.html?layer=own&shape=16x8&operation=inference&candidates=ours&effort=5",
    "lab.html?view=depth&depth=4&width=32&samples=64&side=14",
    "lab.html?view=shape",
    "digits.html?sample=2",
  ])("%s keeps still while it loads and works", async (address) => {
    // As high as all of it, for what is out of sight does not count.
    const page = await open(address, {
      viewport: { width: 1100, height: 3000 },
      prepare: (each) =>
        each.addInitScript(`
          window.shift = 0;
          new PerformanceObserver((list) => {
            for (const { value, hadRecentInput } of list.getEntries())
              if (!hadRecentInput) window.shift += value;
          }).observe({ type: "layout-shift", buffered: true });
        `),
    });
    if (address.startsWith("digits")) await page.locator("#answer:not([data-answer=''])").waitFor();
    else {
      // Not by a click, for what follows an input soon does not count either.
      if (address.startsWith("compare"))
        await page.evaluate(() => {
          document.querySelector<HTMLElement>("#compare .primary")!.click();
        });
      await ended(page, address.startsWith("compare") ? "#compare .work" : ".work");
    }
    await page.waitForTimeout(200);
    const shift = await page.evaluate(() => (window as unknown as { shift: number }).shift);
    // Web Vitals call 0.1 good; a line that wraps is 0.002 here.
    expect(shift).toBeLessThan(0.001);
  });

  test("a browser that denies its storage has all of it but the memory", async () => {
    const page = await open("index.html", {
      prepare: (each) =>
        each.addInitScript(() => {
          Object.defineProperty(window, "localStorage", {
            get: () => {
              throw new DOMException("denied", "SecurityError");
            },
          });
        }),
    });
    await page.getByRole("button", { name: "Dark" }).click();
    await page.getByRole("button", { name: "한국어" }).click();
    await page.waitForURL(/theme=dark&lang=ko/);
    // The links carry both on.
    await page.locator("nav a").nth(1).click();
    await page.waitForURL(/compare\.html\?.*theme=dark/);
    expect(page.url()).toContain("lang=ko");
  });

  test("an insecure page draws, and shows what it cannot copy", async () => {
    // What browsers leave out there.
    const prepare = (each: Page): Promise<unknown> =>
      each.addInitScript(() => {
        delete (PointerEvent.prototype as Partial<PointerEvent>).getCoalescedEvents;
        for (const name of ["gpu", "clipboard"])
          Object.defineProperty(Navigator.prototype, name, { get: () => undefined });
      });
    const page = await open("digits.html", { prepare });
    await page.locator("#clear").click();
    await page.waitForFunction(
      () => document.querySelector("#answer")!.getAttribute("data-answer") === "",
    );
    const { x, y } = (await page.locator("#pad").boundingBox())!;
    await page.mouse.move(x + 150, y + 50);
    await page.mouse.down();
    await page.mouse.move(x + 132, y + 230, { steps: 8 });
    await page.mouse.up();
    await page.locator("#answer[data-answer='1']").waitFor();
    const compare = await open(
      "compare.html?layer=own&shape=16x8&operation=inference&candidates=cpu&effort=5",
      { prepare },
    );
    await run(compare, "#compare .work");
    await compare.getByRole("button", { name: "Copy as Markdown" }).click();
    await compare.locator("#compare pre").waitFor();
    expect(await compare.locator("#compare pre").textContent()).toMatch(/\| Candidate \|/);
  });

  test("a machine without WebGPU is told what to do, and the reference runs", async () => {
    const page = await open("compare.html?layer=own&shape=16x8&operation=inference", WITHOUT_GPU);
    expect(await page.locator(".notice").textContent()).toMatch(/no WebGPU.*Chrome/s);
    await run(page, "#compare .work");
    const rows = await cells(page, "#results");
    expect(rows.map(([name]) => name)).toEqual(["CPU reference"]);
    // Nothing was checked, and those who need a GPU are named.
    expect(await page.locator("#compare .status").textContent()).toMatch(/^Done; nothing ran/);
    expect(await page.locator("#left-out").textContent()).toMatch(/webgpu-batchnorm: needs WebGPU/);
    const lab = await open(
      "lab.html?view=depth&depth=2&width=32&samples=64&init=he&side=14",
      WITHOUT_GPU,
    );
    expect(await ended(lab)).toMatch(/^Last layer: deviation/);
    const view = await open("lab.html?view=convolution&shift=2", WITHOUT_GPU);
    expect(await ended(view)).toMatch(/^Moved by 2/);
    const reader = await open("digits.html?sample=4", WITHOUT_GPU);
    expect(await reader.locator(".notice").textContent()).toMatch(/no WebGPU/);
    const read = reader.locator("#answer:not([data-answer=''])");
    await read.waitFor();
    expect(await read.textContent()).toBe(String(digits.labels[trainingCount(digits) + 4]));
  });

  describe("a lost device", () => {
    const LOSABLE = {
      prepare: (each: Page) =>
        each.addInitScript(`
          const { requestDevice } = GPUAdapter.prototype;
          GPUAdapter.prototype.requestDevice = async function (...of) {
            const device = await requestDevice.apply(this, of);
            window.lose = () => device.destroy();
            // As late as a busy browser tells of it, after all that waits has failed.
            const lost = device.lost.then(async (info) => {
              await new Promise((resolve) => setTimeout(resolve, 500));
              return info;
            });
            Object.defineProperty(device, "lost", { value: lost });
            return device;
          };
        `),
    };
    const lose = (page: Page): Promise<void> =>
      page.evaluate(() => {
        (window as unknown as { lose: () => void }).lose();
      });
    const underWay = async (page: Page, selector = ""): Promise<void> => {
      await page.waitForFunction(
        (of) => document.querySelector<HTMLProgressElement>(`${of} progress`)!.value > 0,
        selector,
        { timeout: 60_000 },
      );
    };
    /** Says so above the content; nothing but the loss itself is in the console, and nothing is uncaught. */
    const told = async (page: Page): Promise<void> => {
      await page.locator(".notice").waitFor();
      expect(await page.locator(".notice").textContent()).toMatch(/The GPU was lost/);
      const own = opened.find((each) => each.page === page)!.complaints.splice(0);
      expect(own.filter((each) => !/GPU was lost|destroyed|lost/i.test(each))).toEqual([]);
      expect(own.filter((each) => each.startsWith("uncaught"))).toEqual([]);
    };

    test("stops training, and a button starts again with the same settings", async () => {
      const page = await open("lab.html?view=training&steps=300", LOSABLE);
      await page.locator(".work .primary").click();
      await underWay(page);
      await lose(page);
      expect(await ended(page)).toBe("The GPU was lost.");
      await told(page);
      await page.getByRole("button", { name: "Start again" }).click();
      await page.waitForSelector("html.ready:not([data-device])");
      expect(page.url()).toContain("steps=300");
      expect(await page.locator(".notice").count()).toBe(0);
    });

    test("stops what reads digits", async () => {
      const page = await open("digits.html?contrast=0.2&brightness=0.3", LOSABLE);
      await underWay(page, "#spoil-work");
      // A digit is read meanwhile, and more work waits.
      await page.locator("#another").click();
      await page.locator("#repair-work .primary").click();
      await lose(page);
      expect(await ended(page, "#spoil-work")).toBe("The GPU was lost.");
      expect(await ended(page, "#repair-work")).toBe("The GPU was lost.");
      await told(page);
      // What is asked for afterwards fails at once, for the same reason.
      await page.locator("#timing-work .primary").click();
      expect(await ended(page, "#timing-work")).toBe("The GPU was lost.");
      await page.locator("#back").click();
      await page.waitForTimeout(200);
      await told(page);
      // No answer stays beside a digit that it is not of.
      expect(await page.locator("#answer").textContent()).toBe("The GPU was lost.");
      expect(await page.locator(".reading").getAttribute("inert")).not.toBeNull();
    });

    test("stops a comparison", async () => {
      const address =
        "compare.html?layer=own&shape=64x64&operation=inference&candidates=ours&effort=21";
      const page = await open(address, LOSABLE);
      await page.locator("#compare .primary").click();
      await underWay(page, "#compare");
      await lose(page);
      expect(await ended(page, "#compare .work")).toBe("The GPU was lost.");
      await told(page);
      // Lost before it is told: every candidate fails, which is not the candidates' fault.
      const other = await open(address, LOSABLE);
      await other.evaluate(() => {
        (window as unknown as { lose: () => void }).lose();
        document.querySelector<HTMLElement>("#compare .primary")!.click();
      });
      expect(await ended(other, "#compare .work")).toBe("The GPU was lost.");
      await told(other);
    });

    test("stops the sliders", async () => {
      const page = await open("lab.html?view=sliders", LOSABLE);
      await ended(page);
      // Lost while it computes, over and over.
      await page.evaluate(() => {
        const slider = document.querySelector<HTMLInputElement>("input[name=gamma]")!;
        for (const value of [2, 3, 4]) {
          slider.value = String(value);
          slider.dispatchEvent(new Event("input"));
        }
        (window as unknown as { lose: () => void }).lose();
        slider.value = "5";
        slider.dispatchEvent(new Event("input"));
      });
      await told(page);
      await page.locator(".work .primary").click();
      expect(await ended(page)).toBe("The GPU was lost.");
      await told(page);
    });
  });
});

describe("compare", () => {
  test("checks, times, tells who was left out and why, and gives its numbers away", async () => {
    const page = await open(
      "compare.html?layer=own&shape=32x16&operation=forward&candidates=ours,cpu,tensorflow,drop-in,onnxruntime&effort=5",
    );
    expect(await run(page, "#compare .work")).toMatch(/^Done; 1 left out/);
    expect(await page.locator("#left-out").textContent()).toBe(
      "ONNX Runtime Web: does inference only",
    );
    const rows = await cells(page, "#results");
    expect(rows.map(([name]) => name)).toEqual([
      "plain copy",
      "copy command",
      "webgpu-batchnorm",
      "CPU reference",
      "TensorFlow.js",
      "TensorFlow.js, drop-in",
    ]);
    for (const [name, error] of rows.filter(([each]) => /^(webgpu|Tensor)/.test(each!))) {
      // Plain f32 sums over 32 values: a few units in the last place.
      expect(number(error), name).toBeGreaterThan(0);
      expect(number(error), name).toBeLessThan(2e-6);
    }
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Download JSON" }).click(),
    ]);
    const saved = JSON.parse(await readFile(await download.path(), "utf8")) as {
      rows: { candidate: string; error?: number }[];
    };
    const own = saved.rows.find(({ candidate }) => candidate === "webgpu-batchnorm")!;
    expect(number(rows[2]![1])).toBeCloseTo(own.error!, 8);
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Copy as Markdown" }).click();
    await page.getByText("Copied.").waitFor();
    const text = await page.evaluate(() => navigator.clipboard.readText());
    expect(text).toContain(`| webgpu-batchnorm | ${rows[2]![1]} |`);
  });

  test("draws time over size, and can be cancelled", async () => {
    const page = await open("compare.html?operation=inference&candidates=ours,cpu&effort=5&upto=1");
    await run(page, "#sizes .work");
    const rows = await cells(page, "#sizes figure");
    expect(rows.map(([size]) => size)).toEqual(
      ["1 KB", "4 KB", "16 KB", "64 KB", "256 KB", "1024 KB"].map((each) =>
        each.replace("1024 KB", "1 MB"),
      ),
    );
    await page.locator("#sizes .primary").click();
    await page.locator("#sizes .primary").click();
    expect(await ended(page, "#sizes .work")).toBe("Cancelled.");
    expect(await page.locator(".field:has([name=shape])").isVisible()).toBe(false);
    await page.locator("select[name=layer]").selectOption("own");
    await page.locator("input[name=shape]").fill("5x");
    expect(await page.locator("#set-shape-note").textContent()).toMatch(/Two to five/);
    // Nothing is compared while it says what cannot be.
    expect(await run(page, "#compare .work")).toMatch(/^Two to five/);
    expect(await page.locator("#compare .work").getAttribute("data-state")).toBe("failed");
    await page.locator("select[name=layer]").selectOption("256x512");
    expect(await run(page, "#compare .work")).toMatch(/^Done/);
  });

  test("measures with the settings that stood when it was started", async () => {
    const page = await open(
      "compare.html?layer=own&shape=16x8&operation=inference&candidates=ours&effort=5&upto=1",
    );
    await page.locator("#sizes .primary").click();
    await page.waitForFunction(() => document.querySelectorAll("#sizes tbody tr").length > 0);
    // Meanwhile everything is set to something else.
    await page.locator("label:has(input[value='forward+backward'])").click();
    await page.locator("label:has(input[value=bf16])").click();
    await page.locator("label:has(input[value=tensorflow])").click();
    // What comes is not what is set by now, and says so.
    expect(await ended(page, "#sizes .work")).toMatch(/The settings have changed since/);
    expect(await page.locator("#sizes figure > .note").textContent()).toMatch(
      /^inference, channels first, f32, on /,
    );
    await page.locator("#compare .primary").click();
    await ended(page, "#compare .work");
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Download JSON" }).click(),
    ]);
    const { rows } = JSON.parse(await readFile(await download.path(), "utf8")) as {
      rows: { name: string; operation: string; dtype: string; candidate: string }[];
    };
    const series = rows.filter(({ name }) => name !== "16x8");
    expect(new Set(series.map(({ operation }) => operation))).toEqual(new Set(["inference"]));
    expect(new Set(series.map(({ dtype }) => dtype))).toEqual(new Set(["f32"]));
    expect(series.some(({ candidate }) => candidate.startsWith("TensorFlow"))).toBe(false);
    // The next one takes them as they are now.
    const next = rows.filter(({ name }) => name === "16x8");
    expect(new Set(next.map(({ dtype }) => dtype))).toEqual(new Set(["bf16"]));
  });

  test("every candidate runs, in half precision those that have it, and memory is drawn", async () => {
    const page = await open(
      "compare.html?layer=own&shape=4x8x5x5&operation=inference&candidates=ours,onnxruntime,jax&effort=5",
    );
    const named = async (): Promise<string[]> =>
      (await cells(page, "#results")).map(([name]) => name!).slice(2);
    expect(await run(page, "#compare .work")).toMatch(/every result is right/);
    expect(await named()).toEqual(["webgpu-batchnorm", "ONNX Runtime Web", "jax-js"]);
    const memory = page.locator(figure("Peak memory"));
    // A bar for each whose buffers could be counted, with what it says; our own needs x and y at least.
    const bars = await memory.locator("svg text").allTextContents();
    expect(bars).toContain("webgpu-batchnorm");
    const own = (await cells(page, "#results")).find(([name]) => name === "webgpu-batchnorm")!;
    expect(number(/\((.*)\)/.exec(own[6]!)![1])).toBeGreaterThanOrEqual(2);
    await page.locator("label:has(input[value=f16])").click();
    await run(page, "#compare .work");
    const half = await cells(page, "#results");
    expect(half.map(([name]) => name)).toContain("webgpu-batchnorm");
    // Half precision has 11 bits: y is off by up to half a unit in the last of them.
    const error = number(half.find(([name]) => name === "webgpu-batchnorm")![1]);
    expect(error).toBeGreaterThan(1e-6);
    expect(error).toBeLessThan(2 ** -11);
  });
});

test("two comparisons at once take turns", async () => {
  const page = await open(
    "compare.html?layer=own&shape=16x8&operation=inference&candidates=ours&effort=5&upto=1",
    {
      prepare: (each) =>
        each.addInitScript(`
          window.most = window.made = 0;
          let live = 0;
          const { createBuffer } = GPUDevice.prototype;
          GPUDevice.prototype.createBuffer = function (descriptor) {
            const buffer = createBuffer.call(this, descriptor);
            if (descriptor.label !== "bench/x") return buffer;
            window.made += 1;
            window.most = Math.max(window.most, ++live);
            const { destroy } = buffer;
            buffer.destroy = () => {
              live -= 1;
              destroy.call(buffer);
            };
            return buffer;
          };
        `),
    },
  );
  await page.locator("#sizes .primary").click();
  await page.locator("#compare .primary").click();
  expect(await ended(page, "#compare .work")).toMatch(/^Done/);
  expect(await ended(page, "#sizes .work")).toMatch(/^Done/);
  const { most, made } = await page.evaluate(() => {
    const { most, made } = window as unknown as Record<"most" | "made", number>;
    return { most, made };
  });
  expect([most, made]).toEqual([1, 7]);
});

describe("lab", () => {
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
        expect(Math.abs(number(rows[layer]![3]) - 100 * saturatedShare("tanh", h))).toBeLessThan(
          0.6,
        );
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
    await page.waitForFunction(
      () => new URLSearchParams(location.search).get("view") === "learned",
    );
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
});

describe("digits", () => {
  const answer = (page: Page): Promise<string | null> =>
    page.locator("#answer").getAttribute("data-answer");
  const settled = async (page: Page): Promise<void> => {
    await page.waitForFunction(
      () => document.querySelector("#answer")!.getAttribute("data-answer") !== "",
    );
    await page.waitForTimeout(600);
  };
  /** What the network sees, 0 to 255. */
  const seen = (page: Page): Promise<number[]> =>
    page.locator(".verdict canvas").evaluate((canvas: HTMLCanvasElement) => {
      const copy = new OffscreenCanvas(28, 28).getContext("2d", { willReadFrequently: true })!;
      copy.drawImage(canvas, 0, 0);
      return Array.from(copy.getImageData(0, 0, 28, 28).data).filter((_, i) => i % 4 === 0);
    });

  test("reads held-out digits alike with running statistics and folded weights", async () => {
    const page = await open("digits.html?sample=4&mode=running");
    await settled(page);
    expect(await answer(page)).toBe(String(digits.labels[trainingCount(digits) + 4]));
    const sure = figure("How sure it is");
    const running = (await cells(page, sure)).map(([, share]) => number(share));
    expect(running.reduce((a, b) => a + b, 0)).toBeCloseTo(100, 0);
    expect(await page.locator("#maps canvas").count()).toBe(2 * (8 + 16));
    await page.locator("label:has(input[value=folded])").click();
    await page.waitForFunction(() => document.querySelectorAll("#maps canvas").length === 8 + 16);
    const folded = (await cells(page, sure)).map(([, share]) => number(share));
    folded.forEach((share, digit) => {
      expect(Math.abs(share - running[digit]!)).toBeLessThan(0.02);
    });
    await page.locator("label:has(input[value=batch])").click();
    await page.waitForFunction(
      () => document.querySelectorAll("#maps canvas").length === 2 * (8 + 16),
    );
    expect(await answer(page)).toBe(String(digits.labels[trainingCount(digits) + 4]));
  });

  test("the next held-out digit is taken, spoilt as asked, and read", async () => {
    const page = await open("digits.html?sample=3");
    await settled(page);
    await page.locator("#maps summary").first().click();
    await page.locator("#another").click();
    await page.waitForURL(/sample=4/);
    await page.waitForFunction(
      (label) => document.querySelector("#answer")!.getAttribute("data-answer") === label,
      String(digits.labels[trainingCount(digits) + 4]),
    );
    // What was opened stays open.
    expect(await page.locator("#maps details[open]").count()).toBe(1);
    const plain = await seen(page);
    await page.locator("input[name=inverted]").check();
    await expect.poll(async () => (await seen(page))[0]).toBe(255 - plain[0]!);
    (await seen(page)).forEach((value, i) => {
      // Both were rounded.
      expect(Math.abs(value - (255 - plain[i]!))).toBeLessThanOrEqual(1);
    });
    await page.waitForURL(/inverted=1/);
    await page.locator("input[name=inverted]").uncheck();
    await page.locator("input[name=noise]").fill("0.3");
    await expect.poll(async () => new Set(await seen(page)).size).toBeGreaterThan(150);
    // Half of what is black falls beneath it and stays black.
    const dark = (await seen(page)).filter((_, i) => plain[i] === 0);
    const share = dark.filter((value) => value > 0).length / dark.length;
    expect(share).toBeGreaterThan(0.4);
    expect(share).toBeLessThan(0.6);
    // The held-out digits are read anew of themselves; that can be cancelled.
    await page.waitForSelector("#spoil-work[data-state=running]");
    await page.locator("#spoil-work .primary").click();
    expect(await ended(page, "#spoil-work")).toBe("Cancelled.");
  });

  test("an empty sheet is spoilt too, and no digit is named that is not read", async () => {
    const page = await open("digits.html?sample=4");
    await settled(page);
    const sure = number((await page.locator("#speed").textContent())!.split("%")[0]);
    const bars = await page
      .locator(`${figure("How sure it is")} svg [aria-label="text"] text`)
      .allTextContents();
    expect(Math.max(...bars.map(number))).toBe(sure);
    const named = page.locator(".field:has([name=sample]) output");
    expect(await named.textContent()).toBe("4");
    await page.locator("#clear").click();
    expect(await named.textContent()).toBe("–");
    await page.locator("input[name=contrast]").fill("0.5");
    await expect.poll(async () => [...new Set(await seen(page))]).toEqual([64]);
    await page.locator("#another").click();
    expect(await named.textContent()).toBe("5");
    await settled(page);
    expect(await answer(page)).toBe(String(digits.labels[trainingCount(digits) + 5]));
  });

  test("reads what is drawn with a finger, and with keys", async () => {
    const page = await open("digits.html", { hasTouch: true });
    await settled(page);
    const cleared = async (): Promise<void> => {
      await page.locator("#clear").click();
      await page.waitForFunction(
        () => document.querySelector("#answer")!.getAttribute("data-answer") === "",
      );
    };
    await cleared();
    // Nor does anything of the digit before stay.
    expect(
      await page.locator(".verdict canvas").evaluate((canvas: HTMLCanvasElement) => {
        const { data } = canvas.getContext("2d")!.getImageData(0, 0, 28, 28);
        return data.some((value, i) => i % 4 < 3 && value > 0);
      }),
    ).toBe(false);
    const { x, y } = (await page.locator("#pad").boundingBox())!;
    const touch = await page.context().newCDPSession(page);
    const at = (type: "touchStart" | "touchMove" | "touchEnd", dx = 0, dy = 0): Promise<unknown> =>
      touch.send("Input.dispatchTouchEvent", {
        type,
        touchPoints: type === "touchEnd" ? [] : [{ x: x + dx, y: y + dy }],
      });
    await at("touchStart", 146, 50);
    for (let i = 1; i <= 9; i++) await at("touchMove", 146 - 1.5 * i, 50 + 20 * i);
    await at("touchEnd");
    await settled(page);
    expect(await answer(page)).toBe("1");
    // The page was not scrolled by it.
    expect(await page.evaluate(() => scrollY)).toBe(0);

    await cleared();
    await page.locator("#pad").focus();
    expect(await page.locator("#pad").getAttribute("aria-label")).toMatch(/arrows.*Space or Enter/);
    for (let i = 0; i < 6; i++) await page.keyboard.press("ArrowUp");
    expect(await answer(page)).toBe("");
    await page.keyboard.press("Space");
    expect(await page.locator("#pen-state").textContent()).toMatch(/pen is down/);
    for (let i = 0; i < 12; i++) await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    // Lifted, it moves and draws nothing.
    expect(await page.locator("#pen-state").textContent()).toMatch(/sets it down/);
    for (let i = 0; i < 6; i++) await page.keyboard.press("ArrowRight");
    await settled(page);
    expect(await answer(page)).toBe("1");
  });

  test("reads what is drawn, as it is drawn", async () => {
    const page = await open("digits.html");
    await settled(page);
    await page.locator("#clear").click();
    await page.waitForFunction(
      () => document.querySelector("#answer")!.getAttribute("data-answer") === "",
    );
    const { x, y } = (await page.locator("#pad").boundingBox())!;
    await page.mouse.move(x + 150, y + 50);
    await page.mouse.down();
    await page.mouse.move(x + 140, y + 140, { steps: 5 });
    await page.mouse.move(x + 132, y + 230, { steps: 5 });
    await page.mouse.up();
    await settled(page);
    expect(await answer(page)).toBe("1");
  });

  test("what was cancelled has said which statistics are in use", async () => {
    const page = await open("digits.html?contrast=0.2&brightness=0.3");
    await ended(page, "#spoil-work");
    const names = async (): Promise<string | undefined> =>
      (await cells(page, figure("Right on 1,000 held-out digits"))).map(([name]) => name).at(-1);
    const inUse = (which: string): Promise<unknown> =>
      page.waitForFunction(
        (text) => document.querySelector("#in-use")!.textContent?.endsWith(`Statistics: ${text}.`),
        which,
      );
    const cancelWhile = async (what: string, status: RegExp): Promise<void> => {
      await page.locator(`${what} .primary`).click();
      await page.locator(`${what} .status`, { hasText: status }).waitFor();
      await page.locator(`${what} .primary`).click();
      expect(await ended(page, what)).toBe("Cancelled.");
    };
    expect(await ended(page, "#spoil-work")).toMatch(/right/);
    await page.locator("#repair-work .primary").click();
    await ended(page, "#repair-work");
    await page.locator("#back").click();
    await inUse("learned");
    expect(await names()).toBe("re-estimated, not in use");
    await cancelWhile("#repair-work", /Reading/);
    await inUse("re-estimated");
    expect(await names()).toBe("statistics re-estimated");
    await cancelWhile("#spoil-work", /Reading/);
    await inUse("learned");
    expect(await names()).not.toBe("statistics re-estimated");
  });

  test("flat and bright digits are misread until the statistics are re-estimated", async () => {
    const page = await open("digits.html?contrast=0.2&brightness=0.3");
    // All at once: what changes the statistics takes turns, so that the figures are those of one after another.
    await page.locator("#repair-work .primary").click();
    await page.locator("#timing-work .primary").click();
    await page.locator("#back").click();
    expect(await ended(page, "#repair-work")).toMatch(/no label was used/);
    expect(await ended(page, "#timing-work")).toMatch(/^Done/);
    const accuracies = (await cells(page, figure("Right on 1,000 held-out digits"))).map(
      ([, share]) => number(share),
    );
    const [clean, spoilt, repaired] = accuracies as [number, number, number];
    expect(accuracies).toHaveLength(3);
    // The log says what the weights came to; the page reads as many.
    const log = await readFile(new URL("../../demo/digits/training.log", import.meta.url), "utf8");
    const logged = Number(/held out .* ([\d.]+) %/.exec(log)![1]);
    expect(Math.abs(clean - logged)).toBeLessThan(0.25);
    expect(spoilt).toBeLessThan(30);
    expect(repaired).toBeGreaterThan(70);
    // Three times, each of them positive, with a median within its spread.
    const times = (await cells(page, figure("Time of one inference"))).map(([name, ...rest]) => [
      name,
      ...rest.map(number),
    ]);
    expect(times.map(([name]) => name)).toEqual([
      "running statistics",
      "batch statistics (32 digits)",
      "folded weights",
    ]);
    for (const [, middle, quickest, slowest] of times as [string, number, number, number][]) {
      expect(quickest).toBeGreaterThan(0);
      expect(middle).toBeGreaterThanOrEqual(quickest);
      expect(slowest).toBeGreaterThanOrEqual(middle);
    }
    // Back came last, so that the learned ones are in use.
    await page.waitForFunction(
      () =>
        document.querySelector("#spoil figure:last-of-type td:nth-of-type(2)")!.textContent === "–",
    );
    const names = (await cells(page, figure("Right on 1,000 held-out digits"))).map(
      ([name]) => name,
    );
    expect(names.at(-1)).toBe("re-estimated, not in use");
    await page.waitForFunction(
      () =>
        document.querySelector("#in-use")!.textContent ===
        "Input: contrast 0.2, brightness 0.3. Statistics: learned.",
    );
  });
});
