// A team merges through workgroup memory, a tree of fixed order. Every lane gets the result.
var<workgroup> sharedCount: array<f32, WORKGROUP_SIZE>;
var<workgroup> sharedShift: array<Channel, WORKGROUP_SIZE>;
var<workgroup> sharedDelta: array<Channel, WORKGROUP_SIZE>;
var<workgroup> sharedM2: array<Channel, WORKGROUP_SIZE>;

fn sharedStatistics(at: u32) -> Statistics {
  return Statistics(sharedCount[at], sharedShift[at], sharedDelta[at], sharedM2[at]);
}

fn shareStatistics(at: u32, value: Statistics) {
  sharedCount[at] = value.count;
  sharedShift[at] = value.shift;
  sharedDelta[at] = value.delta;
  sharedM2[at] = value.m2;
}

fn mergeTeam(mine: Statistics, lane: u32, local: u32) -> Statistics {
  var merged = mine;
  shareStatistics(local, merged);
  for (var step = TEAM / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) {
      merged = merge(merged, sharedStatistics(local + step * LANE_STRIDE));
      shareStatistics(local, merged);
    }
  }
  workgroupBarrier();
  return sharedStatistics(local - lane * LANE_STRIDE);
}
