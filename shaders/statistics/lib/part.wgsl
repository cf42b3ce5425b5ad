// A part: the statistics of some of a channel's values. In a buffer it takes four planes of one word per channel:
// count (u32, so that it is exact far beyond 2^24), shift, delta (mean = shift + delta), M2.
// Where count is 0 the other three mean nothing, NaN included.
struct Part {
  count: u32,
  shift: Channel,
  delta: Channel,
  m2: Channel,
}

fn mergePair(a: Part, b: Part) -> Part {
  if (b.count == 0u) { return a; }
  if (a.count == 0u) { return b; }
  let merged = merge(Statistics(Count(f32(a.count)), a.shift, a.delta, a.m2),
                     Statistics(Count(f32(b.count)), b.shift, b.delta, b.m2));
  return Part(a.count + b.count, merged.shift, merged.delta, merged.m2);
}
