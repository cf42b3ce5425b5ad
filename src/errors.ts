/**
 * What went wrong, in four parts: `subject: expected, got received; remedy`.
 *
 * @example
 * ```ts
 * try { bn.forward(x); } catch (error) {
 *   if (error instanceof ShapeError) console.error(error.message);
 * }
 * ```
 */
export class BatchNormError extends Error {
  /** The name of the class, minified or not. */
  override name = "BatchNormError";
}

/** A rank, a channel count, a dtype or an element count does not fit. */
export class ShapeError extends BatchNormError {
  override name = "ShapeError";
}

/** An option that there is not, a value outside what an option takes, or an argument of another kind. */
export class OptionError extends BatchNormError {
  override name = "OptionError";
}

/** A buffer or binding is too small, misaligned, on another device, or misses a usage flag. */
export class BufferError extends BatchNormError {
  override name = "BufferError";
}

/** An output range overlaps another range of the same call where that is not offered. */
export class OverlapError extends BatchNormError {
  override name = "OverlapError";
}

/** Training on one value per channel, whose variance does not exist (`singleValue: "error"`). */
export class SingleValueError extends BatchNormError {
  override name = "SingleValueError";
}

/** A module, plan or tensor was used after its `destroy()`. */
export class DestroyedError extends BatchNormError {
  override name = "DestroyedError";
}

/** `backward` without a usable context: none, used up, of another mode, or its x has changed. */
export class ContextError extends BatchNormError {
  override name = "ContextError";
}

/** The `GPUDevice` was lost: nothing made on it works any more. */
export class DeviceLostError extends BatchNormError {
  override name = "DeviceLostError";
}

/** The adapter had no memory left for an allocation. */
export class OutOfMemoryError extends BatchNormError {
  override name = "OutOfMemoryError";
}

/** No adapter of the kind that was asked for, or what it takes to get one is missing: a package, a feature, a limit, a folder. */
export class AdapterError extends BatchNormError {
  override name = "AdapterError";
}

/** A shader or pipeline did not compile; the message names the fragment and its line. */
export class CompileError extends BatchNormError {
  override name = "CompileError";
}

/** Writes `subject: expected, got received; remedy`. */
export function complain(
  subject: string,
  expected: string,
  received: string,
  remedy: string,
): string {
  return `${subject}: ${expected}, got ${received}; ${remedy}`;
}

/** That something is used which was destroyed. */
export function destroyedError(subject: string, what: string): DestroyedError {
  const remedy = "make it anew or destroy it later";
  return new DestroyedError(complain(subject, `a live ${what}`, "a destroyed one", remedy));
}
