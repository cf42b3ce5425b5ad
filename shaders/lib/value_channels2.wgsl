// A Value is one number of each of two channels (inner = 1, channels even).
alias Value = vec2f;
alias ValueBits = vec2u;
alias Channel = vec2f;
alias ChannelBits = vec2u;
alias Count = f32;

fn spread(channel: Channel) -> Value { return channel; }
fn collapseSum(value: Value) -> Channel { return value; }
fn collapse(lane: Lane) -> Statistics {
  return Statistics(lane.count, lane.shift, lane.delta, lane.m2);
}
fn countOf(count: Channel) -> f32 { return count.x; }
