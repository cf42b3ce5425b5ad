/** The page that compares: what it times, draws, tells and leaves out. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { cells, ended, figure, number, open, run } from "../support/site.js";

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
