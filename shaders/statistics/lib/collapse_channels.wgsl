fn collapseMasked(lane: MaskedLane) -> Statistics {
  return Statistics(lane.count.x, lane.shift, lane.delta, lane.m2);
}
