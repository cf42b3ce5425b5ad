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
    absorb4(&lane, a, b, c, d);
  }
  for (; at < end; at += TEAM) {
    absorbBlock(&lane, 1.0, loadX(cursor.index), Value(), Value());
    cursor = next(cursor, walk);
  }
  lane.m2 += lane.m2Lost;
  return lane;
}
