import { planAverages } from "./outlines.js";
import { createBackwardSync } from "../backward.js";
import { stateLayout } from "../bindings.js";
import { createForwardSync } from "../forward.js";
import { composed, composedGradients, type Normalized, type Problem } from "./composed.js";
import {
  bufferOf,
  currentBackend,
  isAbsent,
  asF32,
  isF32,
  record,
  runKernel,
  tensorsOf,
  type Backend,
  type Tensor,
  type TensorFlow,
  type TensorInfo,
} from "./peer.js";
import { plansOf } from "./plans.js";
import { planShape } from "./view.js";

/** Moving averages that take their share of the batch; what comes out in place of mean and variance is new tensors. */
export interface Moving {
  readonly mean: Tensor;
  readonly variance: Tensor;
  /** Weight of the batch: 1 minus Keras's momentum. */
  readonly weight: number;
}

/** The backend where our kernels can do it, f32 throughout, else null. */
export function servingBackend(
  tf: TensorFlow,
  tensors: readonly (Tensor | null)[],
): Backend | null {
  const backend = currentBackend(tf);
  return backend && tensors.every((each) => !each || isF32(backend, each)) ? backend : null;
}

/** The parts of a plan's key and descriptor that forward and backward share. */
function descriptorOf({ gamma, beta, residual, view, eps, activation, slope }: Problem) {
  const affine = !!gamma || !!beta;
  return {
    key: [
      view.outer,
      view.channels,
      view.inner,
      eps,
      activation,
      slope,
      !!gamma,
      !!beta,
      !!residual,
    ].join(" "),
    descriptor: {
      ...planShape(view),
      eps,
      activation,
      slope,
      affine,
      residual: !!residual,
      singleValue: "zero",
    } as const,
  };
}

/** [y, mean, variance, saved]: two dispatches, three for large tensors, and a small last one. */
function forward(
  tf: TensorFlow,
  backend: Backend,
  problem: Problem,
  moving: Moving | null,
): TensorInfo[] {
  const { x, gamma, beta, residual, view } = problem;
  const { channels } = view;
  const { device } = backend;
  const { key, descriptor } = descriptorOf(problem);
  const plans = plansOf(backend);
  // Momentum 1 leaves the batch's own statistics in `state`.
  const plan = plans.get(`forward ${key}`, () =>
    createForwardSync(device, { ...descriptor, momentum: 1, runningVariance: "population" }),
  );
  const momentum = moving ? moving.weight : null;
  const averages = plans.get(`averages ${channels} ${momentum}`, () =>
    planAverages(device, channels, momentum),
  );
  const { affine } = descriptor;
  const ones = affine && !gamma ? plans.constant(1, channels) : null;
  const zeros = affine && !beta ? plans.constant(0, channels) : null;
  const made = (shape: readonly number[]): TensorInfo => backend.makeTensorInfo(shape, "float32");
  const state = made([stateLayout(channels).bytes / 4]);
  const outputs = [made(x.shape), made([channels]), made([channels]), made([5, channels])];
  const inputs = [x, gamma, beta, residual, moving?.mean, moving?.variance].filter(
    (each) => !!each,
  );
  const buffer = (info: TensorInfo): GPUBuffer => bufferOf(backend, info);
  record(tf, backend, {
    name: "batchNormTraining",
    inputs,
    outputs: [...outputs, state],
    dispatches: 3,
    encode(pass) {
      const [y, newMean, newVariance, saved] = outputs.map(buffer);
      plan.encode(pass, {
        x: buffer(x),
        ...(affine ? { gamma: ones ?? buffer(gamma!), beta: zeros ?? buffer(beta!) } : {}),
        ...(residual ? { residual: buffer(residual) } : {}),
        y: y!,
        saved: saved!,
        state: buffer(state),
      });
      averages.encode(pass, {
        state: buffer(state),
        ...(moving ? { mean: buffer(moving.mean), variance: buffer(moving.variance) } : {}),
        newMean: newMean!,
        newVariance: newVariance!,
      });
    },
  });
  backend.disposeData(state.dataId);
  return outputs;
}

