import { kindOf } from "../arguments.js";
import { quote, refuse } from "./error.js";

const subject = "readSafetensors: header";

/**
 * The entries of a safetensors header one after the other, read by the format's own grammar: an object of objects, which
 * hold texts, numbers and lists of numbers. Of what no header has nothing is made, and what is wrong with an entry shows
 * before the next is read.
 */
export function* headerEntries(
  text: string,
): Generator<[name: string, fields: ReadonlyMap<string, unknown>]> {
  const scanner = new Scanner(text);
  for (const name of scanner.names()) {
    const fields = new Map<string, unknown>();
    for (const field of scanner.names()) fields.set(field, scanner.value());
    yield [name, fields];
  }
  scanner.end();
}

/** Reads a text from its beginning to its end. */
class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The names of an object, each once. Between two of them the first one's value is to be read. */
  *names(): Generator<string> {
    const known = new Set<string>();
    this.#require("{");
    if (this.#take("}")) return;
    do {
      const name = this.#string();
      if (known.has(name)) {
        refuse(subject, "every name once", "one given twice", "the file is damaged or hostile");
      }
      known.add(name);
      this.#require(":");
      yield name;
    } while (this.#take(","));
    this.#require("}");
  }

  /** A text, a number, or a list of numbers. */
  value(): unknown {
    const sign = this.#next();
    if (sign === '"') return this.#string();
    const list = sign === "[";
    const begin = this.#at + Number(list);
    const end = this.#find(list ? '[]{"' : ',:[]{}" \t\n\r', begin);
    if (list ? this.#text[end] !== "]" : end === begin) {
      this.#refuse("a text, a number or a list of numbers");
    }
    return this.#parse(end + Number(list));
  }

  end(): void {
    if (this.#next() !== "") this.#refuse("its end");
  }

  #string(): string {
    if (this.#next() !== '"') this.#refuse("a text");
    let end = this.#find('"\\', this.#at + 1);
    while (this.#text[end] === "\\") end = this.#find('"\\', end + 2);
    return this.#parse(end + 1) as string;
  }

  /** Where the first of some characters stands, or the end. */
  #find(signs: string, from: number): number {
    let at = from;
    while (at < this.#text.length && !signs.includes(this.#text[at]!)) at += 1;
    return at;
  }

  /** The value that the text up to `end` is. */
  #parse(end: number): unknown {
    const text = this.#text.slice(this.#at, end);
    this.#at = end;
    try {
      return JSON.parse(text);
    } catch (error) {
      return refuse(
        subject,
        "JSON",
        `"${(error as Error).message.slice(0, 80)}"`,
        "check that it is a .safetensors file",
      );
    }
  }

  /** The next character that is no white space; none at the end. */
  #next(): string {
    while (/[ \t\n\r]/.test(this.#text[this.#at] ?? "")) this.#at += 1;
    return this.#text[this.#at] ?? "";
  }

  #take(sign: string): boolean {
    const taken = this.#next() === sign;
    if (taken) this.#at += 1;
    return taken;
  }

  #require(sign: string): void {
    if (!this.#take(sign)) this.#refuse(`"${sign}"`);
  }

  #refuse(expected: string): never {
    const received = this.#text.slice(this.#at, this.#at + 20);
    return refuse(
      `${subject}: character ${this.#at}`,
      expected,
      received ? quote(received) : "its end",
      "the file is damaged or hostile, or no .safetensors file",
    );
  }
}

/** A list of whole numbers >= 0, or the error that says it is none. */
export function wholeNumbers(
  name: string,
  what: string,
  value: unknown,
  remedy = "the file is damaged or hostile",
): number[] {
  if (
    !Array.isArray(value) ||
    !value.every((each) => Number.isSafeInteger(each) && (each as number) >= 0)
  ) {
    return refuse(
      `${quote(name)}: ${what}`,
      "whole numbers >= 0",
      Array.isArray(value) ? JSON.stringify(value).slice(0, 80) : kindOf(value),
      remedy,
    );
  }
  return value as number[];
}
