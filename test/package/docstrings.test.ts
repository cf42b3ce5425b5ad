/** Every `@example` of the bridges is a program by itself that TypeScript accepts under the package's own names. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

test("the examples in doc comments of files, fold and ort", () => {
  const programs = new Map<string, string>();
  for (const folder of ["files", "fold", "ort"]) {
    for (const name of readdirSync(`${root}src/${folder}`)) {
      const text = readFileSync(`${root}src/${folder}/${name}`, "utf8");
      for (const [index, match] of [
        ...text.matchAll(/@example\n \* ```ts\n(.*?) \* ```/gs),
      ].entries()) {
        const code = match[1]!.replace(/^ \* ?/gm, "");
        programs.set(`${root}src/${folder}/example-${index}-of-${name}`, `export {};\n${code}`);
      }
    }
  }
  expect(programs.size).toBeGreaterThan(8);

  const { config } = ts.readConfigFile(`${root}tsconfig.json`, ts.sys.readFile.bind(ts.sys)) as {
    config: { compilerOptions: object };
  };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  const host = ts.createCompilerHost(options);
  const readFile = host.readFile.bind(host);
  const fileExists = host.fileExists.bind(host);
  host.readFile = (path) => programs.get(path) ?? readFile(path);
  host.fileExists = (path) => programs.has(path) || fileExists(path);
  const sourceOf = host.getSourceFile.bind(host);
  host.getSourceFile = (path, ...rest) =>
    programs.has(path)
      ? ts.createSourceFile(path, programs.get(path)!, ts.ScriptTarget.ES2022)
      : sourceOf(path, ...rest);
  const program = ts.createProgram([...programs.keys()], options, host);
  const problems = ts
    .getPreEmitDiagnostics(program)
    .map(
      ({ file, messageText }) =>
        `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`,
    );
  expect(problems).toEqual([]);
}, 120_000);
