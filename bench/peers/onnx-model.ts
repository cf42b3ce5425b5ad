/** A protocol buffer's field: a number, a text, bytes or a message. */
type Field = readonly [id: number, value: number | string | Uint8Array];

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 128);
  }
}

function message(...fields: readonly Field[]): Uint8Array {
  const bytes: number[] = [];
  for (const [id, value] of fields) {
    if (typeof value === "number") {
      bytes.push(...varint(id * 8), ...varint(value));
      continue;
    }
    const contents = typeof value === "string" ? new TextEncoder().encode(value) : value;
    bytes.push(...varint(id * 8 + 2), ...varint(contents.length), ...contents);
  }
  return Uint8Array.from(bytes);
}

const FLOAT = 1;
const ATTRIBUTE_FLOAT = 1;
const IR_VERSION = 8;
const OPSET = 15;

function valueInfo(name: string, shape: readonly number[]): Uint8Array {
  const dimensions = shape.map((size): Field => [1, message([1, size])]);
  return message([1, name], [2, message([1, message([1, FLOAT], [2, message(...dimensions)])])]);
}

/**
 * A model of one BatchNormalization in inference, every operand an input, so that all of them can be buffers on the
 * device. Field numbers are those of onnx.proto.
 *
 * @see https://onnx.ai/onnx/operators/onnx__BatchNormalization.html
 */
export function batchNormalizationModel(shape: readonly number[], epsilon: number): Uint8Array {
  const names = ["X", "scale", "B", "input_mean", "input_var"];
  const float = new Uint8Array(new Float32Array([epsilon]).buffer);
  // An attribute's float is a fixed 32-bit field: tag 2 * 8 + 5.
  const attribute = Uint8Array.from([
    ...message([1, "epsilon"]),
    2 * 8 + 5,
    ...float,
    ...message([20, ATTRIBUTE_FLOAT]),
  ]);
  const node = message(
    ...names.map((name): Field => [1, name]),
    [2, "Y"],
    [3, "normalize"],
    [4, "BatchNormalization"],
    [5, attribute],
  );
  const perChannel = [shape[1]!];
  const graph = message(
    [1, node],
    [2, "batch_normalization"],
    ...names.map((name, i): Field => [11, valueInfo(name, i === 0 ? shape : perChannel)]),
    [12, valueInfo("Y", shape)],
  );
  return message([1, IR_VERSION], [2, "webgpu-batchnorm"], [7, graph], [8, message([2, OPSET])]);
}
