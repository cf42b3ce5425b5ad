// A team merges through workgroup memory, a tree of fixed order. Every lane gets the result.
var<workgroup> sharedCount: array<u32, WORKGROUP_SIZE>;
var<workgroup> sharedShift: array<Channel, WORKGROUP_SIZE>;
var<workgroup> sharedDelta: array<Channel, WORKGROUP_SIZE>;
var<workgroup> sharedM2: array<Channel, WORKGROUP_SIZE>;

fn sharedPart(at: u32) -> Part {
  return Part(sharedCount[at], sharedShift[at], sharedDelta[at], sharedM2[at]);
}

fn sharePart(at: u32, value: Part) {
  sharedCount[at] = value.count;
  sharedShift[at] = value.shift;
  sharedDelta[at] = value.delta;
  sharedM2[at] = value.m2;
}

fn mergeParts(mine: Part, lane: u32, local: u32) -> Part {
  var merged = mine;
  sharePart(local, merged);
  for (var step = TEAM / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) {
      merged = mergePair(merged, sharedPart(local + step * LANE_STRIDE));
      sharePart(local, merged);
    }
  }
  workgroupBarrier();
  return sharedPart(local - lane * LANE_STRIDE);
}
