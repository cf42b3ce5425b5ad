// A Value is one number of each of four channels (inner = 1, channels divisible by four).
alias Value = vec4f;
alias ValueBits = vec4u;
alias Channel = vec4f;
alias ChannelBits = vec4u;
alias Count = f32;

fn spread(channel: Channel) -> Value { return channel; }
fn collapseSum(value: Value) -> Channel { return value; }
fn collapse(lane: Lane) -> Statistics {
  return Statistics(lane.count, lane.shift, lane.delta, lane.m2);
}
fn countOf(count: Channel) -> f32 { return count.x; }
