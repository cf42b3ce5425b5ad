import { readdirSync, readFileSync } from "node:fs";
import type { Plugin } from "vite";

const root = `${process.cwd()}/`;

/** A fenced `ts` block of a page, with what stands in an HTML comment `<!-- setup ... -->` right before it. */
export interface Snippet {
  readonly name: string;
  readonly code: string;
}

const examples = readdirSync(`${root}examples`)
  .map((name) => readFileSync(`${root}examples/${name}`, "utf8"))
  .join("\n");

/**
 * The `ts` blocks of a Markdown page, in order, but for those that run elsewhere: word for word in an example, or,
 * marked `no-run`, in a test of their own.
 */
export function snippetsOf(page: string): Snippet[] {
  const text = readFileSync(`${root}${page}`, "utf8");
  const blocks = text.matchAll(
    /(?:<!-- setup\n([\s\S]*?)-->\s*)?^```ts( no-run)?\n([\s\S]*?)^```/gm,
  );
  return [...blocks].flatMap(([, setup = "", elsewhere, code = ""], index) =>
    elsewhere || examples.includes(code.trimEnd())
      ? []
      : [{ name: `${page}:${index}`, code: `${setup}\n${code}` }],
  );
}

/** Those of README and docs. */
export function allSnippets(): Snippet[] {
  const docs = readdirSync(`${root}docs`).filter((name) => name.endsWith(".md"));
  return ["README.md", ...docs.map((name) => `docs/${name}`)].flatMap(snippetsOf);
}

/** What a snippet says that it prints: the comments behind its `console.log`s. */
export function promisedBy({ code }: Snippet): string[] {
  return [...code.matchAll(/^\s*console\.log\(.*\);? \/\/ (.*)$/gm)].map(([, text]) =>
    text!.trim(),
  );
}

/** Lets `import("@snippet/README.md:0")` run a block as a module of the project. */
export function snippets(): Plugin {
  return {
    name: "snippets",
    enforce: "pre",
    resolveId(id) {
      const [, page, index] = /^@snippet\/(.*):(\d+)$/.exec(id) ?? [];
      return page ? `${root}${page}.snippet${index}.ts` : null;
    },
    load(id) {
      const [, page, index] = /^(.*)\.snippet(\d+)\.ts$/.exec(id) ?? [];
      if (!page) return null;
      // Vite hands over some ids with the project's folder, some without.
      const name = `${page.replace(root, "").replace(/^\//, "")}:${index}`;
      return allSnippets().find((each) => each.name === name)?.code ?? null;
    },
  };
}
