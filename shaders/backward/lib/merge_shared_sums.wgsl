// A team adds through workgroup memory, a tree of fixed order. Every lane gets the result.
fn sumTeam(mine: Sums, lane: u32, local: u32) -> Sums {
  var sums = mine;
  shareSums(local, sums);
  for (var step = TEAM / 2u; step > 0u; step /= 2u) {
    workgroupBarrier();
    if (lane < step) {
      sums = addSums(sums, sharedSums(local + step * LANE_STRIDE));
      shareSums(local, sums);
    }
  }
  workgroupBarrier();
  return sharedSums(local - lane * LANE_STRIDE);
}
