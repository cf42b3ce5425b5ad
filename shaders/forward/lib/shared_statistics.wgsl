// Statistics of every invocation, in workgroup memory.
var<workgroup> sharedCount: array<Count, WORKGROUP_SIZE>;
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
