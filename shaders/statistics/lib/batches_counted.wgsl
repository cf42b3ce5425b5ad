fn batchesBefore() -> f32 {
  let counter = loadCounter();
  return f32(counter.y) * 4294967296.0 + f32(counter.x);
}
