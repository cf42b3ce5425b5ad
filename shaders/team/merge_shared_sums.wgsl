// A team adds through workgroup memory in two rounds of fixed order: ROW lanes add up every ROW-th, then each lane adds up
// these. Every lane gets the result. (A tree, a barrier for each halving, or the same by shuffles, takes longer or as long.)
fn sumTeam(mine: Sums, lane: u32, local: u32) -> Sums {
  let begin = local - lane * LANE_STRIDE;
  var sums = mine;
  shareSums(local, sums);
  workgroupBarrier();
  if (lane < ROW) {
    for (var i = ROW; i < TEAM; i += ROW) { sums = addSums(sums, sharedSums(local + i * LANE_STRIDE)); }
    shareSums(local, sums);
  }
  workgroupBarrier();
  sums = sharedSums(begin);
  for (var i = 1u; i < ROW; i++) { sums = addSums(sums, sharedSums(begin + i * LANE_STRIDE)); }
  return sums;
}
