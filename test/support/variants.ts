import type { KernelSource, ValueKind, Variant } from "../../src/kernels.js";
import { backwardKernel } from "../../src/kernels/backward.js";
import { forwardKernel } from "../../src/kernels/forward.js";
import { INFERENCE } from "../../src/kernels/inference.js";
import type { ActivationName, Dtype } from "../../src/descriptor.js";

export const ACTIVATIONS: readonly ActivationName[] = [
  "none",
  "relu",
  "relu6",
  "leaky-relu",
  "elu",
  "tanh",
  "sigmoid",
  "silu",
  "gelu",
  "hard-swish",
];

const VALUES: Readonly<Record<Dtype, readonly ValueKind[]>> = {
  f32: ["scalar", "row4", "rows4", "channels4", "quad"],
  f16: ["row2", "row4", "channels2", "channels4", "quad", "half"],
  bf16: ["row2", "row4", "channels2", "channels4", "quad", "half"],
};

/** The kernels, with which of a variant's choices each looks at; the others would only repeat the same code. */
const LOOKS_AT: readonly (readonly [KernelSource, readonly (keyof Variant)[]])[] = [
  [forwardKernel("statistics"), ["running"]],
  [
    forwardKernel("normalize"),
    ["inPlace", "floored", "running", "affine", "residual", "activation"],
  ],
  [forwardKernel("finish"), ["floored", "running", "affine"]],
  [forwardKernel("apply"), ["inPlace", "residual", "activation"]],
  [forwardKernel("whole"), ["inPlace", "floored", "running", "affine", "residual", "activation"]],
  [forwardKernel("held"), ["inPlace", "floored", "running", "affine", "residual", "activation"]],
  [INFERENCE, ["inPlace", "floored", "affine", "residual", "activation", "save"]],
  [
    backwardKernel("sums"),
    ["inPlace", "recovers", "residual", "activation", "evaluation", "dResidual"],
  ],
  [backwardKernel("input"), ["inPlace", "recovers", "residual", "activation", "dGamma", "dBeta"]],
  [backwardKernel("merge"), []],
  [backwardKernel("parameters"), ["dGamma", "dBeta"]],
  [
    backwardKernel("whole"),
    ["inPlace", "recovers", "residual", "activation", "dResidual", "dGamma", "dBeta"],
  ],
  [
    backwardKernel("held"),
    ["inPlace", "recovers", "residual", "activation", "dResidual", "dGamma", "dBeta"],
  ],
  [backwardKernel("scale"), ["inPlace"]],
];

/** Kernels that a plan may use where nothing is reduced. */
const MAPS = /inference|apply|input|scale/;

/** The variant whose inputs all lie in the buffer of an output. */
export function sharing(variant: Variant): Variant {
  const { bindings } = variant.kernel.specOf(variant);
  return { ...variant, shared: bindings.filter(({ write }) => !write).map(({ name }) => name) };
}

/** Every variant of a kernel and dtype that a plan can ask for. */
export function* variantsOf(name: string, dtype: Dtype): Generator<Variant> {
  const [kernel, looks] = LOOKS_AT.find(([each]) => each.name === name)!;
  const choices = <K extends keyof Variant>(
    key: K,
    all: readonly Variant[K][],
  ): readonly Variant[K][] => (looks.includes(key) ? all : [all[0]!]);
  const flags = [false, true];
  for (const value of VALUES[dtype])
    for (const team of [1, 64])
      for (const fence of flags)
        for (const shared of flags)
          for (const activation of choices("activation", ACTIVATIONS))
            for (const affine of choices("affine", flags))
              for (const residual of choices("residual", flags))
                for (const running of choices("running", flags))
                  for (const save of choices("save", flags))
                    for (const evaluation of choices("evaluation", flags))
                      for (const dGamma of choices("dGamma", flags))
                        for (const dBeta of choices("dBeta", flags))
                          for (const dResidual of choices("dResidual", flags))
                            for (const inPlace of choices("inPlace", flags))
                              for (const floored of choices("floored", flags))
                                for (const recovers of choices("recovers", flags)) {
                                  if (
                                    recovers &&
                                    !["none", "leaky-relu", "elu"].includes(activation)
                                  )
                                    continue;
                                  if (value === "half" && /whole|held/.test(name)) continue;
                                  if (
                                    value === "quad" &&
                                    ((team > 1 && dtype === "f32" && !MAPS.test(name)) ||
                                      /held/.test(name))
                                  )
                                    continue;
                                  // Without gamma there is no floor; sums alone write nothing over dy.
                                  if (floored && looks.includes("affine") && !affine) continue;
                                  if (inPlace && looks.includes("evaluation") && !evaluation)
                                    continue;
                                  // Crossing everything with everything takes minutes. Whether inputs are shared and
                                  // whether additions are fenced changes no other choice, so each is crossed with the
                                  // plain variants only; so are the activations, one with everything and one with
                                  // all of a lane alone.
                                  const extras = [
                                    running,
                                    save,
                                    dGamma,
                                    dBeta,
                                    dResidual,
                                    inPlace,
                                    floored,
                                  ];
                                  const plain = !extras.includes(true);
                                  const crossed =
                                    activation === "none" || (activation === "silu" && team === 1);
                                  if (!plain && (shared || !fence)) continue;
                                  if (!crossed && !(plain && team === 1 && !shared && fence))
                                    continue;
                                  // From f16 it differs in one fragment, of the same names.
                                  if (dtype === "bf16" && !(plain && activation === "none"))
                                    continue;
                                  const made: Variant = {
                                    kernel,
                                    dtype,
                                    value,
                                    workgroupSize: 256,
                                    team,
                                    lanesAdjacent: value.startsWith("row") || value === "quad",
                                    subgroup: 0,
                                    held: name.endsWith("held") ? 8 : 0,
                                    fence,
                                    // It changes no other choice either: with the plain variants, the other way round.
                                    even: !fence,
                                    activation,
                                    affine,
                                    residual,
                                    running,
                                    save,
                                    evaluation,
                                    dGamma,
                                    dBeta,
                                    dResidual,
                                    inPlace,
                                    floored,
                                    recovers,
                                    shared: [],
                                  };
                                  yield shared ? sharing(made) : made;
                                  if (plain && dtype === "f16") yield { ...made, native: true };
                                  if (
                                    plain &&
                                    team > 1 &&
                                    made.lanesAdjacent &&
                                    !/inference|scale/.test(name)
                                  )
                                    yield {
                                      ...(shared ? sharing(made) : made),
                                      subgroup: 32,
                                    };
                                }
}

export const KERNELS = LOOKS_AT.map(([{ name }]) => name);
