fn collapseMasked(lane: MaskedLane) -> Statistics {
  return Statistics(lane.count, lane.shift, lane.delta, lane.m2);
}
