fn collapseMasked(lane: MaskedLane) -> Statistics {
  return merge(Statistics(lane.count.x, lane.shift.x, lane.delta.x, lane.m2.x),
               Statistics(lane.count.y, lane.shift.y, lane.delta.y, lane.m2.y));
}
