import { kindOf } from "../arguments.js";
import { entriesOf, type Named } from "./entries.js";
import { refuse } from "./error.js";

/**
 * Names the entries of a state dictionary as a model does: the prefix in front of each. Absent entries stay absent.
 *
 * @throws FileError where `dict` is no record and no `Map`.
 * @example
 * ```ts
 * import { prefixed } from "webgpu-batchnorm/files";
 * Object.keys(prefixed("layer1.0.bn1.", { weight: 1, bias: 2 })); // ["layer1.0.bn1.weight", "layer1.0.bn1.bias"]
 * ```
 */
export function prefixed<V>(prefix: string, dict: ReadonlyMap<string, V>): Record<string, V>;
export function prefixed<T extends object>(
  prefix: string,
  dict: T extends PromiseLike<unknown> ? never : T,
): Record<string, Exclude<T[keyof T], undefined>>;
export function prefixed(prefix: string, dict: object): Record<string, unknown> {
  const subject = "prefixed";
  if (typeof prefix !== "string") {
    refuse(subject, "a prefix, then a dictionary", kindOf(prefix), "pass the prefix first");
  }
  return Object.fromEntries(
    entriesOf(subject, dict as Named<unknown>)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [prefix + name, value]),
  );
}
