import type { Layout } from "../descriptor.js";
import { complain, ShapeError } from "../errors.js";
import { requireTensor, type Tensor } from "../tensor.js";

/**
 * A mask has a number for each position: x's shape without the channel.
 *
 * @throws OptionError, DestroyedError, BufferError, ShapeError, DeviceLostError.
 */
export function requireMask(subject: string, mask: Tensor, x: Tensor, layout: Layout): void {
  const channel = layout === "channels-last" || x.shape.length === 2 ? x.shape.length - 1 : 1;
  const wanted = x.shape.filter((_, dimension) => dimension !== channel);
  requireTensor(subject, mask);
  if (mask.dtype === "f32" && mask.shape.join() === wanted.join()) return;
  throw new ShapeError(
    complain(
      subject,
      `[${wanted.join(", ")}], f32 (x's shape without the channel)`,
      `[${mask.shape.join(", ")}], ${mask.dtype}`,
      "one number a position",
    ),
  );
}
