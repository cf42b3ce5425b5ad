import { complain, OptionError, ShapeError } from "../errors.js";

/**
 * What the dimensions of a convolution's weight are, outermost first: O output channels, I input channels, D H W the
 * kernel; in a depthwise one C channels and M, how many outputs each has.
 *
 * | | convolution | transposed | depthwise |
 * | --- | --- | --- | --- |
 * | PyTorch, ONNX | `OIW` `OIHW` `OIDHW` | `IOW` `IOHW` `IODHW` | `OIHW` with `groups` |
 * | Keras, TensorFlow.js | `WIO` `HWIO` `DHWIO` | `WOI` `HWOI` `DHWOI` | `WCM` `HWCM` |
 *
 * With groups, I of a convolution and O of a transposed one count the channels of one group, as those libraries do.
 */
export type ConvLayout =
  | "OIW"
  | "OIHW"
  | "OIDHW"
  | "WIO"
  | "HWIO"
  | "DHWIO"
  | "WCM"
  | "HWCM"
  | "IOW"
  | "IOHW"
  | "IODHW"
  | "WOI"
  | "HWOI"
  | "DHWOI";

/** What the dimensions of a fully connected layer's weight are. */
export type LinearLayout = "OI" | "IO";

const CONVOLUTION: readonly ConvLayout[] = [
  "OIW",
  "OIHW",
  "OIDHW",
  "WIO",
  "HWIO",
  "DHWIO",
  "WCM",
  "HWCM",
];
const TRANSPOSED: readonly ConvLayout[] = ["IOW", "IOHW", "IODHW", "WOI", "HWOI", "DHWOI"];

/** Which channels an element of a weight connects. */
export interface Indexing {
  readonly size: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly transposed: boolean;
  input(element: number): number;
  output(element: number): number;
}

/** Reads a weight's shape by its layout. */
export function indexing(
  subject: string,
  shape: readonly number[],
  layout: ConvLayout | LinearLayout,
  groups: number,
): Indexing {
  const linear = subject === "foldIntoLinear";
  const known: readonly string[] = linear ? ["OI", "IO"] : [...CONVOLUTION, ...TRANSPOSED];
  if (!known.includes(layout)) {
    throw new OptionError(
      complain(
        `${subject}: layout`,
        `one of ${known.join(", ")}`,
        String(layout),
        "name the weight's dimensions",
      ),
    );
  }
  if (
    shape.length !== layout.length ||
    !shape.every((each) => Number.isSafeInteger(each) && each >= 1)
  ) {
    throw new ShapeError(
      complain(
        `${subject}: weight`,
        `rank ${layout.length} (${layout})`,
        `[${shape.join(", ")}]`,
        "check the layout",
      ),
    );
  }
  const axis = (letter: string): { size: number; at: (element: number) => number } => {
    const place = layout.indexOf(letter);
    const size = shape[place]!;
    const stride = shape.slice(place + 1).reduce((a, b) => a * b, 1);
    return { size, at: (element) => Math.floor(element / stride) % size };
  };
  const size = shape.reduce((a, b) => a * b, 1);
  if (layout.endsWith("CM")) {
    if (groups !== 1) {
      const expected = `none of a depthwise layout (${layout})`;
      const remedy = "leave it out: M says how many outputs a channel has";
      throw new OptionError(complain(`${subject}: groups`, expected, String(groups), remedy));
    }
    const [c, m] = [axis("C"), axis("M")];
    return {
      size,
      inputs: c.size,
      outputs: c.size * m.size,
      transposed: false,
      input: c.at,
      output: (element) => c.at(element) * m.size + m.at(element),
    };
  }
  const transposed = (TRANSPOSED as readonly string[]).includes(layout);
  // The axis that counts all channels, and the one that counts those of a group.
  const [whole, part] = transposed ? [axis("I"), axis("O")] : [axis("O"), axis("I")];
  requireGroups(subject, groups, whole.size);
  const perGroup = whole.size / groups;
  const grouped = (element: number): number =>
    Math.floor(whole.at(element) / perGroup) * part.size + part.at(element);
  return transposed
    ? {
        size,
        inputs: whole.size,
        outputs: part.size * groups,
        transposed,
        input: whole.at,
        output: grouped,
      }
    : {
        size,
        inputs: part.size * groups,
        outputs: whole.size,
        transposed,
        input: grouped,
        output: whole.at,
      };
}

function requireGroups(subject: string, groups: number, channels: number): void {
  if (Number.isSafeInteger(groups) && groups >= 1 && channels % groups === 0) return;
  throw new OptionError(
    complain(
      `${subject}: groups`,
      `a divisor of ${channels} channels`,
      String(groups),
      "check the layout and the groups",
    ),
  );
}
