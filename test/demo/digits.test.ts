/** The page that reads digits, held out or drawn. */
import { readFile } from "node:fs/promises";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { trainingCount } from "../../demo/engine/digits.js";
import { loadDigits } from "../../scripts/support/load-digits.js";
import { cells, ended, figure, number, open } from "../support/site.js";

const digits = await loadDigits();

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
  const names = (await cells(page, figure("Right on 1,000 held-out digits"))).map(([name]) => name);
  expect(names.at(-1)).toBe("re-estimated, not in use");
  await page.waitForFunction(
    () =>
      document.querySelector("#in-use")!.textContent ===
      "Input: contrast 0.2, brightness 0.3. Statistics: learned.",
  );
});
