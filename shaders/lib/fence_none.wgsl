// The compiler is known to keep the order of additions.
fn fence(value: Value) -> Value { return value; }
fn fenceChannel(channel: Channel) -> Channel { return channel; }
