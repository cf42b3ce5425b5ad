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
    let fromB = fence(b - a);
    let fromC = fence(c - a);
    let fromD = fence(d - a);
    let mean = (fromB + (fromC + fromD)) * 0.25;
    let restB = fromB - mean;
    let restC = fromC - mean;
    let restD = fromD - mean;
    absorbBlock(&lane, 4.0, a, mean, (mean * mean + restB * restB) + (restC * restC + restD * restD));
  }
  for (; !EVEN && at < end; at += TEAM) {
    absorbBlock(&lane, 1.0, loadX(cursor.index), Value(), Value());
    cursor = next(cursor, walk);
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
  let distance = fence(shift - (*lane).shift) + fence(mean - (*lane).delta);
  let delta = (*lane).delta + distance * weight;
  let added = m2 + distance * distance * ((*lane).count * weight);

  let sum = fence((*lane).m2 + added);
  let sumPart = fence(sum - (*lane).m2);
  (*lane).m2Lost += fence((*lane).m2 - fence(sum - sumPart)) + fence(added - sumPart);
  (*lane).m2 = sum;

  let anchor = fence((*lane).shift + delta);
  let part = fence(anchor - (*lane).shift);
  (*lane).delta = fence((*lane).shift - fence(anchor - part)) + fence(delta - part);
  (*lane).shift = anchor;
  (*lane).count = total;
}
