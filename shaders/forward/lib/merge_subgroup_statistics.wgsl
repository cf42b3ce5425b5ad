// As merge_shared_statistics, its last steps, those within SUBGROUP lanes, by shuffles: the same tree, hence the
// same bits, and log2(SUBGROUP) barriers fewer. An explicit tree, for subgroupAdd's order is the adapter's own.
// Takes it that neighbouring invocations of a workgroup are neighbours in a subgroup.
fn mergeTeam(mine: Statistics, lane: u32, local: u32) -> Statistics {
  var merged = mine;
  for (var step = TEAM / 2u; step >= SUBGROUP; step /= 2u) {
    shareStatistics(local, merged);
    workgroupBarrier();
    if (lane < step) { merged = merge(merged, sharedStatistics(local + step)); }
    workgroupBarrier();
  }
  for (var step = SUBGROUP / 2u; step > 0u; step /= 2u) {
    let other = Statistics(subgroupShuffleDown(merged.count, step), subgroupShuffleDown(merged.shift, step),
                           subgroupShuffleDown(merged.delta, step), subgroupShuffleDown(merged.m2, step));
    if (lane < step) { merged = merge(merged, other); }
  }
  shareStatistics(local, merged);
  workgroupBarrier();
  return sharedStatistics(local - lane);
}
