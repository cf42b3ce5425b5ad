// What a lane finds on its walk, each component of a Value for itself: sums beyond the running mean and of their squares,
// sixteen Values to a block. The first block begins around a Value of its own, so it is a short one.
fn statisticsAlong(begin: Cursor, walk: Walk, first: u32, end: u32) -> Lane {
  var lane = Lane();
  if (first >= end) { return lane; }
  lane.shift = loadX(begin.index);
  var cursor = begin;
  var at = first;
  for (var size = 4u; at < end; size = 16u) {
    let stop = min(at + size * TEAM, end);
    let count = f32((stop - at + TEAM - 1u) / TEAM);
    var sum = Value();
    var squares = Value();
    for (; at + 3u * TEAM < stop; at += 4u * TEAM) {
      let a = minus(loadX(cursor.index), lane.shift);
      cursor = next(cursor, walk);
      let b = minus(loadX(cursor.index), lane.shift);
      cursor = next(cursor, walk);
      let c = minus(loadX(cursor.index), lane.shift);
      cursor = next(cursor, walk);
      let d = minus(loadX(cursor.index), lane.shift);
      cursor = next(cursor, walk);
      sum += (a + b) + (c + d);
      squares += (a * a + b * b) + (c * c + d * d);
    }
    for (; !EVEN && at < stop; at += TEAM) {
      let a = minus(loadX(cursor.index), lane.shift);
      cursor = next(cursor, walk);
      sum += a;
      squares += a * a;
    }
    absorb(&lane, count, sum, squares);
  }
  return lane;
}

// Merges a block into the lane's, as lib/statistics explains. Its M2 is a difference, and what is taken off may be large, but
// then its mean is far from the lane's: that adds a fifth of it at least, so nothing is lost.
fn absorb(lane: ptr<function, Lane>, count: f32, sum: Value, squares: Value) {
  let mean = sum / count;
  let distance = minus(mean, (*lane).delta);
  let total = (*lane).count + count;
  let weight = count / total;
  // With what rounding has lost before (Kahan 1965): the error does not grow with the chain.
  let m2 = (squares - sum * mean) + distance * distance * ((*lane).count * weight);
  let added = plus(m2, (*lane).m2Lost);
  let both = plus((*lane).m2, added);
  (*lane).m2Lost = minus(added, minus(both, (*lane).m2));
  (*lane).m2 = both;

  let delta = (*lane).delta + distance * weight;
  let anchor = plus((*lane).shift, delta);
  let part = minus(anchor, (*lane).shift);
  (*lane).delta = minus((*lane).shift, minus(anchor, part)) + minus(delta, part);
  (*lane).shift = anchor;
  (*lane).count = total;
}
