import { existsSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const source = (path: string): string => fileURLToPath(new URL(`src/${path}`, import.meta.url));

/** The package's entries, by the name under which `exports` in package.json lists them. A folder is a subpath. */
export const entries: Readonly<Record<string, string>> = {
  index: source("index.ts"),
  node: source("node.ts"),
  reference: source("reference.ts"),
  ...Object.fromEntries(
    readdirSync(source("."), { withFileTypes: true })
      .filter((each) => each.isDirectory() && existsSync(source(`${each.name}/index.ts`)))
      .map(({ name }) => [name, source(`${name}/index.ts`)]),
  ),
};

/** Lets tests, demo and scripts import the package by its name. */
export const alias = Object.entries(entries).map(([name, replacement]) => ({
  find: name === "index" ? /^webgpu-batchnorm$/ : new RegExp(`^webgpu-batchnorm/${name}$`),
  replacement,
}));
