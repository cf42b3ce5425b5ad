// A team whose lanes stand side by side: they are few, each has about as many Values, and the first has some. So plain sums will
// do, of what the lanes' means are beyond the first's, then of their M2 about the mean of these, and of what that mean has
// missed; each in two rounds, as team/merge_shared_sums has them. Every lane gets the result.
fn mergeTeam(mine: Statistics, lane: u32, local: u32) -> Statistics {
  let begin = local - lane * LANE_STRIDE;
  if (lane == 0u) { sharedShift[local] = plusChannel(mine.shift, mine.delta); }
  workgroupBarrier();
  let origin = sharedShift[begin];
  let none = mine.count == Count();
  let beyond = select(minusChannel(mine.shift, origin) + mine.delta, Channel(), none);
  var count = mine.count;
  var sum = beyond * count;
  sharedCount[local] = count;
  sharedDelta[local] = sum;
  workgroupBarrier();
  if (lane < ROW) {
    for (var i = ROW; i < TEAM; i += ROW) {
      count += sharedCount[local + i * LANE_STRIDE];
      sum += sharedDelta[local + i * LANE_STRIDE];
    }
    sharedCount[local] = count;
    sharedDelta[local] = sum;
  }
  workgroupBarrier();
  count = sharedCount[begin];
  sum = sharedDelta[begin];
  for (var i = 1u; i < ROW; i++) {
    count += sharedCount[begin + i * LANE_STRIDE];
    sum += sharedDelta[begin + i * LANE_STRIDE];
  }
  let counted = max(count, Count(1.0));
  let delta = sum / counted;
  let rest = select(beyond - delta, Channel(), none);
  var missed = rest * mine.count;
  var m2 = mine.m2 + rest * missed;
  sharedShift[local] = missed;
  sharedM2[local] = m2;
  workgroupBarrier();
  if (lane < ROW) {
    for (var i = ROW; i < TEAM; i += ROW) {
      missed += sharedShift[local + i * LANE_STRIDE];
      m2 += sharedM2[local + i * LANE_STRIDE];
    }
    sharedShift[local] = missed;
    sharedM2[local] = m2;
  }
  workgroupBarrier();
  missed = sharedShift[begin];
  m2 = sharedM2[begin];
  for (var i = 1u; i < ROW; i++) {
    missed += sharedShift[begin + i * LANE_STRIDE];
    m2 += sharedM2[begin + i * LANE_STRIDE];
  }
  return anchored(count, origin, delta + missed / counted, m2);
}
