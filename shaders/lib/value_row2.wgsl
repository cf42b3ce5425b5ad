// A Value is two neighbours of one channel (channels first, inner even).
alias Value = vec2f;
alias ValueBits = vec2u;
alias Channel = f32;
alias ChannelBits = u32;
alias Count = f32;

fn spread(channel: Channel) -> Value { return vec2f(channel); }
fn collapseSum(value: Value) -> Channel { return value.x + value.y; }
fn collapse(lane: Lane) -> Statistics {
  return merge(Statistics(lane.count, lane.shift.x, lane.delta.x, lane.m2.x),
               Statistics(lane.count, lane.shift.y, lane.delta.y, lane.m2.y));
}
fn countOf(count: Channel) -> f32 { return count; }
