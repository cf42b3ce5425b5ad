import { kindOf } from "../arguments.js";
import { remedyFor } from "../remedy.js";
import { refuse } from "./error.js";

/** What has values by name. */
export type Named<V> = ReadonlyMap<string, V> | Readonly<Record<string, V>>;

/**
 * @param ofBytes the remedy where bytes were passed.
 * @throws FileError where something is no record and no `Map`: nothing, bytes, or a promise of one.
 */
export function entriesOf<V>(
  subject: string,
  given: Named<V>,
  ofBytes = "pass readSafetensors(bytes)",
): [string, V][] {
  if (given instanceof Map) return [...(given as ReadonlyMap<string, V>)];
  const bytes = ArrayBuffer.isView(given) || /ArrayBuffer$/.test(kindOf(given));
  const remedy = remedyFor(given, bytes ? ofBytes : "pass one");
  const entries = Object.entries(Object(given) as Readonly<Record<string, V>>);
  // Sets and functions are objects too, without an entry.
  const named = Object(given) === given && (entries.length > 0 || isPlain(given));
  if (bytes || Array.isArray(given) || remedy === "await it" || !named) {
    refuse(subject, "a record or a Map by name", kindOf(given), remedy);
  }
  return entries;
}

/** Whether an object is of no class, in whichever realm it was made. */
function isPlain(given: object): boolean {
  const prototype = Object.getPrototypeOf(given) as object | null;
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
