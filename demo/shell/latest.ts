import { endedBy } from "./trouble.js";

/**
 * A run on demand, one at a time: what is asked for meanwhile is one more run after it. So, where things move faster than
 * they are computed, only their last place counts. Settles when none is left to do; ended by the signal, quietly.
 */
export function latest(run: () => Promise<void>, signal: AbortSignal): () => Promise<void> {
  let running: Promise<void> | null = null;
  let again = false;
  const all = async (): Promise<void> => {
    try {
      while (again && !signal.aborted) {
        again = false;
        await run();
      }
    } catch (error) {
      if (!(await endedBy(signal))) throw error;
    } finally {
      running = null;
    }
  };
  return () => {
    again = true;
    return (running ??= all());
  };
}
