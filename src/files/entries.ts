import { kindOf } from "../arguments.js";
import { refuse } from "./error.js";

/** What has values by name. */
export type Named<V> = ReadonlyMap<string, V> | Readonly<Record<string, V>>;

/** @throws FileError where something is no record and no `Map`: nothing, bytes, or a promise of one. */
export function entriesOf<V>(subject: string, given: Named<V>): [string, V][] {
  if (given instanceof Map) return [...(given as ReadonlyMap<string, V>)];
  const asked = "a record or a Map by name";
  if (given instanceof Promise) refuse(subject, asked, "a Promise", "await it");
  if (ArrayBuffer.isView(given) || given instanceof ArrayBuffer) {
    refuse(subject, asked, kindOf(given), "pass readSafetensors(bytes)");
  }
  if (Object(given) !== given || Array.isArray(given)) {
    refuse(subject, asked, kindOf(given), "pass one");
  }
  return Object.entries(given as Readonly<Record<string, V>>);
}
