import { read, write } from "./address.js";
import { h, type Child } from "./dom.js";
import { localise, t, type Text } from "./language.js";

interface Labelled {
  readonly label: Text;
  /** Stands behind the control. */
  readonly hint?: Text;
}
export interface Choice<V extends string | number> extends Labelled {
  readonly kind: "choice";
  readonly values: readonly V[];
  /** What the values are called where their own name is not good enough. */
  readonly names?: Readonly<Partial<Record<V, Text>>>;
  readonly initial: V;
}
export interface Several<V extends string> extends Labelled {
  readonly kind: "several";
  readonly values: readonly V[];
  readonly names?: Readonly<Partial<Record<V, Text>>>;
  readonly initial: readonly V[];
}
export interface Range extends Labelled {
  readonly kind: "range";
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly initial: number;
}
export interface Flag extends Labelled {
  readonly kind: "flag";
  readonly initial: boolean;
}
export interface Typed extends Labelled {
  readonly kind: "typed";
  readonly initial: string;
  /** What is wrong with it; null where nothing is. */
  readonly objection: (text: string) => Text | null;
}
export type Field = Choice<string> | Choice<number> | Several<string> | Range | Flag | Typed;
export type Fields = Readonly<Record<string, Field>>;
type ValueOf<F> = F extends { kind: "choice"; values: readonly (infer V)[] }
  ? V
  : F extends { kind: "several"; values: readonly (infer V)[] }
    ? readonly V[]
    : F extends { kind: "flag" }
      ? boolean
      : F extends { kind: "range" }
        ? number
        : string;
export type Values<S extends Fields> = { -readonly [K in keyof S]: ValueOf<S[K]> };

/** Values that may change, and what there is against them as they stand. */
export interface Live<V extends object> {
  readonly values: V;
  readonly objection: Text | null;
  onChange(listener: () => void): unknown;
}

/** Two that are gone by as one. */
export function together<A extends object, B extends object>(a: Live<A>, b: Live<B>): Live<A & B> {
  return {
    get values() {
      return { ...a.values, ...b.values };
    },
    get objection() {
      return a.objection ?? b.objection;
    },
    onChange(listener) {
      a.onChange(listener);
      b.onChange(listener);
    },
  };
}

/** Up to so many choices stand side by side; more go into a list. */
const SEGMENTS = 4;

interface Control {
  readonly element: HTMLElement;
  show(value: unknown): void;
  /** What is wrong with what it holds, where it can hold what makes no sense. */
  readonly objection?: () => Text | null;
}

/**
 * Controls and what they are set to. Each field's name is its parameter in the address, from which it starts; a value
 * there that makes no sense is passed over.
 */
export class Settings<S extends Fields> implements Live<Values<S>> {
  readonly values: Values<S>;
  readonly element: HTMLFormElement;
  readonly #controls = new Map<string, Control>();
  readonly #listeners: ((changed: string) => void)[] = [];
  #forgotten = false;

  constructor(
    private readonly fields: S,
    label: Text,
  ) {
    const values: Record<string, unknown> = {};
    this.element = h("form", { class: "settings", "aria-label": label });
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
    });
    for (const [name, field] of Object.entries(fields)) {
      const given = read(name);
      values[name] = (given === null ? null : parse(field, given)) ?? field.initial;
      const control = controlOf(name, field, (value) => {
        this.set({ [name]: value } as Partial<Values<S>>);
      });
      control.show(values[name]);
      this.#controls.set(name, control);
      this.element.append(control.element);
    }
    this.values = values as Values<S>;
    this.#write();
  }

  /** What is wrong with a field that can be seen; its value is the last one that was right. */
  get objection(): Text | null {
    for (const { element, objection } of this.#controls.values()) {
      const wrong = element.hidden ? null : (objection?.() ?? null);
      if (wrong !== null) return wrong;
    }
    return null;
  }

  /** Tells of every change, by the user or by {@link set}. */
  onChange(listener: (changed: string) => void): this {
    this.#listeners.push(listener);
    return this;
  }

  set(values: Partial<Values<S>>): void {
    Object.assign(this.values, values);
    for (const [name, value] of Object.entries(values)) this.#controls.get(name)!.show(value);
    this.#write();
    for (const name of Object.keys(values)) for (const listener of this.#listeners) listener(name);
  }

  /** Shows that a range is not in use until it is set; its value stays. */
  unused(name: keyof S & string): void {
    this.#controls.get(name)!.show(null);
  }

  /** Takes them out of the address, for good. */
  forget(): void {
    this.#forgotten = true;
    write(Object.fromEntries(Object.keys(this.fields).map((name) => [name, null])));
  }

  #write(): void {
    if (this.#forgotten) return;
    write(
      Object.fromEntries(
        Object.entries(this.values).map(([name, value]) => [
          name,
          Array.isArray(value)
            ? value.join(",")
            : value === true
              ? "1"
              : value === false
                ? "0"
                : String(value),
        ]),
      ),
    );
  }
}

