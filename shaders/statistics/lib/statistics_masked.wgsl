// This lane's share of its chunk, what the mask leaves of it; a number at a time, each component of a Value with a
// count of its own. What is masked out may be NaN. The mean is split anew after each, M2's long chain compensated.
struct MaskedLane {
  count: Value,
  shift: Value,
  delta: Value,
  m2: Value,
}

fn laneStatistics(task: Task) -> Statistics {
  var lane = MaskedLane();
  var lost = Value();
  let walk = chunkWalk();
  var cursor = cursorAt(task);
  for (var at = task.first; at < task.end; at += TEAM) {
    let counts = maskAt(at, cursor.inner);
    let total = lane.count + counts;
    let x = select(lane.shift + lane.delta, loadX(cursor.index), counts > Value());
    let shift = select(lane.shift, x, lane.count == Value());
    let weight = counts / max(total, Value(1.0));
    let distance = minus(x, shift) - lane.delta;
    let delta = lane.delta + distance * weight;

    let added = plus(distance * distance * (lane.count * weight), lost);
    let sum = plus(lane.m2, added);
    lost = minus(added, minus(sum, lane.m2));

    let mean = plus(shift, delta);
    let part = minus(mean, shift);
    lane = MaskedLane(total, mean, minus(shift, minus(mean, part)) + minus(delta, part), sum);
    cursor = next(cursor, walk);
  }
  return collapseMasked(lane);
}
