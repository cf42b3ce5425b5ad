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
    let distance = fence(x - shift) - lane.delta;
    let delta = lane.delta + distance * weight;

    let added = distance * distance * (lane.count * weight);
    let sum = fence(lane.m2 + added);
    let sumPart = fence(sum - lane.m2);
    lost += fence(lane.m2 - fence(sum - sumPart)) + fence(added - sumPart);

    let mean = fence(shift + delta);
    let part = fence(mean - shift);
    lane = MaskedLane(total, mean, fence(shift - fence(mean - part)) + fence(delta - part), sum);
    cursor = next(cursor, walk);
  }
  lane.m2 += lost;
  return collapseMasked(lane);
}
