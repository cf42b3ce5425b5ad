// What a lane finds on its walk, each component of a Value for itself.
fn statisticsAlong(begin: Cursor, walk: Walk, first: u32, end: u32) -> Lane {
  var lane = Lane();
  var cursor = begin;
  var at = first;
  for (; at + 3u * TEAM < end; at += 4u * TEAM) {
    let a = loadX(cursor.index);
    cursor = next(cursor, walk);
    let b = loadX(cursor.index);
    cursor = next(cursor, walk);
    let c = loadX(cursor.index);
    cursor = next(cursor, walk);
    let d = loadX(cursor.index);
    cursor = next(cursor, walk);
    let fromB = minus(b, a);
    let fromC = minus(c, a);
    let fromD = minus(d, a);
    let mean = (fromB + (fromC + fromD)) * 0.25;
    let restB = fromB - mean;
    let restC = fromC - mean;
    let restD = fromD - mean;
    absorbBlock(&lane, 4.0, a, mean, (mean * mean + restB * restB) + (restC * restC + restD * restD));
  }
  if (!EVEN && at < end) {
    // One to three are left, a block of their own.
    let a = loadX(cursor.index);
    var fromB = Value();
    var fromC = Value();
    cursor = next(cursor, walk);
    if (at + TEAM < end) { fromB = minus(loadX(cursor.index), a); }
    cursor = next(cursor, walk);
    if (at + 2u * TEAM < end) { fromC = minus(loadX(cursor.index), a); }
    let count = f32((end - at + TEAM - 1u) / TEAM);
    let mean = (fromB + fromC) / count;
    var m2 = mean * mean;
    if (count > 1.0) { m2 += (fromB - mean) * (fromB - mean); }
    if (count > 2.0) { m2 += (fromC - mean) * (fromC - mean); }
    absorbBlock(&lane, count, a, mean, m2);
  }
  lane.m2 += lane.m2Lost;
  return lane;
}

// Merges a block (count, shift, its mean beyond shift, M2) into the lane's, as lib/statistics explains.
fn absorbBlock(lane: ptr<function, Lane>, count: f32, shift: Value, mean: Value, m2: Value) {
  if ((*lane).count == 0.0) {
    *lane = Lane(count, shift, mean, m2, Value());
    return;
  }
  let total = (*lane).count + count;
  let weight = count / total;
  let distance = minus(shift, (*lane).shift) + minus(mean, (*lane).delta);
  let delta = (*lane).delta + distance * weight;
  // With what rounding has lost before (Kahan 1965): the error does not grow with the chain.
  let added = plus(m2 + distance * distance * ((*lane).count * weight), (*lane).m2Lost);
  let sum = plus((*lane).m2, added);
  (*lane).m2Lost = minus(added, minus(sum, (*lane).m2));
  (*lane).m2 = sum;

  let anchor = plus((*lane).shift, delta);
  let part = minus(anchor, (*lane).shift);
  (*lane).delta = minus((*lane).shift, minus(anchor, part)) + minus(delta, part);
  (*lane).shift = anchor;
  (*lane).count = total;
}
