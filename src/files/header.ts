import { quote, refuse } from "./error.js";

/** Levels of a safetensors header: the file, a tensor, its shape. */
const DEEPEST = 3;

/**
 * Parses the JSON of a safetensors header. What `JSON.parse` lets pass is refused before and after it: nesting beyond
 * what the format has, and a key given twice, of which it would keep the last.
 */
export function parseHeader(text: string): Record<string, unknown> {
  const subject = "readSafetensors: header";
  const keys = measure(text, subject);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    return refuse(
      subject,
      "JSON",
      `"${(error as Error).message.slice(0, 80)}"`,
      "check that it is a .safetensors file",
    );
  }
  if (!isRecord(parsed)) {
    return refuse(subject, "an object", text.slice(0, 20), "check that it is a .safetensors file");
  }
  if (countKeys(parsed) !== keys) {
    refuse(subject, "every name once", "one given twice", "the file is damaged or hostile");
  }
  return parsed;
}

/** Counts the keys of all objects by their colons, and refuses deep nesting without recursing into it. */
function measure(text: string, subject: string): number {
  let depth = 0;
  let keys = 0;
  for (let i = 0; i < text.length; i += 1) {
    switch (text[i]) {
      case '"':
        for (i += 1; i < text.length && text[i] !== '"'; i += 1) if (text[i] === "\\") i += 1;
        break;
      case "{":
      case "[":
        depth += 1;
        if (depth > DEEPEST) {
          refuse(subject, `at most ${DEEPEST} levels`, "more", "the file is damaged or hostile");
        }
        break;
      case "}":
      case "]":
        depth -= 1;
        break;
      case ":":
        keys += 1;
    }
  }
  return keys;
}

/** Keys of all objects in a value whose depth is known to be small. */
function countKeys(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce<number>((sum, each) => sum + countKeys(each), own);
}

/** Whether a value of JSON is an object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A list of whole numbers >= 0, or the error that says it is none. */
export function wholeNumbers(name: string, what: string, value: unknown): number[] {
  if (
    !Array.isArray(value) ||
    !value.every((each) => Number.isSafeInteger(each) && (each as number) >= 0)
  ) {
    return refuse(
      `${quote(name)}: ${what}`,
      "whole numbers >= 0",
      JSON.stringify(value)?.slice(0, 80) ?? "nothing",
      "the file is damaged or hostile",
    );
  }
  return value as number[];
}
