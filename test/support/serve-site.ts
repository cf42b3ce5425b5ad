/** Builds the static site once, as `npm run build:demo` does, and serves it to the demo's tests. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** Address of the built site. */
    site: string;
  }
}

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

export default async function setup(project: TestProject): Promise<() => void> {
  await build({
    mode: "demo",
    logLevel: "error",
    configFile: join(folder, "../../vite.config.ts"),
  });
  const server = await serve();
  const { port } = server.address() as AddressInfo;
  project.provide("site", `http://127.0.0.1:${port}${UNDER}`);
  return () => {
    server.close();
  };
}
