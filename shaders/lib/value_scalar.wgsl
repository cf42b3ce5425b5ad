// A Value is one number, of one channel.
alias Value = f32;
alias ValueBits = u32;
alias Channel = f32;
alias ChannelBits = u32;
alias Count = f32;

fn spread(channel: Channel) -> Value { return channel; }
fn collapseSum(value: Value) -> Channel { return value; }
fn collapse(lane: Lane) -> Statistics {
  return Statistics(lane.count, lane.shift, lane.delta, lane.m2);
}
fn countOf(count: Channel) -> f32 { return count; }
