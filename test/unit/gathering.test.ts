/** Partial results in a tree: each is in the whole once, whatever was asked for, taken back or begun anew in between. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openNullDevice } from "../support/null-device.js";
import { createRandom } from "../support/random.js";
import { Gathering, PARTS, type Merge } from "../../src/statistics/gathering.js";

/** What stands in each place of a buffer: the tensors that the part is of, in their order, and how often merged. */
interface Part {
  of: number[];
  merges: number;
}
const contents = new Map<GPUBuffer, Part[]>();
let device: GPUDevice;
beforeAll(async () => {
  device = await openNullDevice();
  const create = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    contents.set(buffer, []);
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      contents.delete(buffer);
      destroy();
    };
    return buffer;
  };
});
const partsIn = (buffer: GPUBuffer): Part[] => contents.get(buffer)!;

const merge: Merge = (parts, count, into, slot) => {
  expect(into).not.toBe(parts);
  expect(slot).toBeLessThan(into.size / 16);
  const all = partsIn(parts).slice(0, count);
  expect(all.length).toBe(count);
  partsIn(into)[slot] = {
    of: all.flatMap(({ of }) => of),
    merges: 1 + Math.max(0, ...all.map(({ merges }) => merges)),
  };
};

let gathering: Gathering;
beforeEach(() => {
  contents.clear();
  gathering = new Gathering(device, "test", (parts) => 16 * parts);
});
const add = (tensor: number): void => {
  const slot = gathering.next(merge, 2);
  partsIn(gathering.parts)[slot] = { of: [tensor], merges: 0 };
};
const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

test.each([0, 1, 2, 16, 17, 272, 273, 5000])("%d parts are merged in order", (count) => {
  for (let i = 0; i < count; i++) add(i);
  const [whole] = partsIn(gathering.whole(merge));
  expect(whole!.of).toEqual(upTo(count));
  expect(gathering.values).toBe(2 * count);
  // What is not one part alone is merged once a level: 16, 16 * 16, ... tensors.
  const levels = Math.max(1, Math.ceil(Math.log(count) / Math.log(PARTS)));
  expect(whole!.merges).toBeLessThanOrEqual(count === 1 ? 0 : levels + 1);
});

describe("in any order", () => {
  test.each([1, 2, 3, 4, 5])("run %d", (seed) => {
    const random = createRandom(seed);
    let count = 0;
    for (let step = 0; step < 6000; step++) {
      const dice = random.uniform();
      if (dice < 0.0005) {
        gathering.reset();
        count = 0;
      } else if (dice < 0.1) {
        expect(partsIn(gathering.whole(merge))[0]!.of).toEqual(upTo(count));
      } else if (dice < 0.2) {
        // Merged, and then refused: what was recorded may be submitted or not.
        const dropped = random.uniform() < 0.5 ? merge : () => undefined;
        const refused = (): never => {
          if (random.uniform() < 0.5) gathering.whole(dropped);
          else gathering.next(dropped, 2);
          throw new RangeError("refused");
        };
        expect(() => gathering.attempt(refused)).toThrow(RangeError);
        expect(gathering.values).toBe(2 * count);
      } else {
        add(count++);
      }
    }
    expect(count).toBeGreaterThan(PARTS ** 2);
    expect(partsIn(gathering.whole(merge))[0]!.of).toEqual(upTo(count));
  });
});

test("makes no buffers anew for the next batch, and frees all", () => {
  const fill = (): void => {
    for (let i = 0; i < 300; i++) add(i);
    gathering.whole(merge);
  };
  fill();
  const made = contents.size;
  gathering.reset();
  fill();
  expect(contents.size).toBe(made);
  gathering.destroy();
  expect(contents.size).toBe(0);
});
