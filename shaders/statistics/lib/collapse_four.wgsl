fn collapseMasked(lane: MaskedLane) -> Statistics {
  return merge(
    merge(Statistics(lane.count.x, lane.shift.x, lane.delta.x, lane.m2.x),
          Statistics(lane.count.y, lane.shift.y, lane.delta.y, lane.m2.y)),
    merge(Statistics(lane.count.z, lane.shift.z, lane.delta.z, lane.m2.z),
          Statistics(lane.count.w, lane.shift.w, lane.delta.w, lane.m2.w)));
}
