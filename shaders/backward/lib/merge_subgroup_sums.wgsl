// As merge_shared_sums, its last steps, those within SUBGROUP lanes, by shuffles: the same tree, hence the same
// bits. Takes it that neighbouring invocations of a workgroup are neighbours in a subgroup.
fn sumTeam(mine: Sums, lane: u32, local: u32) -> Sums {
  var sums = mine;
  for (var step = TEAM / 2u; step >= SUBGROUP; step /= 2u) {
    shareSums(local, sums);
    workgroupBarrier();
    if (lane < step) { sums = addSums(sums, sharedSums(local + step)); }
    workgroupBarrier();
  }
  for (var step = SUBGROUP / 2u; step > 0u; step /= 2u) {
    let other = Sums(subgroupShuffleDown(sums.dz, step), subgroupShuffleDown(sums.dzXHat, step));
    if (lane < step) { sums = addSums(sums, other); }
  }
  shareSums(local, sums);
  workgroupBarrier();
  return sharedSums(local - lane);
}
