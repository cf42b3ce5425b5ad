import { kindOf } from "../arguments.js";
import type { StateDict } from "../batchnorm.js";
import { complain, OptionError, ShapeError } from "../errors.js";
import { remedyFor } from "../remedy.js";

const STATISTICS = ["running_mean", "running_var"] as const;

function requireDictionary(name: string, given: unknown): void {
  const otherwise = "pass what stateDict() gave";
  const remedy = remedyFor(given, otherwise);
  const kind = kindOf(given);
  const named = kind === "an Object" || STATISTICS.some((each) => each in Object(given));
  if (named && remedy === otherwise) return;
  throw new OptionError(complain(`interpolate: ${name}`, "a state dictionary", kind, remedy));
}

/**
 * Statistics between two state dictionaries: `(1 - alpha) * a + alpha * b` for running mean and variance; everything
 * else is a's. Between statistics of old and of new data (see {@link reestimate}) alpha says how far to trust the new.
 *
 * @param alpha in [0, 1]
 * @returns a new dictionary; a and b stay as they are.
 * @throws OptionError where one is no dictionary or alpha lies outside; ShapeError where one lacks statistics or their
 * lengths differ.
 * @example
 * ```ts
 * bn.loadStateDict(interpolate(before, after, 0.5));
 * ```
 */
export function interpolate<D extends StateDict>(a: D, b: StateDict, alpha: number): D {
  requireDictionary("a", a);
  requireDictionary("b", b);
  if (!(typeof (alpha as unknown) === "number" && alpha >= 0 && alpha <= 1)) {
    throw new OptionError(
      complain("interpolate: alpha", "a number in [0, 1]", String(alpha), "0 is a, 1 is b"),
    );
  }
  const mixed: D = { ...a };
  for (const name of STATISTICS) {
    const [from, to] = [a[name], b[name]];
    if (!from || !to || from.length !== to.length) {
      throw new ShapeError(
        complain(
          `interpolate: ${name}`,
          "values of one length in both",
          `${from?.length ?? "nothing"} and ${to?.length ?? "nothing"}`,
          "pass two dictionaries of one module that tracks running statistics",
        ),
      );
    }
    mixed[name] = from.map((value, i) => {
      // 0 and 1 are one of them alone, whatever the other holds (0 * Infinity is NaN).
      if (alpha === 0 || alpha === 1) return alpha === 0 ? value : to[i]!;
      return (1 - alpha) * value + alpha * to[i]!;
    });
  }
  return mixed;
}
