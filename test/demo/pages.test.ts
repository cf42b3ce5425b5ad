/** What holds for every page of the built site: languages, narrow screens, broken networks, no GPU, a lost one. */
import type { Page } from "playwright-core";
import { describe, expect, test } from "vitest";
import { trainingCount } from "../../demo/engine/digits.js";
import { loadDigits } from "../../scripts/support/load-digits.js";
import { cells, ended, open, run, takeComplaints, WITHOUT_GPU } from "../support/site.js";

const digits = await loadDigits();

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
  expect(await page.locator(".notice").textContent()).toMatch(/could not be loaded.*weights.*500/s);
  expect(takeComplaints().filter((each) => !each.includes("500"))).toEqual([]);
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
  expect(takeComplaints().filter((text) => !/ERR_FAILED|fetch/.test(text))).toEqual([]);
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

test("a GPU that has WebGPU in compatibility mode alone is used", async () => {
  const only = {
    prepare: (each: Page) =>
      each.addInitScript(`
        const { requestAdapter } = GPU.prototype;
        GPU.prototype.requestAdapter = function (asked = {}) {
          if (asked.featureLevel !== "compatibility") return Promise.resolve(null);
          return requestAdapter.call(this, asked);
        };
        const { requestDevice } = GPUAdapter.prototype;
        GPUAdapter.prototype.requestDevice = async function (...of) {
          const device = await requestDevice.apply(this, of);
          window.isCore = device.features.has("core-features-and-limits");
          return device;
        };
      `),
  };
  const address = "compare.html?layer=own&shape=16x8&operation=forward&effort=5";
  const page = await open(`${address}&candidates=ours,drop-in`, only);
  await run(page, "#compare .work");
  const rows = await cells(page, "#results");
  const names = rows.map(([name]) => name);
  expect(names.slice(-2)).toEqual(["webgpu-batchnorm", "TensorFlow.js, drop-in"]);
  expect(await page.locator("#compare .status").textContent()).toMatch(
    /^Done; every result is right/,
  );
  expect(await page.evaluate("window.isCore")).toBe(false);
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
    const own = takeComplaints();
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
