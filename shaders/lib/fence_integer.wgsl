// Through an integer and back: additions on either side cannot be reassociated.
fn fence(value: Value) -> Value {
  return bitcast<Value>(bitcast<ValueBits>(value) ^ ValueBits(params.zero));
}
fn fenceChannel(channel: Channel) -> Channel {
  return bitcast<Channel>(bitcast<ChannelBits>(channel) ^ ChannelBits(params.zero));
}
