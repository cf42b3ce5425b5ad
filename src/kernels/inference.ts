import { inferenceFragments } from "../fragments.js";
import {
  affineOf,
  baseOf,
  mapOf,
  normalizingOf,
  only,
  read,
  residualOf,
  write,
  type KernelSource,
} from "../kernels.js";

/** y from the running statistics. */
export const INFERENCE: KernelSource = {
  name: "inference",
  specOf: (v) => ({
    fragments: [
      ...baseOf(v),
      "inference",
      ...normalizingOf(v),
      ...mapOf(v, "lib/normalize"),
      v.save ? "lib/saved" : "lib/saved_none",
    ],
    bindings: [
      ...only(!v.inPlace, read("x")),
      read("state"),
      ...affineOf(v),
      ...residualOf(v),
      write("y"),
      ...only(v.save, write("saved")),
    ],
  }),
  fragments: () => inferenceFragments,
};
