import { takesEps } from "./outlines.js";
import { type Layers, type Tensor, type TensorFlow } from "./peer.js";
import { servingBackend, train } from "./training.js";
import { broadcastShape, viewAlong } from "./view.js";

interface Weight {
  readonly trainable: boolean;
  read(): Tensor;
  write(value: Tensor): void;
}

/** What of tf.layers' BatchNormalization is worked with. */
interface Layer {
  /** A list of one in models that Keras has saved. */
  readonly axis: number | readonly [number];
  readonly momentum: number;
  readonly epsilon: number;
  readonly trainable: boolean;
  readonly gamma?: Weight | null;
  readonly beta?: Weight | null;
  readonly movingMean: Weight;
  readonly movingVariance: Weight;
}

type Call = (this: Layer, inputs: Tensor | Tensor[], kwargs: Record<string, unknown>) => Tensor;

interface Applied {
  readonly trainable: boolean;
}

type Apply = (this: Applied, ...of: unknown[]) => unknown;

/**
 * Whether a layer normalises with its moving averages, in training too; so Keras has it since TensorFlow 2. A model's
 * switch reaches the weights of its own layers, in whichever model they are then applied.
 */
function isFrozen({ trainable, gamma, beta }: Layer): boolean {
  const weights = [gamma, beta].filter((each) => !!each);
  return !trainable || (weights.length > 0 && weights.every((weight) => !weight.trainable));
}

/**
 * Tells whether a frozen layer or model is being applied, and so whether what runs is within one, however deep.
 *
 * @param base the prototype of all layers and models.
 */
function watchFrozen(base: { apply: Apply }): { within(): boolean; undo(): void } {
  const stock = base.apply;
  let depth = 0;
  base.apply = function (...of) {
    const step = this.trainable ? 0 : 1;
    depth += step;
    try {
      return stock.apply(this, of);
    } finally {
      depth -= step;
    }
  };
  return {
    within: () => depth > 0,
    undo() {
      base.apply = stock;
    },
  };
}

/**
 * Lets every BatchNormalization layer, those of loaded models too, run through our kernels: the class is
 * changed, not the layers.
 *
 * @returns what puts the stock method back.
 */
export function patchLayer(tf: TensorFlow, layers: Layers): () => void {
  // A name of its own, so that the names which layers get by themselves stay as they were.
  const probe = layers.batchNormalization({ name: "webgpu-batchnorm" });
  const prototype = Object.getPrototypeOf(probe) as { call: Call };
  const frozen = watchFrozen(Object.getPrototypeOf(prototype) as { apply: Apply });
  const stock = prototype.call;
  prototype.call = function (inputs, kwargs) {
    const x = Array.isArray(inputs) ? inputs[0]! : inputs;
    const axis = Number(this.axis);
    const gamma = this.gamma?.read() ?? null;
    const beta = this.beta?.read() ?? null;
    const mean = this.movingMean.read();
    const variance = this.movingVariance.read();
    const eps = this.epsilon;
    const weight = 1 - this.momentum;
    const trains = !!kwargs["training"] && !frozen.within() && !isFrozen(this);
    const served =
      servingBackend(tf, [x, gamma, beta, mean, variance]) &&
      x.rank >= 2 &&
      !Number.isNaN(axis) &&
      // By moving averages it is tf.batchNorm, which takes any.
      (!trains || (takesEps(eps) && weight >= 0 && weight <= 1));
    if (!served) return stock.call(this, inputs, kwargs);
    return tf.tidy(() => {
      if (!trains) {
        const isLast = axis === -1 || axis === x.rank - 1;
        const shape = broadcastShape(x.shape, axis);
        const spread = (of: Tensor): Tensor => (isLast ? of : tf.reshape(of, shape));
        return (tf.batchNorm as (...of: unknown[]) => Tensor)(
          x,
          spread(mean),
          spread(variance),
          beta && spread(beta),
          gamma && spread(gamma),
          eps,
        );
      }
      const view = viewAlong(x.shape, axis);
      const found = train(
        tf,
        { x, gamma, beta, residual: null, view, eps, activation: "none", slope: 0 },
        { mean, variance, weight },
      );
      this.movingMean.write(found.mean);
      this.movingVariance.write(found.variance);
      return found.y;
    });
  };
  return () => {
    frozen.undo();
    prototype.call = stock;
  };
}
