// A team merges through workgroup memory, a tree of fixed order. Every lane gets the result.
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
