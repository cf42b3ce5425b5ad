import { expect, test } from "vitest";
import { stateOf } from "../../src/device.js";
import { BufferError, OutOfMemoryError } from "../../src/errors.js";
import type { Backend } from "../../src/tfjs/peer.js";
import { destroyPlans, Plans, plansOf } from "../../src/tfjs/plans.js";
import { broadcastShape, planShape, viewAlong, viewOf } from "../../src/tfjs/view.js";

/** A backend that has an encoder, until it is submitted. */
function fake(): { backend: Backend; submit: () => void } {
  const limits = { maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupSizeX: 256 };
  const backend = {
    device: { queue: {}, lost: new Promise(() => undefined), limits },
    commandEncoder: null as object | null,
    ensureCommandEncoderReady() {
      backend.commandEncoder ??= {};
    },
  };
  return {
    backend: backend as unknown as Backend,
    submit: () => {
      backend.commandEncoder = null;
    },
  };
}

test("plans are bounded, the least recently used go, and none that a pending encoder holds", () => {
  const { backend, submit } = fake();
  const plans = new Plans(backend, 2);
  const destroyed: string[] = [];
  const get = (key: string): { destroy(): void } =>
    plans.get(key, () => ({ destroy: () => destroyed.push(key) }));
  const a = get("a");
  get("b");
  expect(get("a")).toBe(a);
  get("c");
  expect(plans.sizes).toEqual({ kept: 2, retired: 1 });
  expect(get("a")).toBe(a);
  expect(destroyed).toEqual([]);
  submit();
  get("a");
  get("d");
  expect(destroyed).toEqual(["b"]);
  // c was last used before the submit, but put out after it; it goes with the next that is made.
  get("e");
  expect(destroyed).toEqual(["b", "c"]);
  expect(plans.sizes).toEqual({ kept: 2, retired: 1 });
  plans.destroy();
  expect(destroyed).toEqual(["b", "c"]);
  expect(plans.sizes).toEqual({ kept: 0, retired: 0 });
});

test("destroying frees what has been submitted", () => {
  const { backend, submit } = fake();
  const plans = new Plans(backend);
  const destroyed: string[] = [];
  plans.get("a", () => ({ destroy: () => destroyed.push("a") }));
  submit();
  plans.get("b", () => ({ destroy: () => destroyed.push("b") }));
  plans.destroy();
  expect(destroyed).toEqual(["a"]);
});

test("those of a backend that has been disposed of are destroyed once another has plans", () => {
  const destroyed: string[] = [];
  const { backend: first } = fake();
  plansOf(first).get("a", () => ({ destroy: () => destroyed.push("a") }));
  const { backend: second } = fake();
  plansOf(second).get("b", () => ({ destroy: () => destroyed.push("b") }));
  expect(destroyed).toEqual([]);
  Object.assign(first, { disposed: true });
  const { backend: third } = fake();
  plansOf(third);
  expect(destroyed).toEqual(["a"]);
  destroyPlans();
  expect(destroyed).toEqual(["a"]);
});

test("those that a backend has made anew are destroyed as the first were", () => {
  const { backend, submit } = fake();
  const destroyed: string[] = [];
  for (const key of ["a", "b"]) {
    plansOf(backend).get(key, () => ({ destroy: () => destroyed.push(key) }));
    submit();
    destroyPlans();
  }
  expect(destroyed).toEqual(["a", "b"]);
});

test("all are made anew once memory or a compiler has failed", () => {
  const { backend, submit } = fake();
  const plans = new Plans(backend);
  const destroyed: string[] = [];
  const get = (key: string): object =>
    plans.get(key, () => ({ destroy: () => destroyed.push(key) }));
  const [a] = [get("a"), get("b")];
  stateOf(backend.device).fail(new BufferError("another failure"));
  expect(get("a")).toBe(a);
  submit();
  stateOf(backend.device).fail(new OutOfMemoryError("pretended"));
  const anew = get("a");
  expect(anew).not.toBe(a);
  expect(destroyed).toEqual(["b", "a"]);
  expect(plans.sizes).toEqual({ kept: 1, retired: 0 });
  expect(get("a")).toBe(anew);
  plans.destroy();
});

test("statistics tell the channels by what they do not repeat along", () => {
  const view = (outer: number, channels: number, inner: number) => ({ outer, channels, inner });
  expect(viewOf([2, 3, 4, 5], [5])).toEqual(view(24, 5, 1));
  expect(viewOf([2, 3, 4, 5], [1, 3, 1, 1])).toEqual(view(2, 3, 20));
  expect(viewOf([2, 3, 4, 5], [4, 1])).toEqual(view(6, 4, 5));
  expect(viewOf([2, 3, 4, 5], [4, 5])).toEqual(view(6, 20, 1));
  expect(viewOf([2, 3, 4, 5], [3, 1, 1])).toEqual(view(2, 3, 20));
  expect(viewOf([2, 3, 4, 5], [1])).toEqual(view(120, 1, 1));
  expect(viewOf([1, 1, 1, 5], [5])).toEqual(view(1, 5, 1));
  // No contiguous part, x's own shape, no broadcast.
  expect(viewOf([2, 3, 4, 5], [3, 1, 5])).toBeNull();
  expect(viewOf([2, 3], [2, 3])).toBeNull();
  expect(viewOf([1, 1, 2, 3], [2, 3])).toBeNull();
  expect(viewOf([2, 3], [4])).toBeNull();
  expect(viewOf([3], [2, 3])).toBeNull();
  expect(viewAlong([2, 3, 4], -2)).toEqual(view(2, 3, 4));
  expect(broadcastShape([2, 3, 4], -2)).toEqual([1, 3, 1]);
  expect(planShape(view(2, 3, 4))).toEqual({ shape: [2, 3, 4], layout: "channels-first" });
  expect(planShape(view(2, 3, 1))).toEqual({ shape: [2, 3], layout: "channels-last" });
});
