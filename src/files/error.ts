import { BatchNormError, complain } from "../errors.js";

/**
 * A file is truncated, malformed or hostile, or lacks what was asked of it. The message names the place in four parts.
 *
 * @example
 * ```ts
 * import { FileError, readSafetensors } from "webgpu-batchnorm/files";
 * try {
 *   readSafetensors(new Uint8Array(4));
 * } catch (error) {
 *   if (error instanceof FileError) console.error(error.message);
 * }
 * ```
 */
export class FileError extends BatchNormError {
  override name = "FileError";
}

/** Throws a {@link FileError} of four parts. */
export function refuse(subject: string, expected: string, received: string, remedy: string): never {
  throw new FileError(complain(subject, expected, received, remedy));
}

/** A name out of a file, short enough for a message. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}
