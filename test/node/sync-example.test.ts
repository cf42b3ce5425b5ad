/** examples/sync-nats.ts, as its first lines say to run it. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { haveNatsServer, NatsServer } from "../support/nats-server.js";

function run(...words: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const program = ["scripts/run.mjs", "examples/sync-nats.ts", ...words];
  const child = spawn(process.execPath, program, {
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
  });
  const result = { code: null as number | null, out: "", err: "" };
  child.stdout.on("data", (text: Buffer) => (result.out += text.toString()));
  child.stderr.on("data", (text: Buffer) => (result.err += text.toString()));
  return new Promise((resolve) => child.once("exit", (code) => resolve({ ...result, code })));
}

describe.skipIf(!haveNatsServer())("the example", () => {
  test("trains two processes to one network that reads digits", async () => {
    const server = await NatsServer.start();
    try {
      const [first, second] = await Promise.all(
        ["0", "1"].map((rank) => run(server.url, rank, "2")),
      );
      expect([first!.err, first!.code, second!.err, second!.code]).toEqual(["", 0, "", 0]);
      const of = (text: string): string => text.replaceAll(/rank \d/g, "rank");
      expect(of(second!.out)).toBe(of(first!.out));
      const right = Number(/(\d+) of 1000 digits right/.exec(first!.out)?.[1]);
      // 1,200 digits were seen once; a coin of ten sides gets 100.
      expect(right).toBeGreaterThan(700);
    } finally {
      await server.stop();
    }
  });

  test("says so where no server is", async () => {
    const { code, err } = await run("nats://127.0.0.1:1", "0", "2");
    expect(code).toBe(1);
    expect(err).toMatch(/nats:\/\/127\.0\.0\.1:1/);
  });
});
