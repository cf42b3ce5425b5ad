// Does what there is to do to each Value of a walk, four to a turn of the loop.
fn mapAlong(begin: Cursor, walk: Walk, first: u32, end: u32, own: Known, following: Known) {
  var cursor = begin;
  var at = first;
  for (; at + 3u * TEAM < end; at += 4u * TEAM) {
    let atB = next(cursor, walk);
    let atC = next(atB, walk);
    let atD = next(atC, walk);
    mapAt(cursor, own, following);
    mapAt(atB, own, following);
    mapAt(atC, own, following);
    mapAt(atD, own, following);
    cursor = next(atD, walk);
  }
  for (; !EVEN && at < end; at += TEAM) {
    mapAt(cursor, own, following);
    cursor = next(cursor, walk);
  }
}
