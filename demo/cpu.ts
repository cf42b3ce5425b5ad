import type { Answer, Question } from "./cpu.worker.js";

/** Asks the CPU reference, in a worker, so that the page stays alive. Cancelling ends the worker. */
export async function askCpu(
  question: Question,
  signal: AbortSignal,
  onProgress: (share: number) => void,
): Promise<Answer> {
  signal.throwIfAborted();
  const worker = new Worker(new URL("./cpu.worker.ts", import.meta.url), { type: "module" });
  try {
    return await new Promise<Answer>((resolve, reject) => {
      signal.addEventListener("abort", () => {
        reject(signal.reason as Error);
      });
      worker.addEventListener("error", (event) => {
        reject(new Error(`The CPU reference failed: ${event.message}`));
      });
      worker.addEventListener("message", ({ data }: MessageEvent<Answer | { share: number }>) => {
        if ("share" in data) onProgress(data.share);
        else resolve(data);
      });
      worker.postMessage(question);
    });
  } finally {
    worker.terminate();
  }
}
