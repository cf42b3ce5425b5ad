import { requireKnown } from "../arguments.js";
import { SWITCH, type BatchNormOptions } from "../descriptor.js";
import { complain, OptionError } from "../errors.js";
import type { RenormConstants } from "./kernels.js";

/** A limit, or corners `[batch, limit]` of a line that the batch counter walks along; flat before and after. */
export type Limit = number | readonly (readonly [batch: number, limit: number])[];

/** Options of batch renormalization, by Keras's names. */
export interface RenormOptions {
  /** Whether the batch's statistics are corrected towards moving averages. Default false. */
  renorm?: boolean | undefined;
  /** Limits of r and of |d|. Default: rMin 0, rMax and dMax infinite. */
  renormClipping?:
    | {
        /** Of r, above. Default: none. */
        rMax?: Limit | undefined;
        /** Of r, below. Default 0. */
        rMin?: Limit | undefined;
        /** Of |d|. Default: none. */
        dMax?: Limit | undefined;
      }
    | undefined;
  /**
   * Weight of the new batch in the averages that r and d look at, in [0, 1]: PyTorch's direction, 1 minus Keras's
   * renorm_momentum. Default 0.01.
   */
  renormMomentum?: number | undefined;
}

/** Their names, and what they are chosen from. */
export const RENORM_OPTIONS = { renorm: SWITCH, renormClipping: null, renormMomentum: null };

/** What stands for infinity: the kernels' numbers are finite. */
const UNLIMITED = 3.4e38;

function cornersOf(subject: string, limit: Limit | undefined, otherwise: number) {
  const given: unknown = typeof limit === "number" ? [[0, limit]] : (limit ?? [[0, otherwise]]);
  const corners = (Array.isArray(given) ? given : []).map((each: unknown) =>
    Array.isArray(each) ? each.map((number) => (typeof number === "number" ? number : NaN)) : [],
  );
  // Batches as the kernels will compare them.
  const batches = corners.map(([batch = NaN]) => Math.fround(batch));
  const ascending = batches.every(
    (batch, i) => batch >= 0 && batch < Infinity && (i === 0 || batch > batches[i - 1]!),
  );
  const paired = corners.every((each) => each.length === 2 && each[1]! >= 0);
  if (corners.length === 0 || !ascending || !paired) {
    throw new OptionError(
      complain(
        subject,
        "a number >= 0, or [batch, number] pairs with finite batches, ascending as f32",
        JSON.stringify(limit),
        "the paper ramps rMax from [5000, 1] to [40000, 3] and dMax from [5000, 0] to [25000, 5]",
      ),
    );
  }
  return corners.map(([, value], i) => [batches[i]!, Math.min(value!, UNLIMITED)] as const);
}

/** The limit in force at a batch. */
export function limitAt(corners: readonly (readonly [number, number])[], batch: number): number {
  let found = corners[0]![1];
  for (let i = 1; i < corners.length; i++) {
    const [from, low] = corners[i - 1]!;
    const [to, high] = corners[i]!;
    if (batch >= from) {
      const along = Math.min(1, (batch - from) / (to - from));
      found = low * (1 - along) + high * along;
    }
  }
  return found;
}

/**
 * The constants of batch renormalization, null without it.
 *
 * @throws OptionError where a limit or the momentum is outside its range, or no running statistics are tracked.
 */
export function resolveRenorm(
  subject: string,
  options: RenormOptions & Pick<BatchNormOptions, "trackRunningStats">,
): RenormConstants | null {
  if (!options.renorm) {
    if ((options.renormClipping ?? options.renormMomentum) !== undefined) {
      throw new OptionError(
        complain(`${subject}: renorm`, "true where it has options", "false", "set renorm: true"),
      );
    }
    return null;
  }
  if (options.trackRunningStats === false) {
    throw new OptionError(
      complain(
        `${subject}: renorm`,
        "trackRunningStats: true (it keeps averages)",
        "false",
        "track running statistics, or do without renorm",
      ),
    );
  }
  const { renormClipping = {}, renormMomentum = 0.01 } = options;
  requireKnown(`${subject}: renormClipping`, renormClipping, ["rMin", "rMax", "dMax"]);
  const isNumber = typeof (renormMomentum as unknown) === "number";
  if (!(isNumber && renormMomentum >= 0 && renormMomentum <= 1)) {
    throw new OptionError(
      complain(
        `${subject}: renormMomentum`,
        "a number in [0, 1]",
        String(renormMomentum),
        "it weighs the new batch: Keras's renorm_momentum is 1 minus this",
      ),
    );
  }
  const rMin = cornersOf(`${subject}: renormClipping.rMin`, renormClipping.rMin, 0);
  const rMax = cornersOf(`${subject}: renormClipping.rMax`, renormClipping.rMax, UNLIMITED);
  const dMax = cornersOf(`${subject}: renormClipping.dMax`, renormClipping.dMax, UNLIMITED);
  // Lines between the corners of all three together are the same lines.
  const batches = [...new Set([rMin, rMax, dMax].flatMap((each) => each.map(([batch]) => batch)))];
  const limits = batches
    .sort((a, b) => a - b)
    .map(
      (batch) => [batch, limitAt(rMin, batch), limitAt(rMax, batch), limitAt(dMax, batch)] as const,
    );
  const wrong = limits.find(([, least, most]) => least > most);
  if (wrong) {
    throw new OptionError(
      complain(
        `${subject}: renormClipping`,
        "rMin <= rMax at every batch",
        `${wrong[1]} > ${wrong[2]} at batch ${wrong[0]}`,
        "swap them",
      ),
    );
  }
  return { limits, momentum: renormMomentum };
}
