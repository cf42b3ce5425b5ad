/**
 * Names the entries of a state dictionary as a model does: the prefix in front of each. Absent entries stay absent.
 *
 * @example
 * ```ts
 * import { prefixed } from "webgpu-batchnorm/files";
 * Object.keys(prefixed("layer1.0.bn1.", { weight: 1, bias: 2 })); // ["layer1.0.bn1.weight", "layer1.0.bn1.bias"]
 * ```
 */
export function prefixed<T extends object>(
  prefix: string,
  dict: T,
): Record<string, Exclude<T[keyof T], undefined>> {
  const entries = Object.entries(dict) as [string, T[keyof T]][];
  return Object.fromEntries(
    entries
      .filter((entry): entry is [string, Exclude<T[keyof T], undefined>] => entry[1] !== undefined)
      .map(([name, value]) => [prefix + name, value]),
  );
}
