/** Fragments by their path under `shaders/` without ending: `lib/chunk`, `inference`. */
export type Fragments = Readonly<Record<string, string>>;

/** Names what a glob of `shaders/` gives: `./lib/chunk.wgsl` and the like. */
export function fragmentsOf(files: Readonly<Record<string, string>>): Fragments {
  return Object.fromEntries(Object.entries(files).map(([path, text]) => [path.slice(2, -5), text]));
}

// All of the core's in one place, though each stands for itself: side by side they compress far better.

/** Those that kernels of several kinds are joined from. */
export const commonFragments = /* @__PURE__ */ fragmentsOf(
  import.meta.glob<string>("./lib/*.wgsl", {
    base: "../shaders",
    query: "?raw",
    import: "default",
    eager: true,
  }),
);

/** Those of training's forward. */
export const forwardFragments = /* @__PURE__ */ fragmentsOf(
  import.meta.glob<string>("./forward/**/*.wgsl", {
    base: "../shaders",
    query: "?raw",
    import: "default",
    eager: true,
  }),
);

/** Those of the backward. */
export const backwardFragments = /* @__PURE__ */ fragmentsOf(
  import.meta.glob<string>("./backward/**/*.wgsl", {
    base: "../shaders",
    query: "?raw",
    import: "default",
    eager: true,
  }),
);

/** Those by which a team of either adds up and holds its Values. */
export const teamFragments = /* @__PURE__ */ fragmentsOf(
  import.meta.glob<string>("./team/*.wgsl", {
    base: "../shaders",
    query: "?raw",
    import: "default",
    eager: true,
  }),
);

/** Those of inference. */
export const inferenceFragments = /* @__PURE__ */ fragmentsOf(
  import.meta.glob<string>("./inference.wgsl", {
    base: "../shaders",
    query: "?raw",
    import: "default",
    eager: true,
  }),
);
