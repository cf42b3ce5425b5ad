import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { build } from "vite";
import { chromiumLaunch } from "./chromium.js";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".wasm": "application/wasm",
};

/** Where the site stands on its server: not at the root, since it must not need to. */
const UNDER = "/some/where/";
const folder = fileURLToPath(new URL("../../build/demo", import.meta.url));

async function serve(): Promise<Server> {
  const server = createServer((request, response) => {
    void (async () => {
      const { pathname } = new URL(request.url ?? "/", "http://localhost");
      const path = join(folder, normalize(pathname.slice(UNDER.length)));
      const found =
        pathname.startsWith(UNDER) &&
        path.startsWith(folder) &&
        (await stat(path).then(
          (each) => each.isFile(),
          () => false,
        ));
      if (!found) {
        response.writeHead(404).end();
        return;
      }
      response.writeHead(200, {
        "Content-Type": TYPES[extname(path)] ?? "application/octet-stream",
      });
      createReadStream(path).pipe(response);
    })();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return server;
}

/** The built demo on a server of its own, open in a real Chromium. */
export interface Site {
  /** Opens a page, such as `lab.html?view=noise`; what it complained of stands in `complaints`. */
  open(
    address: string,
    options?: BrowserContextOptions & { prepare?: (page: Page) => Promise<unknown> },
  ): Promise<OpenPage>;
  close(): Promise<void>;
}

export interface OpenPage {
  readonly page: Page;
  /** Errors and warnings of the console, uncaught errors, requests that failed or left the server. */
  readonly complaints: string[];
}

// Chromium says so of any adapter that it takes for a program.
const HARMLESS = /powerPreference option is currently ignored/;

/** Builds the static site as `npm run build:demo` does, and serves it from a sub-path. */
export async function openSite(): Promise<Site> {
  await build({
    mode: "demo",
    logLevel: "error",
    configFile: join(folder, "../../vite.config.ts"),
  });
  const server = await serve();
  const { port } = server.address() as AddressInfo;
  const origin = `http://127.0.0.1:${port}`;
  const { executablePath, args, env } = await chromiumLaunch();
  const browser: Browser = await chromium.launch({ executablePath, args, env });
  return {
    async open(address, { prepare, ...options } = {}) {
      const context = await browser.newContext({
        locale: "en-US",
        viewport: { width: 1100, height: 900 },
        ...options,
      });
      const page = await context.newPage();
      const complaints: string[] = [];
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
      await page.goto(`${origin}${UNDER}${address}`);
      await page.waitForSelector("html:is(.ready, .failed)", { timeout: 60_000 });
      return { page, complaints };
    },
    async close() {
      await browser.close();
      server.close();
    },
  };
}
