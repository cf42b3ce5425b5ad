// This lane's share of its chunk.
fn laneStatistics(task: Task) -> Statistics {
  var lane = Lane();
  var cursor = cursorAt(task);
  var at = task.first;
  while (at + 3u * TEAM < task.end) {
    let a = loadX(cursor.index);
    cursor = next(cursor);
    let b = loadX(cursor.index);
    cursor = next(cursor);
    let c = loadX(cursor.index);
    cursor = next(cursor);
    let d = loadX(cursor.index);
    cursor = next(cursor);
    absorb4(&lane, a, b, c, d);
    at += 4u * TEAM;
  }
  while (at < task.end) {
    absorbBlock(&lane, 1.0, loadX(cursor.index), Value(), Value());
    cursor = next(cursor);
    at += TEAM;
  }
  lane.m2 += lane.m2Lost;
  return collapse(lane);
}
