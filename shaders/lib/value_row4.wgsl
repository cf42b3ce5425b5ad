// A Value is four numbers of one channel: neighbours in a row, or the same place of four rows.
alias Value = vec4f;
alias ValueBits = vec4u;
alias Channel = f32;
alias ChannelBits = u32;
alias Count = f32;

fn spread(channel: Channel) -> Value { return vec4f(channel); }
fn collapseSum(value: Value) -> Channel { return (value.x + value.y) + (value.z + value.w); }
fn collapse(lane: Lane) -> Statistics {
  return merge(
    merge(Statistics(lane.count, lane.shift.x, lane.delta.x, lane.m2.x),
          Statistics(lane.count, lane.shift.y, lane.delta.y, lane.m2.y)),
    merge(Statistics(lane.count, lane.shift.z, lane.delta.z, lane.m2.z),
          Statistics(lane.count, lane.shift.w, lane.delta.w, lane.m2.w)));
}
fn countOf(count: Channel) -> f32 { return count; }
