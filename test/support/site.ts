/** The built demo in a real Chromium, and what its tests read there. */
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, inject } from "vitest";
import { chromiumLaunch } from "./chromium.js";

// Chromium says so of any adapter that it takes for a program.
const HARMLESS = /powerPreference option is currently ignored/;

const address = inject("site");
const { origin } = new URL(address);
let browser: Browser;
let pages: Page[] = [];
/** Errors and warnings of the console, uncaught errors, requests that failed or left the server. */
const complaints: string[] = [];

beforeAll(async () => {
  const { executablePath, args, env } = await chromiumLaunch();
  browser = await chromium.launch({ executablePath, args, env });
});
afterAll(() => browser.close());
// Whatever a test did, no page may have complained.
afterEach(async () => {
  const found = complaints.splice(0);
  await Promise.all(pages.map((page) => page.context().close()));
  pages = [];
  expect(found, "the pages' complaints").toEqual([]);
});

/** Takes back the complaints that a test has provoked on purpose. */
export function takeComplaints(): string[] {
  return complaints.splice(0);
}

/** Opens a page, such as `lab.html?view=noise`, until it is ready or has failed. */
export async function open(
  path: string,
  {
    prepare,
    ...options
  }: BrowserContextOptions & { prepare?: (page: Page) => Promise<unknown> } = {},
): Promise<Page> {
  const context = await browser.newContext({
    locale: "en-US",
    viewport: { width: 1100, height: 900 },
    ...options,
  });
  const page = await context.newPage();
  pages.push(page);
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  page.on("console", (message) => {
    const text = message.text();
    if (["error", "warning"].includes(message.type()) && !HARMLESS.test(text))
      complaints.push(text);
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(origin) && !/^(data|blob):/.test(url))
      complaints.push(`left the server: ${url}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()}: ${response.url()}`);
  });
  await prepare?.(page);
  await page.goto(`${address}${path}`);
  await page.waitForSelector("html:is(.ready, .failed)", { timeout: 60_000 });
  return page;
}

/** Waits until a piece of work has ended, and says how. */
export async function ended(page: Page, selector = ".work"): Promise<string> {
  await page.waitForSelector(
    `${selector}:is([data-state=done],[data-state=failed],[data-state=cancelled])`,
    { timeout: 120_000 },
  );
  return (await page.locator(`${selector} .status`).textContent()) ?? "";
}

/** Starts a piece of work, and waits until it has ended. */
export async function run(page: Page, selector = ".work"): Promise<string> {
  await page.locator(`${selector} .primary`).click();
  return ended(page, selector);
}

/** The cells of the nth figure's table, or of any table. */
export async function cells(page: Page, selector: string): Promise<string[][]> {
  return page
    .locator(`${selector} tbody tr`)
    .evaluateAll((rows) =>
      rows.map((row) => Array.from(row.children, (cell) => cell.textContent ?? "")),
    );
}
/** The figure of that title. */
export const figure = (title: string): string => `figure:has(> figcaption:text-is("${title}"))`;
/** A number as the pages write it. */
export const number = (text: string | undefined): number =>
  Number((text ?? "").replace("−", "-").replace(/[^\d.e+-]/g, ""));
/** A number that stands in a sentence. */
export const fact = async (page: Page, name: string): Promise<number> =>
  number((await page.locator(`[data-fact="${name}"]`).textContent()) ?? "");

/** Options of `open`: a browser without WebGPU. */
export const WITHOUT_GPU = {
  prepare: (page: Page) =>
    page.addInitScript(() => {
      Object.defineProperty(Navigator.prototype, "gpu", { get: () => undefined });
    }),
};