/** Gradients of {@link forward}, all that there are in one: at most two dispatches, three for large tensors. */
function backward(
  tf: TensorFlow,
  backend: Backend,
  problem: Problem,
  saved: Tensor,
  dy: Tensor,
): Record<string, Tensor> {
  const { x, gamma, beta, residual, view, activation } = problem;
  const { key, descriptor } = descriptorOf(problem);
  // Without an activation dResidual is dy.
  const shaped = residual && activation !== "none" ? residual : null;
  const names = ["x"];
  if (gamma) names.push("gamma");
  if (beta) names.push("beta");
  if (shaped) names.push("residual");
  const gradients = runKernel(tf, "batchNormTrainingGradient", {
    inputs: { dy, x, saved, ...(shaped ? { residual: shaped } : {}) },
    forwardFunc() {
      const plan = plansOf(backend).get(`backward ${key}`, () =>
        createBackwardSync(backend.device, {
          ...descriptor,
          residual: !!shaped,
          wants: { gamma: !!gamma, beta: !!beta },
        }),
      );
      const outputs = names.map((name) =>
        backend.makeTensorInfo(
          name === "x" || name === "residual" ? x.shape : [view.channels],
          "float32",
        ),
      );
      record(tf, backend, {
        name: "batchNormTrainingGradient",
        inputs: [dy, x, saved, ...(shaped ? [shaped] : [])],
        outputs,
        dispatches: 2,
        encode(pass) {
          const bound = (name: string): GPUBuffer | undefined => {
            const at = names.indexOf(name);
            return at < 0 ? undefined : bufferOf(backend, outputs[at]!);
          };
          const [dGamma, dBeta, dResidual] = ["gamma", "beta", "residual"].map(bound);
          plan.encode(pass, {
            x: bufferOf(backend, x),
            dy: bufferOf(backend, dy),
            saved: bufferOf(backend, saved),
            ...(shaped ? { residual: bufferOf(backend, shaped) } : {}),
            dx: bound("x")!,
            ...(dGamma ? { dGamma } : {}),
            ...(dBeta ? { dBeta } : {}),
            ...(dResidual ? { dResidual } : {}),
          });
        },
      });
      return tensorsOf(tf, backend, outputs);
    },
  });
  const named = Object.fromEntries(names.map((name, i) => [name, gradients[i]!]));
  return residual && !shaped ? { ...named, residual: tf.clone(dy) } : named;
}

/** What reaches x through the batch's mean and variance themselves, where somebody differentiates them. */
function throughStatistics(
  tf: TensorFlow,
  { x, view }: Problem,
  mean: Tensor,
  dMean: Tensor,
  dVariance: Tensor,
): Tensor {
  const { outer, channels, inner } = view;
  const perValue = 1 / (outer * inner);
  const broadcast = (of: Tensor): Tensor => tf.reshape(of, [1, channels, 1]);
  const centred = tf.sub(tf.reshape(x, [outer, channels, inner]), broadcast(mean));
  const byVariance = tf.mul(centred, tf.mul(broadcast(dVariance), 2 * perValue));
  return tf.reshape(tf.add(byVariance, tf.mul(broadcast(dMean), perValue)), x.shape);
}

/**
 * Batch Normalization with the batch's statistics, on TensorFlow.js's own buffers and in its own order;
 * composed from its operations where our kernels do not serve.
 *
 * @param moving averages that take their share, only where there is a {@link servingBackend}: a layer elsewhere is the
 * stock one.
 */
export function train(tf: TensorFlow, problem: Problem, moving: Moving | null = null): Normalized {
  const { x, gamma, beta, residual } = problem;
  const given = Object.entries({ gamma, beta, residual }).filter(([, tensor]) => tensor);
  const optional = given as [string, Tensor][];
  if (x.size === 0)
    return trainOnNothing(tf, problem, moving, { x, ...Object.fromEntries(optional) });
  const backend = servingBackend(tf, [x, gamma, beta, residual]);
  if (!backend) return composed(tf, problem);
  const [y, mean, variance] = runKernel(tf, "batchNormTraining", {
    inputs: { x, ...Object.fromEntries(optional) },
    forwardFunc(_, save) {
      const tensors = tensorsOf(tf, backend, forward(tf, backend, problem, moving));
      save([x, tensors[1]!, tensors[3]!, ...optional.map(([, tensor]) => tensor)]);
      return tensors;
    },
    backwardsFunc([dy, dMean, dVariance], [x, mean, saved, ...rest]) {
      const again: Problem = {
        ...problem,
        x: x!,
        ...Object.fromEntries(optional.map(([name], i) => [name, rest[i]!])),
      };
      let gradients: Record<string, Tensor>;
      // With a tape running, somebody differentiates the gradient: only stock operations have one.
      if (tf.engine().isTapeOn()) {
        gradients = composedGradients(tf, again, [dy!, dMean!, dVariance!]);
      } else {
        gradients = backward(tf, backend, again, saved!, asF32(tf, backend, dy!));
        if (!moving && !(isAbsent(backend, dMean!) && isAbsent(backend, dVariance!))) {
          const more = throughStatistics(tf, again, mean!, dMean!, dVariance!);
          gradients = { ...gradients, x: tf.add(gradients["x"]!, more) };
        }
      }
      return Object.fromEntries(
        Object.entries(gradients).map(([name, gradient]) => [name, () => gradient]),
      );
    },
  });
  return { y: y!, mean: mean!, variance: variance! };
}

/** An empty batch: y is empty, gradients are zero, moving averages stay. Stock reductions cannot take it. */
function trainOnNothing(
  tf: TensorFlow,
  { x, view }: Problem,
  moving: Moving | null,
  inputs: Record<string, Tensor>,
): Normalized {
  const [y, mean, variance] = runKernel(tf, "batchNormTraining", {
    inputs,
    forwardFunc: () => [
      tf.zeros(x.shape),
      ...[moving?.mean, moving?.variance].map((old) =>
        old ? tf.clone(old) : tf.zeros([view.channels]),
      ),
    ],
    backwardsFunc: () =>
      Object.fromEntries(
        Object.entries(inputs).map(([name, tensor]) => [name, () => tf.zerosLike(tensor)]),
      ),
  });
  return { y: y!, mean: mean!, variance: variance! };
}