function parse(field: Field, text: string): unknown {
  switch (field.kind) {
    case "choice":
      return field.values.find((value) => String(value) === text) ?? null;
    case "several": {
      const found = field.values.filter((value) => text.split(",").includes(value));
      return found.length > 0 ? found : null;
    }
    case "range": {
      const value = Number(text);
      const within = text.trim() !== "" && value >= field.min && value <= field.max;
      // What is counted has no fractions; what is measured may lie between the stops of its slider.
      const counted = Number.isInteger(field.step);
      return within && (!counted || (value - field.min) % field.step === 0) ? value : null;
    }
    case "flag":
      return text === "1" ? true : text === "0" ? false : null;
    case "typed":
      return field.objection(text) === null ? text : null;
  }
}

function labelled(field: Labelled, id: string, ...children: readonly Child[]): HTMLElement {
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, field.label),
    ...children,
    field.hint ? h("p", { class: "note" }, field.hint) : null,
  );
}

function group(field: Labelled, className: string, ...children: readonly Child[]): HTMLElement {
  return h(
    "fieldset",
    { class: "field" },
    h("legend", {}, field.label),
    h("div", { class: className }, ...children),
    field.hint ? h("p", { class: "note" }, field.hint) : null,
  );
}

function controlOf(name: string, field: Field, change: (value: unknown) => void): Control {
  const id = `set-${name}`;
  switch (field.kind) {
    case "choice": {
      const values: readonly (string | number)[] = field.values;
      const nameOf = (value: string | number): Text =>
        (field.names as Record<string, Text> | undefined)?.[value] ?? String(value);
      if (values.length <= SEGMENTS) {
        const inputs = values.map((value) =>
          h("input", {
            type: "radio",
            name,
            value,
            change: () => {
              change(value);
            },
          }),
        );
        const labels = inputs.map((input, i) =>
          h("label", {}, input, h("span", {}, nameOf(values[i]!))),
        );
        return {
          element: group(field, "segments", ...labels),
          show: (value) => {
            inputs.forEach((input, i) => {
              input.checked = values[i] === value;
            });
          },
        };
      }
      const options = values.map((value) => h("option", { value }, nameOf(value)));
      const select = h(
        "select",
        {
          id,
          name,
          change: () => {
            change(values[select.selectedIndex]);
          },
        },
        ...options,
      );
      return {
        element: labelled(field, id, select),
        show: (value) => {
          select.selectedIndex = values.indexOf(value as never);
        },
      };
    }
    case "several": {
      const inputs = field.values.map((value) =>
        h("input", {
          type: "checkbox",
          name,
          value,
          change: () => {
            const chosen = inputs.filter(({ checked }) => checked).map(({ value }) => value);
            // The last one stays: without any there would be nothing to do.
            if (chosen.length > 0) change(chosen);
            else inputs.find((input) => input.value === value)!.checked = true;
          },
        }),
      );
      const labels = inputs.map((input, i) => {
        const value = field.values[i]!;
        return h("label", { class: "check" }, input, h("span", {}, field.names?.[value] ?? value));
      });
      return {
        element: group(field, "checks", ...labels),
        show: (value) => {
          for (const input of inputs)
            input.checked = (value as readonly string[]).includes(input.value);
        },
      };
    }
    case "range": {
      const { min, max, step } = field;
      const output = h("output", { for: id });
      const input = h("input", {
        type: "range",
        id,
        name,
        min,
        max,
        step,
        input: () => {
          change(Number(input.value));
        },
      });
      return {
        element: labelled(field, id, h("div", { class: "range" }, input, output)),
        show: (value) => {
          if (value !== null) input.valueAsNumber = Number(value);
          output.textContent =
            value === null ? "–" : String(Number(Number(value).toPrecision(7))).replace("-", "−");
        },
      };
    }
    case "flag": {
      const input = h("input", {
        type: "checkbox",
        id,
        name,
        change: () => {
          change(input.checked);
        },
      });
      return {
        element: h(
          "div",
          { class: "field flag" },
          h("label", { class: "check" }, input, h("span", {}, field.label)),
        ),
        show: (value) => {
          input.checked = value === true;
        },
      };
    }
    case "typed": {
      const note = h("p", { class: "note", role: "status", id: `${id}-note` });
      const input = h("input", {
        type: "text",
        id,
        name,
        autocomplete: "off",
        spellcheck: "false",
        "aria-describedby": `${id}-note`,
        input: () => {
          judge();
          if (objection() === null) change(input.value);
        },
      });
      const objection = (): Text | null => field.objection(input.value);
      const judge = (): void => {
        const wrong = objection();
        input.setAttribute("aria-invalid", String(wrong !== null));
        note.textContent = wrong === null ? t(field.hint ?? "") : t(wrong);
      };
      localise(note, judge);
      return {
        element: h("div", { class: "field" }, h("label", { for: id }, field.label), input, note),
        show: (value) => {
          if (document.activeElement !== input) input.value = String(value);
          judge();
        },
        objection,
      };
    }
  }
}
